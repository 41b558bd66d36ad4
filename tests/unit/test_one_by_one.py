"""Features that lie on each other, and features without a pixel, against burning each alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import LineString, MultiPolygon, Point, Polygon, box
from truths import UTM, truth_of

from comix_cli.scene import one_by_one
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.pixel_rule import CENTRES, PixelRule
from comix_cli.scene.vector import valid_parts
from comix_cli.scene.windows import Window

X0, Y0 = 400_000.0, 5_800_000.0
GRID = Grid(UTM, Affine(1, 0, X0, 0, -1, Y0), 30, 20)
WHOLE = Window(0, 0, 20, 30)


def square(col: float, row: float, width: float, height: float | None = None) -> Polygon:
    """A rectangle in pixels of `GRID`."""
    height = width if height is None else height
    return box(X0 + col, Y0 - row - height, X0 + col + width, Y0 - row)


def truth(*rows: tuple[shapely.Geometry, int]) -> GroundTruth:
    """Ground truth of shapes and their codes; parts of a multipolygon are one feature."""
    whole = truth_of([shape for shape, _ in rows], [code for _, code in rows])
    parts, part_of = valid_parts(whole.geometries)
    return replace(whole, geometries=parts, codes=whole.codes[part_of], features=part_of)


def pairs(
    found: GroundTruth, rule: PixelRule = CENTRES, window: Window = WHOLE
) -> Counter[tuple[int, int]]:
    disputed = found.burn(GRID, window, rule=rule).overlap
    return one_by_one.overlaps(found, GRID, window, disputed, rule=rule)


def part(found: GroundTruth, which: NDArray[np.bool_]) -> GroundTruth:
    return replace(
        found,
        geometries=found.geometries[which],
        codes=found.codes[which],
        features=found.features[which],
    )


def taken_alone(found: GroundTruth, feature: int, rule: PixelRule) -> NDArray[np.bool_]:
    return part(found, found.features == feature).burn(GRID, rule=rule).labelled


def test_all_pairs_of_a_stack_are_found() -> None:
    stack = truth(
        (square(0, 0, 6), 3), (square(2, 0, 6), 1), (square(4, 0, 6), 2), (square(0, 0, 2), 3),
        (square(20, 0, 4), 1),
    )  # fmt: skip
    assert pairs(stack) == {(0, 1): 4 * 6, (0, 2): 2 * 6, (1, 2): 4 * 6}


def test_features_of_one_class_below_each_other_are_all_told_of() -> None:
    twice = truth((square(0, 0, 4), 1), (square(0, 0, 4), 1), (square(2, 2, 4), 2))
    assert pairs(twice) == {(0, 2): 4, (1, 2): 4}


def test_parts_of_a_feature_count_once() -> None:
    parts = MultiPolygon([square(0, 0, 4), square(2, 0, 4)])
    assert pairs(truth((parts, 1), (square(0, 0, 9, 2), 2))) == {(0, 1): 6 * 2}


def test_only_the_pixels_asked_for_are_counted() -> None:
    found = truth((square(0, 0, 6), 3), (square(2, 0, 6), 1))
    some = np.zeros((4, 5), np.bool_)
    some[1, 2:4] = True
    window = Window(2, 1, 4, 5)
    for codes, expected in (({1: 7, 3: 8}, {(0, 1): 2}), ({1: 7, 3: 7}, {})):
        counted = one_by_one.overlaps(found, GRID, window, some, rule=CENTRES, codes=codes)
        assert counted == expected


SHAPES = st.lists(
    st.tuples(
        st.integers(-5, 60), st.integers(-5, 40), st.floats(0.2, 8), st.integers(3, 6),
        st.integers(1, 3),
    ),
    min_size=1, max_size=7,
)  # fmt: skip
RULES = st.sampled_from([CENTRES, PixelRule(all_touched=True)])


def polygons(rows: list[tuple[int, int, float, int, int]]) -> GroundTruth:
    shapes = []
    for col, row, radius, sides, code in rows:
        angles = np.arange(sides) * 2 * np.pi / sides + 0.3
        ring = np.c_[col / 2 + radius * np.cos(angles), row / 2 + radius * np.sin(angles)]
        shapes.append((Polygon(ring * (1, -1) + (X0, Y0)), code))
    return truth(*shapes)


@settings(max_examples=60, deadline=None)
@given(SHAPES, RULES, st.sampled_from([1 << 24, 20]))
def test_pairs_are_those_of_features_burnt_alone(
    rows: list[tuple[int, int, float, int, int]], rule: PixelRule, at_once: int
) -> None:
    found = polygons(rows)
    alone = [taken_alone(found, k, rule) for k in range(len(rows))]
    expected = {
        (i, j): int((alone[i] & alone[j]).sum())
        for i, j in combinations(range(len(rows)), 2)
        if rows[i][4] != rows[j][4]
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_by_one, "_AT_ONCE", at_once)
        counted = pairs(found, rule)
    assert counted == {pair: pixels for pair, pixels in expected.items() if pixels}


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.sampled_from([0.2, 0.5, 1]))
def test_pairs_of_classes_that_cover_enough(
    rows: list[tuple[int, int, float, int, int]], least: float
) -> None:
    found, rule = polygons(rows), PixelRule(min_coverage=least)
    owners = [part(found, found.codes == code).burn(GRID, rule=rule).features for code in (1, 2, 3)]
    expected = Counter[tuple[int, int]]()
    for one, other in combinations(owners, 2):
        both = (one >= 0) & (other >= 0)
        ends = zip(one[both].tolist(), other[both].tolist(), strict=True)
        expected.update((min(pair), max(pair)) for pair in ends)
    assert pairs(found, rule) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(CENTRES, 2), (PixelRule(all_touched=True), 0), (PixelRule(min_coverage=0.3), 2)],
)
def test_hidden_features_have_pixels(rule: PixelRule, expected: int) -> None:
    found = truth(
        (square(0, 0, 4), 1),
        (square(0, 0, 4), 1),  # the same twice
        (square(1, 1, 2), 1),  # below them
        (square(10.6, 10.6, 0.2), 1),  # no centre, 4 %
        (square(12.1, 10.1, 0.3, 0.9), 1),  # no centre, 27 %
        (MultiPolygon([square(16.1, 9.1, 0.1), square(16, 10, 3)]), 1),
        (square(-9, 0, 3), 1),  # beside the grid
    )  # fmt: skip
    assert one_by_one.without_pixel(found, GRID, {0}, rule) == expected
    assert one_by_one.without_pixel(found, GRID, {0, 3}, rule) == max(0, expected - 1)


def test_points_and_lines_always_have_a_pixel() -> None:
    place = Point(X0 + 3.2, Y0 - 7.9)
    line = LineString([(X0 + 3.1, Y0 - 7.6), (X0 + 3.4, Y0 - 7.7)])
    found = truth((place, 1), (place, 1), (line, 1), (square(3, 7, 1), 1))
    assert one_by_one.without_pixel(found, GRID, {3}, CENTRES) == 0


@settings(max_examples=40, deadline=None)
@given(SHAPES, RULES | st.just(PixelRule(min_coverage=0.4)))
def test_features_without_a_pixel_are_those_that_burn_none_alone(
    rows: list[tuple[int, int, float, int, int]], rule: PixelRule
) -> None:
    found = polygons(rows)
    touching = shapely.intersects(found.geometries, box(*GRID.bounds))
    expected = [
        k for k in range(len(rows)) if touching[k] and not taken_alone(found, k, rule).any()
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_by_one, "_TILE", 7)
        assert one_by_one.without_pixel(found, GRID, set(), rule) == len(expected)
