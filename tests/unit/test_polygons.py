"""A class map as polygons in a GeoPackage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.crs import CRS
from rasterio.features import shapes

from comix_cli.errors import OutputError
from comix_cli.mapping import polygons
from comix_cli.mapping.polygons import areas_m2, write_polygons
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend

LEGEND = Legend.from_names([(1, "roof"), (2, "Wiese & <Äcker>"), (7, "water")])
UTM = CRS.from_epsg(32633)
PLACES = {
    "north up": Affine(2, 0, 4e5, 0, -2, 5.8e6),
    "rotated": Affine(1.7, 1.0, 4e5, 1.0, -1.7, 5e6),
}


def random_codes(height: int = 40, width: int = 30) -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return rng.choice(np.array([0, 1, 2, 7], np.uint8), (height, width))


def in_strips(codes: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    return ((row, codes[row : row + 7]) for row in range(0, len(codes), 7))


def written(folder: Path, codes: NDArray[Any], grid: Grid) -> geopandas.GeoDataFrame:
    path = folder / "patches.gpkg"
    count = write_polygons(path, in_strips(codes), grid, LEGEND, folder / "map.gpkg")
    frame = geopandas.read_file(path)
    assert len(frame) == count
    return frame


@pytest.mark.parametrize("place", sorted(PLACES))
def test_polygons_are_those_of_the_whole_map_with_names_and_areas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(polygons, "_BATCH", 50)  # several batches
    codes = random_codes()
    grid = Grid(UTM, PLACES[place], codes.shape[1], codes.shape[0])
    frame = written(tmp_path, codes, grid)
    assert frame.crs is not None
    assert frame.crs.to_epsg() == 32633
    assert list(frame.columns) == ["code", "class", "area_m2", "geometry"]
    found = list(shapes(codes, mask=codes > 0, transform=grid.transform))
    expected = shapely.normalize([shapely.geometry.shape(s) for s, _ in found])
    here = shapely.normalize(np.asarray(frame.geometry.array, object))
    order, theirs = (np.argsort(shapely.to_wkb(g)) for g in (here, expected))
    assert shapely.equals_exact(here[order], expected[theirs], 1e-9).all()
    assert frame["code"].to_numpy()[order].tolist() == [int(found[i][1]) for i in theirs]
    names = dict(zip(LEGEND.codes, LEGEND.names, strict=True))
    assert frame["class"].tolist() == [names[code] for code in frame["code"]]
    np.testing.assert_allclose(frame["area_m2"], frame.geometry.area, rtol=1e-6)
    assert pyogrio.list_layers(tmp_path / "patches.gpkg").tolist() == [["patches", "Polygon"]]


def test_areas_in_degrees_are_geodesic_and_without_holes() -> None:
    grid = Grid(CRS.from_epsg(4326), Affine(0.25, 0, 10.5, 0, -0.25, 60), 9, 9)
    ring = shapely.box(0, 0, 4, 5).difference(shapely.box(1, 1, 3, 3))
    plain = shapely.box(6, 6, 7, 7)
    geod = Geod(ellps="WGS84")
    expected = []
    for polygon in (ring, plain):
        placed = shapely.transform(polygon, lambda xy: xy * (0.25, -0.25) + (10.5, 60))
        assert isinstance(placed, shapely.Polygon)
        oriented = shapely.geometry.polygon.orient(placed)
        expected.append(abs(geod.geometry_area_perimeter(oriented)[0]))
    np.testing.assert_allclose(areas_m2(np.array([ring, plain]), grid), expected, rtol=1e-9)


def test_feet_become_metres() -> None:
    grid = Grid(CRS.from_epsg(2263), Affine(10, 0, 1e6, 0, -10, 2e5), 3, 3)
    area = areas_m2(np.array([shapely.box(0, 0, 2, 1)]), grid)
    assert area.item() == pytest.approx(200 * (1200 / 3937) ** 2)


def test_a_map_of_nothing_becomes_an_empty_layer(tmp_path: Path) -> None:
    grid = Grid(UTM, PLACES["north up"], 4, 9)
    frame = written(tmp_path, np.zeros((9, 4), np.uint8), grid)
    assert frame.empty
    assert list(frame.columns) == ["code", "class", "area_m2", "geometry"]


def test_gdal_failing_to_write_is_an_output_error(tmp_path: Path) -> None:
    codes = random_codes()
    grid = Grid(UTM, PLACES["north up"], codes.shape[1], codes.shape[0])
    with pytest.raises(OutputError, match=r"map\.gpkg: .*; write elsewhere"):
        write_polygons(
            tmp_path / "missing" / "x.gpkg", in_strips(codes), grid, LEGEND, tmp_path / "map.gpkg"
        )
