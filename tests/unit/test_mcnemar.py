"""McNemar's test against published examples and SciPy; the interval against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from comix_cli.accuracy.bootstrap import Contributions, cluster_spreads
from comix_cli.accuracy.mcnemar import (
    CHI_SQUARE,
    EXACT,
    PairedCounts,
    difference_spread,
    mcnemar,
)

COUNTS = st.integers(0, 400)


def paired(rows: list[tuple[int, int, int, int]]) -> PairedCounts:
    """Rows of both right, only the first, only the second, both wrong: one for each cluster."""
    return PairedCounts(*np.array(rows, np.int64).reshape(-1, 4).T)


@pytest.mark.parametrize(
    ("only_first", "only_second", "statistic", "p_value"),
    [  # from the tests of statsmodels, and an example of mlxtend's manual
        (121, 59, 20.67222, 5.450095e-06),
        (70, 59, 0.7751938, 0.3786151),
        (80, 59, 2.87769784, 0.08981434),
        (25, 15, 2.025, 0.154729),
    ],
)
def test_published_examples_of_the_corrected_chi_square(
    only_first: int, only_second: int, statistic: float, p_value: float
) -> None:
    found = mcnemar(only_first, only_second)
    assert found.method == CHI_SQUARE
    assert found.statistic == pytest.approx(statistic, rel=1e-6)
    assert found.p_value == pytest.approx(p_value, rel=1e-5)


def test_a_published_example_of_the_exact_test() -> None:
    found = mcnemar(11, 1)
    assert (found.method, found.statistic) == (EXACT, None)
    assert found.p_value == 0.00634765625


@given(COUNTS, COUNTS)
def test_p_values_are_those_of_scipy(only_first: int, only_second: int) -> None:
    found, total = mcnemar(only_first, only_second), only_first + only_second
    if total == 0:
        expected = 1.0
    elif total < 25:
        expected = stats.binomtest(only_first, total, 0.5).pvalue
    else:
        assert found.statistic is not None
        expected = stats.chi2.sf(found.statistic, 1)
    assert found.p_value == pytest.approx(expected, rel=1e-9)


@given(COUNTS, COUNTS)
def test_it_does_not_matter_which_map_is_the_first(only_first: int, only_second: int) -> None:
    assert mcnemar(only_first, only_second) == mcnemar(only_second, only_first)


def test_maps_that_are_right_equally_often_do_not_differ() -> None:
    for count in (0, 5, 500):
        assert mcnemar(count, count).p_value == 1


def test_counts_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 3)


def test_the_difference_is_that_of_the_overall_accuracies() -> None:
    counts = paired([(5, 3, 1, 1), (2, 0, 4, 4)])
    assert counts.pixels == 20
    assert counts.difference == pytest.approx((5 + 3 + 2) / 20 - (5 + 1 + 2 + 4) / 20)
    assert paired([]).difference is None


def test_clusters_that_are_all_alike_leave_no_doubt() -> None:
    found = difference_spread(paired([(5, 3, 1, 1)] * 8), replicates=100, seed=0)
    assert found is not None
    assert found.interval == pytest.approx((0.2, 0.2))
    assert found.standard_error == pytest.approx(0)


def test_the_interval_is_as_wide_as_clusters_and_not_pixels_make_it() -> None:
    few = paired([(0, 1, 0, 0), (0, 0, 1, 0)] * 20)
    many = paired([(0, 900, 0, 0), (0, 0, 900, 0)] * 20)
    one, other = (difference_spread(c, replicates=4000, seed=1) for c in (few, many))
    assert one is not None
    assert one == other
    # each cluster is worth +1 or -1: the standard error of the mean of 40 of them
    assert one.standard_error == pytest.approx(1 / np.sqrt(40), rel=0.05)
    low, high = one.interval
    assert (high - low) / 2 == pytest.approx(1.96 / np.sqrt(40), rel=0.1)


def test_against_a_map_that_is_never_right_it_is_the_interval_of_the_accuracy() -> None:
    right = [3, 9, 4, 0, 7, 6, 2, 8]
    counts = paired([(0, n, 0, 10 - n) for n in right])
    cells = [(c, 0, k, n) for c, r in enumerate(right) for k, n in ((0, r), (1, 10 - r))]
    table = np.array(cells, np.int64)
    pixels = Contributions(table[:, 0], table[:, 1], table[:, 2], table[:, 3], classes=2)
    accuracy = cluster_spreads(pixels, np.ones(2, np.int64), replicates=300, seed=4)
    found = difference_spread(counts, replicates=300, seed=4)
    assert accuracy is not None
    assert accuracy.overall_accuracy is not None
    assert found is not None
    assert found.interval == pytest.approx(accuracy.overall_accuracy.interval)
    assert found.standard_error == pytest.approx(accuracy.overall_accuracy.standard_error)


def test_clusters_without_pixels_are_none() -> None:
    rows = [(5, 3, 1, 1), (2, 0, 4, 4), (1, 1, 0, 8)]
    alone = difference_spread(paired(rows), replicates=200, seed=0)
    with_empty = [rows[0], (0, 0, 0, 0), *rows[1:], (0, 0, 0, 0)]
    assert difference_spread(paired(with_empty), replicates=200, seed=0) == alone


@pytest.mark.parametrize("rows", [[], [(4, 2, 1, 0)], [(4, 2, 1, 0), (0, 0, 0, 0)]])
def test_less_than_two_clusters_have_no_interval(rows: list[tuple[int, int, int, int]]) -> None:
    assert difference_spread(paired(rows), replicates=10, seed=0) is None
