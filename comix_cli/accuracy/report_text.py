"""An accuracy report as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from comix_cli.accuracy.report import AXES, OVERALL, PER_CLASS

_COUNTED = ("code", "name", "reference_pixels", "predicted_pixels")
_MAPPED = ("code", "name", "mapped_pixels", "mapped_share", "mapped_area_m2")
_ESTIMATED = ("producers_accuracy", "users_accuracy", "area_share", "area_m2")
_DISAGREEMENT = ("quantity_disagreement", "allocation_disagreement")
_ENDS = ("se", "low_95", "high_95")

Row = Sequence[Any]


def to_json_text(document: Mapping[str, Any]) -> str:
    """The document as JSON text; numbers that are not finite become null."""
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def to_csv_text(document: Mapping[str, Any]) -> str:
    """The document as one CSV of several blocks, parted by empty lines.

    What is counted by class, the matrix, what is counted overall, the estimates for the whole map
    by class and overall, what was left out. Undefined figures are empty cells.
    """
    matrix, weighted = document["confusion_matrix"], document["area_weighted"]
    blocks: list[Iterable[Row]] = [
        _counted_classes(document["per_class"]),
        _matrix_rows(matrix["names"], matrix["counts"]),
        _counted_overall(document),
    ]
    if weighted is not None:
        blocks += [_estimated_classes(weighted["per_class"]), _estimated_overall(weighted)]
    blocks.append([["excluded", "count"], *document["excluded"].items()])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for i, block in enumerate(blocks):
        writer.writerows([[], *block] if i else block)
    return text.getvalue()


def _counted_classes(rows: Iterable[Mapping[str, Any]]) -> Iterable[Row]:
    yield [*_COUNTED, *PER_CLASS, *(f"{key}_{end}" for key in PER_CLASS for end in _ENDS)]
    for row in rows:
        ends = [(row[f"{key}_se"], *(row[f"{key}_95"] or ("", ""))) for key in PER_CLASS]
        yield [*(row[key] for key in (*_COUNTED, *PER_CLASS)), *(e for each in ends for e in each)]


def _matrix_rows(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Iterable[Row]:
    yield [f"confusion matrix: {AXES}", *(f"predicted: {name}" for name in names)]
    for name, row in zip(names, counts, strict=True):
        yield [f"reference: {name}", *row]


def _counted_overall(document: Mapping[str, Any]) -> Iterable[Row]:
    intervals = document["intervals"]
    yield ["measure of the counted pixels", "value", *_ENDS]
    yield ["pixels", document["pixels"], "", "", ""]
    for key in OVERALL:
        yield [key, document[key], intervals["standard_errors"][key], *(intervals[key] or ("", ""))]
    for key in _DISAGREEMENT:
        yield [key, document[key], "", "", ""]
    for kind, figures in document["means"].items():
        for key, value in figures.items():
            yield [f"{kind}_mean_{key}", value, "", "", ""]


def _estimated_classes(rows: Iterable[Mapping[str, Any]]) -> Iterable[Row]:
    yield [
        *_MAPPED,
        *(name for key in _ESTIMATED for name in (key, *(f"{key}_{e}" for e in _ENDS))),
    ]
    for row in rows:
        yield [*(row[key] for key in _MAPPED), *(x for key in _ESTIMATED for x in _cells(row[key]))]


def _cells(estimate: Mapping[str, Any]) -> Row:
    low_high = estimate["interval_95"] or ("", "")
    return [estimate["value"], estimate["standard_error"], *low_high]


def _estimated_overall(weighted: Mapping[str, Any]) -> Iterable[Row]:
    yield [f"estimate for the whole map ({weighted['estimator']})", "value", *_ENDS]
    yield ["map_pixels", weighted["map_pixels"], "", "", ""]
    for key in ("map_area_m2", "population_area_m2"):
        yield [key, weighted[key], "", "", ""]
    yield ["overall_accuracy", *_cells(weighted["overall_accuracy"])]
    for key in ("kappa", *_DISAGREEMENT):
        yield [key, weighted[key], "", "", ""]
