"""What a benchmark has found, method by method: accuracies, differences, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from comix_cli.accuracy.comparison_table import (
    MEAN_F1,
    OVERALL,
    Cell,
    Method,
    Table,
    cell_of,
    comparison_table,
)
from comix_cli.accuracy.comparison_table import Run as Figures
from comix_cli.tools.benchmark_runs import Outcome, RunRecord
from comix_cli.tools.compare_text import caption, label
from comix_cli.tools.report_file import figures_by_class
from comix_models.build import build_model, count_parameters, spec_from_json
from comix_models.counting import executed, published

MEASURES = (*OVERALL, MEAN_F1)
# The published count is of a training batch: four chips of 128 pixels a side.
CHIPS, CHIP = 4, 128
_GIGA = 1e9
_DASH = "-"


@dataclass(frozen=True)
class Size:
    """How large a model is.

    Attributes:
        words: In a few words.
        parameters: Learned numbers of a network; None of other models.
        executed: Multiply-accumulates of mapping one window, likewise.
        published: Multiply-accumulates of a batch of chips as papers count them, likewise.
    """

    words: str
    parameters: int | None = None
    executed: int | None = None
    published: int | None = None


@dataclass(frozen=True)
class Summary:
    """A method at one share of the labels, over its seeds.

    Attributes:
        name: The method.
        fraction: Share of the labels that train.
        seeds: The seeds that are wanted.
        records: What came of each seed that is finished.
        difference: Overall accuracy less that of the first method, over the seeds that both have.
        size: How large the model is; None where no seed is finished.
    """

    name: str
    fraction: float
    seeds: tuple[int, ...]
    records: Mapping[int, RunRecord]
    difference: Cell | None
    size: Size | None

    @property
    def is_complete(self) -> bool:
        """Whether all of its runs are finished."""
        return len(self.records) == len(self.seeds)

    @property
    def column(self) -> Method:
        """Its figures for a table."""
        return Method(self.name, tuple(map(figures_of, self.records.values())))

    def mean(self, what: str) -> Cell | None:
        """Mean and deviation of a number of the records."""
        return cell_of([getattr(record, what) for record in self.records.values()])

    @property
    def overall_accuracy(self) -> Cell | None:
        """Mean and deviation of the overall accuracy."""
        return cell_of([record.figures["overall_accuracy"] for record in self.records.values()])

    @property
    def window(self) -> int | None:
        """Side of the model's windows in pixels."""
        return next((record.window for record in self.records.values()), None)


@dataclass(frozen=True)
class Line:
    """A row of a printed table; `best` marks the cells of the best methods."""

    label: str
    cells: tuple[str, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True)
class Sheet:
    """A table as it is printed.

    Attributes:
        caption: What its figures are.
        columns: Names of the methods.
        blocks: Rows, those that belong together in one block.
    """

    caption: str
    columns: tuple[str, ...]
    blocks: tuple[tuple[Line, ...], ...]

    @property
    def has_best(self) -> bool:
        """Whether a cell is marked."""
        return any(any(line.best) for block in self.blocks for line in block)


def summaries(outcomes: Sequence[Outcome]) -> list[Summary]:
    """The methods of a benchmark, share by share, in the order of the runs."""
    runs: dict[tuple[float, str], dict[int, RunRecord | None]] = {}
    for outcome in outcomes:
        run = outcome.run
        runs.setdefault((run.fraction, run.method), {})[run.seed] = outcome.record
    found: list[Summary] = []
    first: dict[float, Mapping[int, RunRecord]] = {}
    for (fraction, name), by_seed in runs.items():
        records = {seed: record for seed, record in by_seed.items() if record is not None}
        reference = first.setdefault(fraction, records)
        found.append(
            Summary(
                name,
                fraction,
                tuple(by_seed),
                records,
                None if reference is records else difference(records, reference),
                next((size_of(record) for record in records.values()), None),
            )
        )
    return found


def difference(records: Mapping[int, RunRecord], reference: Mapping[int, RunRecord]) -> Cell | None:
    """Overall accuracy less that of another method, seed by seed."""
    pairs = [(records[seed], reference[seed]) for seed in records if seed in reference]
    shares = [tuple(record.figures["overall_accuracy"] for record in pair) for pair in pairs]
    return cell_of([a - b for a, b in shares if a is not None and b is not None])


def figures_of(record: RunRecord) -> Figures:
    """The figures of a run as tables take them."""
    found = record.figures
    return Figures(
        classes=figures_by_class(found["per_class"]),
        pixels=found["pixels"],
        **{key: found[key] for key in MEASURES},
    )


def size_of(record: RunRecord) -> Size:
    """How large the model of a run is."""
    return _size(json.dumps(record.spec, sort_keys=True), record.window)


@cache
def _size(record: str, window: int) -> Size:
    spec = spec_from_json(json.loads(record))
    if spec.pixelwise:
        return Size(spec.size(0))
    parameters = count_parameters(build_model(spec))
    return Size(
        spec.size(parameters),
        parameters,
        executed(spec, window),
        CHIPS * published(spec, CHIP),
    )


def sheet(methods: Sequence[Summary]) -> Sheet:
    """The table of the methods at one share of the labels.

    Raises:
        ValueError: No run of any method is finished.
    """
    table = comparison_table([method.column for method in methods], MEASURES)
    complete = [method.is_complete for method in methods]
    classes = tuple(_accuracies(table, complete, of_classes=True))
    overall = (*_accuracies(table, complete, of_classes=False), *_differences(methods))
    blocks = (classes, overall, tuple(_costs(methods)), (_runs(methods),))
    return Sheet(_caption(table, methods), tuple(m.name for m in methods), blocks)


