"""How good a sharpened image is where no reference tells: the hybrid QNR.

What is sharpened should be the HSI again when it is made coarse again (spectral distortion, Khan et
al. 2009, IEEE Transactions on Geoscience and Remote Sensing 47), and each of its bands should be as
much like X as the HSI's band is like a coarse X (spatial distortion, Alparone et al. 2008,
Photogrammetric Engineering and Remote Sensing 74). Together they are HQNR (Aiazzi et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comix_cli.accuracy.local_statistics import (
    Core,
    Cube,
    Floats,
    Likeness,
    LocalBand,
    Mask,
    Usable,
)


@dataclass(frozen=True)
class Partner:
    """The band of X that a band of the HSI is compared with.

    Attributes:
        band: Its index in X, from 0.
        gain: What its values are multiplied by to be in the HSI's unit. UIQI compares means too:
            with a band in quite another unit every image is equally unlike, and the spatial
            distortion says nothing. Mean of the HSI's band by that of X's is a usable gain.
    """

    band: int
    gain: float = 1.0


@dataclass(frozen=True)
class NoReferenceQuality:
    """Distortions of a sharpened image; None where no window tells.

    Attributes:
        d_lambda: Spectral distortion, 0 (none) to 2: 1 less the mean UIQI, over windows and bands,
            of the sharpened image made coarse and the HSI.
        d_s: Spatial distortion, 0 (none) to 2: the mean over bands of how far the UIQI of the
            sharpened band and its partner is from that of the HSI's band and the coarse partner.
        qnr: `(1 - d_lambda) (1 - d_s)`, 0..1, 1 is best; a factor below 0 counts as 0, so that two
            of them cannot make a good image.
        coarse_windows: Windows of 11 x 11 pixels on the HSI's grid, all of them valid.
        fine_windows: The same on X's grid.
    """

    d_lambda: float | None
    d_s: float | None
    qnr: float | None
    coarse_windows: int
    fine_windows: int


class NoReference:
    """Adds up what the figures of `NoReferenceQuality` need, block by block, on both grids.

    Each band of the HSI is compared with one band of X, its partner: every band with every other
    would multiply the time by the number of X's bands, and say little more, since most of them see
    another part of the spectrum. Windows have as many pixels on the coarse grid as on the fine one.

    Args:
        partners: One for each band of the HSI.

    Raises:
        ValueError: There is no band, or a partner is impossible.
    """

    def __init__(self, partners: Sequence[Partner]) -> None:
        if not partners:
            raise ValueError("each band of the HSI needs a partner in X")
        if any(each.band < 0 or not 0 < each.gain < np.inf for each in partners):
            raise ValueError(f"partners have an index and a positive gain, not {partners}")
        self._partners = tuple(partners)
        bands = len(partners)
        self._coarse_windows, self._fine_windows = 0, 0
        self._same, self._coarse, self._fine = np.zeros(bands), np.zeros(bands), np.zeros(bands)

    def add_coarse(
        self, hsi: Cube, degraded_sharpened: Cube, degraded_x: Cube, valid: Mask, core: Core
    ) -> None:
        """Count the core of a block on the HSI's grid.

        Args:
            hsi: `(bands, h, w)` in physical units.
            degraded_sharpened: The sharpened image on the HSI's grid, of the same shape.
            degraded_x: X on the HSI's grid, `(bands of X, h, w)`.
            valid: `(h, w)`; True = use. Other pixels, whatever they hold, take part in nothing.
            core: The rows and columns of the block that count, as in `FullReference.add`.

        Raises:
            ValueError: The shapes do not belong together, or a valid pixel is not finite; the sums
                are of no use then.
        """
        self._check(hsi, degraded_x)
        self._check(degraded_sharpened, degraded_x)
        usable = Usable.of([hsi, degraded_sharpened, degraded_x], valid, core)
        if usable.window_count:
            self._coarse_windows += usable.window_count
            partners = self._partner_bands(degraded_x, usable)
            for band, partner in enumerate(self._partners):
                first = LocalBand.of(usable.values(hsi[band]))
                again = LocalBand.of(usable.values(degraded_sharpened[band]))
                other = partners[partner.band].scaled(partner.gain)
                self._same[band] += _uiqi(first, again, usable.windows)
                self._coarse[band] += _uiqi(first, other, usable.windows)

    def add_fine(self, sharpened: Cube, x: Cube, valid: Mask, core: Core) -> None:
        """Count the core of a block on X's grid.

        Args:
            sharpened: `(bands, h, w)` in physical units.
            x: `(bands of X, h, w)`.
            valid: `(h, w)`; True = use. Other pixels, whatever they hold, take part in nothing.
            core: The rows and columns of the block that count, as in `FullReference.add`.

        Raises:
            ValueError: As of `add_coarse`.
        """
        self._check(sharpened, x)
        usable = Usable.of([sharpened, x], valid, core)
        if usable.window_count:
            self._fine_windows += usable.window_count
            partners = self._partner_bands(x, usable)
            for band, partner in enumerate(self._partners):
                first = LocalBand.of(usable.values(sharpened[band]))
                other = partners[partner.band].scaled(partner.gain)
                self._fine[band] += _uiqi(first, other, usable.windows)

    def _check(self, cube: Cube, x: Cube) -> None:
        if len(cube) != len(self._partners):
            raise ValueError(f"{len(cube)} bands have {len(self._partners)} partners")
        last = max(partner.band for partner in self._partners)
        if len(x) <= last:
            raise ValueError(f"X has {len(x)} bands, and one of the partners has the index {last}")

    def _partner_bands(self, x: Cube, usable: Usable) -> dict[int, LocalBand]:
        """Statistics of the bands of X that somebody's partner is, each computed once."""
        bands = {partner.band for partner in self._partners}
        return {band: LocalBand.of(usable.values(x[band])) for band in bands}

    def result(self) -> NoReferenceQuality:
        """The figures of all that was added."""
        coarse, fine = self._coarse_windows, self._fine_windows
        d_lambda = 1 - float(self._same.mean()) / coarse if coarse else None
        d_s = None
        if coarse and fine:
            d_s = float(np.abs(self._coarse / coarse - self._fine / fine).mean())
        return NoReferenceQuality(
            d_lambda=d_lambda,
            d_s=d_s,
            qnr=None if d_lambda is None or d_s is None else _qnr(d_lambda, d_s),
            coarse_windows=coarse,
            fine_windows=fine,
        )


def _uiqi(first: LocalBand, second: LocalBand, windows: Floats) -> float:
    """The sum of UIQI over the windows that count."""
    return float(np.vdot(windows, Likeness(first, second).uiqi()))


def _qnr(d_lambda: float, d_s: float) -> float:
    return max(0.0, 1 - d_lambda) * max(0.0, 1 - d_s)
