"""Outlines of grids on the globe, against PROJ through pyproj, point by point."""

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from comix_cli.scene.footprint import Footprint, footprint
from comix_cli.scene.grid import Grid

SIDE = 200


def grid(crs: str, left: float, bottom: float, right: float, top: float) -> Grid:
    shape = Affine((right - left) / SIDE, 0, left, 0, (bottom - top) / SIDE, top)
    return Grid(CRS.from_user_input(crs), shape, SIDE, SIDE)


def found(*place: str | float) -> Footprint:
    outline = footprint(grid(*place))  # type: ignore[arg-type]
    assert outline is not None
    shape = shapely.geometry.shape(outline.geometry)
    assert shape.is_valid
    assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))
    assert -180 <= shape.bounds[0] <= shape.bounds[2] <= 180
    return outline


@given(
    zone=st.integers(1, 60),
    easting=st.floats(1e5, 9e5),
    northing=st.floats(1e5, 9e6),
    size=st.floats(10, 3e5),
    points=st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)), min_size=5),
)
@settings(max_examples=60, deadline=None)
def test_what_lies_in_the_grid_lies_in_the_outline(
    zone: int,
    easting: float,
    northing: float,
    size: float,
    points: list[tuple[float, float]],
) -> None:
    crs = f"EPSG:{32600 + zone}"
    outline = found(crs, easting, northing, easting + size, northing + size)
    shape = shapely.geometry.shape(outline.geometry)
    to_globe = Transformer.from_crs(crs, 4326, always_xy=True)
    west, south, east, north = outline.bbox
    for across, up in points:
        lon, lat = to_globe.transform(easting + across * size, northing + up * size)
        assert (
            shape.covers(shapely.Point(lon, lat).buffer(1e-9))
            or shape.distance(shapely.Point(lon, lat)) < 1e-6
        )
        assert south <= lat <= north
        assert west <= lon <= east if west <= east else lon >= west or lon <= east


def test_a_small_scene_is_a_plain_quadrilateral() -> None:
    outline = found("EPSG:32633", 4e5, 5.799e6, 4.01e5, 5.8e6)
    assert len(outline.geometry["coordinates"][0]) == 5
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.geometry.shape(outline.geometry))
    assert area == pytest.approx(1e6, rel=1e-3)


def test_a_grid_across_the_antimeridian_is_cut_in_two() -> None:
    outline = found("EPSG:32660", 6.5e5, 5.8e6, 7.5e5, 5.85e6)
    assert outline.geometry["type"] == "MultiPolygon"
    west, _, east, _ = outline.bbox
    assert 179 < west < 180
    assert -180 < east < -179
    shape = shapely.geometry.shape(outline.geometry)
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shape)
    assert area == pytest.approx(1e5 * 5e4, rel=2e-3)


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3031", -90.0), ("EPSG:3413", 90.0)])
def test_a_pole_is_inside_where_the_grid_is_around_it(crs: str, pole: float) -> None:
    outline = found(crs, -1e6, -9e5, 1e6, 1.1e6)
    west, south, east, north = outline.bbox
    assert (west, east) == (-180, 180)
    assert pole in (south, north)
    shape = shapely.geometry.shape(outline.geometry)
    points = np.random.default_rng(1).uniform(-8e5, 8e5, (2, 50))
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(*points)
    assert shapely.covers(shape, shapely.points(lon, lat)).all()


@pytest.mark.parametrize(
    ("place", "bbox"),
    [
        (("EPSG:4326", 170, -10, 190, 10), (170, -10, -170, 10)),
        (("EPSG:4326", 200, -10, 210, 10), (-160, -10, -150, 10)),
        (("EPSG:4326", 0, -90, 360, 90), (-180, -90, 180, 90)),
        (("EPSG:4326", -180, 80, 180, 90), (-180, 80, 180, 90)),
    ],
)
def test_degrees_beyond_180_are_turned_back(
    place: tuple[str | float, ...], bbox: tuple[float, ...]
) -> None:
    outline = found(*place)
    assert outline.bbox == bbox
    shape = shapely.geometry.shape(outline.geometry)
    width = (place[3] - place[1]) * (place[4] - place[2])  # type: ignore[operator]
    assert shape.area == pytest.approx(width)


def test_a_grid_that_is_turned_keeps_its_corners() -> None:
    turned = Affine.translation(4e5, 5.8e6) * Affine.rotation(30) * Affine.scale(10, -10)
    place = Grid(CRS.from_epsg(32633), turned, SIDE, SIDE)
    outline = footprint(place)
    assert outline is not None
    corners = [turned * corner for corner in ((0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE))]
    xs, ys = zip(*corners, strict=True)
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(xs, ys)
    expected = shapely.Polygon(zip(lon, lat, strict=True))
    assert shapely.geometry.shape(outline.geometry).equals_exact(expected, 1e-6, normalize=True)


@pytest.mark.parametrize(
    "place",
    [
        ("EPSG:32633", 1e9, 1e9, 2e9, 2e9),
        ('LOCAL_CS["mine",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]', 0, 0, 1, 1),
        ("IAU_2015:49900", 0, 0, 1, 1),  # Mars
    ],
)
def test_what_lies_nowhere_on_earth_has_no_outline(place: tuple[str | float, ...]) -> None:
    assert footprint(grid(*place)) is None  # type: ignore[arg-type]
