"""How close an estimated image comes to a reference of the same grid and bands.

Sums of blocks, so that the images may be larger than memory. This is the first half of Wald's
protocol (Wald et al. 1997, Photogrammetric Engineering and Remote Sensing 63): an image that was
made coarser is sharpened, and compared with what it was before.
"""

from __future__ import annotations

import math
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
class BandQuality:
    """The figures of one band; see `ReferenceQuality`."""

    psnr_db: float | None
    rmse: float | None
    ssim: float | None
    uiqi: float | None


@dataclass(frozen=True)
class ReferenceQuality:
    """How close an estimate comes to its reference; None where a figure is not defined.

    Attributes:
        pixels: Valid pixels.
        windows: Windows of 11 x 11 pixels, all of them valid.
        psnr_db: Peak signal-to-noise ratio in decibels, the mean over bands; the peak of a band is
            the largest value of the reference. Infinite where a band of the estimate is exact.
            Bands without a positive value have none.
        psnr_overall_db: The same of all bands as one signal, with the largest peak.
        rmse: Root of the mean squared error of all bands, in the unit of the image.
        ssim: Structural similarity, -1..1, the mean over windows and bands.
        uiqi: Universal image quality index, -1..1, the mean over windows and bands.
        sam_degrees: Spectral angle, 0..180, the mean over pixels where neither spectrum is 0.
        ergas: Relative dimensionless global error, 0 or more; bands whose mean is 0 do not count.
        bands: The figures of each band.
    """

    pixels: int
    windows: int
    psnr_db: float | None
    psnr_overall_db: float | None
    rmse: float | None
    ssim: float | None
    uiqi: float | None
    sam_degrees: float | None
    ergas: float | None
    bands: tuple[BandQuality, ...]


class FullReference:
    """Adds up what the figures of `ReferenceQuality` need, block by block.

    Args:
        data_range: For each band the `data_range` of SSIM, in the unit of the image, as
            scikit-image and torchmetrics take it: usually the largest less the smallest value of
            the reference. It cannot be found while blocks are added, because every window depends
            on it. 0 makes SSIM the same as UIQI.

    Raises:
        ValueError: There is no band, or a range is negative or not finite.
    """

    def __init__(self, data_range: Sequence[float] | Floats) -> None:
        self._range = np.asarray(data_range, np.float64)
        if self._range.ndim != 1 or not self._range.size:
            raise ValueError(f"one range for each band is needed, not {data_range}")
        if not (np.isfinite(self._range) & (self._range >= 0)).all():
            raise ValueError(f"the ranges of bands must be 0 or more, not {data_range}")
        bands = len(self._range)
        self._pixels, self._windows = 0, 0
        self._peak, self._sum, self._error = np.zeros(bands), np.zeros(bands), np.zeros(bands)
        self._ssim, self._uiqi = np.zeros(bands), np.zeros(bands)
        self._angle, self._spectra = 0.0, 0

    def add(self, reference: Cube, estimate: Cube, valid: Mask, core: Core) -> None:
        """Count the core of a block.

        Args:
            reference: `(bands, h, w)` in physical units.
            estimate: The same of the image that is judged.
            valid: `(h, w)`; True = use. Other pixels, whatever they hold, take part in nothing.
            core: The rows and columns of the block that count. Around them it has `HALO` pixels, or
                those that the image still has there; `blocks` cuts an image so. All cores together
                should hold each pixel of the image once.

        Raises:
            ValueError: The shapes do not belong together, or a valid pixel is not finite; the sums
                are of no use then.
        """
        if reference.shape != estimate.shape or len(reference) != len(self._range):
            shapes = f"{reference.shape} and {estimate.shape}"
            raise ValueError(f"{shapes} are not two images of {len(self._range)} bands")
        usable = Usable.of([reference, estimate], valid, core)
        if usable.pixels:
            self._pixels += usable.pixels
            self._windows += usable.window_count
            self._add_bands(reference, estimate, usable)

    def _add_bands(self, reference: Cube, estimate: Cube, usable: Usable) -> None:
        angles = _SpectralAngles(usable)
        for band, pair in enumerate(zip(reference, estimate, strict=True)):
            first, second = (usable.values(image) for image in pair)
            angles.add(first, second)
            self._add_pixels(band, first[usable.core], second[usable.core])
            if usable.window_count:
                self._add_windows(band, first, second, usable.windows)
        total, spectra = angles.total()
        self._angle += total
        self._spectra += spectra

    def _add_pixels(self, band: int, reference: Floats, estimate: Floats) -> None:
        """Pixels that are not valid are 0 in both, which adds nothing and is no peak."""
        error = reference - estimate
        self._error[band] += np.einsum("ij,ij->", error, error)
        self._sum[band] += reference.sum()
        self._peak[band] = max(self._peak[band], reference.max())

    def _add_windows(self, band: int, first: Floats, second: Floats, windows: Floats) -> None:
        likeness = Likeness(LocalBand.of(first), LocalBand.of(second))
        self._ssim[band] += np.vdot(windows, likeness.ssim(self._range[band]))
        self._uiqi[band] += np.vdot(windows, likeness.uiqi())

    def result(self, ratio: float) -> ReferenceQuality:
        """The figures of all that was added.

        Args:
            ratio: Pixel size of the coarse image, which was sharpened, by that of the fine one.

        Raises:
            ValueError: The ratio is not positive.
        """
        if not ratio > 0:
            raise ValueError(f"the ratio of pixel sizes must be positive, not {ratio}")
        errors = self._error / self._pixels if self._pixels else None
        bands = tuple(self._band(band) for band in range(len(self._range)))
        return ReferenceQuality(
            pixels=self._pixels,
            windows=self._windows,
            psnr_db=mean_of_known([band.psnr_db for band in bands]),
            psnr_overall_db=None if errors is None else _psnr(self._peak.max(), errors.mean()),
            rmse=None if errors is None else math.sqrt(errors.mean()),
            ssim=mean_of_known([band.ssim for band in bands]),
            uiqi=mean_of_known([band.uiqi for band in bands]),
            sam_degrees=math.degrees(self._angle / self._spectra) if self._spectra else None,
            ergas=None if errors is None else _ergas(errors, self._sum / self._pixels, ratio),
            bands=bands,
        )

    def _band(self, band: int) -> BandQuality:
        error = self._error[band] / self._pixels if self._pixels else None
        return BandQuality(
            psnr_db=None if error is None else _psnr(self._peak[band], error),
            rmse=None if error is None else math.sqrt(error),
            ssim=float(self._ssim[band] / self._windows) if self._windows else None,
            uiqi=float(self._uiqi[band] / self._windows) if self._windows else None,
        )


