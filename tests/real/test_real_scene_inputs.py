"""Rasters and ground truth of the real scenes, as they arrived."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from burning import rasterize
from cli import comix
from rasterio.crs import CRS
from rasterio.features import rasterize as gdal_rasterize
from rasterio.shutil import copy
from scenes import needs_real_data, real_data, write_vector
from shapely.geometry import box

from comix_cli.errors import RasterError
from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import read_ground_truth
from comix_cli.scene.raster import inspect_raster
from comix_cli.scene.stack import SourceSpec, open_stack
from comix_cli.scene.windows import Window, tile_windows
from comix_cli.tools.inputs import SceneInputs, check_alignment, open_for_training

BERLIN = real_data() / "berlin_urban_gradient"
POTSDAM = real_data() / "enmap_potsdam" / "images"
HARVARD = real_data() / "neon_harv"


def berlin() -> tuple[SourceSpec, SourceSpec]:
    return (
        SourceSpec(str(BERLIN / "EnMAP_BerlinUrbanGradient.bsq"), "hsi"),
        SourceSpec(str(BERLIN / "HighResolution_BerlinUrbanGradient.bsq"), "continuous"),
    )


def berlin_grid() -> Grid:
    hsi, x = berlin()
    with open_stack(hsi, [x]) as stack:
        return stack.grid


@needs_real_data
def test_berlin_comes_on_the_pixels_of_the_fine_raster() -> None:
    hsi, x = berlin()
    with open_stack(hsi, [x]) as stack:
        fine = stack.x_info[0].grid
        assert stack.grid.crs == CRS.from_epsg(32633)
        assert stack.grid.resolution == pytest.approx((3.6, 3.6))
        # The HSI begins 2.4 m east and 1.2 m south of the fine raster.
        offset = ~fine.transform * stack.grid.transform
        assert (offset.c, offset.f) == pytest.approx((1, 1), abs=1e-6)
        assert stack.grid.shape == (659, 493)
        assert len(stack.hsi_bands) == 177
        assert stack.x_bands == ((1, 2, 3, 4),)
        assert stack.dropped == {}


@needs_real_data
def test_berlins_values_are_those_of_the_files() -> None:
    hsi, x = berlin()
    window = Window(500, 300, 128, 128)
    with open_stack(hsi, [x]) as stack:
        block = stack.read(window)
        row, col = 60, 70
        east, north = stack.grid.transform * (window.col + col + 0.5, window.row + row + 0.5)
    for path, values in ((hsi.path, block.hsi), (x.path, block.x)):
        with rasterio.open(path) as dataset:
            (native,) = dataset.sample([(east, north)])
        np.testing.assert_array_equal(values[:, row, col], native)
    assert block.valid.all()


@needs_real_data
def test_berlins_wavelengths_and_widths_are_known() -> None:
    bands = inspect_raster(BERLIN / "EnMAP_BerlinUrbanGradient.bsq").bands
    assert bands.wavelengths_nm[0] == pytest.approx(460)
    assert bands.wavelengths_nm[-1] == pytest.approx(2409)
    assert bands.fwhm_nm[0] == pytest.approx(5.8)
    assert all(bands.good)


@needs_real_data
def test_berlins_shapefile_is_read_repaired_and_placed() -> None:
    path = BERLIN / "LandCov_BerlinUrbanGradient.shp"
    truth = read_ground_truth(path, "Level_2", berlin_grid())
    assert truth.repaired == 3
    assert [name for _, name in truth.classes] == [
        "Low vegetation", "Other", "Pavement", "Roof", "Soil", "Tree",
    ]  # fmt: skip
    (warning,) = truth.warnings
    assert str(path) in warning
    assert "--gt-crs" in warning


@needs_real_data
@pytest.mark.parametrize("name", ["LandCov_BerlinUrbanGradient.shp", "train_north.gpkg"])
def test_berlins_labels_are_gdals_by_window_and_whole(name: str) -> None:
    grid = berlin_grid()
    truth = read_ground_truth(BERLIN / name, "Level_2", grid)
    labels, overlap = rasterize(truth, grid)
    whole = gdal_rasterize(
        list(zip(truth.geometries, truth.codes.tolist(), strict=True)),
        grid.shape, transform=grid.transform, dtype="int32",
    )  # fmt: skip
    np.testing.assert_array_equal(labels[~overlap], whole[~overlap])
    assert 0 < overlap.sum() < 50
    for window in tile_windows(grid.shape, 200):
        part, part_overlap = rasterize(truth, grid, window)
        np.testing.assert_array_equal(part, labels[window.slices])
        np.testing.assert_array_equal(part_overlap, overlap[window.slices])


@needs_real_data
def test_berlins_test_polygons_outside_the_rasters_are_counted() -> None:
    truth = read_ground_truth(BERLIN / "test_south.gpkg", "Level_2", berlin_grid())
    assert truth.repaired == 0
    assert truth.warnings == ()
    assert truth.outside > 0


@needs_real_data
def test_potsdams_six_empty_bands_are_dropped() -> None:
    path = POTSDAM / "tile_96_0.tif"
    with open_stack(SourceSpec(str(path), "hsi"), []) as stack:
        assert sorted(stack.dropped) == [130, 131, 132, 133, 134, 135]
        assert len(stack.hsi_bands) == 218
        block = stack.read(Window(0, 0, 32, 32))
    assert block.valid.all()
    assert 0 < block.hsi.mean() < 1  # the file's scale makes reflectances of it
    assert inspect_raster(path).bands.wavelengths_nm[0] == pytest.approx(418.24)


@needs_real_data
def test_harvards_hsi_without_crs_needs_one() -> None:
    hsi = str(HARVARD / "HARV_hsi_426b_1m.tif")
    rgb = SourceSpec(str(HARVARD / "HARV_rgb_0p1m.tif"), "continuous")
    with (
        pytest.raises(RasterError, match="has no CRS; give one with --src-crs"),
        open_stack(SourceSpec(hsi, "hsi"), [rgb]),
    ):
        pass
    with open_stack(SourceSpec(hsi, "hsi", src_crs="EPSG:32618"), [rgb]) as stack:
        assert stack.grid.crs == CRS.from_epsg(32618)
        assert stack.grid.transform.almost_equals(
            Affine(0.1, 0, 726_491, 0, -0.1, 4_699_078.4), precision=1e-6
        )
        assert stack.grid.shape == (400, 400)
        assert stack.read(Window(100, 100, 64, 64)).hsi.shape == (len(stack.hsi_bands), 64, 64)


PAIRS = {
    "berlin": (
        BERLIN / "EnMAP_BerlinUrbanGradient.bsq",
        BERLIN / "HighResolution_BerlinUrbanGradient.bsq",
        30.0,
    ),
    "harvard": (HARVARD / "HARV_hsi_426b_1m.tif", HARVARD / "HARV_rgb_0p1m.tif", 1.0),
}


@needs_real_data
@pytest.mark.parametrize("place", sorted(PAIRS))
@pytest.mark.parametrize(("east", "north"), [(0, 0), (3, 0), (0, -3), (-3, 3)])
def test_an_x_that_is_moved_by_three_coarse_pixels_is_told_of(
    tmp_path: Path, place: str, east: int, north: int
) -> None:
    hsi, x, coarse = PAIRS[place]
    copy(x, tmp_path / "x.vrt", driver="VRT")
    with rasterio.open(tmp_path / "x.vrt", "r+") as dataset:
        dataset.transform = Affine.translation(east * coarse, north * coarse) * dataset.transform
    inputs = SceneInputs(str(hsi), (str(tmp_path / "x.vrt"),), src_crs="EPSG:32618")
    progress = Silent()
    with open_for_training(inputs) as stack:
        check_alignment(inputs, stack, progress)
    if east or north:
        (warning,) = progress.warnings
        assert "x.vrt seems to lie " in warning
        assert f" pixels of {coarse:g} m" in warning
        if east:
            assert f" m {'east' if east > 0 else 'west'} and " in warning
    else:
        assert progress.warnings == []


def mosaic(paths: Sequence[Path], target: Path) -> tuple[int, int]:
    """A VRT of north-up tiles side by side, with holes where there is no tile; its shape."""
    opened = [rasterio.open(path) for path in paths]
    first, res = opened[0], opened[0].res[0]
    left, top = min(d.bounds.left for d in opened), max(d.bounds.top for d in opened)
    width = round((max(d.bounds.right for d in opened) - left) / res)
    height = round((top - min(d.bounds.bottom for d in opened)) / res)
    bands = []
    for band in first.indexes:
        tags = "".join(f'<MDI key="{k}">{v}</MDI>' for k, v in first.tags(band).items())
        tiles = "".join(
            f"<SimpleSource><SourceFilename>{d.name}</SourceFilename><SourceBand>{band}"
            f'</SourceBand><SrcRect xOff="0" yOff="0" xSize="{d.width}" ySize="{d.height}"/>'
            f'<DstRect xOff="{(d.bounds.left - left) / res}" yOff="{(top - d.bounds.top) / res}" '
            f'xSize="{d.width}" ySize="{d.height}"/></SimpleSource>'
            for d in opened
        )
        bands.append(
            f'<VRTRasterBand dataType="Float32" band="{band}"><Metadata>{tags}</Metadata>'
            f"<NoDataValue>{first.nodata}</NoDataValue>{tiles}</VRTRasterBand>"
        )
    target.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{first.crs.to_wkt()}</SRS>'
        f"<GeoTransform>{left}, {res}, 0, {top}, 0, {-res}</GeoTransform>{''.join(bands)}"
        "</VRTDataset>"
    )
    for dataset in opened:
        dataset.close()
    return height, width


@needs_real_data
def test_a_mosaic_with_holes_is_trained_on_and_mapped_with_its_holes(tmp_path: Path) -> None:
    tiles = sorted(POTSDAM.glob("*.tif"))
    shape = mosaic(tiles, tmp_path / "mosaic.vrt")
    covered = np.zeros(shape, bool)
    rows = []
    with rasterio.open(tmp_path / "mosaic.vrt") as whole:
        for tile in tiles:
            with rasterio.open(tile) as part:
                col, row = ~whole.transform * (part.bounds.left, part.bounds.top)
                covered[round(row) :, round(col) :][: part.height, : part.width] = True
                left, bottom, right, top = part.bounds
            half = (left + right) / 2
            rows.append((box(left, bottom, half, top), {"side": "west"}))
            rows.append((box(half, bottom, right, top), {"side": "east"}))
    write_vector(tmp_path / "sides.gpkg", rows, crs="EPSG:32633")
    assert 0.2 < covered.mean() < 0.9
    train = ("train", "mosaic.vrt", "--gt", "sides.gpkg", "--field", "side")
    quick = ("--preset", "nano", "--steps", "2", "--batch-size", "1", "--window", "32")
    outcome = comix(tmp_path, *train, *quick, "--threads", "1")
    assert outcome.code == 0, outcome.err
    card = json.loads(comix(tmp_path, "info", "model.safetensors", "--json").out)
    assert sorted(card["inputs"][0]["dropped"]) == ["130", "131", "132", "133", "134", "135"]
    outcome = comix(tmp_path, "classify", "mosaic.vrt", "-o", "map.tif", "--threads", "1")
    assert outcome.code == 0, outcome.err
    assert "resampled" not in outcome.err
    with rasterio.open(tmp_path / "map.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1) > 0, covered)


@needs_real_data
def test_a_model_of_the_simulated_enmap_meets_the_real_one(tmp_path: Path) -> None:
    copy(BERLIN / "EnMAP_BerlinUrbanGradient.bsq", tmp_path / "berlin.vrt", driver="VRT")
    tile = POTSDAM / "tile_96_0.tif"
    train = ("train", "berlin.vrt", "--gt", BERLIN / "train_north.gpkg", "--field", "Level_2")
    quick = ("--preset", "nano", "--steps", "2", "--batch-size", "1", "--window", "32")
    options = (*quick, "--threads", "1", "--overwrite")
    assert comix(tmp_path, *train, *options).code == 0
    outcome = comix(tmp_path, "classify", tile, "-o", "map.tif", "--threads", "1")
    assert outcome.code == 1
    # The real one has nothing usable between 1760 and 1939 nm.
    assert "its 218 bands, 418.24..2445.5 nm do not cover" in outcome.error
    assert "no usable band around 1773, 1783 nm;" in outcome.error
    with rasterio.open(tmp_path / "berlin.vrt", "r+") as dataset:
        for band in dataset.indexes:
            bad = float(dataset.tags(band)["wavelength"]) in (1.773, 1.783)
            dataset.update_tags(band, bbl="0" if bad else "1")
    assert comix(tmp_path, *train, *options).code == 0
    outcome = comix(tmp_path, "classify", tile, "-o", "map.tif", "--threads", "1")
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.err.split())
    assert "are resampled to the model's 175 bands, 460..2409 nm, by " in said


@needs_real_data
def test_harvard_without_crs_is_trained_on_and_mapped(tmp_path: Path) -> None:
    hsi, rgb = HARVARD / "HARV_hsi_426b_1m.tif", HARVARD / "HARV_rgb_0p1m.tif"
    with rasterio.open(rgb) as dataset:
        left, bottom, right, top = dataset.bounds
    middle = (left + right) / 2
    halves = [
        (box(left, bottom, middle, top), {"side": "west"}),
        (box(middle, bottom, right, top), {"side": "east"}),
    ]
    write_vector(tmp_path / "sides.gpkg", halves, crs="EPSG:32618")
    scene = (hsi, rgb, "--src-crs", "EPSG:32618", "--res", "0.5", "--threads", "1")
    quick = ("--preset", "nano", "--steps", "2", "--batch-size", "1", "--window", "32")
    outcome = comix(tmp_path, "train", *scene, "--gt", "sides.gpkg", "--field", "side", *quick)
    assert outcome.code == 0, outcome.err
    assert "seems to lie" not in outcome.err
    outcome = comix(tmp_path, "classify", *scene, "-o", "map.tif")
    assert outcome.code == 0, outcome.err
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.crs.to_epsg() == 32618
        assert dataset.res == (0.5, 0.5)
        assert (dataset.read(1) > 0).mean() > 0.9