def _caption(table: Table, methods: Sequence[Summary]) -> str:
    fraction = methods[0].fraction
    share = "" if fraction == 1 else f" Trained with {100 * fraction:g} % of the labels that train."
    return f"{caption(table)}{share} {' '.join(notes(methods))}"


def notes(methods: Sequence[Summary]) -> Iterator[str]:
    """How the table is to be read, sentence by sentence."""
    records = [record for method in methods for record in method.records.values()]
    yield "F1, x 100 too, is the mean of all classes."
    if len(methods) > 1:
        yield f"Differences, x 100 too, are to {methods[0].name}, seed by seed."
        yield from _warnings(methods, records)
    if any(method.size and method.size.executed for method in methods):
        yield (
            "GMAC: 10^9 multiply-accumulates, of convolutions, matrix products and deformable "
            "sampling for one window of a map, and, as papers count, of convolutions and linear "
            f"layers alone for a batch of {CHIPS} chips of {CHIP} x {CHIP} pixels."
        )


def _warnings(methods: Sequence[Summary], records: Sequence[RunRecord]) -> Iterator[str]:
    """What speaks against comparing the methods."""
    if len({record.figures["pixels"] for record in records}) > 1:
        yield (
            "Not all maps have data on the same pixels of the ground truth, and differences may "
            "come from that."
        )
    if not all(method.is_complete for method in methods):
        yield "Methods with unfinished runs are never marked as the best of a row."
    if len({(record.device, record.threads) for record in records}) > 1:
        yield "Runs were computed on different devices or numbers of threads: compare no times."
    elif len({record.training_device for record in records}) > 1:
        yield "Some methods were trained on the CPU and others were not: compare no training times."


def shares_sheet(methods: Sequence[Summary]) -> Sheet:
    """Overall accuracy of each method, share of the labels by share."""
    cells = {(m.fraction, m.name): m.overall_accuracy for m in methods}
    names = tuple(dict.fromkeys(method.name for method in methods))
    lines = [
        _plain(f"{100 * share:g} %", (percent(cells[share, name]) for name in names))
        for share in dict.fromkeys(method.fraction for method in methods)
    ]
    about = "Overall accuracy x 100 by the share of the labels that train."
    return Sheet(about, names, (tuple(lines),))


def _accuracies(table: Table, complete: Sequence[bool], *, of_classes: bool) -> Iterator[Line]:
    for row in table.rows:
        if (row.class_name is not None) == of_classes:
            # The mean of some seeds is no match for that of all.
            known = (c if whole else None for c, whole in zip(row.cells, complete, strict=True))
            best = replace(row, cells=tuple(known)).best
            yield Line(label(row), tuple(map(percent, row.cells)), best)


def _differences(methods: Sequence[Summary]) -> Iterator[Line]:
    if len(methods) > 1:
        cells = [percent(method.difference, sign="+") for method in methods]
        yield _plain("OA, difference", cells)


def _costs(methods: Sequence[Summary]) -> Iterator[Line]:
    for name, what in (("training (s)", "training_seconds"), ("mapping (s)", "mapping_seconds")):
        yield _plain(name, (_seconds(method.mean(what)) for method in methods))
    yield _plain("size", (method.size.words if method.size else _DASH for method in methods))
    networks = [method for method in methods if method.size and method.size.executed]
    if networks:
        several = len({method.window for method in networks}) > 1
        yield _plain("GMAC of a window", (_executed(m, several=several) for m in methods))
        batch = (_giga(m.size.published if m.size else None) for m in methods)
        yield _plain(f"GMAC of {CHIPS} chips", batch)


def _executed(method: Summary, *, several: bool) -> str:
    """Of one window; its side is said where not all methods have the same."""
    if method.size is None or method.size.executed is None:
        return _DASH
    side = f" ({method.window} px)" if several else ""
    return f"{_giga(method.size.executed)}{side}"


def _runs(methods: Sequence[Summary]) -> Line:
    return _plain(
        "runs",
        (
            str(len(m.records)) if m.is_complete else f"{len(m.records)} of {len(m.seeds)}"
            for m in methods
        ),
    )


def _plain(name: str, cells: Iterable[str]) -> Line:
    found = tuple(cells)
    return Line(name, found, (False,) * len(found))


def percent(cell: Cell | None, sign: str = "") -> str:
    """Mean and deviation, x 100; a dash where there is none."""
    if cell is None:
        return _DASH
    spread = f" ± {cell.deviation_percent}" if cell.deviation_percent else ""
    return f"{100 * cell.mean:{sign}.2f}{spread}"


def _seconds(cell: Cell | None) -> str:
    if cell is None:
        return _DASH
    return (
        f"{cell.mean:.1f}" if cell.deviation is None else f"{cell.mean:.1f} ± {cell.deviation:.1f}"
    )


def _giga(count: int | None) -> str:
    return _DASH if count is None else f"{count / _GIGA:.3g}"


def cell_document(cell: Cell | None) -> dict[str, Any] | None:
    """A mean for a document."""
    if cell is None:
        return None
    return {"mean": cell.mean, "standard_deviation": cell.deviation, "runs": cell.runs}
