"""Accuracy reports (version 3) for tests, made of a random but plausible comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.accuracy.confusion import Accuracy
from comix_cli.accuracy.estimate import Estimate, by_map_class
from comix_cli.accuracy.report import AXES

PIXEL_AREA_M2 = 3.6 * 3.6
TOWN = ("roof", "pavement", "low vegetation", "tree", "soil", "water")
FIGURES = ("producers_accuracy", "users_accuracy", "f1", "iou")
OVERALL = ("overall_accuracy", "average_accuracy", "kappa")


def report(
    names: Sequence[str] = TOWN, pixels: int = 26_987, polygons: int = 1063, seed: int = 3
) -> dict[str, Any]:
    """A full report of a map with these classes, the codes of which are 10, 20, ...

    Intervals are made up; with fewer than two polygons there are none.

    Args:
        names: The classes.
        pixels: Compared pixels.
        polygons: Polygons that they lie in.
        seed: Fixes everything.
    """
    rng = np.random.default_rng(seed)
    matrix = _matrix(len(names), pixels, rng)
    classes = [(10 * (i + 1), name) for i, name in enumerate(names)]
    map_pixels = (rng.dirichlet(matrix.sum(axis=0) / pixels * 12 + 0.5) * 9e6).astype(np.int64) + 1
    return {
        "kind": "accuracy",
        "schema_version": 3,
        "pixels": pixels,
        **_counted(matrix, classes, polygons),
        "area_weighted": _area_weighted(matrix, classes, map_pixels),
        "confusion_matrix": {
            "axes": AXES,
            "codes": [code for code, _ in classes],
            "names": list(names),
            "counts": matrix.tolist(),
        },
        "excluded": {"nodata": 112, "outside": 4031, "overlap": 57, "unmapped_class": 0},
        "overlaps": {
            "pairs": 3,
            "listed": [
                {"features": [17, 803], "classes": [names[0], names[-1]], "pixels": 41},
                {"features": [90, 91], "classes": [names[-1], names[0]], "pixels": 16},
            ],
        },
        "provenance": _provenance(polygons),
    }


def _matrix(classes: int, pixels: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Counts `[reference, predicted]` of a map that is mostly right."""
    shares = rng.dirichlet(np.full(classes, 4.0))
    right = rng.uniform(0.62, 0.97, classes)
    chances = (1 - right)[:, None] * rng.dirichlet(np.full(classes, 0.3), classes)
    chances[np.diag_indices(classes)] += right
    chances *= shares[:, None]
    drawn = rng.multinomial(pixels, (chances / chances.sum()).ravel())
    return drawn.astype(np.int64).reshape(classes, classes)


def _counted(
    matrix: NDArray[np.int64], classes: Sequence[tuple[int, str]], polygons: int
) -> dict[str, Any]:
    accuracy = Accuracy.from_matrix(matrix)
    rows = []
    for i, (code, name) in enumerate(classes):
        row: dict[str, Any] = {"code": code, "name": name}
        row |= {"reference_pixels": int(matrix[i].sum())}
        row |= {"predicted_pixels": int(matrix[:, i].sum())}
        row |= {key: getattr(accuracy, key)[i] for key in FIGURES}
        for key in FIGURES:
            error = _error(row[key], polygons / len(classes))
            row |= {f"{key}_95": _around(row[key], error), f"{key}_se": error}
        rows.append(row)
    overall = {key: getattr(accuracy, key) for key in OVERALL}
    errors = {key: _error(value, polygons) for key, value in overall.items()}
    quantity, allocation = _disagreement(matrix / matrix.sum())
    return {
        **overall,
        "quantity_disagreement": quantity,
        "allocation_disagreement": allocation,
        "means": {
            "macro": _mean(rows, [1] * len(rows)),
            "weighted": _mean(rows, [row["reference_pixels"] for row in rows]),
        },
        "intervals": {
            "level": 0.95,
            "method": "bootstrap over polygons, percentiles",
            "unit": "polygons",
            "clusters": polygons,
            "replicates": 1000,
            "seed": 0,
            **{key: _around(value, errors[key]) for key, value in overall.items()},
            "standard_errors": errors,
        },
        "per_class": rows,
    }


