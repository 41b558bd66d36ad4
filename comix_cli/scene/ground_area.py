"""The area of a raster's pixels on the ground, whatever its CRS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from comix_cli.scene.grid import Grid
from comix_cli.scene.metric import is_true_at, longitude_latitude
from comix_cli.scene.windows import Window

# Within strips so low a pixel's area changes by less than a hundredth, up to 80 degrees.
_DEGREES = 0.1
_METRES = 10_000.0
_LARGEST_TILE = 2048


@dataclass(frozen=True)
class PixelAreas:
    """Pixel areas of a grid.

    A projected CRS whose metres are metres on the ground gives them itself, as a GIS does. In
    degrees, and where a projection stretches (Web Mercator), they follow from the ellipsoid at the
    middle of each window: M N cos(latitude) for a square radian, with the radii of curvature M and
    N, or the projection's areal scale.

    Attributes:
        grid: The grid.
    """

    grid: Grid

    @cached_property
    def _crs(self) -> Any:
        import pyproj  # noqa: PLC0415  # its CRS has rasterio's name

        return pyproj.CRS.from_wkt(self.grid.crs.to_wkt())

    @cached_property
    def is_plane(self) -> bool:
        """Whether all pixels have the area that the CRS gives them."""
        if self._crs.geodetic_crs is None:
            return True
        left, bottom, right, top = self.grid.bounds
        middle = (left + right) / 2, (bottom + top) / 2
        return not self._crs.is_geographic and is_true_at(self._crs, *middle)

    @property
    def tile(self) -> int:
        """The side of windows, in pixels, within which all pixels are about as large."""
        if self.is_plane:
            return _LARGEST_TILE
        height = self.grid.resolution[1]
        if self._crs.is_geographic:
            rows = _DEGREES / math.degrees(height * self._radians)
        else:
            rows = _METRES / self.grid.gsd_m
        return max(1, min(_LARGEST_TILE, int(rows)))

    @property
    def _radians(self) -> float:
        return float(self.grid.crs.units_factor[1])

    def of(self, window: Window) -> float:
        """The area of a pixel in the middle of a window, in square metres."""
        if self.is_plane:
            return self.grid.gsd_m**2
        col, row = window.col + window.width / 2, window.row + window.height / 2
        x, y = self.grid.transform * (col, row)
        units = abs(self.grid.transform.determinant)
        if self._crs.is_geographic:
            return units * self._radians**2 * self._square_radian(y * self._radians)
        metres = float(self.grid.crs.linear_units_factor[1])
        return units * metres**2 / self._areal_scale(x, y)

    def _square_radian(self, latitude: float) -> float:
        """M N cos(latitude), in square metres; latitude in radians."""
        geod = self._crs.get_geod()
        shrink = 1 - geod.es * math.sin(latitude) ** 2
        meridian, normal = geod.a * (1 - geod.es) / shrink**1.5, geod.a / math.sqrt(shrink)
        return float(meridian * normal * max(0.0, math.cos(latitude)))

    def _areal_scale(self, x: float, y: float) -> float:
        import pyproj  # noqa: PLC0415

        lon, lat = longitude_latitude(self._crs, x, y)
        return float(pyproj.Proj(self._crs).get_factors(lon, lat).areal_scale)
