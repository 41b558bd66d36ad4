"""Reading what datasets come in: .mat of both versions, ENVI's regions as text, GDAL's rasters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from scipy.io import savemat

from comix_cli.errors import ComixError, LabelError, RasterError
from comix_cli.tools.importing.containers import open_pixels
from comix_cli.tools.importing.matlab import read_vector
from comix_cli.tools.importing.pixels import STRIP
from comix_cli.tools.importing.records import Source

CUBE = np.arange(4 * 5 * 3, dtype=np.float64).reshape(4, 5, 3)
REGIONS = """; ENVI Output of ROIs (5.0) [Mon Jan 01 00:00:00 2024]
; Number of ROIs: 2
; File Dimension: 5 x 4
;
; ROI name: grass
; ROI rgb value: {0, 205, 0}
; ROI npts: 2
"""


def read(path: Path, *variables: str) -> NDArray[Any]:
    with open_pixels(str(path), Source(path.name, variables)) as pixels:
        return np.concatenate([values for _, values in pixels.strips()], axis=1)


def hdf5_mat(path: Path, cube: NDArray[np.float64], name: str) -> Path:
    """A .mat file of version 7.3: HDF5 behind 512 bytes, axes in Matlab's order."""
    plain, nc = path.with_suffix(".tif"), path.with_suffix(".nc")
    bands, rows, columns = np.transpose(cube, (2, 1, 0)).shape
    options = {"driver": "GTiff", "width": columns, "height": rows, "count": bands}
    with rasterio.open(plain, "w", dtype="float64", **options) as file:
        file.write(np.transpose(cube, (2, 1, 0)))
        file.update_tags(
            NETCDF_DIM_EXTRA="{b}",
            NETCDF_DIM_b_DEF=f"{{{bands},6}}",
            NETCDF_DIM_b_VALUES=f"{{{','.join(map(str, range(bands)))}}}",
        )
        for band in file.indexes:
            file.update_tags(band, NETCDF_VARNAME=name)
    rasterio.shutil.copy(plain, nc, driver="netCDF", FORMAT="NC4", WRITE_BOTTOMUP="NO")
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124, b" ") + b"\x00\x02IM"
    path.write_bytes(header.ljust(512, b"\0") + nc.read_bytes())
    return path


def test_a_cube_of_matlab_is_read_bands_first(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"x": CUBE, "other": CUBE + 1, "n": 3})
    expected = np.moveaxis(CUBE, -1, 0)
    np.testing.assert_array_equal(read(tmp_path / "a.mat", "y", "x"), expected)


def test_a_plane_is_one_band_and_truth_is_0_and_1(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"mask": CUBE[..., 0] > 20})
    found = read(tmp_path / "a.mat", "mask")
    assert (found.shape, str(found.dtype), int(found.sum())) == ((1, 4, 5), "uint8", 13)


def test_an_unknown_name_does_no_harm_where_there_is_one_image(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"whatever": CUBE, "count": 3, "list": np.arange(4)})
    assert read(tmp_path / "a.mat", "HSI").shape == (3, 4, 5)


def test_several_images_of_unknown_names_are_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"one": CUBE, "two": CUBE})
    with pytest.raises(RasterError, match=r"none of the variables 'HSI'; it holds 'one', 'two'"):
        read(tmp_path / "a.mat", "HSI")


def test_fields_of_structs_and_of_the_first_cell_are_found(tmp_path: Path) -> None:
    cells = np.empty(2, object)
    cells[:] = [{"z": CUBE}, {"z": -CUBE}]
    savemat(tmp_path / "a.mat", {"hsi": {"Lidar": cells, "info": {"wavelength": [400.0, 500.0]}}})
    np.testing.assert_array_equal(read(tmp_path / "a.mat", "hsi.Lidar.z"), np.moveaxis(CUBE, -1, 0))
    found = read_vector(str(tmp_path / "a.mat"), "hsi.info.wavelength")
    assert found is not None
    assert found.tolist() == [400.0, 500.0]
    assert read_vector(str(tmp_path / "a.mat"), "hsi.info.fwhm") is None


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_version_7_3_is_read_the_same(tmp_path: Path) -> None:
    path = hdf5_mat(tmp_path / "a.mat", CUBE, "data_HS_LR")
    expected = np.moveaxis(CUBE, -1, 0)
    np.testing.assert_array_equal(read(path, "data_HS_LR"), expected)
    np.testing.assert_array_equal(read(path), expected)
    assert read_vector(str(path), "data_HS_LR") is None


