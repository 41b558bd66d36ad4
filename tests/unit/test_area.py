"""The area of interest."""

import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from scenes import write_vector

from comix_cli.errors import LabelError
from comix_cli.scene.area import Area, read_area
from comix_cli.scene.grid import Grid
from comix_cli.scene.windows import Window, tile_windows

UTM = CRS.from_epsg(32633)
GRID = Grid(UTM, Affine(2, 0, 4e5, 0, -2, 5.8e6), 50, 40)
WHOLE = Window(0, 0, 40, 50)


def box(col: float, row: float, width: float, height: float) -> Any:
    """A box in pixels, in the coordinates of the grid."""
    x, y = 4e5 + 2 * col, 5.8e6 - 2 * row
    return shapely.box(x, y - 2 * height, x + 2 * width, y)


def area_of(folder: Path, *shapes: Any, crs: str | None = "EPSG:32633", **options: Any) -> Area:
    path = write_vector(folder / "aoi.gpkg", [(shape, {"name": "a"}) for shape in shapes], crs)
    return read_area(str(path), GRID, **options)


def oracle(*shapes: Any) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = geometry_mask(shapes, GRID.shape, GRID.transform, invert=True)
    return mask


@st.composite
def windows(draw: st.DrawFn) -> Window:
    row, col = draw(st.integers(0, 39)), draw(st.integers(0, 49))
    return Window(row, col, draw(st.integers(1, 40 - row)), draw(st.integers(1, 50 - col)))


coordinate = st.floats(-10, 60)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9), windows())
@settings(deadline=None, max_examples=60)
def test_any_window_is_a_part_of_what_gdal_burns_for_the_whole(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[float, float]], window: Window
) -> None:
    shape = shapely.transform(
        shapely.MultiPoint(points).convex_hull.buffer(0.3141), lambda p: p * (2, -2) + (4e5, 5.8e6)
    )
    if not shape.intersects(shapely.box(*GRID.bounds)):
        return
    area = area_of(tmp_path_factory.mktemp("area"), shape)
    np.testing.assert_array_equal(area.inside(WHOLE), oracle(shape))
    np.testing.assert_array_equal(area.inside(window), area.inside(WHOLE)[window.slices])
    assert area.touches(window) or not area.inside(window).any()


def test_edges_through_pixel_centres_are_the_same_in_every_window(tmp_path: Path) -> None:
    area = area_of(tmp_path, box(3.5, 4.5, 20, 11), box(23.5, 15.5, 9.5, 9))
    whole = area.inside(WHOLE)
    assert whole.any()
    for size in (1, 7, 16):
        for window in tile_windows(GRID.shape, size):
            np.testing.assert_array_equal(area.inside(window), whole[window.slices])


def test_holes_multipolygons_and_overlaps_are_what_they_look_like(tmp_path: Path) -> None:
    ring = box(2, 2, 20, 20).difference(box(5, 5, 8, 8))
    several = shapely.MultiPolygon([box(30, 1, 4, 4), box(40, 30, 30, 30)])
    area = area_of(tmp_path, ring, several, box(20, 10, 15, 5))
    expected = np.zeros(GRID.shape, np.bool_)
    expected[2:22, 2:22] = True
    expected[5:13, 5:13] = False
    expected[1:5, 30:34] = expected[30:, 40:] = expected[10:15, 20:35] = True
    np.testing.assert_array_equal(area.inside(WHOLE), expected)


def test_windows_beside_the_area_are_not_touched(tmp_path: Path) -> None:
    area = area_of(tmp_path, box(10, 10, 5, 5))
    assert area.touches(Window(8, 8, 4, 4))
    assert not area.touches(Window(20, 20, 10, 10))
    assert not area.touches(Window(0, 0, 5, 50))


def test_an_area_in_another_crs_lies_at_the_same_place(tmp_path: Path) -> None:
    shape = box(10.3, 10.3, 15, 15)
    moved = geopandas.GeoSeries([shape], crs=32633).to_crs(4326).iloc[0]
    area = area_of(tmp_path, moved, crs="EPSG:4326")
    np.testing.assert_array_equal(area.inside(WHOLE), oracle(shape))


