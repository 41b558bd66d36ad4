"""How alike neighbours are: semivariograms and the distance at which likeness ends.

The semivariance of a distance is half the mean squared difference between places so far apart. It
grows with the distance until places know nothing of each other; that distance is the range. Test
ground nearer to training ground than the range is no independent test.

Numbers in, numbers out. Formulas: Chilès and Delfiner (2012), Geostatistics, chapter 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from scipy.spatial import cKDTree

from comix_cli.errors import metres

Floats = NDArray[np.float64]

# Lags grow by a constant factor, since a range may be a thousandth of the extent or half of it.
LAGS = 30
SHORTEST = 1e-3  # of the longest lag
# gstat, too, looks no farther than a third of the extent's diagonal.
EXTENT_SHARE = 1 / 3
LEAST_PAIRS = 30
LEAST_LAGS = 6
LEAST_POINTS = 30
# Less structure than this share of all variance is noise, and so is what differs from a constant
# by less than this, in chi squared.
LEAST_STRUCTURE = 0.05
LEAST_EVIDENCE = 25.0


@dataclass(frozen=True)
class Semivariance:
    """What was measured, by distance; all `(k,)`.

    Attributes:
        lags: Mean distances of the classes of distance, ascending.
        values: Semivariance of pairs so far apart.
        pairs: How many pairs there were.
    """

    lags: Floats
    values: Floats
    pairs: Floats


@dataclass(frozen=True)
class Variogram:
    """A model fitted to semivariances; distances in the unit of the coordinates.

    Attributes:
        measured: What it is fitted to.
        model: One of `MODELS`; None where none can be fitted.
        nugget: Semivariance at distance 0.
        sill: Semivariance beyond the range.
        range: Distance at which the sill is reached, to 95 % in all models but the spherical; None
            where it cannot be told.
        fitted: The model's semivariance at the measured lags, `(k,)`.
        reason: Why there is no range.
        longer_than: Where the range cannot be told because it is longer than this.
    """

    measured: Semivariance
    model: str | None = None
    nugget: float | None = None
    sill: float | None = None
    range: float | None = None
    fitted: Floats | None = None
    reason: str | None = None
    longer_than: float | None = None


def class_semivariance(points: Floats, classes: NDArray[Any]) -> Semivariance:
    """Half the share of pairs whose classes differ: `1/2 E[1(class(x) != class(x + h))]`.

    Args:
        points: Coordinates, `(n, 2)`.
        classes: The class at each point, `(n,)`.
    """
    edges = lag_edges(points)
    everything = cKDTree(points)
    same = np.zeros(len(edges))
    for each in np.unique(classes):
        tree = cKDTree(points[classes == each])
        same += tree.count_neighbors(tree, edges)
    pairs = everything.count_neighbors(everything, edges).astype(np.float64)
    return _by_lag(edges, pairs, pairs - same)


def value_semivariance(points: Floats, values: Floats) -> Semivariance:
    """Half the mean squared difference: `1/2 E[(z(x) - z(x + h))^2]`, with z of variance 1.

    Args:
        points: Coordinates, `(n, 2)`.
        values: A number at each point, `(n,)`; not all the same.
    """
    z = (values - values.mean()) / values.std()
    edges = lag_edges(points)
    tree = cKDTree(points)
    ones = np.ones(len(z))
    # (z_i - z_j)^2 = z_i^2 + z_j^2 - 2 z_i z_j, and each pair is counted from both ends
    squares = tree.count_neighbors(tree, edges, weights=(z**2, ones))
    products = tree.count_neighbors(tree, edges, weights=(z, z))
    pairs = tree.count_neighbors(tree, edges).astype(np.float64)
    return _by_lag(edges, pairs, 2 * squares - 2 * products)


def lag_edges(points: Floats) -> Floats:
    """Edges between the classes of distance, ascending, `(LAGS + 1,)`."""
    diagonal = float(np.hypot(*(points.max(axis=0) - points.min(axis=0))))
    longest = (diagonal or 1.0) * EXTENT_SHARE
    edges: Floats = np.geomspace(longest * SHORTEST, longest, LAGS + 1)
    return edges


def _by_lag(edges: Floats, pairs: Floats, squares: Floats) -> Semivariance:
    """From sums over all pairs up to each distance; classes with few pairs join the next one.

    Args:
        edges: The distances, ascending.
        pairs: Pairs up to each, counted from both ends, those of points with themselves included.
        squares: Their squared differences, summed.
    """
    lags, values, counts = [], [], []
    start = 0
    for end in range(1, len(edges)):
        count = (pairs[end] - pairs[start]) / 2
        if count >= LEAST_PAIRS:
            lags.append((edges[start] + edges[end]) / 2)
            values.append((squares[end] - squares[start]) / (4 * count))
            counts.append(count)
        if count >= LEAST_PAIRS or count == 0:  # pixels lie at few distances only
            start = end
    return Semivariance(np.array(lags), np.array(values), np.array(counts))


def exponential(lags: Floats, nugget: float, structure: float, practical_range: float) -> Floats:
    """`nugget + structure (1 - exp(-3 h / range))`: 95 % of the structure at the range."""
    return nugget + structure * (1 - np.exp(-3 * lags / practical_range))


def spherical(lags: Floats, nugget: float, structure: float, full_range: float) -> Floats:
    """`nugget + structure (3/2 h/range - 1/2 (h/range)^3)`, and the sill from the range on."""
    part = np.minimum(lags / full_range, 1.0)
    return nugget + structure * (1.5 * part - 0.5 * part**3)


def gaussian(lags: Floats, nugget: float, structure: float, practical_range: float) -> Floats:
    """`nugget + structure (1 - exp(-3 (h / range)^2))`: plots that lie apart from each other."""
    return nugget + structure * (1 - np.exp(-3 * (lags / practical_range) ** 2))


MODELS: dict[str, Callable[..., Floats]] = {
    "exponential": exponential,
    "spherical": spherical,
    "gaussian": gaussian,
}


def fit_variogram(measured: Semivariance) -> Variogram:
    """The model that comes nearest to what was measured, or the reason why there is none.

    Squared deviations are weighted by pairs / lag^2, as gstat does by default.
    """
    if len(measured.lags) < LEAST_LAGS:
        return Variogram(measured, reason="there are too few pairs of points")
    if measured.values.max() <= 1e-12:
        return Variogram(measured, reason="there is nothing that varies")
    fits = [fit for name in MODELS for fit in _fits(measured, name)]
    if not fits:
        return Variogram(measured, reason="no model fits the semivariances")
    _, name, (nugget, structure, distance) = min(fits, key=lambda fit: fit[0])
    reason, longer = _doubt(measured, nugget, structure, distance)
    return Variogram(
        measured,
        model=name,
        nugget=nugget,
        sill=nugget + structure,
        range=None if reason else distance,
        fitted=MODELS[name](measured.lags, nugget, structure, distance),
        reason=reason,
        longer_than=longer,
    )


def _fits(measured: Semivariance, name: str) -> list[tuple[float, str, tuple[float, float, float]]]:
    """The best parameters from several starts, each with its weighted sum of squares."""
    lags, values = measured.lags, measured.values
    top, longest = float(values.max()), float(lags[-1])
    sigma = lags / np.sqrt(measured.pairs)
    found = []
    for start in np.geomspace(lags[0], longest, 5):
        try:
            parameters, _ = curve_fit(
                MODELS[name],
                lags,
                values,
                p0=(0.2 * top, 0.6 * top, start),
                sigma=sigma,
                bounds=((0, 0, lags[0] / 10), (top, 2 * top, 10 * longest)),
            )
        except RuntimeError:  # not converged from here
            continue
        deviations = (MODELS[name](lags, *parameters) - values) / sigma
        nugget, structure, distance = map(float, parameters)
        found.append((float(deviations @ deviations), name, (nugget, structure, distance)))
    return found


def _doubt(
    measured: Semivariance, nugget: float, structure: float, distance: float
) -> tuple[str | None, float | None]:
    """Why a fitted range tells nothing, and what it is longer than; None where it is good."""
    first, longest = float(measured.lags[0]), float(measured.lags[-1])
    sill = nugget + structure
    evidence = _evidence(measured, sill, distance)
    if structure < LEAST_STRUCTURE * sill or evidence < LEAST_EVIDENCE:
        return f"neighbours {metres(first)} apart are no more alike than any others", None
    if distance > longest:
        return f"it is longer than {metres(longest)}, the longest distance looked at", longest
    return None, None


def _evidence(measured: Semivariance, sill: float, distance: float) -> float:
    """How far semivariances below the range are from the sill, in chi squared.

    The variance of a semivariance is about `2 value^2 / pairs` (Cressie 1985). Lags beyond the
    range say nothing here: with millions of pairs, the least trend there is beyond doubt.
    """
    near = measured.lags < distance
    deviations = measured.values[near] / sill - 1
    return float((measured.pairs[near] * deviations**2).sum() / 2)


def first_component(spectra: Floats) -> Floats:
    """The first principal component of `(n, bands)` spectra, `(n,)`, by singular values."""
    centred = spectra - spectra.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    component: Floats = centred @ axes[0]
    return component
