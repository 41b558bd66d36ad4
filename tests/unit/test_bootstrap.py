"""Intervals by a bootstrap over clusters, against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from comix_cli.accuracy.bootstrap import Contributions, Spread, Spreads, cluster_spreads
from comix_cli.accuracy.estimate import by_map_class


def contributions(rows: list[tuple[int, int, int, int]], classes: int = 2) -> Contributions:
    """Rows of cluster, reference, predicted, pixels."""
    table = np.array(rows, np.int64).reshape(-1, 4)
    return Contributions(table[:, 0], table[:, 1], table[:, 2], table[:, 3], classes)


def ends(spread: Spread | None) -> tuple[float, float]:
    assert spread is not None
    return spread.interval


def intervals_of(found: Contributions, *, replicates: int, seed: int) -> Spreads | None:
    """Spreads where every class covers as much of the map."""
    map_pixels = np.full(found.classes, 100)
    return cluster_spreads(found, map_pixels, replicates=replicates, seed=seed)


def test_clusters_that_are_all_alike_leave_no_doubt() -> None:
    rows = [(c, *cell) for c in range(10) for cell in ((0, 0, 6), (0, 1, 2), (1, 1, 4))]
    found = intervals_of(contributions(rows), replicates=200, seed=0)
    assert found is not None
    for spread, value in (
        (found.overall_accuracy, 10 / 12),
        (found.producers_accuracy[0], 0.75),
        (found.users_accuracy[1], 4 / 6),
        (found.f1[0], 12 / 14),
        (found.iou[1], 4 / 6),
    ):
        assert ends(spread) == pytest.approx((value, value))
        assert spread is not None
        assert spread.standard_error == pytest.approx(0, abs=1e-12)


def test_clusters_count_and_not_their_pixels() -> None:
    # half of the polygons are wholly right and half wholly wrong: binomial over polygons
    few = [(c, 0, c % 2, 1) for c in range(40)]
    many = [(c, 0, c % 2, 1000) for c in range(40)]
    one, other = (
        intervals_of(contributions(rows), replicates=4000, seed=1) for rows in (few, many)
    )
    assert one is not None
    assert other is not None
    assert one.overall_accuracy == other.overall_accuracy
    assert one.overall_accuracy is not None
    expected = np.sqrt(0.25 / 40)
    low, high = ends(one.overall_accuracy)
    assert (high - low) / 2 == pytest.approx(1.96 * expected, rel=0.1)
    assert one.overall_accuracy.standard_error == pytest.approx(expected, rel=0.1)


def test_the_seed_fixes_the_intervals_whatever_is_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from comix_cli.accuracy import bootstrap

    rng = np.random.default_rng(0)
    rows = [(c, r, p, int(rng.integers(1, 9))) for c in range(9) for r in (0, 1) for p in (0, 1)]
    first = intervals_of(contributions(rows), replicates=100, seed=5)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 50)
    assert intervals_of(contributions(rows), replicates=100, seed=5) == first
    assert intervals_of(contributions(rows), replicates=100, seed=6) != first


def test_what_is_mostly_undefined_has_no_interval() -> None:
    rows = [(c, 0, 0, 5) for c in range(20)] + [(20, 1, 1, 5)]
    found = intervals_of(contributions(rows, classes=3), replicates=300, seed=0)
    assert found is not None
    assert ends(found.producers_accuracy[0]) == (1, 1)
    assert found.producers_accuracy[2] is None
    assert found.kappa is not None


@pytest.mark.parametrize("rows", [[], [(0, 0, 0, 5), (0, 0, 1, 2)]])
def test_less_than_two_clusters_have_no_intervals(rows: list[tuple[int, int, int, int]]) -> None:
    assert intervals_of(contributions(rows), replicates=10, seed=0) is None


def test_intervals_hold_the_truth_about_as_often_as_they_promise() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for trial in range(1000):
        shares = rng.beta(8, 2, 60)  # of each polygon's pixels that are right; on average 0.8
        right = rng.binomial(50, shares)
        rows = [(c, 0, 0, int(k)) for c, k in enumerate(right)]
        rows += [(c, 0, 1, int(50 - k)) for c, k in enumerate(right)]
        found = intervals_of(contributions(rows), replicates=300, seed=trial)
        assert found is not None
        low, high = ends(found.overall_accuracy)
        held += low <= 0.8 <= high
    assert 0.93 <= held / 1000 <= 0.97


def test_area_weighted_figures_follow_the_shares_of_the_map() -> None:
    # Every polygon: 3 of 4 pixels mapped as 0 and 2 of 4 mapped as 1 are right.
    cells = ((0, 0, 3), (1, 0, 1), (1, 1, 2), (0, 1, 2))
    rows = [(c, *cell) for c in range(10) for cell in cells]
    pixels = np.array([900, 100])
    found = cluster_spreads(contributions(rows), pixels, replicates=50, seed=0)
    assert found is not None
    expected = by_map_class(contributions(rows).matrix(), pixels.tolist())
    weighted = found.area_weighted
    assert expected.overall_accuracy.value == pytest.approx(0.9 * 0.75 + 0.1 * 0.5)
    for spread, estimate in (
        (weighted.overall_accuracy, expected.overall_accuracy),
        (weighted.users_accuracy[1], expected.users_accuracy[1]),
        (weighted.producers_accuracy[0], expected.producers_accuracy[0]),
        (weighted.area[1], expected.area[1]),
    ):
        assert ends(spread) == pytest.approx((estimate.value, estimate.value))
