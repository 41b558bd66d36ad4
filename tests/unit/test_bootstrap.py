"""Intervals by a bootstrap over clusters, against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from comix_cli.accuracy.bootstrap import Contributions, cluster_intervals


def contributions(rows: list[tuple[int, int, int, int]], classes: int = 2) -> Contributions:
    """Rows of cluster, reference, predicted, pixels."""
    table = np.array(rows, np.int64).reshape(-1, 4)
    return Contributions(table[:, 0], table[:, 1], table[:, 2], table[:, 3], classes)


def test_clusters_that_are_all_alike_leave_no_doubt() -> None:
    rows = [(c, *cell) for c in range(10) for cell in ((0, 0, 6), (0, 1, 2), (1, 1, 4))]
    found = cluster_intervals(contributions(rows), replicates=200, seed=0)
    assert found is not None
    assert found.overall_accuracy == pytest.approx((10 / 12, 10 / 12))
    assert found.producers_accuracy[0] == pytest.approx((0.75, 0.75))
    assert found.users_accuracy[1] == pytest.approx((4 / 6, 4 / 6))
    assert found.f1[0] == pytest.approx((12 / 14, 12 / 14))
    assert found.iou[1] == pytest.approx((4 / 6, 4 / 6))


def test_clusters_count_and_not_their_pixels() -> None:
    # half of the polygons are wholly right and half wholly wrong: binomial over polygons
    few = [(c, 0, c % 2, 1) for c in range(40)]
    many = [(c, 0, c % 2, 1000) for c in range(40)]
    one, other = (
        cluster_intervals(contributions(rows), replicates=4000, seed=1) for rows in (few, many)
    )
    assert one is not None
    assert other is not None
    assert one.overall_accuracy == other.overall_accuracy
    assert one.overall_accuracy is not None
    expected = 1.96 * np.sqrt(0.25 / 40)
    low, high = one.overall_accuracy
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1)


def test_the_seed_fixes_the_intervals_whatever_is_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from comix_cli.accuracy import bootstrap

    rng = np.random.default_rng(0)
    rows = [(c, r, p, int(rng.integers(1, 9))) for c in range(9) for r in (0, 1) for p in (0, 1)]
    first = cluster_intervals(contributions(rows), replicates=100, seed=5)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 50)
    assert cluster_intervals(contributions(rows), replicates=100, seed=5) == first
    assert cluster_intervals(contributions(rows), replicates=100, seed=6) != first


def test_what_is_mostly_undefined_has_no_interval() -> None:
    rows = [(c, 0, 0, 5) for c in range(20)] + [(20, 1, 1, 5)]
    found = cluster_intervals(contributions(rows, classes=3), replicates=300, seed=0)
    assert found is not None
    assert found.producers_accuracy[0] == (1, 1)
    assert found.producers_accuracy[2] is None
    assert found.kappa is not None


@pytest.mark.parametrize("rows", [[], [(0, 0, 0, 5), (0, 0, 1, 2)]])
def test_less_than_two_clusters_have_no_intervals(rows: list[tuple[int, int, int, int]]) -> None:
    assert cluster_intervals(contributions(rows), replicates=10, seed=0) is None


def test_intervals_hold_the_truth_about_as_often_as_they_promise() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for trial in range(400):
        shares = rng.beta(8, 2, 60)  # of each polygon's pixels that are right; on average 0.8
        right = rng.binomial(50, shares)
        rows = [(c, 0, 0, int(k)) for c, k in enumerate(right)]
        rows += [(c, 0, 1, int(50 - k)) for c, k in enumerate(right)]
        found = cluster_intervals(contributions(rows), replicates=300, seed=trial)
        assert found is not None
        assert found.overall_accuracy is not None
        held += found.overall_accuracy[0] <= 0.8 <= found.overall_accuracy[1]
    assert 0.91 <= held / 400 <= 0.98