def _error(value: float | None, polygons: float) -> float | None:
    if value is None or polygons < 2:
        return None
    return math.sqrt(max(0.0, value * (1 - value)) / polygons)


def _around(value: float | None, error: float | None) -> list[float] | None:
    """Not symmetric, as the intervals of a bootstrap."""
    if value is None or error is None:
        return None
    return [max(0.0, value - 2.1 * error), min(1.0, value + 1.8 * error)]


def _mean(rows: Sequence[Mapping[str, Any]], weights: Sequence[int]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for key in FIGURES:
        pairs = zip((row[key] for row in rows), weights, strict=True)
        known = [(value, weight) for value, weight in pairs if value is not None]
        total = sum(weight for _, weight in known)
        means[key] = sum(v * w for v, w in known) / total if total else None
    return means


def _disagreement(shares: NDArray[np.float64]) -> tuple[float, float]:
    """Quantity and allocation (Pontius and Millones 2011)."""
    quantity = float(np.abs(shares.sum(axis=0) - shares.sum(axis=1)).sum() / 2)
    return quantity, max(0.0, float(1 - np.trace(shares)) - quantity)


def _area_weighted(
    matrix: NDArray[np.int64], classes: Sequence[tuple[int, str]], map_pixels: NDArray[np.int64]
) -> dict[str, Any]:
    found = by_map_class(matrix, map_pixels.tolist())
    total = int(map_pixels.sum())
    area_m2 = total * PIXEL_AREA_M2
    return {
        "estimator": "Olofsson et al. 2014",
        "strata": "map classes",
        "intervals": "1.96 standard errors",
        "map_pixels": total,
        "map_area_m2": area_m2,
        "population_area_m2": area_m2,
        "overall_accuracy": _estimate(found.overall_accuracy, 1),
        "quantity_disagreement": found.quantity_disagreement,
        "allocation_disagreement": max(0.0, found.allocation_disagreement or 0.0),
        "kappa": 0.6543,
        "per_class": [
            {
                "code": code,
                "name": name,
                "mapped_pixels": int(map_pixels[i]),
                "mapped_share": float(map_pixels[i] / total),
                "mapped_area_m2": float(map_pixels[i] * PIXEL_AREA_M2),
                "producers_accuracy": _estimate(found.producers_accuracy[i], 1),
                "users_accuracy": _estimate(found.users_accuracy[i], 1),
                "area_share": _estimate(found.area[i], 1),
                "area_m2": _estimate(_times(found.area[i], area_m2), area_m2),
            }
            for i, (code, name) in enumerate(classes)
        ],
        "unsampled": [classes[i][1] for i in found.unsampled],
    }


def _times(share: Estimate, area: float) -> Estimate:
    value, error = (None if x is None else x * area for x in (share.value, share.standard_error))
    return Estimate(value, error)


def _estimate(found: Estimate, most: float) -> dict[str, Any]:
    value, half = found.value, found.half_width
    pair = None
    if value is not None and half is not None:
        pair = [max(0.0, value - half), min(most, value + half)]
    return {"value": value, "standard_error": found.standard_error, "interval_95": pair}


def _provenance(features: int) -> dict[str, Any]:
    return {
        "date": "2025-06-02T09:15:00+00:00",
        "versions": {"comix": "0.1.0", "python": "3.12.4", "numpy": "2.1.0", "rasterio": "1.4.3"},
        "map": {
            "path": "maps/town.tif",
            "checksum": "sha256:" + "5e" * 32,
            "src_crs": None,
            "class_map": None,
        },
        "ground_truth": {
            "path": "survey/parcels.gpkg",
            "checksum": "sha256:" + "a7" * 32,
            "field": "class",
            "layer": "parcels",
            "crs": "EPSG:25833",
            "features": features,
            "repaired": 2,
            "features_outside": 14,
            "features_without_class": 5,
            "features_without_pixel": 9,
            "unmapped_classes": {},
            "outside_estimated_by_area": False,
            "all_touched": False,
            "min_coverage": None,
            "kind": "polygons",
        },
        "design": None,
    }
