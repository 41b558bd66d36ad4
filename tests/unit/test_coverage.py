"""Pixels by the share that polygons cover, against shapely's areas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import box

from comix_cli.scene.coverage import covered
from comix_cli.scene.rasterize import Burnt, Candidates, Sources

SHAPE = (6, 8)
TILE = (1024, 1024)


def burnt(least: float, *rows: tuple[Any, int], shape: tuple[int, int] = SHAPE) -> Burnt:
    """Shapes in pixels, rows downwards, with their codes; feature i is row i."""
    shapes = np.array([shape for shape, _ in rows], dtype=object)
    codes = np.array([code for _, code in rows], np.int32)
    numbers = np.arange(len(rows), dtype=np.int32)
    near = Candidates(shapes, codes, numbers, numbers)
    return Burnt(*covered(near, shape, least), Sources(near.codes, near.features, near.clusters))


def shares(shape: Any) -> NDArray[np.float64]:
    """The share of each pixel that a shape covers, one pixel at a time."""
    cells = [[box(c, r, c + 1, r + 1) for c in range(SHAPE[1])] for r in range(SHAPE[0])]
    return np.asarray(shapely.area(shapely.intersection(np.array(cells), shape)))


def test_a_pixel_belongs_to_what_covers_enough_of_it() -> None:
    found = burnt(0.25, (box(1.5, 2, 3.2, 3), 7))
    expected = np.zeros(SHAPE, np.int32)
    expected[2, 1:3] = 7  # halves and wholes; the fifth of pixel 3 is too little
    np.testing.assert_array_equal(found.labels, expected)
    np.testing.assert_array_equal(found.labelled, expected > 0)


def test_polygons_smaller_than_a_pixel_add_up() -> None:
    small = [(box(4.1, 1.1, 4.4, 1.9), 3), (box(4.6, 1.1, 4.9, 1.9), 3)]
    assert burnt(0.4, *small).labels[1, 4] == 3
    assert burnt(0.5, *small).labels.sum() == 0


def test_what_overlaps_in_one_class_counts_once() -> None:
    twice = [(box(0, 0, 0.4, 1), 1), (box(0.1, 0, 0.4, 1), 1)]
    assert burnt(0.5, *twice).labels.sum() == 0
    found = burnt(0.4, *twice)
    assert found.labels[0, 0] == 1
    assert found.top[0, 0] == 0  # the one that covers more


@pytest.mark.parametrize(
    "large",
    [
        box(300, 300, 1000, 1000),  # beside it
        box(300, 0, 4e8, 4e8),  # a corner of what is so large that its area is rounded to pixels
    ],
)
def test_what_overlaps_counts_once_however_large_others_are(large: Any) -> None:
    small = (box(4.1, 1, 4.4, 2), 1)
    found = burnt(0.5, small, small, (large, 1), shape=TILE)
    assert found.labels[1, 4] == 0
    assert found.labels[400, 400] == 1
    assert burnt(0.3, small, small, (large, 1), shape=TILE).labels[1, 4] == 1


def test_classes_that_both_cover_enough_dispute_a_pixel() -> None:
    found = burnt(0.3, (box(0, 0, 0.5, 1), 2), (box(0.5, 0, 1, 1), 5), (box(2, 0, 3, 1), 5))
    assert found.overlap.sum() == 1
    assert found.overlap[0, 0]
    assert (found.top[0, 0], found.bottom[0, 0]) == (1, 0)
    assert found.labels[0].tolist() == [0, 0, 5, 0, 0, 0, 0, 0]
    assert not burnt(0.6, (box(0, 0, 0.5, 1), 2), (box(0.5, 0, 1, 1), 5)).labelled.any()


def test_what_lies_beside_the_window_covers_nothing() -> None:
    assert not burnt(0.01, (box(20, 20, 30, 30), 1), (box(-5, -5, -1, -1), 2)).labelled.any()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-2, 9), st.floats(-2, 7), st.floats(0.05, 4), st.integers(3, 7)),
        min_size=1,
        max_size=4,
    ),
    st.floats(0.05, 1),
)
def test_shares_are_those_of_exact_areas(
    rings: list[tuple[float, float, float, int]], least: float
) -> None:
    shapes = []
    for x, y, radius, sides in rings:
        angles = np.arange(sides) * 2 * np.pi / sides + 0.3
        points = np.c_[x + radius * np.cos(angles), y + radius * np.sin(angles)]
        shapes.append(shapely.Polygon(points))
    found = burnt(least, *((shape, 1) for shape in shapes))
    exact = shares(shapely.union_all(shapes))
    sure = np.abs(exact - least) > 1e-6
    np.testing.assert_array_equal((found.labels == 1)[sure], (exact >= least)[sure])
