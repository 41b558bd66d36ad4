"""Accuracy reports (version 3) for tests, made of a random but plausible comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.accuracy.bootstrap import Contributions, cluster_intervals
from comix_cli.accuracy.confusion import Accuracy
from comix_cli.accuracy.estimate import Estimate, MapEstimates, by_map_class
from comix_cli.accuracy.report import AXES

PIXEL_AREA = 3.6 * 3.6
TOWN = ("roof", "pavement", "low vegetation", "tree", "soil", "water")
FIGURES = ("producers_accuracy", "users_accuracy", "f1", "iou")
OVERALL = ("overall_accuracy", "average_accuracy", "kappa")


def report(
    names: Sequence[str] = TOWN, pixels: int = 26_987, polygons: int = 1063, seed: int = 3
) -> dict[str, Any]:
    """A full report of a map with these classes, the codes of which are 10, 20, ...

    Args:
        names: The classes.
        pixels: Compared pixels.
        polygons: Polygons that they lie in.
        seed: Fixes everything.
    """
    rng = np.random.default_rng(seed)
    found = _comparison(len(names), pixels, polygons, rng)
    matrix = np.zeros((len(names), len(names)), np.int64)
    np.add.at(matrix, (found.reference, found.predicted), found.pixels)
    classes = [(10 * (i + 1), name) for i, name in enumerate(names)]
    map_pixels = (rng.dirichlet(matrix.sum(axis=0) / pixels * 12 + 0.5) * 9e6).astype(int) + 1
    return {
        "kind": "accuracy",
        "schema_version": 3,
        "pixels": pixels,
        **_counted(matrix, classes, found),
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


def _comparison(
    classes: int, pixels: int, polygons: int, rng: np.random.Generator
) -> Contributions:
    """Polygons of one class each, whose pixels are mostly right, else of a few other classes."""
    share = rng.dirichlet(np.full(classes, 4.0))
    reference = rng.choice(classes, polygons, p=share)
    sizes = 1 + rng.multinomial(pixels - polygons, rng.dirichlet(np.full(polygons, 0.7)))
    skill = rng.uniform(0.62, 0.97, classes)
    confused = rng.dirichlet(np.full(classes, 0.3), classes)
    rows = []
    for polygon, (row, size) in enumerate(zip(reference, sizes, strict=True)):
        right = rng.beta(6 * skill[row], 6 * (1 - skill[row]))
        chances = (1 - right) * confused[row]
        chances[row] += right
        drawn = rng.multinomial(size, chances / chances.sum())
        rows += [(polygon, row, k, drawn[k]) for k in np.flatnonzero(drawn)]
    polygon_of, row_of, column_of, count = np.array(rows, np.int64).T
    return Contributions(polygon_of, row_of, column_of, count, classes)


def _counted(
    matrix: NDArray[np.int64], classes: Sequence[tuple[int, str]], found: Contributions
) -> dict[str, Any]:
    accuracy = Accuracy.from_matrix(matrix)
    drawn = cluster_intervals(found, replicates=200, seed=0)
    rows = []
    for i, (code, name) in enumerate(classes):
        row: dict[str, Any] = {"code": code, "name": name}
        row |= {"reference_pixels": int(matrix[i].sum())}
        row |= {"predicted_pixels": int(matrix[:, i].sum())}
        row |= {key: getattr(accuracy, key)[i] for key in FIGURES}
        for key in FIGURES:
            pair = None if drawn is None else getattr(drawn, key)[i]
            row |= {f"{key}_95": pair and list(pair), f"{key}_se": _spread(pair)}
        rows.append(row)
    pairs = {key: getattr(drawn, key, None) for key in OVERALL}
    quantity, allocation = _disagreement(matrix / matrix.sum())
    weights = matrix.sum(axis=1)
    return {
        **{key: getattr(accuracy, key) for key in OVERALL},
        "quantity_disagreement": quantity,
        "allocation_disagreement": allocation,
        "means": {"macro": _mean(rows, np.ones(len(rows))), "weighted": _mean(rows, weights)},
        "intervals": {
            "level": 0.95,
            "method": "bootstrap over polygons, percentiles",
            "unit": "polygons",
            "clusters": found.clusters,
            "replicates": 1000,
            "seed": 0,
            **{key: pair and list(pair) for key, pair in pairs.items()},
            "standard_errors": {key: _spread(pair) for key, pair in pairs.items()},
        },
        "per_class": rows,
    }


def _spread(pair: tuple[float, float] | None) -> float | None:
    return None if pair is None else (pair[1] - pair[0]) / 3.92


def _mean(rows: Sequence[Mapping[str, Any]], weights: NDArray[Any]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for key in FIGURES:
        known = [
            (row[key], w) for row, w in zip(rows, weights, strict=True) if row[key] is not None
        ]
        total = sum(w for _, w in known)
        means[key] = float(sum(v * w for v, w in known) / total) if total else None
    return means


def _disagreement(shares: NDArray[np.float64]) -> tuple[float, float]:
    """Quantity and allocation (Pontius and Millones 2011)."""
    quantity = float(np.abs(shares.sum(axis=0) - shares.sum(axis=1)).sum() / 2)
    return quantity, max(0.0, float(1 - np.trace(shares)) - quantity)


def _area_weighted(
    matrix: NDArray[np.int64], classes: Sequence[tuple[int, str]], map_pixels: NDArray[np.int64]
) -> dict[str, Any]:
    found: MapEstimates = by_map_class(matrix, map_pixels.tolist())
    total = int(map_pixels.sum())
    return {
        "estimator": "Olofsson et al. 2014",
        "strata": "map classes",
        "intervals": "1.96 standard errors",
        "map_pixels": total,
        "map_area_m2": total * PIXEL_AREA,
        "overall_accuracy": _estimate(found.overall_accuracy),
        "quantity_disagreement": found.quantity_disagreement,
        "allocation_disagreement": found.allocation_disagreement,
        "kappa": _estimate(Estimate(0.6543, 0.0123)),
        "per_class": [
            {
                "code": code,
                "name": name,
                "mapped_pixels": int(map_pixels[i]),
                "mapped_share": float(map_pixels[i] / total),
                "mapped_area_m2": float(map_pixels[i] * PIXEL_AREA),
                "producers_accuracy": _estimate(found.producers_accuracy[i]),
                "users_accuracy": _estimate(found.users_accuracy[i]),
                "area_share": _estimate(found.area[i]),
                "area_m2": _estimate(found.area[i].times(total * PIXEL_AREA)),
            }
            for i, (code, name) in enumerate(classes)
        ],
        "unsampled": [classes[i][1] for i in found.unsampled],
    }


def _estimate(found: Estimate) -> dict[str, Any]:
    half, value = found.half_width, found.value
    pair = None if half is None or value is None else [value - half, value + half]
    return {"value": value, "standard_error": found.standard_error, "interval_95": pair}


def _provenance(features: int) -> dict[str, Any]:
    return {
        "date": "2025-06-02T09:15:00+00:00",
        "versions": {"comix": "0.1.0", "python": "3.12.4", "numpy": "2.1.0", "rasterio": "1.4.3"},
        "map": {"path": "maps/town.tif", "checksum": "sha256:" + "5e" * 32},
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
