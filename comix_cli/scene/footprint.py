"""Where a grid lies on the globe, as GeoJSON wants it: degrees, cut where it crosses 180°."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform

from comix_cli.scene.grid import EARTH_RADIUS_M, Bounds, Grid

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

WGS84 = CRS.from_epsg(4326)
# Points on each side of a grid, since straight lines of one CRS are bent in another; of these only
# the ones stay that move the outline by more than this part of a pixel.
_POINTS = 64
_TOLERANCE = 0.1
# About a centimetre.
_DECIMALS = 7
# Degrees by which the whole globe may be missed.
_SEAM = 1e-6


@dataclass(frozen=True)
class Footprint:
    """The ground that a grid covers, in degrees of WGS 84.

    Attributes:
        geometry: A GeoJSON `Polygon`, or a `MultiPolygon` where it crosses the antimeridian.
        bbox: West, south, east, north; west is the larger one where it crosses the antimeridian,
            as RFC 7946 has it.
    """

    geometry: dict[str, Any]
    bbox: Bounds


def footprint(grid: Grid) -> Footprint | None:
    """The outline of a grid; None where its CRS has no place on Earth, or its corners have none."""
    found = _outline(grid)
    if found is None:
        return None
    lon, lat = found
    # The outline is followed across 180 degrees, and cut there afterwards.
    lon = np.unwrap(lon, period=360.0)
    turns = round((lon[-1] - lon[0]) / 360.0)
    if turns:
        lon, lat = _closed_over_the_pole(lon, lat)
    lon = lon - 360.0 * np.floor((lon.min() + 180.0) / 360.0)
    shape = _cut(lon, lat, _tolerance(grid))
    if shape.is_empty:
        return None
    return Footprint(_geojson(shape), _bbox(lon, lat))


def _outline(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Longitudes and latitudes along the edge of a grid, the first point again at the end."""
    along = np.linspace(0.0, 1.0, _POINTS, endpoint=False)
    none, all_ = np.zeros(_POINTS), np.ones(_POINTS)
    cols = np.concatenate([along, all_, 1 - along, none, [0.0]]) * grid.width
    rows = np.concatenate([none, along, all_, 1 - along, [0.0]]) * grid.height
    t = grid.transform
    xs, ys = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    try:
        lon, lat = transform(grid.crs, WGS84, xs, ys)
    except (RasterioError, CPLE_BaseError):
        return None
    points = np.array([lon, lat], np.float64)
    return (points[0], points[1]) if np.isfinite(points).all() else None


def _closed_over_the_pole(
    lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """An outline that goes once around a pole, led up to it and back."""
    pole = np.copysign(90.0, lat.mean())
    return (
        np.concatenate([lon, [lon[-1], lon[0]]]),
        np.concatenate([lat, [pole, pole]]),
    )


def _tolerance(grid: Grid) -> float:
    """How far the outline may be off, in degrees."""
    return float(np.degrees(_TOLERANCE * grid.gsd_m / EARTH_RADIUS_M))


def _cut(lon: NDArray[np.float64], lat: NDArray[np.float64], tolerance: float) -> BaseGeometry:
    """The outline as an area, counterclockwise, what lies beyond 180 degrees on the other side."""
    import shapely  # noqa: PLC0415  # few of those who import this module need it
    from shapely.affinity import translate  # noqa: PLC0415
    from shapely.geometry.polygon import orient  # noqa: PLC0415

    whole = shapely.make_valid(shapely.Polygon(np.column_stack([lon, lat])).simplify(tolerance))
    sides = [
        translate(whole.intersection(shapely.box(turn - 180, -90, turn + 180, 90)), xoff=-turn)
        for turn in (0.0, 360.0)
    ]
    # On the raster of coordinates that are written, so that rounding moves nothing any more.
    pieces = shapely.get_parts(shapely.union_all(sides, grid_size=10.0**-_DECIMALS))
    turned = [orient(piece) for piece in pieces if piece.area > 0]
    return turned[0] if len(turned) == 1 else shapely.MultiPolygon(turned)


def _geojson(shape: BaseGeometry) -> dict[str, Any]:
    """GeoJSON with rounded coordinates."""
    geometry = shape.__geo_interface__
    return {"type": geometry["type"], "coordinates": _rounded(geometry["coordinates"])}


def _rounded(coordinates: Any) -> Any:
    if isinstance(coordinates, (list, tuple)):
        return [_rounded(each) for each in coordinates]
    return round(coordinates, _DECIMALS)


def _bbox(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> Bounds:
    west, east = float(lon.min()), float(lon.max())
    if east - west > 360.0 - _SEAM:
        west, east = -180.0, 180.0
    elif east > 180.0:
        east -= 360.0
    south, north = float(lat.min()), float(lat.max())
    return tuple(_rounded((west, south, east, north)))
