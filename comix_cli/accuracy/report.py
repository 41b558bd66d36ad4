"""The accuracy report: one document of plain numbers, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comix_cli.accuracy.bootstrap import (
    LEVEL,
    Contributions,
    Interval,
    Intervals,
    cluster_intervals,
)
from comix_cli.accuracy.confusion import Accuracy, Matrix

SCHEMA_VERSION = 2
AXES = "rows = reference (ground truth), columns = predicted (map)"
_PER_CLASS = (
    "code",
    "name",
    "reference_pixels",
    "predicted_pixels",
    "producers_accuracy",
    "users_accuracy",
    "f1",
    "iou",
)
_OVERALL = ("pixels", "overall_accuracy", "average_accuracy", "kappa")
# Figures that have an interval, of each class and of all.
_WITH_INTERVAL = ("producers_accuracy", "users_accuracy", "f1", "iou")
_OVERALL_WITH_INTERVAL = ("overall_accuracy", "average_accuracy", "kappa")


@dataclass(frozen=True)
class Clustered:
    """Intervals that take the polygons of the ground truth, and not their pixels, as the sample.

    Attributes:
        intervals: The intervals; None where there are fewer than two polygons.
        polygons: How many polygons hold pixels that were compared.
        replicates: How often they were drawn.
        seed: What fixed the drawing.
    """

    intervals: Intervals | None
    polygons: int
    replicates: int
    seed: int

    @classmethod
    def of(cls, found: Contributions, replicates: int, seed: int) -> Clustered:
        """Draw polygons so often."""
        intervals = cluster_intervals(found, replicates=replicates, seed=seed)
        return cls(intervals, found.clusters, replicates, seed)

    def described(self) -> dict[str, Any]:
        """How the intervals came about, and those of the overall figures."""
        document: dict[str, Any] = {
            "level": LEVEL,
            "method": "bootstrap over polygons, percentiles",
            "polygons": self.polygons,
            "replicates": self.replicates,
            "seed": self.seed,
        }
        overall = {key: _pair(getattr(self.intervals, key, None)) for key in _OVERALL_WITH_INTERVAL}
        return document | overall

    def of_class(self, k: int) -> dict[str, Any]:
        """The intervals of one class, by figure."""
        if self.intervals is None:
            return {f"{key}_95": None for key in _WITH_INTERVAL}
        return {f"{key}_95": _pair(getattr(self.intervals, key)[k]) for key in _WITH_INTERVAL}


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def report_document(
    matrix: Matrix,
    classes: Sequence[tuple[int, str]],
    excluded: Mapping[str, int],
    clustered: Clustered | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that a comparison of a map with ground truth found.

    Args:
        matrix: `(n, n)` pixel counts `[reference, predicted]`.
        classes: `(code, name)` in the matrix's order.
        excluded: Pixels or features left out, by cause.
        clustered: Intervals by polygon.
        provenance: What was compared, when and with what; plain values.

    Returns:
        `overall_accuracy`, `average_accuracy`, `kappa`, `per_class` (a list), `confusion_matrix`
        (with its axes and class order stated), `excluded`, `pixels`, `provenance`, and with
        intervals `intervals`. Undefined figures are None. Intervals are pairs, low and high.

    Raises:
        ValueError: As many classes as rows are needed.
    """
    if len(classes) != len(matrix):
        raise ValueError(f"{len(classes)} classes do not describe a matrix of {len(matrix)} rows")
    accuracy = Accuracy.from_matrix(matrix)
    intervals = {} if clustered is None else {"intervals": clustered.described()}
    return intervals | {
        "schema_version": SCHEMA_VERSION,
        "pixels": int(matrix.sum()),
        "overall_accuracy": accuracy.overall_accuracy,
        "average_accuracy": accuracy.average_accuracy,
        "kappa": accuracy.kappa,
        "per_class": _per_class(matrix, classes, accuracy, clustered),
        "confusion_matrix": {
            "axes": AXES,
            "codes": [code for code, _ in classes],
            "names": [name for _, name in classes],
            "counts": matrix.tolist(),
        },
        "excluded": {cause: int(count) for cause, count in excluded.items()},
        "provenance": dict(provenance or {}),
    }


def _per_class(
    matrix: Matrix,
    classes: Sequence[tuple[int, str]],
    accuracy: Accuracy,
    clustered: Clustered | None,
) -> list[dict[str, Any]]:
    columns = (
        (code for code, _ in classes),
        (name for _, name in classes),
        matrix.sum(axis=1).tolist(),
        matrix.sum(axis=0).tolist(),
        accuracy.producers_accuracy,
        accuracy.users_accuracy,
        accuracy.f1,
        accuracy.iou,
    )
    rows = [dict(zip(_PER_CLASS, row, strict=True)) for row in zip(*columns, strict=True)]
    if clustered is None:
        return rows
    return [row | clustered.of_class(k) for k, row in enumerate(rows)]


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
    """The document as one CSV: figures per class, the matrix, figures overall, what was left out.

    The blocks are parted by empty lines; undefined figures are empty cells.
    """
    matrix = document["confusion_matrix"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    with_intervals = _WITH_INTERVAL if "intervals" in document else ()
    ends = [f"{key}_{end}" for key in with_intervals for end in ("low_95", "high_95")]
    writer.writerow([*_PER_CLASS, *ends])
    for row in document["per_class"]:
        pairs = [row[f"{key}_95"] or ("", "") for key in with_intervals]
        writer.writerow([*(row[key] for key in _PER_CLASS), *(end for p in pairs for end in p)])
    writer.writerow([])
    writer.writerows(_matrix_rows(matrix["names"], matrix["counts"]))
    writer.writerow([])
    intervals = document.get("intervals", {})
    writer.writerow(["measure", "value", *(["low_95", "high_95"] if intervals else [])])
    for key in _OVERALL:
        pair = (intervals.get(key) or ("", "")) if intervals else ()
        writer.writerow([key, document[key], *pair])
    writer.writerow([])
    writer.writerow(["excluded", "count"])
    writer.writerows(document["excluded"].items())
    return text.getvalue()


def _matrix_rows(
    names: Sequence[str], counts: Sequence[Sequence[int]]
) -> Iterable[Sequence[str | int]]:
    yield [f"confusion matrix: {AXES}", *(f"predicted: {name}" for name in names)]
    for name, row in zip(names, counts, strict=True):
        yield [f"reference: {name}", *row]
