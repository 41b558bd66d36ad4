"""Single labelled pixels drawn from a scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import make_scene

from comix_cli.learning.pixel_samples import PixelSamples, draw_pixels
from comix_cli.learning.samples import IGNORE_INDEX, LabelIndex, index_labels
from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.stack import Block, SourceSpec, open_stack
from comix_cli.scene.windows import Window


class Ramp:
    """A scene whose HSI counts the pixels and whose X says the column; invalid in column 0."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def read(self, window: Window) -> Block:
        rows, columns = np.mgrid[window.slices]
        number = rows * self.grid.width + columns
        return Block(number[None].astype(np.float32), columns[None].astype(np.float32), columns > 0)

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        return self.read(window).valid


class Painted:
    """Labels that are an array."""

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self.labels = labels

    def read(self, window: Window) -> tuple[NDArray[np.int64], int]:
        return self.labels[window.slices], 0


@pytest.fixture
def scene(tmp_path: Path) -> Ramp:
    files = make_scene(tmp_path, size=48)
    with open_stack(SourceSpec(str(files.lidar), "hsi"), []) as stack:
        return Ramp(replace(stack.grid, width=100, height=90))


@pytest.fixture
def labels() -> NDArray[np.int64]:
    painted = np.full((90, 100), IGNORE_INDEX, np.int64)
    painted[:70, :60] = 0
    painted[80:, 0:10] = 1  # of which the first column is invalid
    painted[40:60, 70:] = 2
    return painted


def draw(scene: Ramp, labels: NDArray[np.int64], most: int, seed: int = 0) -> PixelSamples:
    return draw_pixels(
        scene,
        Painted(labels),
        index_labels(Painted(labels), scene, 3, Silent()),
        lambda block: (block.hsi, block.x),
        most=most,
        seed=seed,
        progress=Silent(),
    )


def test_as_many_pixels_of_each_class_as_are_asked_for_or_all(
    scene: Ramp, labels: NDArray[np.int64]
) -> None:
    found = draw(scene, labels, 200)
    assert np.bincount(found.classes).tolist() == [200, 90, 200]


def test_values_labels_and_places_belong_together_and_no_pixel_comes_twice(
    scene: Ramp, labels: NDArray[np.int64]
) -> None:
    found = draw(scene, labels, 300)
    rows, columns = found.places.T
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values[:, 0], rows * 100 + columns)
    np.testing.assert_array_equal(found.values[:, 1], columns)
    np.testing.assert_array_equal(labels[rows, columns], found.classes)
    assert columns.min() > 0
    assert len(np.unique(found.values[:, 0])) == len(found.classes)


def test_every_usable_pixel_is_drawn_where_more_are_asked_for(
    scene: Ramp, labels: NDArray[np.int64]
) -> None:
    found = draw(scene, labels, 10**6)
    usable = (labels != IGNORE_INDEX) & (np.arange(100) > 0)
    np.testing.assert_array_equal(np.sort(found.values[:, 0]), np.flatnonzero(usable))


def test_all_pixels_of_a_class_are_equally_likely(scene: Ramp, labels: NDArray[np.int64]) -> None:
    counts = np.zeros((90, 100))
    for seed in range(150):
        rows, columns = draw(scene, labels, 60, seed).places.T
        counts[rows, columns] += 1
    # 150 draws of 60 of 600 pixels: each is drawn 15 times on average, with a deviation of 3.7.
    field = counts[40:60, 70:]
    assert field.mean() == 15
    assert field.std() == pytest.approx(3.67, abs=0.4)
    # The field lies in three tiles of different sizes.
    assert field[:, :26].mean() == pytest.approx(15, abs=0.6)
    assert field[:, 26:].mean() == pytest.approx(15, abs=1.2)


def test_a_seed_fixes_the_pixels(scene: Ramp, labels: NDArray[np.int64]) -> None:
    one, same, other = (draw(scene, labels, 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.values, same.values)
    assert not np.array_equal(one.values, other.values)


def test_blocks_are_squares_of_the_scene() -> None:
    places = np.array([[0, 0], [9, 9], [10, 0], [0, 10], [19, 0], [35, 35]])
    found = PixelSamples(np.zeros((6, 1), np.float32), np.zeros(6, np.int64), places).blocks(10)
    assert found.tolist() == [0, 0, 2, 1, 2, 3]


def test_a_class_beyond_four_billion_pixels_can_be_drawn_from() -> None:
    from comix_cli.learning.pixel_samples import _draw_numbers

    index = LabelIndex(
        tiles=np.array([5, 9]),
        classes=np.array([0, 0]),
        counts=np.array([2**33, 2**33]),
        class_pixels=np.array([2**34]),
        overlap=0,
        invalid=0,
    )
    tiles, classes, numbers = _draw_numbers(index, 1000, np.random.default_rng(0))
    assert len(numbers) == 1000
    assert set(tiles.tolist()) == {5, 9}
    assert not classes.any()
    assert 0 <= numbers.min() <= numbers.max() < 2**33
