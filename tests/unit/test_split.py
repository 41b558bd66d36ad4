"""Ground truth in disjoint sets: cuts, groups, balance, buffers, CRSs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from truths import truth_of

from comix_cli.errors import LabelError, UsageError
from comix_cli.scene.apart import Surroundings, distance, keep_apart, stakes
from comix_cli.scene.assign import Stakes, assign, badness
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.metric import NOWHERE, metric_crs, reprojected
from comix_cli.scene.pieces import Pieces, Strata, clipped, cut_to_blocks, group_features, measures
from comix_cli.scene.split import default_block, divide, divide_folds, pieces_of, split_truth, tidy

UTM = CRS.from_epsg(32633)
EAST, NORTH = 400_000.0, 5_800_000.0
SHARES = (0.6, 0.2, 0.2)


def town(side: int = 12, classes: int = 3, seed: int = 0) -> GroundTruth:
    """Fields of 80 m a hundred metres apart, of classes without any order."""
    rng = np.random.default_rng(seed)
    corners = [(EAST + 100 * i, NORTH + 100 * j) for i in range(side) for j in range(side)]
    codes = rng.permutation(np.arange(side * side) % classes) + 1
    return truth_of([shapely.box(x, y, x + 80, y + 80) for x, y in corners], codes.tolist())


def least_distance(sets: Sequence[GroundTruth]) -> float:
    return min(
        float(shapely.distance(shapely.union_all(a.geometries), shapely.union_all(b.geometries)))
        for a, b in combinations(sets, 2)
    )


def test_a_metric_crs_is_kept_and_others_are_replaced() -> None:
    assert metric_crs(UTM, (4e5, 5.8e6, 4.1e5, 5.81e6)) == UTM
    assert metric_crs(CRS.from_epsg(3035), (4.5e6, 3.2e6, 4.6e6, 3.3e6)) == CRS.from_epsg(3035)
    assert metric_crs(NOWHERE, (0, 0, 1, 1)) == NOWHERE
    for code, bounds in ((4326, (13, 52, 14, 53)), (3857, (1.4e6, 6.8e6, 1.5e6, 6.9e6)),
                         (2263, (9.8e5, 1.9e5, 9.9e5, 2.0e5))):  # fmt: skip
        found = metric_crs(CRS.from_epsg(code), bounds)
        assert found.linear_units_factor == ("metre", 1.0)
        assert found != CRS.from_epsg(code)


@pytest.mark.parametrize(("lon", "lat"), [(13.4, 52.5), (-70.0, -80.0), (179.9, 0.0), (20, 89.5)])
def test_distances_in_the_metric_crs_are_those_on_the_ellipsoid(lon: float, lat: float) -> None:
    there_lon, there_lat, _ = pyproj.Geod(ellps="WGS84").fwd(lon, lat, 35.0, 20_000)
    bounds = (min(lon, there_lon), min(lat, there_lat), max(lon, there_lon), max(lat, there_lat))
    if bounds[2] - bounds[0] > 180:
        return  # across the date line a file in degrees has no one middle
    crs = CRS.from_epsg(4326)
    points = truth_of([shapely.Point(lon, lat), shapely.Point(there_lon, there_lat)], crs=crs)
    one, other = reprojected(points, metric_crs(crs, bounds)).geometries
    assert one.distance(other) == pytest.approx(20_000, rel=1e-3)


def test_blocks_cut_at_their_edges() -> None:
    truth = truth_of([shapely.box(0.5, 0.25, 2.5, 0.75), shapely.Point(0.1, 0.1)], [1, 2])
    pieces = cut_to_blocks(truth, 1.0, (0.0, 0.0))
    found = sorted(zip(pieces.groups, pieces.truth.codes, strict=True))
    assert found == [(0, 1), (0, 2), (1, 1), (2, 1)]
    areas = [g.area for g, c in zip(pieces.truth.geometries, pieces.truth.codes, strict=True)]
    assert sorted(areas) == pytest.approx([0.0, 0.25, 0.25, 0.5])


coordinates = st.floats(-50, 50, allow_nan=False, width=32)
boxes = st.builds(
    lambda x, y, w, h: shapely.box(x, y, x + w, y + h),
    coordinates, coordinates, st.floats(0.5, 40), st.floats(0.5, 40),
)  # fmt: skip
lines = st.builds(
    lambda x, y, dx: shapely.LineString([(x, y), (x + dx, y)]),
    coordinates, coordinates, st.floats(0.5, 40),
)  # fmt: skip
points = st.builds(shapely.Point, coordinates, coordinates)


@given(st.lists(boxes | lines | points, min_size=1, max_size=12), st.floats(3, 30))
def test_blocks_keep_all_ground_and_lie_apart(shapes: list[Any], block: float) -> None:
    truth = truth_of(shapes, list(range(1, len(shapes) + 1)))
    pieces = cut_to_blocks(truth, block, (0.123, 0.456))
    for code, shape in zip(truth.codes, truth.geometries, strict=True):
        mine = pieces.truth.geometries[pieces.truth.codes == code]
        whole = measures(np.array([shape]))[0]
        assert measures(mine).sum() == pytest.approx(whole, rel=1e-6)
    for group in range(pieces.group_count):
        bounds = shapely.bounds(pieces.truth.geometries[pieces.groups == group])
        low = np.floor((bounds[:, :2] - (0.123, 0.456)) / block + 1e-9)
        high = np.ceil((bounds[:, 2:] - (0.123, 0.456)) / block - 1e-9)
        assert (np.maximum(high - low, 1) == 1).all()
        assert len(np.unique(low, axis=0)) == 1


def test_far_too_small_blocks_are_refused() -> None:
    with pytest.raises(UsageError, match="choose larger blocks"):
        cut_to_blocks(truth_of([shapely.box(0, 0, 1e5, 1e5)]), 1.0, (0, 0))


def test_features_that_touch_are_one_group() -> None:
    boxes = [shapely.box(x, 0, x + 1, 1) for x in (0, 1, 2, 5)]
    truth = truth_of([*boxes, shapely.Point(5.5, 0.5), shapely.Point(9, 9)])
    groups = group_features(truth).groups
    assert groups[0] == groups[1] == groups[2]
    assert groups[3] == groups[4]
    assert len(set(groups.tolist())) == 3


def test_ground_outside_an_area_is_cut_away() -> None:
    truth = truth_of(
        [shapely.box(-1, 0, 1, 1), shapely.box(5, 5, 6, 6), shapely.box(20, 0, 21, 1),
         shapely.LineString([(9, 1), (12, 1)]), shapely.box(10, 3, 11, 4)], [1, 2, 3, 4, 5],
    )  # fmt: skip
    found = clipped(truth, shapely.box(0, 0, 10, 10))
    assert found.codes.tolist() == [1, 2, 4]
    assert measures(found.geometries).tolist() == [1, 1, 1]


def test_equal_groups_are_shared_out_exactly() -> None:
    rng = np.random.default_rng(0)
    sets = assign(np.ones((20, 1)), SHARES, Stakes.none(20), rng)
    assert np.bincount(sets).tolist() == [12, 4, 4]


def test_a_rare_class_gets_into_every_set() -> None:
    weights = np.zeros((30, 2))
    weights[:, 0] = 1.0
    weights[:3, 1] = 1.0
    sets = assign(weights, SHARES, Stakes.none(30), np.random.default_rng(1))
    assert sorted(sets[:3].tolist()) == [0, 1, 2]


def test_neighbours_stay_together_where_a_buffer_would_cost_them() -> None:
    chain = np.arange(9)
    lost = np.full(9, 0.1)
    near = Stakes.of_pairs(10, chain, chain + 1, lost)
    sets = assign(np.ones((10, 1)), (0.5, 0.5), near, np.random.default_rng(0))
    assert np.bincount(sets).tolist() == [5, 5]
    assert int((np.diff(sets) != 0).sum()) <= 2


def test_badness_counts_what_is_missing_first() -> None:
    totals = np.array([10.0, 10.0])
    exact = badness(np.array([[5.0, 5.0], [5.0, 5.0]]), totals, (0.5, 0.5))
    assert exact == (0, 0.0)
    assert badness(np.array([[5.0, 10.0], [5.0, 0.0]]), totals, (0.5, 0.5)) == (1, 1.0)


def test_the_lower_set_gives_way() -> None:
    truth = truth_of([shapely.box(0, 0, 10, 10), shapely.box(15, 0, 25, 10)])
    pieces = Pieces(truth, np.array([0, 1]))
    kept, sets = keep_apart(pieces, np.array([0, 1]), Surroundings.of(pieces, 8.0))
    left, right = kept.truth.geometries
    assert sets.tolist() == [0, 1]
    assert right.area == 100
    # 3 m of 10 are too near; the margin takes a little more.
    assert 66 < left.area <= 70
    assert left.distance(right) >= 8
    assert sum(stakes(pieces, np.array([0.5, 0.5]), 8.0).shares) == pytest.approx(0.3)


def test_points_too_near_are_dropped_and_others_stay() -> None:
    truth = truth_of([shapely.Point(0, 0), shapely.Point(9, 0), shapely.box(15, 0, 25, 10)])
    pieces = Pieces(truth, np.array([0, 0, 1]))
    kept, _ = keep_apart(pieces, np.array([0, 1]), Surroundings.of(pieces, 8.0))
    assert kept.truth.features.tolist() == [0, 2]


@given(
    st.lists(boxes | points, min_size=3, max_size=10),
    st.floats(0.1, 20),
    st.integers(0, 5),
)
def test_the_buffer_is_kept_everywhere(shapes: list[Any], buffer: float, seed: int) -> None:
    pieces = group_features(truth_of(shapes))
    sets = np.random.default_rng(seed).integers(0, 3, pieces.group_count)
    kept, of_piece = keep_apart(pieces, sets, Surroundings.of(pieces, buffer))
    parts = [kept.truth.geometries[of_piece == number] for number in range(3)]
    for one, other in combinations(parts, 2):
        found = distance(one, other)
        assert found is None or found.minimum >= buffer * (1 - 1e-9)
    # The most protected set that has anything keeps all of it.
    highest = int(sets.max())
    before = measures(pieces.truth.geometries[sets[pieces.groups] == highest]).sum()
    assert measures(parts[highest]).sum() == pytest.approx(before)


def test_a_split_is_balanced_disjoint_and_apart() -> None:
    truth = town()
    sets = split_truth(truth, SHARES, buffer=30, block=240)
    areas = np.array([[each.geometries[each.codes == c] for c in (1, 2, 3)] for each in sets],
                     dtype=object)  # fmt: skip
    total = 80 * 80 * 48
    parts = np.array([[shapely.area(cell).sum() / total for cell in row] for row in areas])
    assert parts[0].min() > 0.4
    assert parts[1:].min() > 0.1
    assert least_distance(sets) >= 30
    assert {len(each.codes) == len(each.features) == len(each.geometries) for each in sets} == {
        True
    }


def test_a_split_is_fixed_by_its_seed() -> None:
    one, again, other = (
        split_truth(town(), SHARES, buffer=20, seed=seed)[2].geometries for seed in (4, 4, 5)
    )
    assert shapely.equals_exact(shapely.union_all(one), shapely.union_all(again))
    assert not shapely.union_all(one).equals(shapely.union_all(other))


def test_degrees_are_split_in_metres() -> None:
    degrees = reprojected(town(), CRS.from_epsg(4326))
    sets = split_truth(degrees, (0.5, 0.5), method="polygons", buffer=50)
    assert all(each.crs == degrees.crs for each in sets)
    back = [reprojected(each, UTM) for each in sets]
    assert least_distance(back) >= 50 * 0.999
    assert shapely.total_bounds(sets[0].geometries)[3] < 90


def test_every_group_is_tested_once() -> None:
    truth = town()
    pieces = pieces_of(truth, None, np.random.default_rng(0))
    folds = divide_folds(pieces, 4, 25.0, np.random.default_rng(0))
    tested = np.concatenate([fold.sets[1].truth.features for fold in folds])
    assert sorted(tested.tolist()) == truth.features.tolist()
    for fold in folds:
        held = fold.held()
        assert held[1] / fold.strata.totals == pytest.approx([0.25] * 3, abs=0.03)
        found = distance(fold.sets[0].truth.geometries, fold.sets[1].truth.geometries)
        assert found is not None
        assert found.minimum >= 25
        np.testing.assert_allclose(held.sum(axis=0) + fold.lost, fold.strata.totals)


def test_lines_points_and_polygons_are_balanced_apart() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 2000, (2, 40, 3))
    shapes = [
        *shapely.points(x[:, 0], y[:, 0]),
        *(shapely.LineString([(a, b), (a + 9, b)]) for a, b in zip(x[:, 1], y[:, 1], strict=True)),
        *shapely.box(x[:, 2], y[:, 2], x[:, 2] + 5, y[:, 2] + 5),
    ]
    split = divide(pieces_of(truth_of(shapes), 200.0, rng), SHARES, 0.0, rng)
    assert split.strata.kinds.tolist() == [0, 1, 2]
    np.testing.assert_allclose(split.strata.totals, [40, 360, 1000], rtol=1e-6)
    np.testing.assert_allclose(
        split.held() / split.strata.totals, np.repeat(SHARES, 3).reshape(3, 3), atol=0.08
    )


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(LabelError, match="makes 1 group that cannot be divided, and 3 sets"):
        split_truth(truth_of([shapely.box(0, 0, 1, 1)]), SHARES, method="polygons")


def test_a_buffer_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(LabelError, match="a buffer of 5000 m leaves nothing of a set"):
        split_truth(town(), SHARES, method="polygons", buffer=5000)


def test_default_blocks_follow_extent_and_buffer() -> None:
    truth = town(side=10)  # 980 m wide
    assert default_block(truth, 0.0) == 98.0
    assert default_block(truth, 60.0) == 240.0
    assert default_block(truth_of([shapely.Point(5, 5)]), 0.0) == pytest.approx(0.1)
    assert [tidy(x) for x in (0.0123, 162.04, 200.0, 99.9)] == [0.013, 170.0, 200.0, 100.0]


def test_strata_measure_each_kind_of_each_class() -> None:
    truth = truth_of([shapely.box(0, 0, 2, 2), shapely.Point(0, 0), shapely.box(5, 0, 6, 1)],
                     [2, 1, 2])  # fmt: skip
    strata = Strata.of(truth)
    assert strata.codes.tolist() == [1, 2]
    assert strata.totals.tolist() == [1, 5]
    assert strata.amounts(truth, np.array([0, 1, 1]), 2).tolist() == [[0, 4], [1, 1]]
