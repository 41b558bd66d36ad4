"""Intervals for accuracy figures where pixels come in clusters, such as those of one polygon.

Pixels of one polygon resemble each other, so that thousands of them say little more than a few. The
bootstrap draws whole clusters, as many as there are, with replacement, and computes every figure
anew; the middle 95 % of what comes out is the interval (Efron and Tibshirani 1993).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

LEVEL = 0.95
# Fewer clusters tell next to nothing of how far a figure may be off.
LEAST_CLUSTERS = 5
# Matrices that are held at once, in numbers.
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Contributions:
    """What each cluster adds to a confusion matrix; cells that occur only.

    Attributes:
        cluster: Number of the cluster, `(m,)`, from 0 without gaps.
        reference: Row of the matrix, `(m,)`.
        predicted: Column of the matrix, `(m,)`.
        pixels: Pixels there, `(m,)`.
        classes: Rows and columns of the matrix.
    """

    cluster: NDArray[np.int64]
    reference: NDArray[np.int64]
    predicted: NDArray[np.int64]
    pixels: NDArray[np.int64]
    classes: int

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return int(self.cluster.max()) + 1 if len(self.cluster) else 0

    def matrix(self) -> NDArray[np.int64]:
        """Pixels `(classes, classes)` of all clusters together, `[reference, predicted]`."""
        counts = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(counts, (self.reference, self.predicted), self.pixels)
        return counts


@dataclass(frozen=True)
class Spread:
    """How far a figure may be off.

    Attributes:
        interval: The middle 95 % of the replicates.
        standard_error: The standard deviation of the replicates.
    """

    interval: Interval
    standard_error: float


@dataclass(frozen=True)
class AreaSpreads:
    """Spreads of the area-weighted figures, as `MapEstimates`."""

    overall_accuracy: Spread | None
    users_accuracy: tuple[Spread | None, ...]
    producers_accuracy: tuple[Spread | None, ...]
    area: tuple[Spread | None, ...]


@dataclass(frozen=True)
class Spreads:
    """Spreads of the figures of `Accuracy`; None where a figure is mostly undefined."""

    overall_accuracy: Spread | None
    average_accuracy: Spread | None
    kappa: Spread | None
    producers_accuracy: tuple[Spread | None, ...]
    users_accuracy: tuple[Spread | None, ...]
    f1: tuple[Spread | None, ...]
    iou: tuple[Spread | None, ...]
    area_weighted: AreaSpreads


def cluster_spreads(
    found: Contributions, map_pixels: NDArray[np.int64], *, replicates: int, seed: int
) -> Spreads | None:
    """Spreads by a bootstrap over clusters; None where there are fewer than `LEAST_CLUSTERS`.

    So it is for the figures of a class that fewer clusters hold pixels of.

    Args:
        found: What each cluster adds.
        map_pixels: Pixels of each class in the whole map, `(classes,)`: what area-weighted figures
            weigh by.
        replicates: How often clusters are drawn.
        seed: Fixes what is drawn.
    """
    if found.clusters < LEAST_CLUSTERS:
        return None
    truly = _clusters_by_class(found, found.reference) >= LEAST_CLUSTERS
    mapped = _clusters_by_class(found, found.predicted) >= LEAST_CLUSTERS
    parts = [
        (*_figures(matrices), *_area_figures(matrices, map_pixels))
        for matrices in _drawn(found, replicates, seed)
    ]
    overall, average, kappa, recall, precision, f1, iou, *weighted = (
        np.concatenate(values) for values in zip(*parts, strict=True)
    )
    return Spreads(
        overall_accuracy=_spread(overall),
        average_accuracy=_spread(average),
        kappa=_spread(kappa),
        producers_accuracy=_each(recall, truly),
        users_accuracy=_each(precision, truly & mapped),
        f1=_each(f1, truly & mapped),
        iou=_each(iou, truly & mapped),
        area_weighted=AreaSpreads(
            _spread(weighted[0]),
            _each(precision, truly & mapped),
            _each(weighted[1], truly),
            _each(weighted[2], truly),
        ),
    )


def _clusters_by_class(found: Contributions, classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many clusters hold pixels of each class, `(n,)`."""
    pairs = np.unique(found.cluster * found.classes + classes)
    return np.bincount(pairs % found.classes, minlength=found.classes)


def _drawn(found: Contributions, replicates: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Confusion matrices `(b, n, n)` of clusters drawn with replacement."""
    cell = found.reference * found.classes + found.predicted
    rng, count, cells = np.random.default_rng(seed), found.clusters, found.classes**2
    step = max(1, _AT_ONCE // cells)
    for first in range(0, replicates, step):
        matrices = np.empty((min(step, replicates - first), cells))
        for matrix in matrices:
            times = np.bincount(rng.integers(count, size=count), minlength=count)
            weights = times[found.cluster] * found.pixels
            matrix[:] = np.bincount(cell, weights=weights, minlength=cells)
        yield matrices.reshape(-1, found.classes, found.classes)


def _figures(matrices: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Overall, average, kappa `(b,)`; recall, precision, F1, IoU `(b, n)`; NaN if undefined."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    reference, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    total = matrices.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, overall = right / reference, right.sum(axis=1) / total
        chance = (reference * predicted).sum(axis=1) / total**2
        defined = np.isfinite(recall)
        average = np.where(defined, recall, 0).sum(axis=1) / defined.sum(axis=1)
        return (
            overall,
            average,
            (overall - chance) / (1 - chance),
            recall,
            right / predicted,
            2 * right / (reference + predicted),
            right / (reference + predicted - right),
        )


def _area_figures(
    matrices: NDArray[np.float64], map_pixels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], ...]:
    """Overall accuracy `(b,)`; recall and true share of the map `(b, n)`, weighted by area.

    Columns without pixels stand for nothing, as in `accuracy/estimate.py`.
    """
    sampled = matrices.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        cells = np.where(sampled > 0, matrices / sampled, 0) * map_pixels
        shares = cells / cells.sum(axis=(1, 2), keepdims=True)
        right = np.diagonal(shares, axis1=1, axis2=2)
        area = shares.sum(axis=2)
        return right.sum(axis=1), right / area, area


def _each(values: NDArray[np.float64], known: NDArray[np.bool_]) -> tuple[Spread | None, ...]:
    """A spread for each class that enough is known of."""
    return tuple(_spread(v) if k else None for v, k in zip(values.T, known, strict=True))


def _spread(values: NDArray[np.float64]) -> Spread | None:
    """The middle 95 % and the deviation, where at least half of the values are defined."""
    defined = values[np.isfinite(values)]
    if 2 * len(defined) < len(values) or not len(defined):
        return None
    low, high = np.quantile(defined, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Spread((float(low), float(high)), float(defined.std(ddof=1)))
