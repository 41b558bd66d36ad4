"""From the bands of one sensor to those of another, by their wavelengths.

Between band centres a spectrum is taken to run straight. What a wanted band would have measured is
then the integral of that spectrum under the wanted band's response: a sum of the bands that are
there, with weights that depend on wavelengths alone and so are found once for all pixels.

Numbers in, numbers out: nothing here knows files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

# Two centres this close, in widths of the band, are one band: their responses still overlap by more
# than nine tenths, and interpolating would blur more than the difference. It is also above what
# sensors drift by (tenths of a nanometre) and what headers round by.
SAME_BAND = 0.25
# A step between neighbouring bands this many times as wide as the steps around it is a gap, such as
# an absorption window that was dropped. Single bands may be missing.
GAP = 3.0
# Nanometres that count as none.
EXACT_NM = 1e-3
# A response is cut this many full widths from its centre, where it has fallen to 1/500.
REACH = 1.5
# The least part of a response that has to lie on covered wavelengths.
LEAST_RESPONSE = 0.5 - 1e-6
_SIGMA_PER_FWHM = 1 / (2 * math.sqrt(2 * math.log(2)))


@dataclass(frozen=True)
class Spectrum:
    """Where the bands of a sensor lie.

    Attributes:
        centres_nm: Band centres in nanometres, above 0, in any order.
        fwhm_nm: Full widths at half maximum in nanometres; None where unknown.
    """

    centres_nm: tuple[float, ...]
    fwhm_nm: tuple[float | None, ...]

    def __len__(self) -> int:
        return len(self.centres_nm)

    @property
    def label(self) -> str:
        """For messages: `177 bands, 460..2409 nm`, or `1 band, 460 nm`."""
        low, high = min(self.centres_nm), max(self.centres_nm)
        if len(self) == 1:
            return f"1 band, {low:.5g} nm"
        return f"{len(self)} bands, {low:.5g}..{high:.5g} nm"


@dataclass(frozen=True)
class BandMix:
    """Wanted bands as sums of the bands that are there.

    Attributes:
        rows: For each wanted band, pairs of the index of a band that is there and its weight; the
            weights of a row sum to 1.
        method: `linear interpolation` or `band response`, for people.
    """

    rows: tuple[tuple[tuple[int, float], ...], ...]
    method: str

    @property
    def used(self) -> tuple[int, ...]:
        """Indices of the bands that take part, ascending."""
        return tuple(sorted({index for row in self.rows for index, _ in row}))

    def compact(self) -> BandMix:
        """The same sums over the `used` bands alone, numbered anew."""
        place = {index: i for i, index in enumerate(self.used)}
        rows = tuple(tuple((place[i], weight) for i, weight in row) for row in self.rows)
        return replace(self, rows=rows)

    def apply(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """The wanted bands `(wanted, H, W)` of a block `(bands, H, W)`.

        Band after band in one order, so that a pixel has the same bits in whatever block it is
        read; a matrix product would choose its order by the shape of the block.
        """
        mixed = np.empty((len(self.rows), *data.shape[1:]), np.float32)
        part = np.empty(data.shape[1:], np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # fill values of invalid pixels
            for out, row in zip(mixed, self.rows, strict=True):
                for place, (index, weight) in enumerate(row):
                    np.multiply(data[index], np.float32(weight), out=part if place else out)
                    if place:
                        np.add(out, part, out=out)
        return mixed


@dataclass(frozen=True)
class _Run:
    """Bands without a gap between them, by rising wavelength.

    Attributes:
        indices: Which bands of the spectrum they are.
        centres: Their centres in nanometres, strictly ascending.
        widths: Their widths in nanometres, as `band_widths` has them.
        start: The first wavelength that they cover: half a band before the first centre.
        end: The last wavelength that they cover.
    """

    indices: tuple[int, ...]
    centres: tuple[float, ...]
    widths: tuple[float, ...]
    start: float
    end: float


def same_bands(source: Spectrum, wanted: Spectrum) -> bool:
    """True where both name the same bands in the same order, up to `SAME_BAND` band widths."""
    if len(source) != len(wanted):
        return False
    limits = [max(SAME_BAND * width, EXACT_NM) for width in band_widths(wanted)]
    pairs = zip(source.centres_nm, wanted.centres_nm, limits, strict=True)
    return all(abs(one - other) <= limit for one, other, limit in pairs)


def band_widths(spectrum: Spectrum) -> tuple[float, ...]:
    """Width of each band: its fwhm, or where that is unknown the distance to its next neighbour.

    0 for a single band of unknown width.
    """
    return tuple(
        fwhm if fwhm is not None else _nearest_step(spectrum, i)
        for i, fwhm in enumerate(spectrum.fwhm_nm)
    )


def _nearest_step(spectrum: Spectrum, index: int) -> float:
    centre = spectrum.centres_nm[index]
    distances = [abs(other - centre) for other in spectrum.centres_nm]
    return min((distance for distance in distances if distance > EXACT_NM), default=0.0)


def uncovered(source: Spectrum, wanted: Spectrum) -> tuple[int, ...]:
    """Indices of the wanted bands that the source says nothing about.

    A band is covered where its centre lies between two neighbouring bands of the source, or no
    farther than half a band beyond the last one before a gap or an end, and where at least half of
    its response is covered in that sense.
    """
    runs = _runs(source)
    bands = zip(wanted.centres_nm, wanted.fwhm_nm, strict=True)
    return tuple(i for i, (centre, fwhm) in enumerate(bands) if not _row(runs, centre, fwhm))


def band_mix(source: Spectrum, wanted: Spectrum) -> BandMix:
    """How the wanted bands come from those of the source.

    A wanted band that is wider than the source's bands is their sum under a Gaussian whose width,
    together with that of the source's own bands, makes the wanted one. One that is not, or whose
    width is unknown, is interpolated linearly between its two neighbours. So is one that a source
    of a single band of unknown width has.

    Raises:
        ValueError: The source does not cover a wanted band; see `uncovered`.
    """
    runs = _runs(source)
    bands = zip(wanted.centres_nm, wanted.fwhm_nm, strict=True)
    rows = [_row(runs, centre, fwhm) for centre, fwhm in bands]
    if not all(rows):
        missing = [wanted.centres_nm[i] for i in uncovered(source, wanted)]
        raise ValueError(f"not covered: {missing} nm")
    by_response = any(len(row) > 2 for row in rows)
    return BandMix(tuple(rows), "band response" if by_response else "linear interpolation")


def _row(runs: Sequence[_Run], centre: float, fwhm: float | None) -> tuple[tuple[int, float], ...]:
    """Bands and weights of one wanted band; empty where it is not covered."""
    home = next((run for run in runs if run.start <= centre <= run.end), None)
    if home is None:
        return ()
    own = float(np.interp(centre, home.centres, home.widths))
    blur = math.sqrt(max(0.0, (fwhm or 0.0) ** 2 - own**2))
    # A single band of unknown width may well be as wide as the wanted one.
    if blur <= EXACT_NM or own == 0:
        weights = _interpolated(home, centre)
    else:
        weights = _under_response(runs, centre, blur)
    total = sum(weights.values())
    if total < LEAST_RESPONSE:
        return ()
    return tuple((i, w / total) for i, w in sorted(weights.items()) if w / total > 1e-9)


def _interpolated(run: _Run, centre: float) -> dict[int, float]:
    """The two neighbours of a wavelength; one where it is a band's own or lies beyond the last."""
    after = int(np.searchsorted(run.centres, centre))
    for i in (after - 1, after):
        if 0 <= i < len(run.centres) and abs(run.centres[i] - centre) <= EXACT_NM:
            return {run.indices[i]: 1.0}
    if after in (0, len(run.centres)):
        return {run.indices[min(after, len(run.centres) - 1)]: 1.0}
    low, high = run.centres[after - 1], run.centres[after]
    share = (centre - low) / (high - low)
    return {run.indices[after - 1]: 1 - share, run.indices[after]: share}


