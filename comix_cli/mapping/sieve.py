"""Patches too small to be shown: each is given to its largest neighbour."""

from __future__ import annotations

import math
import re
from hashlib import blake2b
from itertools import count, takewhile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from rasterio.features import sieve

from comix_cli.errors import UsageError
from comix_cli.mapping.gis_metadata import add_text
from comix_cli.mapping.row_file import RowFile
from comix_cli.scene.grid import Grid

_AREA = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(m2|m²|ha|km2|km²|px|)\s*", re.IGNORECASE)
_SQUARE_METRES = {"": 1.0, "m2": 1.0, "m²": 1.0, "ha": 1e4, "km2": 1e6, "km²": 1e6}
# 0.3 m2 over 0.1 m2 is 2.9999999999999996 and means three pixels.
_ROUNDING = 1e-9
_MAX_PIXELS = 2**31 - 1
# Maps settle after two or three; noise takes a few dozen.
_MOST_PASSES = 100


def parse_area(text: str) -> tuple[float, str]:
    """A number and its unit: `m2`, `ha`, `km2` or `px`; square metres where none is given.

    Raises:
        UsageError: The text is no such thing.
    """
    found = _AREA.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--min-area '{text}' is no area", remedy="give square metres (200), 0.5ha or 20px"
        )
    return float(found[1]), found[2].lower()


def pixels_of_area(text: str, grid: Grid) -> int:
    """The fewest pixels of a grid that are not smaller than an area; degrees at the grid's centre.

    Raises:
        UsageError: As `parse_area`.
    """
    number, unit = parse_area(text)
    pixels = number if unit == "px" else number * _SQUARE_METRES[unit] / grid.gsd_m**2
    return math.ceil(min(pixels * (1 - _ROUNDING), _MAX_PIXELS))


def sieve_rows(rows: RowFile, least_pixels: int) -> None:
    """Give patches of fewer pixels to their largest neighbour, in the file itself.

    A patch is what hangs together over pixel edges. Pixels of no class (0) stay as they are and
    take nothing; a patch with no other neighbour stays too. GDAL leaves small patches whose largest
    neighbours are small as well: it is asked again until that changes nothing, and then, where
    whole regions are made of small patches, for the smallest of them first. Patches that all have
    exactly the same size stay. It keeps about 40 bytes for each patch of the map in memory, and no
    pixels beyond a few rows.

    Args:
        rows: One band of class codes, flushed.
        least_pixels: Patches of this size stay.
    """
    size = min(least_pixels, rows.grid.width * rows.grid.height)
    if size <= 1:
        return
    source, mask = _write_vrts(rows)
    state = b""
    while state != (state := _settled(rows, source, mask, size)):
        for smaller in takewhile(size.__gt__, (1 << power for power in count(1))):
            _sieve_once(rows, source, mask, smaller)


def _settled(rows: RowFile, source: Path, mask: Path, size: int) -> bytes:
    """Sieve until that changes nothing; what the rows then are, as a checksum."""
    state = _checksum(rows)
    for _ in range(_MOST_PASSES):
        _sieve_once(rows, source, mask, size)
        before, state = state, _checksum(rows)
        if state == before:
            break
    return state


def _sieve_once(rows: RowFile, source: Path, mask: Path, size: int) -> None:
    # rasterio takes open bands to read from but only an array to write to: one that is the file.
    out = np.memmap(rows.path, rows.dtype, "r+", shape=rows.grid.shape)
    with (
        rasterio.Env(GDAL_VRT_ENABLE_RAWRASTERBAND="YES"),
        rasterio.open(source) as codes,
        rasterio.open(mask) as filled,
    ):
        sieve(rasterio.band(codes, 1), size, out=out, mask=rasterio.band(filled, 1))
    out.flush()


def _checksum(rows: RowFile) -> bytes:
    found = blake2b()
    for strip in rows.strips():
        found.update(rows.read(strip.start, strip.stop).tobytes())
    return found.digest()


def _write_vrts(rows: RowFile) -> tuple[Path, Path]:
    """The codes, and the codes as bytes, which is what GDAL wants of a mask: only 0 stays 0."""
    source, mask = rows.path.with_suffix(".codes.vrt"), rows.path.with_suffix(".mask.vrt")
    root, _ = rows.vrt({})
    source.write_bytes(ET.tostring(root))
    for raw in root.findall("VRTRasterBand"):
        root.remove(raw)
    band = ET.SubElement(root, "VRTRasterBand", {"dataType": "Byte", "band": "1"})
    add_text(ET.SubElement(band, "SimpleSource"), "SourceFilename", source.name, relativeToVRT="1")
    mask.write_bytes(ET.tostring(root))
    return source, mask
