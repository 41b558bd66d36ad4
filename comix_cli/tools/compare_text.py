"""A comparison of methods in words: plain text, and what other formats say as well."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain

from comix_cli.accuracy.comparison_table import Row, Table
from comix_cli.accuracy.mcnemar import EXACT_BELOW, McNemar
from comix_cli.errors import counted
from comix_cli.tools.compare import ALL_PAIRS, REPLICATES, Comparison, Tested

LABELS = {
    "overall_accuracy": "OA",
    "average_accuracy": "AA",
    "kappa": "kappa",
    "mean_f1": "mean F1",
}
TEST_COLUMNS = (
    "first",
    "second",
    "run",
    "pixels",
    "only first right",
    "only second right",
    "chi-square",
    "p",
    "difference of OA",
    "95 % interval",
    "clusters",
)
# The percentiles of a bootstrap want at least as many.
FEW_CLUSTERS = 20
_LEAST_P = 1e-4
_WIDTH = 100
_GAP = "  "


def to_text(comparison: Comparison) -> str:
    """Two tables of plain text; the best of a row bears an asterisk, which survives copying."""
    table = comparison.table
    rows = [
        ["class", *(f"{method.name}{_GAP}" for method in table.methods)],
        *([label(row), *_cells(row)] for row in table.rows),
        ["runs", *(f"{len(method.runs)}{_GAP}" for method in table.methods)],
    ]
    best = [" * marks the best of a row."] if len(table.methods) > 1 else []
    lines = [*_wrapped(caption(table) + "".join(best)), "", *_aligned(rows, left=1)]
    if comparison.tested:
        tests = [TEST_COLUMNS, *(tested_cells(tested) for tested in comparison.tested)]
        lines += ["", "McNemar's test, on the pixels that both maps classify", ""]
        lines += [*_aligned(tests, left=2), "", *chain(*map(_wrapped, notes(comparison)))]
    return "\n".join(lines) + "\n"


def label(row: Row) -> str:
    """The name of a row: a class, or a figure of all classes."""
    return row.class_name if row.class_name is not None else LABELS[row.measure]


def caption(table: Table) -> str:
    """What the figures of the table are."""
    fewest, most = table.pixels
    pixels = f"{most}" if fewest == most else f"{fewest} to {most}"
    several = any(len(method.runs) > 1 for method in table.methods)
    return (
        "Producer's accuracy of each class, overall accuracy (OA), average accuracy (AA) and "
        f"kappa, all x 100, over {pixels} reference pixels"
        f"{'; mean ± standard deviation of the runs' if several else ''}."
    )


def tested_cells(tested: Tested) -> list[str]:
    """A test in the columns `TEST_COLUMNS`; accuracies in percent."""
    contest, counts, spread = tested.contest, tested.counts, tested.spread
    return [
        contest.first,
        contest.second,
        str(contest.run),
        str(counts.pixels),
        str(counts.only_first.sum()),
        str(counts.only_second.sum()),
        statistic(tested.test),
        p_value(tested.test),
        "-" if counts.difference is None else f"{100 * counts.difference:+.2f}",
        "-"
        if spread is None
        else "{:+.2f} to {:+.2f}".format(*(100 * end for end in spread.interval)),
        str(counts.clusters),
    ]


def statistic(test: McNemar) -> str:
    """The chi-square of a test, or that there is none."""
    return "exact" if test.statistic is None else f"{test.statistic:.2f}"


def p_value(test: McNemar) -> str:
    """A p value to four digits; the very small ones look alike."""
    return f"{test.p_value:.4f}" if test.p_value >= _LEAST_P else f"< {_LEAST_P:.4f}"


def notes(comparison: Comparison) -> Iterator[str]:
    """How the tests are to be read, sentence by sentence."""
    tested = comparison.tested
    units = " or ".join(dict.fromkeys(t.contest.reports[0].unit for t in tested))
    if any(t.counts.clusters < t.counts.pixels for t in tested):
        yield (
            "McNemar's test takes pixels as independent of each other; those of one cluster are "
            "not, so that its p values are too small."
        )
    yield (
        "The interval of the difference (first less second, in percentage points) draws whole "
        f"clusters ({units}), {REPLICATES} times, and holds where pixels of a cluster are alike."
    )
    if any(t.counts.clusters < FEW_CLUSTERS for t in tested):
        yield f"Of fewer than {FEW_CLUSTERS} clusters, that interval comes out too narrow."
    if any(t.contest.reports[0].design is not None for t in tested):
        yield "All pixels of a sample count alike here, whatever share of the map they stand for."
    if any(t.test.statistic is None for t in tested):
        yield f"'exact': the binomial test, of fewer than {EXACT_BELOW} pixels that differ."
    if any(t.contest.run > 1 for t in tested):
        yield (
            "Run 1 of a method is tested against run 1 of another, and so on; runs without a "
            "counterpart are not tested. They share their ground truth, so that their p values "
            "cannot be combined."
        )
    if len(tested) > 1:
        yield f"p values are not adjusted for there being {counted(len(tested), 'test')}."
    if len(comparison.table.methods) > ALL_PAIRS:
        yield f"Of more than {ALL_PAIRS} methods, only the first is tested against the others."


def _cells(row: Row) -> list[str]:
    """Figures with their deviations; what stands behind them keeps the digits aligned."""
    return [
        f"-{_GAP}"
        if cell is None
        else f"{cell.percent}{f' ± {cell.deviation_percent}' if cell.deviation_percent else ''}"
        f"{' *' if best else _GAP}"
        for cell, best in zip(row.cells, row.best, strict=True)
    ]


def _aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns parted by blanks, the first `left` of them flush left; a rule under the head."""
    clean = [[cell.replace("\n", " ").replace("\t", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    lines = [
        _GAP.join(
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in clean
    ]
    return [lines[0], _GAP.join("-" * width for width in widths), *lines[1:]]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH)