def _under_response(runs: Sequence[_Run], centre: float, fwhm: float) -> dict[int, float]:
    """The integral of the straight-line spectrum under a Gaussian, as weights of the bands.

    Beyond the last band of a run the spectrum stays level for half a band.
    """
    reach = REACH * fwhm
    weights: dict[int, float] = {}
    for run in runs:
        nodes = [
            (run.start, run.indices[0]),
            *zip(run.centres, run.indices, strict=True),
            (run.end, run.indices[-1]),
        ]
        for (low, first), (high, second) in pairwise(nodes):
            ends = low - centre, high - centre
            falling, rising = _parts_under_gaussian(ends, reach, fwhm * _SIGMA_PER_FWHM)
            weights[first] = weights.get(first, 0.0) + falling
            weights[second] = weights.get(second, 0.0) + rising
    return weights


def _parts_under_gaussian(
    ends: tuple[float, float], reach: float, sigma: float
) -> tuple[float, float]:
    """How much of a Gaussian around 0 the two ends of a straight line share between them.

    The integrals, over the part of `ends` within `reach` of 0, of the Gaussian times the line from
    1 to 0 and times the line from 0 to 1.
    """
    low, high = ends
    a, b = max(low, -reach), min(high, reach)
    if a >= b:
        return 0.0, 0.0
    root = sigma * math.sqrt(2)
    mass = (math.erf(b / root) - math.erf(a / root)) / 2
    tails = math.exp(-((a / root) ** 2)) - math.exp(-((b / root) ** 2))
    moment = sigma / math.sqrt(2 * math.pi) * tails
    rising = (moment - low * mass) / (high - low)
    return mass - rising, rising


def _runs(source: Spectrum) -> tuple[_Run, ...]:
    """The bands by wavelength, parted at the gaps; of bands with one centre the first counts."""
    order: list[int] = []
    for i in sorted(range(len(source)), key=lambda i: source.centres_nm[i]):
        if not order or source.centres_nm[i] - source.centres_nm[order[-1]] > EXACT_NM:
            order.append(i)
    centres = [source.centres_nm[i] for i in order]
    every = band_widths(source)
    widths = [every[i] for i in order]
    known = [source.fwhm_nm[i] or 0.0 for i in order]
    cuts = [0, *(i + 1 for i in range(len(order) - 1) if _is_gap(centres, known, i)), len(order)]
    return tuple(_run(order[a:b], centres[a:b], widths[a:b]) for a, b in pairwise(cuts))


def _is_gap(centres: Sequence[float], widths: Sequence[float], index: int) -> bool:
    """Whether the step from band `index` to the next is far wider than the three on either side.

    The wider side counts, since a sensor's two detectors may differ in their steps. Bands whose
    responses touch have no gap between them.
    """
    steps = np.diff(centres).tolist()
    sides = (steps[max(0, index - 3) : index], steps[index + 1 : index + 4])
    around = max((median(side) for side in sides if side), default=steps[index])
    touching = (widths[index] + widths[index + 1]) / 2
    return bool(steps[index] > max(GAP * around, touching))


def _run(indices: Sequence[int], centres: Sequence[float], widths: Sequence[float]) -> _Run:
    first = max(widths[0], *np.diff(centres[:2]), EXACT_NM)
    last = max(widths[-1], *np.diff(centres[-2:]), EXACT_NM)
    return _Run(
        tuple(indices),
        tuple(centres),
        tuple(widths),
        start=centres[0] - first / 2,
        end=centres[-1] + last / 2,
    )
