"""Ground truth tile by tile, and how much of it lies beyond a map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from known_map import label_raster
from numpy.typing import NDArray
from rasterio.crs import CRS
from shapely import LineString, Point, box
from truths import UTM, truth_of

from comix_cli.errors import LabelError
from comix_cli.mapping.map_file import MapFile
from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import Reference
from comix_cli.scene.pixel_rule import CENTRES
from comix_cli.scene.vector import reproject
from comix_cli.tools import reference_tiles
from comix_cli.tools.label_raster import LabelRaster
from comix_cli.tools.reference import TruthOptions, open_reference
from comix_cli.tools.reference_tiles import ReferenceTiles

GRID = Grid(UTM, Affine(10, 0, 500_000, 0, -10, 5_800_000), 80, 60)
LEFT, BOTTOM, RIGHT, TOP = GRID.bounds


def walked(reference: Reference, grid: Grid = GRID, **options: bool) -> tuple[ReferenceTiles, int]:
    """The tiles after a walk, and how many labelled pixels of the map it met."""
    codes = {code: code for code, _ in reference.classes}
    tiles = ReferenceTiles(reference, grid, codes, CENTRES, **options)
    inside = [int(tile.burnt.labelled.sum()) for tile in tiles.walk(Silent())]
    return tiles, sum(inside)


def test_very_many_features_on_a_few_tiles_are_counted_by_pixels() -> None:
    rng = np.random.default_rng(0)
    places = zip(rng.uniform(LEFT, RIGHT, 20_001), rng.uniform(BOTTOM, TOP, 20_001), strict=True)
    here = [Point(*place) for place in places]
    beside = box(RIGHT + 1, TOP - 14, RIGHT + 29, TOP)  # the centres of three pixels
    tiles, inside = walked(truth_of([*here, beside]))
    assert not tiles.outside_estimated
    assert tiles.outside == 3
    assert 0 < inside <= GRID.width * GRID.height


def test_the_whole_earth_in_small_pixels_is_counted_by_area() -> None:
    earth = box(-2e7, -2e7, 2e7, 2e7)
    fine = replace(GRID, transform=GRID.transform * Affine.scale(0.001))
    tiles, inside = walked(truth_of([earth, earth]), fine)
    assert tiles.outside_estimated
    assert tiles.outside == pytest.approx(2 * (4e7 / 0.01) ** 2)
    assert inside == fine.width * fine.height


def test_points_and_lines_beyond_are_estimated_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_tiles, "MOST_TILES", 0)
    points = [Point(RIGHT + 5, TOP - 5), Point(RIGHT + 1e6, TOP - 5), Point(LEFT + 5, TOP - 5)]
    line = LineString([(RIGHT - 100, TOP - 5), (RIGHT + 300, TOP - 5)])
    tiles, inside = walked(truth_of([*points, line]))
    assert tiles.outside_estimated
    assert tiles.outside == 2 + 30
    assert inside == 1 + 10


def test_what_lies_beyond_need_not_be_counted() -> None:
    truth = truth_of([box(LEFT - 20_000, BOTTOM, RIGHT, TOP + 20_000)])
    whole, inside = walked(truth)
    assert whole.outside > 0
    alone, same = walked(truth, beyond=False)
    assert (alone.outside, same) == (0, inside)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-40, 90), st.integers(-40, 70), st.integers(1, 60)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([8, 13, 1024]),
)
def test_tiles_count_what_one_large_grid_holds(
    squares: list[tuple[int, int, int]], side: int
) -> None:
    shapes = [
        box(LEFT + 10 * col, TOP - 10 * (row + size), LEFT + 10 * (col + size), TOP - 10 * row)
        for col, row, size in squares
    ]
    truth = truth_of(shapes)
    around = Grid(UTM, GRID.transform * Affine.translation(-50, -50), 220, 220)
    labelled = truth.burn(around).labelled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_tiles, "TILE", side)
        tiles, inside = walked(truth)
    assert inside == labelled[50:110, 50:130].sum()
    assert tiles.outside == labelled.sum() - inside


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of what is brought from a raster onto another grid."""
    sizes: list[tuple[int, int]] = []
    read_onto = MapFile.read_onto

    def noted(self: MapFile, grid: Grid) -> NDArray[np.int32]:
        sizes.append(grid.shape)
        return read_onto(self, grid)

    monkeypatch.setattr(MapFile, "read_onto", noted)
    return sizes


