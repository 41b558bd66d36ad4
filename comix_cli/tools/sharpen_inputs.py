"""The spectra of a pair: what the two files say of their bands, and what the user says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from comix_cli.errors import RasterError, UsageError, counted
from comix_cli.progress import Progress
from comix_cli.scene.raster import RasterInfo
from comix_cli.sharpening.pair import Pair
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


def parse_wavelengths(text: str, count: int = 2) -> tuple[Wavelength, ...]:
    """What the user says of bands, in nanometres.

    Args:
        text: `490,560:35,665`: centres, with widths after a colon where they are known; or
            `384..2512`: the first and the last of evenly spaced ones.
        count: How many bands there are.

    Raises:
        UsageError: Something else.
    """
    if ".." in text:
        first, last = (_wavelength(end, text) for end in text.split("..", 1))
        step = (last.centre_nm - first.centre_nm) / max(count - 1, 1)
        return tuple(Wavelength(first.centre_nm + i * step) for i in range(count))
    return tuple(_wavelength(part, text) for part in text.split(","))


def _wavelength(part: str, text: str) -> Wavelength:
    centre, _, width = part.strip().partition(":")
    try:
        found = Wavelength(float(centre), float(width) if width else None)
    except ValueError:
        found = Wavelength(0.0)
    fwhm = found.fwhm_nm
    if not 100 <= found.centre_nm <= 100_000 or not (fwhm is None or 0 < fwhm < 1e4):
        raise UsageError(
            f"wavelengths {text}: '{part}' is no wavelength in nanometres",
            remedy="write centres, with widths where they are known (490:65,560:35,665), or the "
            "first and the last of evenly spaced ones (384..2512)",
        )
    return found


def told(info: RasterInfo, text: str, option: str) -> RasterInfo:
    """What a file says of itself, with wavelengths that the user says; transparency has none.

    Args:
        info: What the file says.
        text: See `parse_wavelengths`; empty where the file is to be believed.
        option: What gave them, for a complaint.

    Raises:
        UsageError: The user names more or fewer wavelengths than there are bands.
    """
    if not text:
        return info
    shown = [b for b in range(1, info.count + 1) if b not in info.alpha_bands]
    given = parse_wavelengths(text, len(shown))
    if len(given) != len(shown):
        raise UsageError(
            f"{option} names {counted(len(given), 'wavelength')}, and {info.path} has "
            f"{counted(len(shown), 'band')}",
            remedy="name one for each, in the order of the file",
        )
    named = dict(zip(shown, given, strict=True))
    rows = [named.get(band) for band in range(1, info.count + 1)]
    bands = replace(
        info.bands,
        wavelengths_nm=tuple(row.centre_nm if row else None for row in rows),
        fwhm_nm=tuple(row.fwhm_nm if row else None for row in rows),
    )
    return replace(info, bands=bands)


def channels_and_response(pair: Pair, progress: Progress) -> tuple[tuple[int, ...], Tensor]:
    """Which bands of X guide, and the response that their wavelengths let expect.

    Args:
        pair: Both rasters.
        progress: Who is told of bands that the HSI does not cover.

    Returns:
        Indices among the bands of X that are read, and `(channels, bands)` float64.

    Raises:
        RasterError: Wavelengths are missing, or none of X lies where the HSI has bands.
    """
    hsi = spectrum_of(pair.hsi.info, pair.hsi.bands)
    if hsi is None:
        raise RasterError(
            "says no wavelengths of its bands, and sharpening needs them",
            path=pair.hsi.info.path,
            remedy="tell 'comix sharpen' with --hsi-wavelengths, such as 384..2512",
        )
    x = spectrum_of(pair.x.info, pair.x.bands)
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