def test_a_cube_is_read_in_strips(tmp_path: Path) -> None:
    tall = np.arange((2 * STRIP + 3) * 2).reshape(-1, 2)
    savemat(tmp_path / "a.mat", {"x": tall})
    with open_pixels(str(tmp_path / "a.mat"), Source("a.mat")) as pixels:
        strips = list(pixels.strips())
    assert [row for row, _ in strips] == [0, STRIP, 2 * STRIP]
    np.testing.assert_array_equal(np.concatenate([v for _, v in strips], axis=1)[0], tall)


@pytest.mark.parametrize("kept", [0, 40, 130, 250])
def test_what_is_no_mat_file_or_half_of_one_is_told_in_one_line(tmp_path: Path, kept: int) -> None:
    savemat(tmp_path / "a.mat", {"x": CUBE}, do_compression=True)
    (tmp_path / "a.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:kept])
    with pytest.raises(RasterError) as caught:
        read(tmp_path / "a.mat", "x")
    assert str(caught.value).startswith(f"{tmp_path / 'a.mat'}: ")


def test_text_is_no_image(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"x": "some words"})
    with pytest.raises(RasterError, match="variable 'x' is no image"):
        read(tmp_path / "a.mat", "x")


def test_an_hdf5_file_without_images_is_told_with_a_remedy(tmp_path: Path) -> None:
    header = b"MATLAB 7.3 MAT-file".ljust(124, b" ") + b"\x00\x02IM"
    (tmp_path / "a.mat").write_bytes(header.ljust(600, b"\0"))
    with pytest.raises(RasterError, match="-v7"):
        read(tmp_path / "a.mat", "x")


POINTS = ("1 1 1", "2 5 4"), ("1 3 2",)
HEADERS = "; ROI name: roof\n; ROI rgb value: {0, 0, 205}\n; ROI npts: 1\n"
COLUMNS = ";   ID    X     Y\n"


@pytest.mark.parametrize(
    "text",
    [
        REGIONS + HEADERS + COLUMNS + "\n".join(POINTS[0]) + "\n\n" + "\n".join(POINTS[1]),
        REGIONS + COLUMNS + "\n".join(POINTS[0]) + "\n\n" + HEADERS + COLUMNS + POINTS[1][0],
    ],
    ids=["all headers first", "a header before the pixels of each"],
)
def test_regions_are_numbered_in_their_order(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    expected = np.zeros((4, 5), np.uint8)
    expected[0, 0] = expected[3, 4] = 1
    expected[1, 2] = 2
    np.testing.assert_array_equal(read(tmp_path / "a.txt")[0], expected)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("1 1 1\n", "has 1 pixels, and its header tells of 2"),
        ("1 1 1\n2 6 4\n", "beyond its 5 x 4"),
        ("0 0 0\n1 1 1\n", "beyond its 5 x 4"),
        ("1 1 1\n2 x y\n", "no pixels"),
        ("1 1 1\n2 3\n", "no pixels"),
    ],
)
def test_regions_that_contradict_themselves_are_refused(
    tmp_path: Path, points: str, message: str
) -> None:
    (tmp_path / "a.txt").write_text(REGIONS + COLUMNS + points)
    with pytest.raises(LabelError, match=message):
        read(tmp_path / "a.txt")


def test_other_text_is_no_list_of_regions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("copyright\n")
    with pytest.raises(ComixError, match="no text file of ENVI's regions"):
        read(tmp_path / "a.txt")
