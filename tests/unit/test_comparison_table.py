"""The table of methods: means, deviations, order, the best of a row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comix_cli.accuracy.comparison_table import Cell, Method, Row, Run, comparison_table


def run(overall: float | None, pixels: int = 100, **classes: float | None) -> Run:
    return Run(classes, overall, 0.5, 0.4, pixels)


def row_of(methods: list[Method], label: str) -> Row:
    rows = comparison_table(methods).rows
    return next(row for row in rows if label in (row.measure, row.class_name))


def test_rows_are_the_classes_then_the_overall_figures() -> None:
    methods = [Method("a", (run(0.8, tree=0.9, roof=0.7),)), Method("b", (run(0.6, water=1.0),))]
    table = comparison_table(methods)
    assert [row.class_name or row.measure for row in table.rows] == [
        "tree", "roof", "water", "overall_accuracy", "average_accuracy", "kappa",
    ]  # fmt: skip
    assert row_of(methods, "tree").cells == (Cell(0.9, None, 1), None)
    assert row_of(methods, "water").cells == (None, Cell(1.0, None, 1))


def test_runs_of_a_method_become_mean_and_standard_deviation() -> None:
    (cell,) = row_of([Method("a", (run(0.9), run(0.8), run(0.7)))], "overall_accuracy").cells
    assert cell is not None
    assert cell.mean == pytest.approx(0.8)
    assert cell.deviation == pytest.approx(0.1)  # n - 1: (0.01 + 0 + 0.01) / 2 is its square
    assert (cell.percent, cell.deviation_percent, cell.runs) == ("80.00", "10.00", 3)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_means_and_deviations_are_those_of_numpy(values: list[float]) -> None:
    method = Method("a", tuple(run(value) for value in values))
    (cell,) = row_of([method], "overall_accuracy").cells
    assert cell is not None
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)


def test_a_figure_is_taken_over_the_runs_that_have_it() -> None:
    method = Method("a", (run(0.9, tree=0.5), run(None, tree=None), run(0.7)))
    assert row_of([method], "tree").cells == (Cell(0.5, None, 1),)
    (overall,) = row_of([method], "overall_accuracy").cells
    assert overall is not None
    assert overall.runs == 2
    assert row_of([Method("a", (run(None),))], "overall_accuracy").cells == (None,)


def test_the_best_of_a_row_is_judged_as_it_is_printed() -> None:
    methods = [Method(name, (run(oa),)) for name, oa in (("a", 0.80001), ("b", 0.8), ("c", 0.7))]
    assert row_of(methods, "overall_accuracy").best == (True, True, False)
    # 'best' of one is no praise
    assert row_of(methods[:1], "overall_accuracy").best == (False,)
    alone = [Method("a", (run(0.8, tree=0.9),)), Method("b", (run(0.6),))]
    assert row_of(alone, "tree").best == (False, False)


def test_pixels_are_told_from_the_fewest_to_the_most() -> None:
    methods = [Method("a", (run(0.8, 120), run(0.8, 100))), Method("b", (run(0.8, 140),))]
    assert comparison_table(methods).pixels == (100, 140)


@pytest.mark.parametrize("methods", [[], [Method("a", ())]])
def test_nothing_makes_no_table(methods: list[Method]) -> None:
    with pytest.raises(ValueError, match="needs a run"):
        comparison_table(methods)
