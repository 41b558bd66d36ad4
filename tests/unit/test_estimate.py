"""Estimates for a whole map, against published figures and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from comix_cli.accuracy.estimate import Estimate, by_map_class, by_stratum

# Olofsson et al. 2014, section 5: rows are the map's classes, pixels of 0.09 ha.
PUBLISHED = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = (200_000, 150_000, 3_200_000, 6_450_000)
HECTARES = 0.09 * sum(PIXELS)


def close(estimate: Estimate, value: float, half_width: float, digits: int) -> bool:
    assert estimate.value is not None
    assert estimate.half_width is not None
    return bool(
        round(estimate.value, digits) == value and round(estimate.half_width, digits) == half_width
    )


def in_hectares(share: Estimate) -> Estimate:
    assert share.value is not None
    assert share.standard_error is not None
    return Estimate(share.value * HECTARES, share.standard_error * HECTARES)


def test_the_published_example_to_its_last_digit() -> None:
    found = by_map_class(PUBLISHED.T, PIXELS)
    assert close(found.overall_accuracy, 0.9465, 0.0185, 4)
    users = [(0.880, 0.074), (0.733, 0.101), (0.927, 0.040), (0.963, 0.021)]
    producers = [(0.749, 0.213), (0.847, 0.254), (0.935, 0.034), (0.962, 0.018)]
    areas = [(21157.8, 6157.6), (11686.2, 3755.8), (285769.9, 15509.8), (581386.2, 16281.7)]
    for k in range(4):
        assert close(found.users_accuracy[k], *users[k], 3)
        assert close(found.producers_accuracy[k], *producers[k], 3)
        assert close(in_hectares(found.area[k]), *areas[k], 1)
    assert found.quantity_disagreement == pytest.approx(0.00449, abs=5e-6)
    assert found.allocation_disagreement == pytest.approx(0.04899, abs=5e-6)
    assert found.unsampled == ()


def test_strata_that_split_a_map_class_weigh_their_own_pixels() -> None:
    # two strata of one map class: 900 pixels of which 8 in 10 are right, 100 of which 1 in 2
    counts = np.zeros((2, 2, 2), np.int64)
    counts[0, :, 0] = (8, 2)
    counts[1, :, 0] = (5, 5)
    found = by_stratum(counts, (900, 100))
    assert found.overall_accuracy.value == pytest.approx(0.9 * 0.8 + 0.1 * 0.5)
    # of each stratum only what is not sampled leaves doubt
    variance = 0.9**2 * 0.8 * 0.2 / 9 * (1 - 10 / 900) + 0.1**2 * 0.5 * 0.5 / 9 * (1 - 10 / 100)
    assert found.overall_accuracy.standard_error == pytest.approx(variance**0.5)
    assert found.producers_accuracy[1].value == 0
    assert found.users_accuracy[1] == Estimate(None, None)


def test_a_perfect_map_is_one_without_doubt() -> None:
    found = by_map_class(np.diag([5, 6, 7]), (10, 20, 30))
    assert found.overall_accuracy == Estimate(1.0, 0.0)
    assert [estimate.value for estimate in found.area] == [1 / 6, 1 / 3, 1 / 2]
    assert found.allocation_disagreement == pytest.approx(0)


def test_classes_without_samples_are_told_of_and_left_out() -> None:
    matrix = np.array([[4, 0, 1], [0, 0, 0], [0, 0, 5]])
    found = by_map_class(matrix, (100, 50, 100))
    assert found.unsampled == (1,)
    assert found.overall_accuracy.value == pytest.approx((1 + 5 / 6) / 2)
    assert found.users_accuracy[1] == Estimate(None, None)
    assert found.producers_accuracy[1] == Estimate(None, None)


def test_a_single_sample_has_no_standard_error() -> None:
    found = by_map_class(np.array([[1, 0], [0, 9]]), (10, 90))
    assert found.overall_accuracy == Estimate(1.0, None)
    assert found.overall_accuracy.half_width is None


def test_nothing_at_all_is_undefined() -> None:
    found = by_map_class(np.zeros((2, 2), np.int64), (0, 0))
    assert found.overall_accuracy == Estimate(None, None)
    assert found.quantity_disagreement is None


def test_samples_where_the_map_has_no_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="without pixels"):
        by_map_class(np.eye(2, dtype=np.int64), (5, 0))


def test_intervals_hold_the_truth_as_often_as_they_promise() -> None:
    rng = np.random.default_rng(4)
    sizes = np.array([2000, 10_000, 50_000])
    # the truth in each map class: shares of the reference classes
    truth = np.array([[0.80, 0.15, 0.05], [0.10, 0.85, 0.05], [0.02, 0.08, 0.90]])
    weights = sizes / sizes.sum()
    overall = float((weights * np.diag(truth)).sum())
    areas = weights @ truth
    producers = weights * np.diag(truth) / areas
    held = np.zeros(5)
    for _ in range(1000):
        found = by_map_class(_sample(truth, 150, rng), sizes.tolist())
        figures = [found.overall_accuracy, found.area[1], found.area[2]]
        figures += [found.producers_accuracy[1], found.users_accuracy[0]]
        expected = [overall, areas[1], areas[2], producers[1], truth[0, 0]]
        held += [_holds(f, value) for f, value in zip(figures, expected, strict=True)]
    assert ((held >= 930) & (held <= 970)).all(), held


def _sample(truth: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Counts `[reference, predicted]` of so many pixels of each map class."""
    return np.stack([rng.multinomial(size, shares) for shares in truth]).T.astype(np.int64)


def _holds(estimate: Estimate, value: float) -> bool:
    assert estimate.value is not None
    assert estimate.half_width is not None
    return abs(estimate.value - value) <= estimate.half_width


def test_a_stratum_that_is_sampled_whole_leaves_no_doubt() -> None:
    counts = np.zeros((2, 2, 2), np.int64)
    counts[0, :, 0] = (8, 2)
    counts[1, 1, 1] = 1
    census, single = by_stratum(counts, (1000, 1)), by_stratum(counts, (1000, 50))
    variance = 1000**2 * (1 - 10 / 1000) * 0.8 * 0.2 / 9 / 1001**2
    assert census.overall_accuracy.standard_error == pytest.approx(variance**0.5)
    assert single.overall_accuracy.standard_error is None
    everything = np.array([[[4, 0], [1, 0]]])
    assert by_stratum(everything, (5,)).users_accuracy[0] == Estimate(0.8, 0.0)


def test_many_classes_take_no_more_than_their_matrix() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 3, (600, 600)) + 50 * np.eye(600, dtype=np.int64)
    found = by_map_class(matrix, [100] * 600)
    assert len(found.area) == 600
    assert sum(e.value or 0 for e in found.area) == pytest.approx(1)
