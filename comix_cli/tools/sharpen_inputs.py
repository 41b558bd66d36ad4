"""The spectra of a pair: what the two files say of their bands, and what the user says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from comix_cli.errors import RasterError, UsageError, counted
from comix_cli.progress import Progress
from comix_cli.scene.spectral import Spectrum
from comix_cli.sharpening.pair import Pair, Side
from comix_cli.sharpening.response import expected_response
from comix_cli.tools.band_match import spectrum_of

# Heights and backscatter have no wavelength, and what they show has no spectrum.
_NEEDS_OPTICAL = (
    "says no wavelengths of its bands, and sharpening needs an optical X: it rests on what both "
    "sensors measure of the same light, which heights (LiDAR) and backscatter (SAR) are not"
)


@dataclass(frozen=True)
class Wavelength:
    """A band as the user gives it: centre and, where known, full width at half maximum, in nm."""

    centre_nm: float
    fwhm_nm: float | None = None


def parse_wavelengths(text: str) -> tuple[Wavelength, ...]:
    """`490,560:35,665`: centres in nanometres, with widths after a colon where they are known.

    Raises:
        UsageError: Something else.
    """
    found = []
    for part in text.split(","):
        centre, _, width = part.strip().partition(":")
        try:
            values = (float(centre), float(width) if width else None)
        except ValueError:
            values = (0.0, None)
        if not 100 <= values[0] <= 100_000 or not (values[1] is None or 0 < values[1] < 1e4):
            raise UsageError(
                f"--x-wavelengths {text}: '{part}' is no wavelength in nanometres",
                remedy="write centres, with widths where they are known: 490:65,560:35,665",
            )
        found.append(Wavelength(*values))
    return tuple(found)


def channels_and_response(
    pair: Pair, given: tuple[Wavelength, ...], progress: Progress
) -> tuple[tuple[int, ...], Tensor]:
    """Which bands of X guide, and the response that their wavelengths let expect.

    Args:
        pair: Both rasters.
        given: What the user says of X; () for what the file says.
        progress: Who is told of bands that the HSI does not cover.

    Returns:
        Indices among the bands of X that are read, and `(channels, bands)` float64.

    Raises:
        RasterError: Wavelengths are missing, or none of X lies where the HSI has bands.
        UsageError: The user names more or fewer wavelengths than X has bands.
    """
    hsi = spectrum_of(pair.hsi.info, pair.hsi.bands)
    if hsi is None:
        raise RasterError(
            "says no wavelengths of its bands, and sharpening needs them",
            path=pair.hsi.info.path,
            remedy="write them into the file, as ENVI headers or GDAL's IMAGERY tags do",
        )
    x = _given(pair.x, given) if given else spectrum_of(pair.x.info, pair.x.bands)
    if x is None:
        raise RasterError(
            _NEEDS_OPTICAL,
            path=pair.x.info.path,
            remedy="if it is optical, give --x-wavelengths, such as 490,560,665,842",
        )
    weights, kept = expected_response(hsi, x)
    if not kept:
        raise RasterError(
            f"has {x.label}, none of which the HSI covers ({hsi.label})",
            path=pair.x.info.path,
            remedy="give an X whose bands lie within those of the HSI",
        )
    for index in sorted(set(range(len(x))) - set(kept)):
        progress.info(
            f"{pair.x.info.path}: band {pair.x.bands[index]} ({x.centres_nm[index]:g} nm) lies "
            "where the HSI has no bands, and does not guide"
        )
    return kept, torch.from_numpy(weights)


def _given(side: Side, given: tuple[Wavelength, ...]) -> Spectrum:
    """Of all bands that show something, or of those of them that hold data."""
    shown = [b for b in range(1, side.info.count + 1) if b not in side.info.alpha_bands]
    if len(given) not in (len(shown), len(side.bands)):
        raise UsageError(
            f"--x-wavelengths names {counted(len(given), 'wavelength')}, and {side.info.path} has "
            f"{counted(len(shown), 'band')}"
        )
    named = dict(zip(side.bands if len(given) == len(side.bands) else shown, given, strict=True))
    chosen = [named[band] for band in side.bands]
    return Spectrum(tuple(w.centre_nm for w in chosen), tuple(w.fwhm_nm for w in chosen))
