"""Sample sizes and allocations, with the published example and hand-computed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comix_cli.accuracy.design import Allocation, Strata

RULES: tuple[Allocation, ...] = ("proportional", "equal", "optimal")
# Deforestation, forest gain, stable forest, stable non-forest (Olofsson et al. 2014, section 5.1).
PAPER = Strata(np.array([200_000, 150_000, 3_200_000, 6_450_000]), np.array([0.7, 0.6, 0.9, 0.95]))


def strata(pixels: list[int], accuracy: float = 0.8) -> Strata:
    return Strata(np.array(pixels), np.full(len(pixels), accuracy))


def test_the_published_example_takes_641_samples() -> None:
    assert PAPER.size_for(0.01) == 641


def test_the_published_example_divides_them_as_published() -> None:
    assert PAPER.allocate(641, "proportional", 2).tolist() == [13, 10, 205, 413]
    # the paper gives 160 to each; the one that is left goes to the first
    assert PAPER.allocate(641, "equal", 2).tolist() == [161, 160, 160, 160]


def test_rare_classes_get_their_least_and_the_others_share_the_rest() -> None:
    # 641 - 2 x 50 = 541, by 0.32 to 0.645: 179.4 and 361.6
    assert PAPER.allocate(641, "proportional", 50).tolist() == [50, 50, 179, 362]


def test_the_optimal_allocation_follows_share_times_deviation() -> None:
    # W S = 0.00917, 0.00735, 0.096, 0.14058 of 0.25309; times 641
    assert PAPER.allocate(641, "optimal", 2).tolist() == [23, 19, 243, 356]


def test_a_census_of_small_strata_leaves_the_rest_to_the_others() -> None:
    assert strata([3, 1000, 1000]).allocate(203, "equal", 2).tolist() == [3, 100, 100]
    assert strata([1, 5, 4]).allocate(10, "optimal", 2).tolist() == [1, 5, 4]


def test_the_size_for_a_target_is_the_one_that_the_optimal_allocation_takes() -> None:
    samples = PAPER.allocate(641, "optimal", 2)
    assert PAPER.overall_error(samples) == pytest.approx(0.01, rel=1e-3)
    fewer = PAPER.allocate(600, "optimal", 2)
    assert PAPER.overall_error(fewer) > 0.0102


def test_a_small_map_takes_fewer_samples_but_never_more_than_it_has() -> None:
    # 0.16 / 0.0001 = 1600 without end; Cochran's n / (1 + n / N) with N = 1600 is half of that
    assert strata([10**9]).size_for(0.01) == 1600
    assert strata([1600]).size_for(0.01) == 800
    assert strata([7]).size_for(1e-9) == 7


def test_expected_errors_are_those_of_the_textbook() -> None:
    design = Strata(np.array([1000, 3000]), np.array([0.5, 0.9]))
    samples = np.array([100, 300])
    # 0.25 / 100 and 0.09 / 300, nine tenths of each since a tenth of the pixels is seen
    variances = [0.25 / 100 * 0.9, 0.09 / 300 * 0.9]
    assert design.stratum_errors(samples) == pytest.approx([math.sqrt(v) for v in variances])
    overall = math.sqrt(variances[0] / 16 + variances[1] * 9 / 16)
    assert design.overall_error(samples) == pytest.approx(overall)
    assert design.overall_accuracy == pytest.approx(0.25 * 0.5 + 0.75 * 0.9)
    assert design.overall_error(design.pixels) == 0


def test_another_allocation_takes_more_samples_for_the_same_error() -> None:
    assert PAPER.size_reaching(0.01, "optimal", 2) == 641
    size = PAPER.size_reaching(0.01, "equal", 2)
    # (sum W^2 S^2) x 4 / 0.0001, but for whole samples in each stratum
    squares = (PAPER.shares**2 * PAPER.deviations**2).sum()
    assert size == pytest.approx(4 * squares / 1e-4, rel=3e-3)
    assert PAPER.overall_error(PAPER.allocate(size, "equal", 2)) <= 0.01
    assert PAPER.overall_error(PAPER.allocate(size - 4, "equal", 2)) > 0.01


@given(st.data())
def test_every_allocation_adds_up_within_its_bounds(data: st.DataObject) -> None:
    pixels = data.draw(st.lists(st.integers(1, 10**9), min_size=1, max_size=12))
    accuracies = [data.draw(st.floats(0.001, 0.999)) for _ in pixels]
    design = Strata(np.array(pixels), np.array(accuracies))
    least = data.draw(st.integers(1, 60))
    low = design.least(least)
    size = data.draw(st.integers(int(low.sum()), sum(pixels)))
    for rule in RULES:
        samples = design.allocate(size, rule, least)
        assert samples.sum() == size
        assert (samples >= low).all()
        assert (samples <= design.pixels).all()


@given(st.lists(st.integers(1000, 10**8), min_size=2, max_size=8), st.integers(100, 900))
def test_parts_without_bounds_miss_the_rule_by_less_than_one(pixels: list[int], size: int) -> None:
    design = strata(pixels)
    samples = design.allocate(size, "proportional", 1)
    exact = size * design.shares
    if (exact >= 1).all():
        assert (np.abs(samples - exact) < 1).all()


@given(st.integers(20, 3000), st.integers(2, 9))
def test_no_rule_beats_the_optimal_one(size: int, least: int) -> None:
    size = max(size, 4 * least)
    errors = {rule: PAPER.overall_error(PAPER.allocate(size, rule, least)) for rule in RULES}
    assert errors["optimal"] <= 1.002 * min(errors.values())  # but for whole samples


@pytest.mark.parametrize(
    ("pixels", "accuracies"),
    [
        ([], []),
        ([0, 5], [0.5, 0.5]),
        ([5], [1.0]),
        ([5], [0.0]),
        ([5], [math.nan]),
        ([5, 5], [0.5]),
    ],
)
def test_strata_that_cannot_be_are_refused(pixels: list[int], accuracies: list[float]) -> None:
    with pytest.raises(ValueError, match=r"belong|pixels|between 0 and 1"):
        Strata(np.array(pixels, np.int64), np.array(accuracies))


@pytest.mark.parametrize("size", [3, 21])
def test_samples_that_do_not_fit_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} samples are not between 4 and 20"):
        strata([10, 10]).allocate(size, "equal", 2)
