"""A CRS in which distances around some ground are metres, whatever CRS the ground came in."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.crs import CRS

from comix_cli.scene.grid import Bounds
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.vector import reproject

if TYPE_CHECKING:
    import pyproj

# UTM keeps within 0.1 %, national grids within 0.3 %; Web Mercator is off by 60 % in mid-Europe.
TOLERANCE = 0.01
# For coordinates that no CRS places on the Earth; they are taken as metres.
NOWHERE = CRS.from_wkt('LOCAL_CS["unknown",UNIT["metre",1]]')


def metric_crs(crs: CRS, bounds: Bounds) -> CRS:
    """A CRS whose unit is a metre on the ground within `bounds`.

    That is `crs` itself where its metres are true to `TOLERANCE` in both directions; for degrees,
    feet or Web Mercator an equal-area projection around the middle of the ground, on the same
    datum. Distances within 500 km of there are true to 0.1 %, and areas are exact.

    Args:
        crs: The CRS of the ground; a local one without a place on the Earth is taken as metric.
        bounds: Left, bottom, right, top of the ground in `crs`.
    """
    import pyproj  # noqa: PLC0415  # its CRS has rasterio's name
    from pyproj.crs.coordinate_operation import (  # noqa: PLC0415
        LambertAzimuthalEqualAreaConversion,
    )

    own = pyproj.CRS.from_wkt(crs.to_wkt())
    if own.geodetic_crs is None:
        return crs
    left, bottom, right, top = bounds
    x, y = (left + right) / 2, (bottom + top) / 2
    if not own.is_geographic and is_true_at(own, x, y):
        return crs
    lon, lat = longitude_latitude(own, x, y)
    around = pyproj.crs.ProjectedCRS(
        LambertAzimuthalEqualAreaConversion(round(lat, 6), round(lon, 6)),
        name="metres around the ground",
        geodetic_crs=own.geodetic_crs,
    )
    return CRS.from_wkt(around.to_wkt())


def reprojected(truth: GroundTruth, crs: CRS) -> GroundTruth:
    """The same ground truth with its geometries in another CRS."""
    return replace(truth, geometries=reproject(truth.geometries, truth.crs, crs), crs=crs)


def is_true_at(crs: pyproj.CRS, x: float, y: float) -> bool:
    """Whether a hundred units to the east and to the north are a hundred metres on the ground."""
    geod = crs.get_geod()
    if geod is None:
        return True
    here = longitude_latitude(crs, x, y)
    for step in ((100.0, 0.0), (0.0, 100.0)):
        there = longitude_latitude(crs, x + step[0], y + step[1])
        metres = geod.inv(*here, *there)[2]
        if not math.isclose(metres, 100.0, rel_tol=TOLERANCE):
            return False
    return True


def longitude_latitude(crs: pyproj.CRS, x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude in degrees, on the CRS's own datum."""
    import pyproj  # noqa: PLC0415

    base: Any = crs.geodetic_crs
    found = pyproj.Transformer.from_crs(crs, base, always_xy=True).transform(x, y)
    to_degrees = math.degrees(base.axis_info[0].unit_conversion_factor)
    lon, lat = np.asarray(found, np.float64) * to_degrees
    return float(lon), float(lat)
