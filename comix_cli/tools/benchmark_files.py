"""The files that sum a benchmark up: JSON, tidy CSV, LaTeX, Markdown, and a plot of label shares.

`benchmark.json`, of kind `benchmark` and version 1, holds

- `methods`: for each method and share of the labels (`label_fraction`) how many of its `seeds` are
  finished, means with their standard deviations (`n - 1`, null of one run) of every figure, the
  `difference` of the overall accuracy to that of the first method over common seeds, seconds, and
  the model's size. `macs_per_window` counts what mapping one window of `window` pixels executes,
  `macs_of_4_chips` what papers count; both are null for models that are no networks.
- `runs`: for each run its `status` (`finished`, `failed`, `missing`), its `error`, its `folder` and
  its `record`, which is what `run.json` holds.
- `provenance`: when, and with which versions.

Accuracies are shares, 0 to 1. What is undefined is null.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from comix_cli.accuracy.comparison_table import PRODUCERS, comparison_table
from comix_cli.files import write_atomic_text
from comix_cli.tools import benchmark_plot
from comix_cli.tools.benchmark_runs import Outcome, RunRecord, read_document, told
from comix_cli.tools.benchmark_table import (
    MEASURES,
    Line,
    Sheet,
    Summary,
    cell_document,
    sheet,
    size_of,
    summaries,
)
from comix_cli.tools.compare_latex import escaped, latex_table, signed
from comix_cli.tools.provenance import timestamp, versions

KIND = "benchmark"
SCHEMA_VERSION = 1
JSON_NAME, CSV_NAME, LATEX_NAME, MARKDOWN_NAME = (
    "benchmark.json", "benchmark.csv", "table.tex", "table.md",
)  # fmt: skip
POINTS_NAME, PLOT_NAME = "label_fractions.csv", "label_fractions.png"
FILES = (JSON_NAME, CSV_NAME, LATEX_NAME, MARKDOWN_NAME, POINTS_NAME, PLOT_NAME)
COLUMNS = ("method", "label_fraction", "seed", "figure", "class", "value")
_PER_CLASS = (PRODUCERS, "users_accuracy", "f1", "iou")


def is_benchmark(folder: Path) -> bool:
    """Whether a folder is one that `write_summary` has written to."""
    return read_document(folder / JSON_NAME).get("kind") == KIND


def write_summary(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write every file anew; those about shares of the labels go where there is one share only.

    Raises:
        OutputError: One cannot be written.
    """
    sheets = found_sheets(outcomes)
    texts = {
        JSON_NAME: to_json(outcomes),
        CSV_NAME: to_csv(outcomes),
        LATEX_NAME: to_latex(sheets),
        MARKDOWN_NAME: to_markdown(sheets),
    }
    for name, text in texts.items():
        write_atomic_text(folder / name, text)
    _write_shares(summaries(outcomes), folder)


def _write_shares(methods: Sequence[Summary], folder: Path) -> None:
    """The points and the plot of several shares; what another command has left is removed."""
    several = len({method.fraction for method in methods}) > 1
    if several:
        write_atomic_text(folder / POINTS_NAME, benchmark_plot.to_csv(methods))
    else:
        (folder / POINTS_NAME).unlink(missing_ok=True)
    if several and any(method.records for method in methods):
        benchmark_plot.draw(methods, folder / PLOT_NAME)
    else:
        (folder / PLOT_NAME).unlink(missing_ok=True)


def found_sheets(outcomes: Sequence[Outcome]) -> list[Sheet]:
    """A table for each share of the labels of which a run is finished, the largest first."""
    by_share: dict[float, list[Summary]] = {}
    for summary in summaries(outcomes):
        by_share.setdefault(summary.fraction, []).append(summary)
    return [
        sheet(methods)
        for _, methods in sorted(by_share.items(), reverse=True)
        if any(method.records for method in methods)
    ]


def to_latex(sheets: Sequence[Sheet]) -> str:
    """Tables with the rules of booktabs, the best of each row bold."""
    tables = [
        latex_table(
            _latex_caption(page),
            label="benchmark" if number == 1 else f"benchmark-{number}",
            columns="l" + "r" * len(page.columns),
            head=["Class", *map(escaped, page.columns)],
            blocks=[[_latex_row(line) for line in block] for block in page.blocks],
        )
        for number, page in enumerate(sheets, start=1)
    ]
    return "% needs \\usepackage{booktabs}\n" + "\n".join(tables)


