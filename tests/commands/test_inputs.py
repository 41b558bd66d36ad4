"""One scene in every form in which people have it: the map is the same to the last pixel."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from cli import comix
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT
from scenes import CRS, ORIGIN, write_raster, write_vector
from shapely.geometry import box

QUICK = (
    *("--preset", "nano", "--steps", "2", "--batch-size", "1"),
    *("--window", "32", "--threads", "1", "-q"),
)
TRUTH = ("--gt", "labels.gpkg", "--field", "class")
NODATA = -9999


def pixels(path: Path) -> tuple[NDArray[Any], Affine]:
    with rasterio.open(path) as dataset:
        return dataset.read(1), dataset.transform


def classified(folder: Path, *arguments: str | Path) -> NDArray[Any]:
    """The map of a scene, whose name is given anew each time."""
    outcome = comix(folder, "classify", *arguments, "-o", "map.tif", "--overwrite", "-q")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    return pixels(folder / "map.tif")[0]


def same_map(scene: Path, finished: Path, *arguments: str | Path) -> None:
    """The scene in these words has the map of the GeoTIFF files."""
    found = classified(scene, *arguments)
    expected, transform = pixels(finished / "map.tif")
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(found, expected)
    assert pixels(scene / "map.tif")[1].almost_equals(transform, precision=1e-6)


def values(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        array: NDArray[Any] = dataset.read()
    return array


def like(path: Path) -> dict[str, Any]:
    """Where a raster lies, for `write_raster`."""
    with rasterio.open(path) as dataset:
        return {"transform": dataset.transform, "crs": dataset.crs.to_string()}


@pytest.mark.parametrize("driver", ["VRT", "HFA", "PCIDSK", "netCDF"])
def test_another_format(scene: Path, finished: Path, driver: str) -> None:
    copy(scene / "lidar.tif", scene / "lidar.any", driver=driver)
    same_map(scene, finished, "hsi.tif", "lidar.any")


@pytest.mark.parametrize("interleave", ["BSQ", "BIL", "BIP"])
def test_envi_with_its_header(scene: Path, finished: Path, interleave: str) -> None:
    copy(scene / "hsi.tif", scene / "hsi.raw", driver="ENVI", INTERLEAVE=interleave)
    (scene / "hsi.raw.aux.xml").unlink(missing_ok=True)
    header = scene / "hsi.hdr"
    nm = ", ".join(f"{value:.4f}" for value in np.linspace(0.45, 2.3, 12))
    header.write_text(
        header.read_text() + f"wavelength units = Micrometers\nwavelength = {{{nm}}}\n"
    )
    same_map(scene, finished, "hsi.raw", "lidar.tif")


def test_compressed_envi(scene: Path, finished: Path) -> None:
    copy(scene / "hsi.tif", scene / "raw", driver="ENVI")
    (scene / "raw.gz").write_bytes(gzip.compress((scene / "raw").read_bytes()))
    text = (scene / "raw.hdr").read_text() + "file compression = 1\n"
    (scene / "packed.hdr").write_text(text)
    (scene / "raw.gz").rename(scene / "packed")
    before = {path.name for path in scene.iterdir()}
    same_map(scene, finished, "packed", "lidar.tif")
    beside = {path.name for path in scene.iterdir()} - before
    assert all(name.startswith("map.") for name in beside)


def test_a_file_inside_gzip(scene: Path, finished: Path) -> None:
    (scene / "lidar.tif.gz").write_bytes(gzip.compress((scene / "lidar.tif").read_bytes()))
    same_map(scene, finished, "hsi.tif", f"/vsigzip/{scene}/lidar.tif.gz")


def test_files_inside_a_zip(scene: Path, finished: Path) -> None:
    with zipfile.ZipFile(scene / "both.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(scene / "hsi.tif", "flight/hsi.tif")
        archive.write(scene / "lidar.tif", "flight/lidar.tif")
    inside = ["/vsizip/both.zip/flight/hsi.tif", "/vsizip/both.zip/flight/lidar.tif"]
    same_map(scene, finished, *inside)


# A process of its own: GDAL keeps the interpreter's lock while it waits for some answers.
SERVER = """
import http.server, os, re

