"""Blocks of labels that judge and do not train, on scenes whose labels are arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from comix_cli.learning.holdout import SHARE, Holdout, SomeLabels, block_side, hold_out, let_go
from comix_cli.learning.samples import IGNORE_INDEX, TILE, ChipSampler, LabelIndex, index_labels
from comix_cli.learning.validation import MOST_CHIPS, Validator, validation_windows
from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import Window, tile_windows

UTM = rasterio.crs.CRS.from_epsg(32633)


@dataclass(frozen=True)
class Painted:
    """A scene and its labels as one array of class indices; the HSI band is the index."""

    indices: NDArray[np.int64]

    @property
    def grid(self) -> Grid:
        height, width = self.indices.shape
        return Grid(UTM, Affine(1, 0, 500_000, 0, -1, 5_800_000), width, height)

    def read_labels(self, window: Window) -> tuple[NDArray[np.int64], int]:
        return self.indices[window.slices], 0

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        return np.ones(window.shape, np.bool_)

    def read(self, window: Window) -> Block:
        values = self.indices[window.slices][None].astype(np.float32)
        nothing = np.zeros((0, *window.shape), np.float32)
        return Block(values, nothing, self.read_valid(window))


@dataclass(frozen=True)
class LabelsOf:
    scene: Painted

    def read(self, window: Window) -> tuple[NDArray[np.int64], int]:
        return self.scene.read_labels(window)


def patches(shape: tuple[int, int], classes: int, seed: int, side: int = 20) -> Painted:
    """Square patches of classes at random, a third of them unlabelled."""
    rng = np.random.default_rng(seed)
    small = rng.integers(-1, classes, (-(-shape[0] // side), -(-shape[1] // side)))
    small[rng.random(small.shape) < 0.2] = IGNORE_INDEX
    whole = np.repeat(np.repeat(small, side, axis=0), side, axis=1)
    return Painted(whole[: shape[0], : shape[1]].astype(np.int64))


def index_of(scene: Painted, classes: int, holdout: Holdout | None = None, judging: bool = False
             ) -> LabelIndex:  # fmt: skip
    labels = LabelsOf(scene) if holdout is None else SomeLabels(LabelsOf(scene), holdout, judging)
    return index_labels(labels, scene, classes, Silent())


def test_no_validation_pixel_lies_within_the_buffer_of_a_training_pixel() -> None:
    scene = patches((300, 420), 4, 0)
    holdout = hold_out(index_of(scene, 4), scene.grid, 13, 0)
    assert holdout is not None
    whole = Window(0, 0, 300, 420)
    judges, trains = holdout.judges(whole), holdout.trains(whole)
    assert judges.any()
    assert trains.any()
    # Nothing within 13 rows and columns of a pixel that judges trains.
    reached = np.zeros_like(judges)
    for rows, columns in zip(*np.nonzero(judges), strict=True):
        reached[max(0, rows - 13) : rows + 14, max(0, columns - 13) : columns + 14] = True
    np.testing.assert_array_equal(trains, ~reached)


def test_every_class_judges_with_about_its_share_and_trains() -> None:
    scene = patches((600, 600), 5, 1)
    index = index_of(scene, 5)
    holdout = hold_out(index, scene.grid, 8, 0)
    assert holdout is not None
    held = index_of(scene, 5, holdout, judging=True).class_pixels / index.class_pixels
    assert np.all(np.abs(held - SHARE) < 0.08)
    left = index_of(scene, 5, holdout).class_pixels / index.class_pixels
    assert np.all(left > 0.5)


def test_the_seed_fixes_the_blocks() -> None:
    scene = patches((400, 400), 3, 2)
    index = index_of(scene, 3)
    one, same, other = (hold_out(index, scene.grid, 4, seed) for seed in (0, 0, 5))
    assert one is not None
    assert same is not None
    assert other is not None
    assert one.held.tolist() == same.held.tolist()
    assert one.held.tolist() != other.held.tolist()


def test_too_few_blocks_hold_nothing_out() -> None:
    scene = patches((60, 60), 2, 0)
    assert hold_out(index_of(scene, 2), scene.grid, 2, 0) is None


def test_a_class_in_a_single_place_is_given_back_to_the_training() -> None:
    scene = patches((400, 400), 3, 3)
    scene.indices[100, 200] = 3  # one pixel of a fourth class
    index = index_of(scene, 4)
    held = np.array([[100 // 64, 200 // 64], [0, 0], [5, 5]])
    holdout = Holdout(64, 6, held)
    assert index_of(scene, 4, holdout).class_pixels[3] == 0
    freed = let_go(holdout, index, scene.grid, np.array([3]))
    assert freed is not None
    assert freed.held.tolist() == [[0, 0], [5, 5]]
    assert index_of(scene, 4, freed).class_pixels[3] == 1


def test_where_all_blocks_are_needed_none_is_held() -> None:
    scene = patches((400, 400), 3, 3)
    index = index_of(scene, 3)
    assert let_go(Holdout(64, 6, np.array([[2, 2]])), index, scene.grid, np.array([0])) is None


@pytest.mark.parametrize(
    ("side", "buffer", "block"), [(100, 2, 32), (520, 4, 64), (20_000, 4, 256), (300, 40, 96)]
)
def test_blocks_are_whole_tiles_and_more_than_the_buffer(
    side: int, buffer: int, block: int
) -> None:
    assert block_side(Painted(np.zeros((side, side), np.int64)).grid, buffer) == block


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=6, unique=True),
    st.integers(0, 40),
)
def test_windows_are_parts_of_the_whole(held: list[tuple[int, int]], buffer: int) -> None:
    holdout = Holdout(32, buffer, np.array(held))
    whole = holdout.trains(Window(0, 0, 290, 270))
    for window in tile_windows((290, 270), 77):
        np.testing.assert_array_equal(holdout.trains(window), whole[window.slices])


class Echo(nn.Module):
    """Says what the HSI says, so it is right; with an offset it is wrong."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, hsi: torch.Tensor, x: torch.Tensor | None) -> torch.Tensor:
        assert x is None
        wanted = (hsi[:, 0] + self.offset).round().long() % self.classes
        return nn.functional.one_hot(wanted, self.classes).permute(0, 3, 1, 2).float()


