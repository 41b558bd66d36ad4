"""A comparison of methods as a file or a document: CSV, JSON, and which suffix means what."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from comix_cli.accuracy.bootstrap import LEVEL
from comix_cli.accuracy.comparison_table import Method, Row
from comix_cli.errors import UsageError
from comix_cli.files import write_atomic_text
from comix_cli.tools.compare import REPLICATES, SEED, Comparison, Contest, Tested
from comix_cli.tools.compare_latex import to_latex
from comix_cli.tools.compare_text import caption, label, notes, to_text
from comix_cli.tools.provenance import timestamp, versions
from comix_cli.tools.report_file import Report

KIND = "comparison"
SCHEMA_VERSION = 1
SUFFIXES = (".txt", ".csv", ".tex", ".json")


def formatted(comparison: Comparison, suffix: str) -> str:
    """A comparison as the text of a file with a suffix, one of `SUFFIXES`."""
    formats = (to_text, to_csv, to_latex, to_json)
    return formats[SUFFIXES.index(suffix)](comparison)


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write a comparison in the format that the file's suffix means.

    Raises:
        OutputError: The file cannot be written.
    """
    write_atomic_text(path, formatted(comparison, path.suffix.lower()))


def check_comparison_path(path: Path) -> None:
    """Refuse a format that does not exist.

    Raises:
        UsageError: The suffix is none of `SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"-o {path}: a comparison is written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
            remedy="give a file name that ends so",
        )


def to_csv(comparison: Comparison) -> str:
    """The table, each mean with its deviation; McNemar's tests; notes; parted by empty lines."""
    table, text = comparison.table, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["figure (x 100)", *(c for m in table.methods for c in (m.name, f"{m.name} std"))]
    )
    for row in table.rows:
        cells = ((c.percent, c.deviation_percent) if c else ("", "") for c in row.cells)
        writer.writerow([label(row), *(part for pair in cells for part in pair)])
    writer.writerow(["runs", *(part for m in table.methods for part in (len(m.runs), ""))])
    tests = [_test(tested) for tested in comparison.tested]
    if tests:
        keys = [key for key in tests[0] if key != "difference_95"]
        writer.writerow([])
        writer.writerow([*keys, "difference_low_95", "difference_high_95"])
    for test in tests:
        low_high = test["difference_95"] or ("", "")
        writer.writerow([*(test[key] for key in keys), *low_high])
    writer.writerow([])
    writer.writerow(["note", caption(table)])
    writer.writerows(["note", note] for note in (notes(comparison) if tests else ()))
    return text.getvalue()


def to_json(comparison: Comparison) -> str:
    """Everything as one document; figures are shares, 0 to 1, as in the reports."""
    table = comparison.table
    document = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "methods": list(map(_method, table.methods, comparison.reports)),
        "rows": [_row(row, [method.name for method in table.methods]) for row in table.rows],
        "mcnemar": {
            "intervals": {
                "level": LEVEL,
                "method": "bootstrap over clusters, percentiles",
                "replicates": REPLICATES,
                "seed": SEED,
            },
            "tests": [_test(tested) for tested in comparison.tested],
            "left_out": [_named(c) | {"reason": why} for c, why in comparison.left_out],
        },
        "provenance": {"date": timestamp(), "versions": versions()},
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _method(method: Method, reports: tuple[Report, ...]) -> dict[str, Any]:
    return {
        "name": method.name,
        "runs": [{"report": report.path, "pixels": report.run.pixels} for report in reports],
    }


def _row(row: Row, methods: list[str]) -> dict[str, Any]:
    return {
        "measure": row.measure,
        "class": row.class_name,
        "values": [
            None
            if cell is None
            else {"mean": cell.mean, "standard_deviation": cell.deviation, "runs": cell.runs}
            for cell in row.cells
        ],
        "best": [name for name, best in zip(methods, row.best, strict=True) if best],
    }


def _named(contest: Contest) -> dict[str, Any]:
    return {"first": contest.first, "second": contest.second, "run": contest.run}


def _test(tested: Tested) -> dict[str, Any]:
    counts, test, spread = tested.counts, tested.test, tested.spread
    return _named(tested.contest) | {
        "pixels": counts.pixels,
        "both_right": int(counts.both.sum()),
        "only_first_right": int(counts.only_first.sum()),
        "only_second_right": int(counts.only_second.sum()),
        "both_wrong": int(counts.neither.sum()),
        "method": test.method,
        "statistic": test.statistic,
        "p_value": test.p_value,
        "unit": tested.contest.reports[0].unit,
        "clusters": counts.clusters,
        "difference": counts.difference,
        "difference_se": spread and spread.standard_error,
        "difference_95": spread and list(spread.interval),
    }