class Ranges(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            return self.send_error(404)
        content = open(path, "rb").read()
        asked = re.match(r"bytes=(\\d+)-(\\d*)", self.headers.get("Range", ""))
        self.send_response(206 if asked else 200)
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture
def served(finished: Path) -> Iterator[str]:
    """The address of the finished folder, on this machine."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=finished,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


def test_files_on_a_server(
    scene: Path, finished: Path, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "10")
    same_map(scene, finished, f"/vsicurl/{served}/hsi.tif", f"/vsicurl/{served}/lidar.tif")


def netcdf_cube(scene: Path) -> Path:
    """The HSI as one variable `Band1` of three dimensions, as netCDF 4, which is HDF5."""
    copy(scene / "hsi.tif", scene / "cube.tif")
    with rasterio.open(scene / "cube.tif", "r+") as dataset:
        dataset.update_tags(
            NETCDF_DIM_EXTRA="{layer}",
            NETCDF_DIM_layer_DEF="{12,6}",
            NETCDF_DIM_layer_VALUES="{" + ",".join(map(str, range(12))) + "}",
        )
        for band in dataset.indexes:
            dataset.update_tags(band, NETCDF_DIM_layer=str(band - 1))
    copy(scene / "cube.tif", scene / "cube.nc", driver="netCDF", FORMAT="NC4")
    return scene / "cube.nc"


def test_a_variable_of_a_netcdf_file(scene: Path, finished: Path) -> None:
    same_map(scene, finished, f'NETCDF:"{netcdf_cube(scene)}":Band1', "lidar.tif")


def test_a_dataset_of_an_hdf5_file_placed_by_a_vrt(scene: Path, finished: Path) -> None:
    name = f'HDF5:"{netcdf_cube(scene)}"://Band1'
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{band}"><NoDataValue>{NODATA}</NoDataValue>'
        f"<SimpleSource><SourceFilename>{name.replace(chr(34), '&quot;')}</SourceFilename>"
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in range(1, 13)
    )
    west, south = ORIGIN[0] + 1.3, ORIGIN[1] - 0.7 - 16 * 6
    (scene / "hdf5.vrt").write_text(
        f'<VRTDataset rasterXSize="16" rasterYSize="16"><SRS>{CRS}</SRS>'
        f"<GeoTransform>{west}, 6, 0, {south}, 0, 6</GeoTransform>{bands}</VRTDataset>"
    )
    same_map(scene, finished, "hdf5.vrt", "lidar.tif")


@pytest.mark.parametrize("name", ["hsi.tif", "lidar.tif"])
def test_rows_from_south_to_north(scene: Path, finished: Path, name: str) -> None:
    array, place = values(scene / name), like(scene / name)
    place["transform"] *= Affine.translation(0, array.shape[1]) * Affine.scale(1, -1)
    write_raster(scene / f"flipped_{name}", array[:, ::-1], nodata=NODATA, **place)
    pair = [f"flipped_{name}" if name == each else each for each in ("hsi.tif", "lidar.tif")]
    same_map(scene, finished, *pair)


def test_integers_with_scale_and_offset(scene: Path, finished: Path) -> None:
    array = values(scene / "hsi.tif")
    stored = ((array.astype(np.int64) - 1000) * 2).astype(np.int16)
    write_raster(scene / "scaled.tif", stored, scale=0.5, offset=1000.0, **like(scene / "hsi.tif"))
    same_map(scene, finished, "scaled.tif", "lidar.tif")


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
def test_other_types_of_number(scene: Path, finished: Path, dtype: str) -> None:
    array = values(scene / "hsi.tif").astype(dtype)
    write_raster(scene / "typed.tif", array, **like(scene / "hsi.tif"))
    same_map(scene, finished, "typed.tif", "lidar.tif")


def per_band_nodata(scene: Path, array: NDArray[Any], hole: NDArray[np.bool_]) -> str:
    """A VRT in which every band has a nodata value of its own."""
    own = array.copy()
    for band in range(12):
        own[band][hole] = -100 - band
    write_raster(scene / "own.tif", own, **like(scene / "hsi.tif"))
    copy(scene / "own.tif", scene / "own.vrt", driver="VRT")
    text = (scene / "own.vrt").read_text()
    for band in range(1, 13):
        mark = f'band="{band}"'
        end = text.index(">", text.index(mark)) + 1
        text = f"{text[:end]}<NoDataValue>{-99 - band}</NoDataValue>{text[end:]}"
    (scene / "own.vrt").write_text(text)
    return "own.vrt"


def number(scene: Path, array: NDArray[Any], hole: NDArray[np.bool_]) -> str:
    write_raster(
        scene / "a.tif", np.where(hole, NODATA, array), nodata=NODATA, **like(scene / "hsi.tif")
    )
    return "a.tif"


def nan(scene: Path, array: NDArray[Any], hole: NDArray[np.bool_]) -> str:
    holed = np.where(hole, np.nan, array).astype(np.float32)
    write_raster(scene / "b.tif", holed, nodata=np.nan, **like(scene / "hsi.tif"))
    return "b.tif"


def mask(scene: Path, array: NDArray[Any], hole: NDArray[np.bool_]) -> str:
    write_raster(scene / "c.tif", array, mask=~hole, **like(scene / "hsi.tif"))
    return "c.tif"


def test_every_way_to_say_that_a_pixel_holds_nothing(scene: Path) -> None:
    array = values(scene / "hsi.tif")
    hole = np.zeros(array.shape[1:], bool)
    hole[5:9, 6:12] = True
    hole[0, 0] = True
    ways: list[Callable[..., str]] = [number, nan, mask, per_band_nodata]
    maps = [classified(scene, way(scene, array, hole), "lidar.tif") for way in ways]
    # A pixel of the HSI is 6 m, the map's 2 m; the HSI begins 1.3 m west of the map's first pixel.
    assert (maps[0] == 0).sum() == 9 * hole[1:, 1:].sum() + (maps[0][:3, :3] == 0).sum()
    for other in maps[1:]:
        np.testing.assert_array_equal(other, maps[0])


def test_bands_on_the_bad_band_list_are_as_good_as_absent(scene: Path) -> None:
    array = values(scene / "hsi.tif")
    noisy = array.copy()
    noisy[[3, 4]] = 32_000
    write_raster(scene / "marked.tif", noisy, bad_bands=[4, 5], **like(scene / "hsi.tif"))
    write_raster(scene / "cut.tif", np.delete(array, [3, 4], axis=0), **like(scene / "hsi.tif"))
    maps: list[NDArray[Any]] = []
    for name in ("marked.tif", "cut.tif"):
        outcome = comix(scene, "train", name, "lidar.tif", *TRUTH, *QUICK, "--overwrite")
        assert outcome.code == 0, outcome.err
        maps.append(classified(scene, name, "lidar.tif"))
    np.testing.assert_array_equal(maps[0], maps[1])


def test_a_missing_crs_is_given(scene: Path, finished: Path) -> None:
    for name in ("hsi.tif", "lidar.tif"):
        place = like(scene / name) | {"crs": None}
        write_raster(scene / f"bare_{name}", values(scene / name), **place)
    same_map(scene, finished, "bare_hsi.tif", "lidar.tif", "--src-crs", CRS)
    same_map(scene, finished, "bare_hsi.tif", "bare_lidar.tif", "--src-crs", CRS)
    like_bare = ("--like", "bare_lidar.tif", "--src-crs", CRS)
    whole = classified(scene, "hsi.tif", "lidar.tif", "--like", "lidar.tif")
    np.testing.assert_array_equal(classified(scene, "hsi.tif", "lidar.tif", *like_bare), whole)


def test_a_rotated_raster_gives_the_map_of_the_same_raster_set_upright(scene: Path) -> None:
    array = values(scene / "hsi.tif")
    turned = Affine.translation(ORIGIN[0] + 20, ORIGIN[1] + 12) * Affine.rotation(-33)
    placed = turned * Affine.scale(6, -6)
    write_raster(scene / "turned.tif", array, nodata=NODATA, transform=placed)
    found = classified(scene, "turned.tif", "lidar.tif")
    with rasterio.open(scene / "map.tif") as dataset:
        grid = {
            "crs": dataset.crs, "transform": dataset.transform,
            "height": dataset.height, "width": dataset.width,
        }  # fmt: skip
    with (
        rasterio.open(scene / "turned.tif") as dataset,
        WarpedVRT(dataset, resampling=Resampling.nearest, **grid) as vrt,
    ):
        copy(vrt, scene / "upright.tif", driver="GTiff")
    upright = classified(scene, "upright.tif", "lidar.tif", "--like", "map.tif")
    assert 0.3 < (found > 0).mean() < 0.95
    assert ((found > 0) == (upright > 0)).mean() > 0.999  # a centre on an edge may fall either way
    assert (found == upright).mean() > 0.99


def test_a_misplaced_x_is_told_of_and_used(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    ground = np.zeros((120, 120), np.float32)
    for row, col in rng.integers(-10, 120, (400, 2)):
        height, width = rng.integers(4, 40, 2)
        ground[max(row, 0) : row + height, max(col, 0) : col + width] = rng.uniform(0, 10)
    coarse = ground.reshape(1, 40, 3, 40, 3).mean(axis=(2, 4))
    write_raster(tmp_path / "hsi.tif", np.concatenate([coarse, 20 - coarse, coarse**2]), res=6.0)
    write_raster(tmp_path / "x.tif", -ground[np.newaxis], res=2.0)
    moved = (ORIGIN[0] + 18, ORIGIN[1])
    write_raster(tmp_path / "moved.tif", -ground[np.newaxis], res=2.0, origin=moved)
    halves = [
        box(x, ORIGIN[1] - 200, x + 100, ORIGIN[1]) for x in (ORIGIN[0] + 30, ORIGIN[0] + 130)
    ]
    rows = [(half, {"class": name}) for half, name in zip(halves, "ab", strict=True)]
    write_vector(tmp_path / "labels.gpkg", rows)
    loud = QUICK[:-1]
    right = comix(tmp_path, "train", "hsi.tif", "x.tif", *TRUTH, *loud)
    assert right.code == 0, right.err
    assert "seems to lie" not in right.err
    wrong = comix(tmp_path, "train", "hsi.tif", "moved.tif", *TRUTH, *loud, "--overwrite")
    assert wrong.code == 0, wrong.err
    message = " ".join(wrong.err.split())
    assert "moved.tif seems to lie 1" in message
    assert "hsi.tif, 3.0 pixels of 6 m" in message
    mapped = comix(tmp_path, "classify", "hsi.tif", "moved.tif", "-o", "map.tif")
    assert "seems to lie" in " ".join(mapped.err.split())


def test_a_window_that_the_preset_cannot_have_is_refused_before_anything_is_read(
    scene: Path,
) -> None:
    paper = ("train", "nowhere.tif", *TRUTH, "--preset", "paper", "--window", "32", "--overwrite")
    outcome = comix(scene, *paper)
    assert outcome.code == 2
    assert "fixed to windows of 128" in outcome.error
