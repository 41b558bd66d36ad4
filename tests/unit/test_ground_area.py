"""The ground that pixels cover, against the ellipsoid."""

from __future__ import annotations

import pytest
from affine import Affine
from pyproj import Geod
from rasterio.crs import CRS

from comix_cli.scene.grid import Grid
from comix_cli.scene.ground_area import PixelAreas
from comix_cli.scene.windows import Window

WGS84 = Geod(ellps="WGS84")
EARTH_M2 = 510.0656e12


def areas_of(crs: int, transform: Affine, width: int, height: int) -> PixelAreas:
    return PixelAreas(Grid(CRS.from_epsg(crs), transform, width, height))


def test_metres_are_taken_at_their_word() -> None:
    areas = areas_of(32633, Affine(3.6, 0, 384_000, 0, -3.6, 5_819_000), 500, 500)
    assert areas.of(Window(0, 0, 500, 500)) == pytest.approx(3.6**2)
    assert areas.tile == 2048


def test_a_world_in_degrees_covers_the_earth() -> None:
    areas = areas_of(4326, Affine(0.25, 0, -180, 0, -0.25, 90), 1440, 720)
    assert areas.tile == 1
    rows = [Window(row, 0, 1, 1440) for row in range(720)]
    assert sum(1440 * areas.of(row) for row in rows) == pytest.approx(EARTH_M2, rel=1e-5)


def test_a_pixel_in_degrees_has_its_geodesic_area() -> None:
    areas = areas_of(4326, Affine(1e-3, 0, 13, 0, -1e-3, 52.5), 100, 100)
    assert areas.tile == 100
    lon, lat = [13.05, 13.051, 13.051, 13.05], [52.45, 52.45, 52.451, 52.451]
    exact = abs(WGS84.polygon_area_perimeter(lon, lat)[0])
    assert areas.of(Window(50, 50, 1, 1)) == pytest.approx(exact, rel=1e-4)


def test_web_mercator_stretches_and_the_area_does_not() -> None:
    x, y = 1_489_200.0, 6_894_700.0  # about 52.5 degrees north
    areas = areas_of(3857, Affine(10, 0, x, 0, -10, y), 1000, 1000)
    found = areas.of(Window(0, 0, 1000, 1000))
    assert 100 / found == pytest.approx(2.69, abs=0.03)
    assert areas.tile < 2048


def test_feet_are_no_metres() -> None:
    feet = areas_of(2263, Affine(100, 0, 980_000, 0, -100, 200_000), 100, 100)  # New York
    assert feet.of(Window(0, 0, 100, 100)) == pytest.approx((100 * 0.3048006) ** 2, rel=1e-3)