def chips_of(scene: Painted, classes: int, holdout: Holdout) -> tuple[ChipSampler, LabelIndex]:
    labels = SomeLabels(LabelsOf(scene), holdout, judging=True)
    index = index_labels(labels, scene, classes, Silent())
    sampler = ChipSampler(
        scene, labels, index, lambda block: (block.hsi, block.x), window=64, class_power=1
    )
    return sampler, index


def test_the_validator_counts_every_held_pixel_once() -> None:
    scene = patches((300, 420), 3, 4)
    holdout = hold_out(index_of(scene, 3), scene.grid, 5, 0)
    assert holdout is not None
    sampler, index = chips_of(scene, 3, holdout)
    columns = -(-scene.grid.width // TILE)
    tiles = [Window(TILE * (t // columns), TILE * (t % columns), TILE, TILE) for t in
             np.unique(index.tiles).tolist()]  # fmt: skip
    tiles = [Window(t.row, t.col, min(TILE, 300 - t.row), min(TILE, 420 - t.col)) for t in tiles]
    windows = validation_windows(sampler, scene.grid, 64, tiles, 0)
    network = Echo(3)
    validator = Validator(network, sampler, windows, 3)
    np.testing.assert_array_equal(
        validator.matrix(network.state_dict()), np.diag(index.class_pixels)
    )
    shifted = validator.matrix({"offset": torch.tensor(1.0)})
    np.testing.assert_array_equal(shifted, np.roll(np.diag(index.class_pixels), 1, axis=1))
    assert network.offset == 0  # the weights that train are not touched


def test_a_large_scene_is_looked_at_in_some_places_only() -> None:
    scene = Painted(np.zeros((64 * 15, 64 * 15), np.int64))
    holdout = Holdout(64, 0, np.argwhere(np.ones((15, 15))))
    sampler, _ = chips_of(scene, 1, holdout)
    tiles = [*tile_windows(scene.grid.shape, TILE)]
    windows = validation_windows(sampler, scene.grid, 64, tiles, 0)
    assert len(set(windows)) == MOST_CHIPS
    assert windows == validation_windows(sampler, scene.grid, 64, tiles, 0)


def test_windows_smaller_than_a_tile_cover_all_of_it() -> None:
    scene = Painted(np.zeros((64, 64), np.int64))
    sampler, _ = chips_of(scene, 1, Holdout(64, 0, np.array([[0, 0]])))
    windows = validation_windows(sampler, scene.grid, 8, [Window(0, 32, 32, 32)], 0)
    assert windows == [Window(r, c, 8, 8) for r in range(0, 32, 8) for c in range(32, 64, 8)]
