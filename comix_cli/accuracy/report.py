"""The accuracy report: one document of plain numbers, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from comix_cli.accuracy.confusion import Accuracy, Matrix

SCHEMA_VERSION = 1
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


def report_document(
    matrix: Matrix,
    classes: Sequence[tuple[int, str]],
    excluded: Mapping[str, int],
    *,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that a comparison of a map with ground truth found.

    Args:
        matrix: `(n, n)` pixel counts `[reference, predicted]`.
        classes: `(code, name)` in the matrix's order.
        excluded: Pixels or features left out, by cause.
        provenance: What was compared, when and with what; plain values.

    Returns:
        `overall_accuracy`, `average_accuracy`, `kappa`, `per_class` (a list), `confusion_matrix`
        (with its axes and class order stated), `excluded`, `pixels`, `provenance`. Undefined
        figures are None.

    Raises:
        ValueError: As many classes as rows are needed.
    """
    if len(classes) != len(matrix):
        raise ValueError(f"{len(classes)} classes do not describe a matrix of {len(matrix)} rows")
    accuracy = Accuracy.from_matrix(matrix)
    return {
        "schema_version": SCHEMA_VERSION,
        "pixels": int(matrix.sum()),
        "overall_accuracy": accuracy.overall_accuracy,
        "average_accuracy": accuracy.average_accuracy,
        "kappa": accuracy.kappa,
        "per_class": _per_class(matrix, classes, accuracy),
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
    matrix: Matrix, classes: Sequence[tuple[int, str]], accuracy: Accuracy
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
    return [dict(zip(_PER_CLASS, row, strict=True)) for row in zip(*columns, strict=True)]


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
    writer.writerow(_PER_CLASS)
    writer.writerows([row[key] for key in _PER_CLASS] for row in document["per_class"])
    writer.writerow([])
    writer.writerows(_matrix_rows(matrix["names"], matrix["counts"]))
    writer.writerow([])
    writer.writerow(["measure", "value"])
    writer.writerows([key, document[key]] for key in _OVERALL)
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