def test_of_a_large_raster_only_the_ground_of_the_map_is_resampled(
    tmp_path: Path, reads: list[tuple[int, int]]
) -> None:
    codes = np.ones((900, 1200), np.uint8)
    codes[:, 600:] = 0
    codes[400:, :] = 2  # far from the map
    codes[890, 1000] = 7
    large = Grid(UTM, GRID.transform * Affine.translation(-30, -20), 1200, 900)
    label_raster(tmp_path, codes, large)
    options = TruthOptions(str(tmp_path / "truth.tif"))
    with open_reference(options, GRID, Silent()) as reference:
        assert reference.classes == ((1, "1"),)
        tiles, inside = walked(reference)
    assert inside == 80 * 60
    assert tiles.outside == np.count_nonzero(codes) - inside
    assert not tiles.outside_estimated
    assert reads == [GRID.shape]


@pytest.mark.parametrize("epsg", [4326, 3857, 25832])
def test_labels_beyond_a_map_in_another_crs_are_estimated(tmp_path: Path, epsg: int) -> None:
    crs = CRS.from_epsg(epsg)
    middle = shapely.box(LEFT - 4000, BOTTOM - 3000, RIGHT + 4000, TOP + 3000)
    left, bottom, right, top = reproject(np.array([middle]), UTM, crs)[0].bounds
    scale = (right - left) / 700
    grid = Grid(crs, Affine(scale, 0, left, 0, -scale, top), 700, int((top - bottom) / scale))
    rng = np.random.default_rng(1)
    codes = (rng.random(grid.shape) < 0.5).astype(np.uint8)
    label_raster(tmp_path, codes, grid)
    around = Grid(UTM, GRID.transform * Affine.translation(-1000, -1000), 2080, 2060)
    with open_reference(TruthOptions(str(tmp_path / "truth.tif")), GRID, Silent()) as reference:
        labelled = reference.burn(around).labelled
        tiles, inside = walked(reference)
    assert inside == labelled[1000:1060, 1000:1080].sum()
    assert tiles.outside_estimated
    assert tiles.outside == pytest.approx(labelled.sum() - inside, rel=0.01)


def test_a_raster_within_the_map_has_nothing_beyond_it(tmp_path: Path) -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(1e-5, 0, 15.002, 0, -1e-5, 52.347), 200, 100)
    label_raster(tmp_path, np.ones(degrees.shape, np.uint8), degrees)
    with open_reference(TruthOptions(str(tmp_path / "truth.tif")), GRID, Silent()) as reference:
        tiles, inside = walked(reference)
    assert inside > 0
    assert (tiles.outside, tiles.outside_estimated) == (0, False)


def test_a_raster_of_the_whole_earth_is_ground_truth(tmp_path: Path) -> None:
    earth = Grid(CRS.from_epsg(4326), Affine(0.05, 0, -180, 0, -0.05, 90), 7200, 3600)
    label_raster(tmp_path, np.ones(earth.shape, np.uint8), earth, compress="deflate")
    with open_reference(TruthOptions(str(tmp_path / "truth.tif")), GRID, Silent()) as reference:
        assert isinstance(reference, LabelRaster)
        assert reference.place.height < 10
        tiles, inside = walked(reference, beyond=False)
    assert inside == 80 * 60
    assert tiles.outside == 0


def test_a_raster_without_labels_on_the_map_is_refused(tmp_path: Path) -> None:
    large = Grid(UTM, GRID.transform * Affine.translation(-300, -20), 900, 300)
    codes = np.zeros(large.shape, np.uint8)
    codes[:, :100] = 3
    label_raster(tmp_path, codes, large)
    options = TruthOptions(str(tmp_path / "truth.tif"))
    with (
        pytest.raises(LabelError, match="holds no class within the raster's extent"),
        open_reference(options, GRID, Silent()),
    ):
        pass