def _latex_caption(page: Sheet) -> str:
    best = " The best of each row is bold." if page.has_best else ""
    return f"{page.caption}{best}".replace(" x ", " × ")


def _latex_row(line: Line) -> list[str]:
    cells = [signed(escaped(cell)) if cell != "-" else "--" for cell in line.cells]
    bold = [rf"\textbf{{{c}}}" if b else c for c, b in zip(cells, line.best, strict=True)]
    return [r"$\kappa$" if line.label == "kappa" else escaped(line.label), *bold]


def to_markdown(sheets: Sequence[Sheet]) -> str:
    """Tables with pipes, the best of each row bold."""
    return "\n".join(_markdown(page) for page in sheets)


def _markdown(page: Sheet) -> str:
    rows = [["class", *page.columns], ["---", *("---:" for _ in page.columns)]]
    for line in (line for block in page.blocks for line in block):
        cells = zip(line.cells, line.best, strict=True)
        rows.append([line.label, *(f"**{c}**" if b else c for c, b in cells)])
    lines = (" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows)
    text = "\n".join(f"| {line} |" for line in lines)
    return f"{page.caption}\n\n{text}\n"


def to_csv(outcomes: Sequence[Outcome]) -> str:
    """One figure of one run, and of one class where it is about one, in each row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for outcome in outcomes:
        if outcome.record is not None:
            head = told(outcome.run).values()
            writer.writerows([*head, *row] for row in _tidy(outcome.record))
    return text.getvalue()


def _tidy(record: RunRecord) -> Iterator[tuple[str, str, Any]]:
    figures, size = record.figures, size_of(record)
    for key in ("pixels", *MEASURES):
        yield key, "", _blank(figures[key])
    for row in figures["per_class"]:
        for key in _PER_CLASS:
            yield key, row["name"], _blank(row[key])
    yield "training_seconds", "", record.training_seconds
    yield "mapping_seconds", "", record.mapping_seconds
    yield "parameters", "", _blank(size.parameters)
    yield "macs_per_window", "", _blank(size.executed)
    yield "macs_of_4_chips", "", _blank(size.published)


def _blank(value: Any) -> Any:
    return "" if value is None else value


def to_json(outcomes: Sequence[Outcome]) -> str:
    """Everything as one document."""
    document = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "methods": [_method(summary) for summary in summaries(outcomes)],
        "runs": [_run(outcome) for outcome in outcomes],
        "provenance": {"date": timestamp(), "versions": versions()},
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _method(summary: Summary) -> dict[str, Any]:
    size = summary.size
    return {
        "name": summary.name,
        "label_fraction": summary.fraction,
        "seeds": list(summary.seeds),
        "finished": len(summary.records),
        **_figures(summary),
        "difference": cell_document(summary.difference),
        "training_seconds": cell_document(summary.mean("training_seconds")),
        "mapping_seconds": cell_document(summary.mean("mapping_seconds")),
        "size": size and size.words,
        "parameters": size and size.parameters,
        "window": summary.window,
        "macs_per_window": size and size.executed,
        "macs_of_4_chips": size and size.published,
    }


def _figures(summary: Summary) -> dict[str, Any]:
    """Means of the figures; null and none where no run is finished."""
    if not summary.records:
        return {**dict.fromkeys(MEASURES), "per_class": []}
    rows = comparison_table([summary.column], MEASURES).rows
    return {
        **{row.measure: cell_document(row.cells[0]) for row in rows if row.class_name is None},
        "per_class": [
            {"name": row.class_name, PRODUCERS: cell_document(row.cells[0])}
            for row in rows
            if row.class_name is not None
        ],
    }


def _run(outcome: Outcome) -> dict[str, Any]:
    status = "finished" if outcome.record else "failed" if outcome.error else "missing"
    return {
        **told(outcome.run),
        "status": status,
        "error": outcome.error,
        "folder": str(outcome.run.folder),
        "record": outcome.record and asdict(outcome.record),
    }
