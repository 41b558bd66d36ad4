"""What a raster says about itself, and what is said of one that cannot be used."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from scenes import write_raster, write_vector
from shapely import Point

from comix_cli.errors import RasterError, UsageError
from comix_cli.scene.checksum import checksum
from comix_cli.scene.raster import inspect_raster, open_raster, plain_crs

# A test runner sets the filters of warnings anew; what comix does is seen in a process of its own.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

TWO = np.arange(2 * 6 * 5, dtype=np.int16).reshape(2, 6, 5)


def test_a_raster_is_described(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", TWO, res=5, nodata=-99)
    info = inspect_raster(path)
    assert (info.path, info.count, info.dtype, info.nodata) == (str(path), 2, "int16", -99)
    assert info.driver == "GTiff"
    assert info.grid.shape == (6, 5)
    assert info.grid.crs == CRS.from_epsg(32633)
    assert info.grid.transform == Affine(5, 0, 400_000, 0, -5, 5_800_000)


def test_an_alpha_band_is_noticed(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", TWO.astype(np.uint8), alpha=True)
    assert inspect_raster(path).alpha_bands == (2,)


def test_a_missing_file_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match=r"nowhere\.tif: there is no such file; check the path"):
        inspect_raster(tmp_path / "nowhere.tif")


def test_a_file_of_another_kind_is_called_no_raster(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text("not a raster")
    with pytest.raises(RasterError, match="is not a raster that GDAL can read"):
        inspect_raster(path)


def test_a_folder_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="is a folder"):
        inspect_raster(tmp_path)


def test_a_vector_file_is_no_raster_and_belongs_elsewhere(tmp_path: Path) -> None:
    path = write_vector(tmp_path / "a.gpkg", [(Point(0, 0), {"a": 1})])
    with pytest.raises(RasterError, match="this is a vector file: give it with --gt or --mask"):
        inspect_raster(path)


@pytest.mark.parametrize("name", ["a.tif", "a.img", "a.safetensors", "a"])
def test_a_file_without_content_is_called_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(RasterError, match=rf"{name}: is empty \(0 bytes\); copy it again"):
        inspect_raster(tmp_path / name)


def test_a_device_is_no_raster() -> None:
    with pytest.raises(RasterError, match="/dev/null: is not a regular file; name a file"):
        inspect_raster("/dev/null")


def test_a_model_is_no_raster_and_belongs_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_text("{}")
    with pytest.raises(RasterError, match=r"is called like a model; .* with -m"):
        inspect_raster(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ['NETCDF:"{}":Bandx', "NETCDF:{}:Bandx"])
def test_of_a_part_that_is_not_there_the_others_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.nc"
    rasterio.shutil.copy(write_raster(tmp_path / "a.tif", TWO), path, driver="netCDF")
    with pytest.raises(RasterError, match=r"no such part; name one of .*:Band1, .*:Band2$"):
        inspect_raster(name.format(path))


def test_of_a_file_with_one_raster_no_part_is_to_be_named(tmp_path: Path) -> None:
    path = tmp_path / "x.nc"
    rasterio.shutil.copy(write_raster(tmp_path / "a.tif", TWO[:1]), path, driver="netCDF")
    with pytest.raises(RasterError, match=rf"no such part; name {path}$"):
        inspect_raster(f'NETCDF:"{path}":Bandx')


def test_a_part_of_a_file_that_is_not_there_is_a_matter_of_the_path(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match=r"No such file or directory\); check the path"):
        inspect_raster(f'NETCDF:"{tmp_path}/nowhere.nc":Band1')


def test_an_envi_header_in_place_of_the_data_is_explained(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.bsq", TWO, driver="ENVI")
    with pytest.raises(RasterError, match="data file should be selected"):
        inspect_raster(path.with_suffix(".hdr"))


def test_a_raster_without_crs_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", TWO, crs=None)
    with pytest.raises(RasterError, match="has no CRS; give one with --src-crs EPSG"):
        inspect_raster(path)


@pytest.mark.parametrize("layout", [{"driver": "COG"}, {"driver": "GTiff", "tiled": True}])
def test_a_tiff_cut_in_its_header_is_called_truncated(
    tmp_path: Path, layout: dict[str, Any]
) -> None:
    """At every length: either GDAL does not open it, or has what places it, or says so."""
    values = np.arange(64 * 64, dtype=np.uint8).reshape(1, 64, 64)
    whole = tmp_path / "whole.tif"
    rasterio.shutil.copy(write_raster(tmp_path / "a.tif", values), whole, **layout)
    content, said = whole.read_bytes(), []
    for length in range(8, len(content), 20):
        cut = tmp_path / f"cut{length}.tif"
        cut.write_bytes(content[:length])
        try:
            assert inspect_raster(cut).grid == inspect_raster(whole).grid
        except RasterError as error:
            said.append(error.message)
    assert any("is truncated or damaged: its header goes on beyond" in line for line in said)
    assert all("compare its size with the original" in line for line in said)
    unplaced = next(line for line in said if "goes on" in line).partition(":")[0]
    with pytest.raises(RasterError, match="is truncated"):
        inspect_raster(unplaced, src_crs="EPSG:32633")


def test_a_raster_that_is_not_placed_is_no_warning_of_a_library(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", TWO[:1], crs=None, transform=Affine.identity())
    command = [sys.executable, "-m", "comix_cli", "info", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "crs     none" in done.stdout
    assert done.stderr == ""


def test_a_given_crs_serves_rasters_without_one_only(tmp_path: Path) -> None:
    without = write_raster(tmp_path / "a.tif", TWO, crs=None)
    having = write_raster(tmp_path / "b.tif", TWO, crs="EPSG:32633")
    assert inspect_raster(without, src_crs="EPSG:32632").grid.crs.to_epsg() == 32632
    assert inspect_raster(having, src_crs="EPSG:32632").grid.crs.to_epsg() == 32633


def test_a_given_crs_must_be_one(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", TWO, crs=None)
    with pytest.raises(UsageError, match="--src-crs nonsense: not a CRS"):
        inspect_raster(path, src_crs="nonsense")


def test_control_points_alone_do_not_place_a_raster(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    points = [GroundControlPoint(r, c, 10.0 * c, -10.0 * r) for r in (0, 5) for c in (0, 4)]
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=6, width=5, dtype="uint8", gcps=points,
        crs="EPSG:32633",
    ):  # fmt: skip
        pass
    with pytest.raises(RasterError, match="control points or RPCs only; warp it first"):
        inspect_raster(path)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", TWO.astype(np.complex64))
    with pytest.raises(RasterError, match="complex numbers; give amplitude"):
        inspect_raster(path)


def test_gdal_names_pass(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", TWO)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a.tif")
    assert inspect_raster(f"/vsizip/{tmp_path}/a.zip/a.tif").grid.shape == (6, 5)
    with pytest.raises(RasterError):
        inspect_raster(f"/vsizip/{tmp_path}/a.zip/b.tif")


def test_looking_at_a_raster_writes_nothing_beside_it(tmp_path: Path) -> None:
    inspect_raster(write_raster(tmp_path / "a.tif", TWO))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_reading_a_compressed_envi_image_writes_nothing_beside_it(tmp_path: Path) -> None:
    # GDAL looks for the end of a file of many bands, and then notes where it is.
    values = np.random.default_rng(0).integers(0, 9999, (177, 80, 60), np.int16)
    path = write_raster(tmp_path / "a.bsq", values, driver="ENVI")
    path.write_bytes(gzip.compress(path.read_bytes()))
    header = path.with_suffix(".hdr")
    header.write_text(header.read_text() + "file compression = 1\n")
    before = sorted(tmp_path.iterdir())
    with open_raster(str(path)) as dataset:
        np.testing.assert_array_equal(dataset.read(), values)
    assert sorted(tmp_path.iterdir()) == before


def test_a_crs_written_without_a_code_is_recognised() -> None:
    esri = CRS.from_wkt(pyproj.CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
    assert plain_crs(esri).to_string() == "EPSG:32633"


def test_heights_in_a_compound_crs_are_left_out() -> None:
    assert plain_crs(CRS.from_string("EPSG:25832+5783")) == CRS.from_epsg(25832)
    assert plain_crs(CRS.from_epsg(4979)) == CRS.from_epsg(4326)


def test_a_crs_of_its_own_stays_as_it_is() -> None:
    own = CRS.from_string("+proj=laea +lat_0=51.3 +lon_0=9.7 +ellps=GRS80 +units=m")
    assert plain_crs(own) == own


def test_the_checksum_of_one_file_is_its_sha256(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", TWO)
    assert checksum(path) == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_the_checksum_of_an_envi_image_covers_its_header(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.bsq", TWO, driver="ENVI")
    before = checksum(path)
    (tmp_path / "a.bsq.aux.xml").write_text("<PAMDataset/>")
    assert checksum(path) == before
    header = path.with_suffix(".hdr")
    header.write_text(header.read_text() + "wavelength units = Nanometers\n")
    assert checksum(path) != before


def test_the_checksum_of_a_shapefile_covers_its_attributes(tmp_path: Path) -> None:
    a = write_vector(tmp_path / "a.shp", [(Point(0, 0), {"class": 1})])
    (tmp_path / "b").mkdir()
    b = write_vector(tmp_path / "b" / "a.shp", [(Point(0, 0), {"class": 2})])
    assert a.read_bytes() == b.read_bytes()
    assert checksum(a) != checksum(b)


def test_the_checksum_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.bsq", TWO, driver="ENVI")
    copy = tmp_path / "copy"
    copy.mkdir()
    for part in tmp_path.glob("a.*"):
        shutil.copy(part, copy / part.name)
    assert checksum(copy / "a.bsq") == checksum(path)


def test_any_file_has_a_checksum_and_a_gdal_name_has_none(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"abc")
    assert checksum(path) == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    assert checksum("/vsizip/nowhere.zip/a.tif") is None
