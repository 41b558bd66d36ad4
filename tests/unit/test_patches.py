"""Polygons of patches, traced strip by strip."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.features import shapes

from comix_cli.mapping.patches import Patches, trace_patches

Strips = Iterator[tuple[int, NDArray[Any]]]


def strips_of(codes: NDArray[Any], step: int) -> Strips:
    return ((row, codes[row : row + step]) for row in range(0, len(codes), step))


def traced(codes: NDArray[Any], step: int) -> Patches:
    found = list(trace_patches(strips_of(codes, step)))
    return Patches(
        np.concatenate([p.codes for p in found]), np.concatenate([p.polygons for p in found])
    )


def as_set(codes: Any, polygons: Any) -> list[tuple[int, bytes]]:
    """Polygons and codes in an order of their own; the same for the same rings only."""
    normal = shapely.to_wkb(shapely.normalize(polygons))
    return sorted((int(code), wkb) for code, wkb in zip(codes, normal, strict=True))


def of_the_whole(codes: NDArray[Any]) -> list[tuple[int, bytes]]:
    found = list(shapes(codes, mask=codes != 0, connectivity=4))
    return as_set([v for _, v in found], [shapely.geometry.shape(s) for s, _ in found])


MAPS = st.tuples(st.integers(1, 14), st.integers(1, 14), st.integers(1, 4)).flatmap(
    lambda size: arrays(np.uint8, size[:2], elements=st.integers(0, size[2]))
)


@given(MAPS, st.integers(1, 15))
@settings(deadline=None, max_examples=300)
def test_strips_of_any_height_give_the_polygons_of_the_whole_map(
    codes: NDArray[np.uint8], step: int
) -> None:
    patches = traced(codes, step)
    assert as_set(patches.codes, patches.polygons) == of_the_whole(codes)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.75])
@pytest.mark.parametrize("step", [1, 7, 64])
def test_patches_with_many_holes_and_arms_are_those_of_the_whole_map(
    share: float, step: int
) -> None:
    codes = (np.random.default_rng(1).random((150, 130)) < share).astype(np.uint16) + 700
    patches = traced(codes, step)
    assert as_set(patches.codes, patches.polygons) == of_the_whole(codes)
    assert shapely.is_valid(patches.polygons).all()


def spiral(size: int) -> NDArray[np.uint8]:
    """One patch that winds through every row many times, and its counterpart."""
    codes = np.full((size, size), 2, np.uint8)
    row = col = 0
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    lengths = [size - 1, *(n for k in range(size - 1, 0, -2) for n in (k, k))]
    codes[0, 0] = 1
    for turn, length in enumerate(lengths):
        for _ in range(length):
            row, col = row + steps[turn % 4][0], col + steps[turn % 4][1]
            codes[row, col] = 1
    return codes


@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_spiral_stays_in_one_piece(step: int) -> None:
    codes = spiral(21)
    patches = traced(codes, step)
    assert as_set(patches.codes, patches.polygons) == of_the_whole(codes)
    assert patches.codes.tolist().count(1) == 1


def test_a_ring_whose_hole_spans_seams_has_one_hole() -> None:
    codes = np.ones((6, 5), np.uint8)
    codes[1:5, 1:4] = 0
    patches = traced(codes, 2)
    ring = shapely.Polygon([(0, 0), (5, 0), (5, 6), (0, 6)], [[(1, 1), (4, 1), (4, 5), (1, 5)]])
    assert as_set(patches.codes, patches.polygons) == as_set([1], [ring])


def test_a_map_of_nothing_has_no_polygon() -> None:
    assert len(traced(np.zeros((5, 4), np.uint8), 2).codes) == 0


def test_finished_patches_do_not_wait_for_the_end() -> None:
    codes = np.tile(np.array([[1], [1], [2], [2]], np.uint8), (10, 3))
    *before, at_the_end = [len(p.codes) for p in trace_patches(strips_of(codes, 4))]
    assert (sum(before), at_the_end) == (19, 1)