def test_an_area_without_crs_is_taken_as_the_grids_and_tells(tmp_path: Path) -> None:
    shapefile = write_vector(tmp_path / "aoi.shp", [(box(1, 1, 5, 5), {"a": 1})], None)
    area = read_area(str(shapefile), GRID)
    assert area.inside(WHOLE).sum() == 25
    assert "has no CRS; the raster's (EPSG:32633) is assumed" in area.warnings[0]
    assert "gt-crs" not in area.warnings[0]


def test_a_bow_tie_is_repaired(tmp_path: Path) -> None:
    tie = shapely.Polygon(
        [(4e5, 5.8e6), (4e5 + 40, 5.8e6 - 40), (4e5 + 40, 5.8e6), (4e5, 5.8e6 - 40)]
    )
    area = area_of(tmp_path, tie)
    repaired = shapely.make_valid(tie)
    np.testing.assert_array_equal(area.inside(WHOLE), oracle(repaired))


def test_a_rotated_grid_is_masked_as_gdal_does(tmp_path: Path) -> None:
    grid = Grid(UTM, Affine(1.7, 1.0, 4e5, 1.0, -1.7, 5.8e6), 30, 20)
    shape = shapely.box(4e5 + 10.1, 5.8e6 - 15.2, 4e5 + 45.3, 5.8e6 + 20.4)
    path = write_vector(tmp_path / "aoi.gpkg", [(shape, {})])
    area = read_area(str(path), grid)
    expected = geometry_mask([shape], grid.shape, grid.transform, invert=True)
    np.testing.assert_array_equal(area.inside(Window(0, 0, 20, 30)), expected)
    for window in tile_windows(grid.shape, 6):
        np.testing.assert_array_equal(area.inside(window), expected[window.slices])
        assert area.touches(window) or not area.inside(window).any()


def test_ten_thousand_polygons_are_no_burden(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = Grid(UTM, GRID.transform, 10_000, 10_000)
    corners = np.array([4e5, 5.78e6]) + rng.uniform(0, 19_000, (10_000, 2))
    shapes = shapely.box(*corners.T, *(corners + np.array([80, 60])).T)
    path = tmp_path / "aoi.gpkg"
    geopandas.GeoDataFrame(geometry=shapes, crs=32633).to_file(path)
    area = read_area(str(path), grid)
    begun = time.perf_counter()
    for col in range(0, 10_000, 100):
        window = Window(4000, col, 128, min(128, 10_000 - col))
        assert area.inside(window).any() <= area.touches(window)
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([shapely.Point(4e5, 5.8e6)], "holds no polygons; give the area as polygons"),
        ([box(1000, 1000, 5, 5)], "the area of interest misses the raster"),
    ],
)
def test_an_area_that_is_none_is_refused(tmp_path: Path, shapes: list[Any], message: str) -> None:
    with pytest.raises(LabelError, match=message) as caught:
        area_of(tmp_path, *shapes)
    assert "gt-crs" not in caught.value.message


def test_missing_files_and_layers_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="there is no such file"):
        read_area(str(tmp_path / "none.gpkg"), GRID)
    path = write_vector(tmp_path / "a.gpkg", [(box(1, 1, 5, 5), {})], layer="north")
    write_vector(path, [(box(9, 9, 5, 5), {})], layer="south")
    with pytest.raises(LabelError, match="name one of north, south with --mask-layer"):
        read_area(str(path), GRID)
    assert read_area(str(path), GRID, layer="south").inside(WHOLE)[9, 9]


@pytest.mark.parametrize(
    "around",
    [shapely.box(-180, -90, 180, 90), shapely.box(-30, -80, 100, 89), shapely.box(10, 50, 20, 55)],
    ids=["world", "half of it", "a country"],
)
def test_an_area_much_larger_than_the_scene_holds_all_of_it(tmp_path: Path, around: Any) -> None:
    path = write_vector(tmp_path / "aoi.gpkg", [(around, {"name": "all"})], crs="EPSG:4326")
    area = read_area(str(path), GRID)
    assert area.inside(Window(0, 0, *GRID.shape)).all()
