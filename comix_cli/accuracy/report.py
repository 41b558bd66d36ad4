"""The accuracy report: one document of plain numbers; `report.schema.json` describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comix_cli.accuracy.bootstrap import LEVEL, Interval, Spread, Spreads
from comix_cli.accuracy.confusion import (
    Accuracy,
    Matrix,
    mean_of_classes,
    quantity_and_allocation,
)
from comix_cli.accuracy.estimate import Estimate, MapEstimates

KIND = "accuracy"
SCHEMA_VERSION = 3
AXES = "rows = reference (ground truth), columns = predicted (map)"
# Figures of each class and of all of them, that have intervals.
PER_CLASS = ("producers_accuracy", "users_accuracy", "f1", "iou")
OVERALL = ("overall_accuracy", "average_accuracy", "kappa")
NORMAL = "1.96 standard errors"
# What is told of reference pixels that are not compared.
CAUSES = {
    "nodata": "where the map has no data",
    "outside": "outside the map",
    "overlap": "under features of different classes",
    "unmapped_class": "of classes that the map lacks",
}


@dataclass(frozen=True)
class Clustered:
    """Intervals that take the polygons of the ground truth, and not their pixels, as the sample.

    Attributes:
        spreads: Intervals and standard errors; None where there are fewer than two polygons.
        unit: What a cluster is: `polygons`, `points`, ...
        clusters: How many hold pixels that were compared.
        replicates: How often they were drawn.
        seed: What fixed the drawing.
    """

    spreads: Spreads | None
    unit: str
    clusters: int
    replicates: int
    seed: int

    @property
    def method(self) -> str:
        """How the intervals came about."""
        return f"bootstrap over {self.unit}, percentiles"


@dataclass(frozen=True)
class AreaWeighted:
    """Estimates for the whole map beside the counts.

    Attributes:
        estimates: The estimates, of the classes in the matrix's order.
        map_pixels: Pixels of each class in the whole map.
        map_areas_m2: Their ground.
        population_m2: The ground that the estimates are about: of the strata that hold samples.
        unsampled: What the other strata are called.
        by_design: Whether the strata are those of a sample design and not the map's classes.
        clustered: What takes the place of the estimators' own standard errors; None where each
            pixel is a draw of its own.
    """

    estimates: MapEstimates
    map_pixels: Sequence[int]
    map_areas_m2: Sequence[float]
    population_m2: float
    unsampled: Sequence[str]
    by_design: bool
    clustered: Clustered | None

    @property
    def method(self) -> str:
        """How the intervals came about."""
        return NORMAL if self.clustered is None else self.clustered.method

    def figure(self, estimate: Estimate, key: str, k: int | None = None) -> dict[str, Any]:
        """An estimate with its standard error and interval.

        Args:
            estimate: The estimate.
            key: The attribute of `AreaSpreads` that is about it.
            k: The class, where there is one for each.
        """
        value = estimate.value
        if self.clustered is None and value is not None:
            half = estimate.half_width
            interval = None if half is None else (max(0.0, value - half), min(1.0, value + half))
            return _figure(value, estimate.standard_error, interval)
        spreads = None if value is None or self.clustered is None else self.clustered.spreads
        if spreads is None:
            return _figure(value, None, None)
        found = getattr(spreads.area_weighted, key)
        spread: Spread | None = found if k is None else found[k]
        return _figure(value, _error(spread), None if spread is None else spread.interval)


def report_document(
    matrix: Matrix,
    classes: Sequence[tuple[int, str]],
    excluded: Mapping[str, int],
    clustered: Clustered,
    area: AreaWeighted | None = None,
    *,
    overlaps: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that a comparison of a map with ground truth found.

    Args:
        matrix: `(n, n)` pixel counts `[reference, predicted]`.
        classes: `(code, name)` in the matrix's order.
        excluded: Pixels left out, by cause.
        clustered: Intervals of what is counted.
        area: Estimates for the whole map.
        overlaps: Features of different classes that overlap.
        provenance: What was compared, when and with what; plain values.

    Returns:
        The document of `report.schema.json`. Undefined figures are None, intervals pairs.

    Raises:
        ValueError: As many classes as rows are needed.
    """
    if len(classes) != len(matrix):
        raise ValueError(f"{len(classes)} classes do not describe a matrix of {len(matrix)} rows")
    accuracy = Accuracy.from_matrix(matrix)
    quantity, allocation = quantity_and_allocation(matrix)
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "pixels": int(matrix.sum()),
        **{key: getattr(accuracy, key) for key in OVERALL},
        "quantity_disagreement": quantity,
        "allocation_disagreement": allocation,
        "means": _means(accuracy, matrix),
        "intervals": _intervals(clustered),
        "per_class": _per_class(matrix, classes, accuracy, clustered.spreads),
        "area_weighted": None if area is None else _area_weighted(area, classes),
        "confusion_matrix": {
            "axes": AXES,
            "codes": [code for code, _ in classes],
            "names": [name for _, name in classes],
            "counts": matrix.tolist(),
        },
        "excluded": {cause: int(count) for cause, count in excluded.items()},
        "overlaps": dict(overlaps or {"pairs": 0, "listed": []}),
        "provenance": dict(provenance or {}),
    }


