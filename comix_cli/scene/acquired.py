"""When a raster was taken, where its file tells.

The date that a TIFF was written at (`TIFFTAG_DATETIME`) says nothing of that, and is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from comix_cli.errors import RasterError
from comix_cli.scene.bands import lower_keys
from comix_cli.scene.raster import open_raster

# GDAL's domain of metadata, and what begin and end are called there, in lower case and with
# underscores: ENVI headers; what GDAL makes of many vendors' files; netCDF by the conventions for
# data discovery (ACDD); Sentinel-2; PRISMA; MODIS and other HDF-EOS.
_TAGS = (
    ("ENVI", "acquisition_time", "acquisition_time"),
    ("IMAGERY", "acquisitiondatetime", "acquisitiondatetime"),
    (None, "acquisitiondatetime", "acquisitiondatetime"),
    (None, "acquisition_time", "acquisition_time"),
    (None, "nc_global#time_coverage_start", "nc_global#time_coverage_end"),
    (None, "time_coverage_start", "time_coverage_end"),
    (None, "product_start_time", "product_stop_time"),
    (None, "product_starttime", "product_stoptime"),
)
# No sensor is older; what programs write for 'unknown' mostly is.
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Acquired:
    """Begin and end of an acquisition, UTC; the same where there is one instant."""

    start: datetime
    end: datetime


def acquired(path: str) -> Acquired | None:
    """When a raster was taken; None where its file does not say, or cannot be opened."""
    try:
        with open_raster(path) as dataset:
            return acquired_of(dataset)
    except RasterError:
        return None


def acquired_of(dataset: Any) -> Acquired | None:
    """When an open rasterio dataset was taken; times without a zone are taken for UTC."""
    for domain, first, last in _TAGS:
        tags = lower_keys(dataset.tags(ns=domain) if domain else dataset.tags())
        start, end = _instant(tags.get(first)), _instant(tags.get(last))
        if start is not None:
            return Acquired(start, end if end is not None and end >= start else start)
    return None


def _instant(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat((text or "").strip().strip("{}\"' "))
    except ValueError:
        return None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return found if found >= _EARLIEST else None
