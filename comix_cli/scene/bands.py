"""What a raster says about its bands: wavelengths, widths, the bad-band list, names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NM_PER_UNIT = {
    "nanometers": 1.0, "nanometer": 1.0, "nanometres": 1.0, "nanometre": 1.0, "nm": 1.0,
    "micrometers": 1e3, "micrometer": 1e3, "micrometres": 1e3, "micrometre": 1e3,
    "microns": 1e3, "micron": 1e3, "um": 1e3, "µm": 1e3, "μm": 1e3,
    "millimeters": 1e6, "mm": 1e6, "centimeters": 1e7, "cm": 1e7, "meters": 1e9, "m": 1e9,
    "angstroms": 0.1, "angstrom": 0.1,
}  # fmt: skip
# No optical band is centred above 100 µm, and none below 100 nm.
_LARGEST_MICROMETRE = 100.0
_IN_DESCRIPTION = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nanomet\w+|nm|micromet\w+|microns?|um|µm|μm)\b", re.I
)


@dataclass(frozen=True)
class BandTable:
    """One entry per band of a raster, in the order of the file.

    Attributes:
        wavelengths_nm: Band centres in nanometres; None where unknown.
        fwhm_nm: Full widths at half maximum in nanometres; None where unknown.
        good: False for what the bad-band list names.
        names: Descriptions; `band 1`, `band 2`, ... where there is none.
    """

    wavelengths_nm: tuple[float | None, ...]
    fwhm_nm: tuple[float | None, ...]
    good: tuple[bool, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def read_band_table(dataset: Any) -> BandTable:
    """Collect what an open rasterio dataset says about its bands.

    Wavelengths are looked for where programs put them: in each band's own tags (ENVI through GDAL),
    in the lists of the ENVI header, in lists among the file's tags, in GDAL's IMAGERY tags, and at
    last in the band's description. Without a unit, numbers up to 100 are taken for micrometres.
    """
    per_band = [lower_keys(dataset.tags(band)) for band in dataset.indexes]
    whole_file = {**lower_keys(dataset.tags()), **lower_keys(dataset.tags(ns="ENVI"))}
    imagery = [lower_keys(dataset.tags(band, ns="IMAGERY")) for band in dataset.indexes]
    units = [_unit(tags) or _unit(whole_file) for tags in per_band]
    factors = _factors(units, _numbers("wavelength", per_band, whole_file))
    centres = _scaled(_numbers("wavelength", per_band, whole_file), factors)
    descriptions = [text or "" for text in dataset.descriptions]
    return BandTable(
        wavelengths_nm=_first_known(
            _told_apart(centres),
            _told_apart(_micrometres(imagery, "central_wavelength_um")),
            _told_apart([_described_nm(text) for text in descriptions]),
        ),
        fwhm_nm=_first_known(
            _widths(_numbers("fwhm", per_band, whole_file), factors, centres),
            _micrometres(imagery, "fwhm_um"),
        ),
        good=tuple(value is None or value != 0 for value in _numbers("bbl", per_band, whole_file)),
        names=tuple(text or f"band {i + 1}" for i, text in enumerate(descriptions)),
    )


def lower_keys(tags: Mapping[str, str]) -> dict[str, str]:
    """GDAL's tags by one spelling of their names: small letters, no spaces."""
    return {key.lower().replace(" ", "_"): value for key, value in tags.items()}


def _unit(tags: Mapping[str, str]) -> str | None:
    for key in ("wavelength_units", "wavelength_unit"):
        unit = tags.get(key, "").strip().strip("{}").strip().lower()
        if unit in _NM_PER_UNIT or unit.startswith("wavenumber"):
            return unit
    return None


def _numbers(
    key: str, per_band: Sequence[Mapping[str, str]], whole_file: Mapping[str, str]
) -> list[float | None]:
    """The numbers of one key: from the bands' own tags, else from a list as long as the file."""
    own = [_number(tags.get(key)) for tags in per_band]
    if any(value is not None for value in own):
        return own
    for name in (key, f"{key}s"):
        listed = re.split(r"[,;\s]+", whole_file.get(name, "").strip(" {}[]\t\r\n"))
        if len(listed) == len(per_band):
            return [_number(text) for text in listed]
    return own


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _factors(units: Sequence[str | None], values: Sequence[float | None]) -> list[str | float]:
    """Nanometres per unit of each band, or 'wavenumber', which is no factor."""
    known = [value for value in values if value is not None]
    guess = 1e3 if known and max(known) <= _LARGEST_MICROMETRE else 1.0
    return [guess if unit is None else _NM_PER_UNIT.get(unit, "wavenumber") for unit in units]


def _scaled(values: Sequence[float | None], factors: Sequence[str | float]) -> list[float | None]:
    return [_nanometres(value, factor) for value, factor in zip(values, factors, strict=True)]


def _widths(
    widths: Sequence[float | None],
    factors: Sequence[str | float],
    centres_nm: Sequence[float | None],
) -> list[float | None]:
    """Band widths in nanometres; those in wavenumbers depend on where the band lies."""
    found = []
    for width, factor, centre in zip(widths, factors, centres_nm, strict=True):
        if isinstance(factor, str):
            unknown = width is None or centre is None
            found.append(None if unknown else round((width or 0) * (centre or 0) ** 2 / 1e7, 6))
        else:
            found.append(_nanometres(width, factor))
    return found


def _nanometres(value: float | None, factor: str | float) -> float | None:
    if value is None or value <= 0:
        return None
    # Wavenumbers count waves per centimetre, which is 1e7 nm.
    nanometres = 1e7 / value if isinstance(factor, str) else value * factor
    return round(nanometres, 6)


def _micrometres(imagery: Sequence[Mapping[str, str]], key: str) -> list[float | None]:
    return [_nanometres(_number(tags.get(key)), 1e3) for tags in imagery]


def _described_nm(text: str) -> float | None:
    found = _IN_DESCRIPTION.search(text)
    if found is None:
        return None
    unit = found.group(2).lower()
    return _nanometres(float(found.group(1)), _NM_PER_UNIT.get(unit, 1.0))


def _told_apart(centres: Sequence[float | None]) -> Sequence[float | None]:
    """Band centres; none where all bands have the same one, as after a conversion to netCDF."""
    same = len(centres) > 1 and len(set(centres)) == 1
    return [None] * len(centres) if same else centres


def _first_known(*sources: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(
        next((value for value in candidates if value is not None), None)
        for candidates in zip(*sources, strict=True)
    )