def _means(accuracy: Accuracy, matrix: Matrix) -> dict[str, dict[str, float | None]]:
    """Means over the classes: all alike, and by their reference pixels."""
    pixels = matrix.sum(axis=1).tolist()
    return {
        "macro": {key: mean_of_classes(getattr(accuracy, key)) for key in PER_CLASS},
        "weighted": {key: mean_of_classes(getattr(accuracy, key), pixels) for key in PER_CLASS},
    }


def _intervals(clustered: Clustered) -> dict[str, Any]:
    """How the intervals came about, and those of the overall figures."""
    spreads = {key: getattr(clustered.spreads, key, None) for key in OVERALL}
    return {
        "level": LEVEL,
        "method": clustered.method,
        "unit": clustered.unit,
        "clusters": clustered.clusters,
        "replicates": clustered.replicates,
        "seed": clustered.seed,
        **{key: _pair(spread) for key, spread in spreads.items()},
        "standard_errors": {key: _error(spread) for key, spread in spreads.items()},
    }


def _pair(spread: Spread | None) -> list[float] | None:
    return None if spread is None else list(spread.interval)


def _error(spread: Spread | None) -> float | None:
    return None if spread is None else spread.standard_error


def _per_class(
    matrix: Matrix,
    classes: Sequence[tuple[int, str]],
    accuracy: Accuracy,
    spreads: Spreads | None,
) -> list[dict[str, Any]]:
    reference, predicted = matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist()
    rows = []
    for k, (code, name) in enumerate(classes):
        found = {key: None if spreads is None else getattr(spreads, key)[k] for key in PER_CLASS}
        rows.append(
            {
                "code": code,
                "name": name,
                "reference_pixels": reference[k],
                "predicted_pixels": predicted[k],
                **{key: getattr(accuracy, key)[k] for key in PER_CLASS},
                **{f"{key}_95": _pair(spread) for key, spread in found.items()},
                **{f"{key}_se": _error(spread) for key, spread in found.items()},
            }
        )
    return rows


def _area_weighted(area: AreaWeighted, classes: Sequence[tuple[int, str]]) -> dict[str, Any]:
    estimates = area.estimates
    return {
        "estimator": "Stehman 2014" if area.by_design else "Olofsson et al. 2014",
        "strata": "sample design" if area.by_design else "map classes",
        "intervals": area.method,
        "map_pixels": sum(area.map_pixels),
        "map_area_m2": sum(area.map_areas_m2),
        "population_area_m2": area.population_m2,
        "overall_accuracy": area.figure(estimates.overall_accuracy, "overall_accuracy"),
        "quantity_disagreement": estimates.quantity_disagreement,
        "allocation_disagreement": estimates.allocation_disagreement,
        "kappa": estimates.kappa,
        "per_class": [_area_of_class(area, k, *each) for k, each in enumerate(classes)],
        "unsampled": list(area.unsampled),
    }


def _area_of_class(area: AreaWeighted, k: int, code: int, name: str) -> dict[str, Any]:
    estimates, total = area.estimates, sum(area.map_areas_m2)
    share = area.figure(estimates.area[k], "area", k)
    return {
        "code": code,
        "name": name,
        "mapped_pixels": area.map_pixels[k],
        "mapped_share": area.map_areas_m2[k] / total if total else None,
        "mapped_area_m2": area.map_areas_m2[k],
        **{
            key: area.figure(getattr(estimates, key)[k], key, k)
            for key in ("producers_accuracy", "users_accuracy")
        },
        "area_share": share,
        "area_m2": _times(share, area.population_m2),
    }


def _times(figure: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A figure in another unit, such as a share of an area as an area."""
    pair = figure["interval_95"]
    value, error = (
        None if x is None else x * factor for x in (figure["value"], figure["standard_error"])
    )
    return {
        "value": value,
        "standard_error": error,
        "interval_95": None if pair is None else [end * factor for end in pair],
    }


def _figure(value: float | None, error: float | None, interval: Interval | None) -> dict[str, Any]:
    pair = None if interval is None else list(interval)
    return {"value": value, "standard_error": error, "interval_95": pair}
