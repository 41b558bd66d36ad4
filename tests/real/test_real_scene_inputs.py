"""Rasters and ground truth of the real scenes, as they arrived."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize as gdal_rasterize
from scenes import needs_real_data, real_data

from comix_cli.errors import RasterError
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import read_ground_truth
from comix_cli.scene.raster import inspect_raster
from comix_cli.scene.rasterize import rasterize
from comix_cli.scene.stack import SourceSpec, open_stack
from comix_cli.scene.windows import Window, tile_windows

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
