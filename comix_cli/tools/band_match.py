"""Which bands of a raster a model gets: those of its own sensor, or mixed from another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from comix_cli.errors import RasterError, counted
from comix_cli.learning.model_file import InputRecord
from comix_cli.progress import Progress
from comix_cli.scene.empty_bands import empty_bands
from comix_cli.scene.raster import RasterInfo, describe, open_raster
from comix_cli.scene.spectral import Spectrum, band_mix, same_bands, uncovered
from comix_cli.scene.stack import SourceSpec, usable_bands

# More missing wavelengths than that say nothing more.
MOST_LISTED = 6


def match_bands(source: SourceSpec, record: InputRecord, progress: Progress) -> SourceSpec:
    """The raster with the bands that the model knows.

    Where number and wavelengths of the bands agree with training, or of those that hold data, they
    are used as they are. Where they do not, the model's bands are made of those that the raster
    has, and the user is told. Where either carries no wavelengths, the number of bands decides.
    Bands on the bad-band list and bands without any valid pixel are never mixed in.

    Raises:
        RasterError: The raster has other bands, and does not cover the model's wavelengths.
    """
    wanted = _spectrum(record.wavelengths_nm, record.fwhm_nm)
    with open_raster(source.path) as dataset:
        info = describe(dataset, source.path, src_crs=source.src_crs)
        known = wanted is not None and any(info.bands.wavelengths_nm)
        if wanted is None or not known or _as_in_training(dataset, info, record, wanted):
            return _by_number(source, info, record)
        usable = usable_bands(dataset, info)[0]
    bands = tuple(band for band in usable if info.bands.wavelengths_nm[band - 1] is not None)
    own = spectrum_of(info, bands)
    if own is None:
        return _by_number(source, info, record)
    if same_bands(own, wanted):
        return replace(source, bands=bands)
    return _mixed(source, bands, own, wanted, progress)


def _spectrum(wavelengths: Sequence[float | None], fwhm: Sequence[float | None]) -> Spectrum | None:
    """A spectrum, where every centre is known and there is one."""
    known = tuple(value for value in wavelengths if value is not None)
    if not known or len(known) < len(wavelengths):
        return None
    return Spectrum(known, tuple(fwhm))


def spectrum_of(info: RasterInfo, bands: Sequence[int]) -> Spectrum | None:
    """Where some 1-based bands of a raster lie; None where it does not say it of all of them."""
    table = info.bands
    return _spectrum(
        [table.wavelengths_nm[band - 1] for band in bands],
        [table.fwhm_nm[band - 1] for band in bands],
    )


def _as_in_training(dataset: Any, info: RasterInfo, record: InputRecord, wanted: Spectrum) -> bool:
    if info.count != record.count or not all(info.bands.good[b - 1] for b in record.bands):
        return False
    own = spectrum_of(info, record.bands)
    if own is None or not same_bands(own, wanted):
        return False
    # To tell that a band is empty takes a look at all of it: only the bands that count are asked.
    return not empty_bands(dataset, info.path, record.bands)


def _by_number(source: SourceSpec, info: RasterInfo, record: InputRecord) -> SourceSpec:
    if info.count != record.count:
        raise RasterError(
            f"has {counted(info.count, 'band')}, but the model was trained on "
            f"{counted(record.count, 'band')} ({record.name})",
            path=source.path,
            remedy="give the rasters as in training, the HSI first, or train a new model; other "
            "bands can be used only where the raster and the model carry wavelengths",
        )
    return replace(source, bands=record.bands)


def _mixed(
    source: SourceSpec,
    bands: Sequence[int],
    own: Spectrum,
    wanted: Spectrum,
    progress: Progress,
) -> SourceSpec:
    missing = uncovered(own, wanted)
    if missing:
        shown = ", ".join(f"{wanted.centres_nm[i]:.5g}" for i in missing[:MOST_LISTED])
        more = len(missing) - MOST_LISTED
        verb = "does" if len(own) == 1 else "do"
        lack = "band, or none wide enough," if _some_are_narrow(own, wanted, missing) else "band"
        raise RasterError(
            f"its {own.label} {verb} not cover the model's {wanted.label}: no usable {lack} around "
            f"{shown} nm" + (f" and {more} more" if more > 0 else ""),
            path=source.path,
            remedy="give a raster that covers them, or train a model on the bands that are there",
        )
    mix = band_mix(own, wanted)
    verb = "is" if len(own) == 1 else "are"
    progress.warn(
        f"{source.path}: its {own.label} {verb} resampled to the model's {wanted.label}, by "
        f"{mix.method}"
    )
    return replace(source, bands=tuple(bands[i] for i in mix.used), mix=mix.compact())


def _some_are_narrow(own: Spectrum, wanted: Spectrum, missing: Sequence[int]) -> bool:
    """Whether a wanted band has one within it, which holds too little of its response."""
    return any(
        abs(centre - wanted.centres_nm[i]) < (wanted.fwhm_nm[i] or 0.0) / 2
        for i in missing
        for centre in own.centres_nm
    )