class _SpectralAngles:
    """The angles between the spectra of a block, of which one band after the other comes.

    The angle of spectra u and v is `arccos(u v / (|u| |v|))` (Yuhas et al. 1992).
    """

    def __init__(self, usable: Usable) -> None:
        self._core = usable.core
        shape = usable.valid[usable.core].shape
        self._product, self._first, self._second = (np.zeros(shape) for _ in range(3))

    def add(self, first: Floats, second: Floats) -> None:
        first, second = first[self._core], second[self._core]
        self._product += first * second
        self._first += first * first
        self._second += second * second

    def total(self) -> tuple[float, int]:
        """The sum of the angles in radians, and of how many pixels: those without a spectrum of 0.

        Pixels that are not valid have spectra of 0.
        """
        some = (self._first > 0) & (self._second > 0)
        lengths = np.sqrt(self._first[some]) * np.sqrt(self._second[some])
        # Rounding takes the cosine of parallel spectra beyond 1.
        angles = np.arccos(np.clip(self._product[some] / lengths, -1, 1))
        return float(angles.sum()), len(angles)


def mean_of_known(figures: Sequence[float | None]) -> float | None:
    """The mean of the figures that are defined; None if none is."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known else None


def _psnr(peak: float, error: float) -> float | None:
    """`10 log10(peak^2 / error)` in decibels of a mean squared error."""
    if peak <= 0:
        return None
    return 20 * math.log10(peak) - 10 * math.log10(error) if error > 0 else math.inf


def _ergas(errors: Floats, means: Floats, ratio: float) -> float | None:
    """`100 / ratio * sqrt(mean(errors / means^2))` (Wald 2000) of the bands whose mean is not 0."""
    some = means != 0
    if not some.any():
        return None
    return 100 / ratio * math.sqrt(np.mean(errors[some] / means[some] ** 2))
