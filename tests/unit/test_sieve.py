"""Small patches are given to their largest neighbours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import shapes, sieve

from comix_cli.errors import UsageError
from comix_cli.mapping.row_file import open_row_file
from comix_cli.mapping.sieve import parse_area, pixels_of_area, sieve_rows
from comix_cli.scene.grid import Grid

UTM = CRS.from_epsg(32633)


def grid(height: int, width: int, res: float = 10.0, crs: CRS = UTM) -> Grid:
    return Grid(crs, Affine(res, 0, 10, 0, -res, 50), width, height)


def sieved(folder: Path, codes: NDArray[Any], size: int) -> NDArray[Any]:
    with open_row_file(folder / "rows.bin", grid(*codes.shape), codes.dtype) as rows:
        rows.write(0, codes)
        rows.flush()
        sieve_rows(rows, size)
        result: NDArray[Any] = rows.read(0, len(codes))[0]
        return result


def test_a_lone_pixel_becomes_what_surrounds_it(tmp_path: Path) -> None:
    codes = np.ones((5, 5), np.uint8)
    codes[2, 2] = 3
    assert (sieved(tmp_path, codes, 2) == 1).all()
    assert (sieved(tmp_path, codes, 1) == codes).all()


def test_the_largest_of_several_neighbours_takes_it(tmp_path: Path) -> None:
    codes = np.array([[1, 1, 1, 4, 2, 2, 2, 2]], np.uint16) * 200
    assert sieved(tmp_path, codes, 2).tolist() == [[200, 200, 200, *[400] * 5]]


def test_nodata_neither_changes_nor_grows(tmp_path: Path) -> None:
    codes = np.zeros((7, 7), np.uint16)
    codes[3, 3] = 300  # an island stays
    codes[5:, 5:] = 256  # its low byte is 0
    codes[6, 6] = 5
    expected = codes.copy()
    expected[6, 6] = 256
    np.testing.assert_array_equal(sieved(tmp_path, codes, 3), expected)


@given(
    st.sampled_from([np.uint8, np.uint16]),
    st.tuples(st.integers(1, 20), st.integers(1, 20)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 3))
    ),
    st.integers(1, 30),
)
@settings(deadline=None, max_examples=60)
def test_the_file_is_sieved_as_the_array_would_be(
    tmp_path_factory: pytest.TempPathFactory, dtype: Any, codes: NDArray[np.uint8], size: int
) -> None:
    codes = codes.astype(dtype) * (1 if dtype == np.uint8 else 256)
    result = sieved(tmp_path_factory.mktemp("sieve"), codes, size)
    oracle = asked_until_nothing_changes(codes, size)
    if (sizes_of(oracle) >= size).all():
        np.testing.assert_array_equal(result, oracle)
    np.testing.assert_array_equal(result == 0, codes == 0)
    # Where GDAL leaves small patches beside each other, fewer are left.
    assert (sizes_of(result) < size).sum() <= (sizes_of(oracle) < size).sum()


def asked_until_nothing_changes(codes: NDArray[Any], size: int) -> NDArray[Any]:
    """What GDAL makes of it, as often as that changes anything."""
    oracle, before = codes, None
    while before is None or (oracle != before).any():
        oracle, before = sieve(oracle, min(size, codes.size), mask=codes != 0), oracle
    return oracle


def sizes_of(codes: NDArray[Any]) -> NDArray[np.float64]:
    """Pixels of every patch."""
    with rasterio.Env():
        return np.array([_pixels(shape) for shape, _ in shapes(codes, mask=codes != 0)])


def test_regions_of_nothing_but_small_patches_are_merged_from_the_smallest_on(
    tmp_path: Path,
) -> None:
    # stripes of 3 to 8 pixels: GDAL finds no neighbour that is large enough, and leaves them all
    widths = [3, 8, 4, 7, 5, 6]
    codes = np.repeat([1, 2, 3, 1, 2, 3], widths)[np.newaxis].astype(np.uint8)
    assert (asked_until_nothing_changes(codes, 20) == codes).all()
    result = sieved(tmp_path, codes, 20)
    assert sizes_of(result).min() >= 12
    assert len(sizes_of(result)) <= 2


def test_no_small_patch_is_left_where_larger_ones_are_around(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(1, 4, (60, 80)).astype(np.uint8)
    result = sieved(tmp_path, codes, 12)
    with rasterio.Env():
        sizes = [_pixels(shape) for shape, _ in shapes(result)]
    assert min(sizes) >= 12


def _pixels(shape: dict[str, Any]) -> float:
    """Area of a polygon by the shoelace formula."""
    rings = [np.array(ring) for ring in shape["coordinates"]]
    areas = [abs(np.sum(r[:-1, 0] * r[1:, 1] - r[1:, 0] * r[:-1, 1])) / 2 for r in rings]
    return float(areas[0] - sum(areas[1:]))


@pytest.mark.parametrize(
    ("text", "pixels"),
    [
        ("200", 2), ("201", 3), ("200 m2", 2), ("0.5ha", 50), (".02 HA", 2), ("20px", 20),
        ("1km2", 10_000), ("0", 0), ("99999999 km2", 2**31 - 1), ("5000.5m²", 51),
    ],
)  # fmt: skip
def test_areas_in_pixels_of_ten_metres(text: str, pixels: int) -> None:
    assert pixels_of_area(text, grid(3, 3)) == pixels


def test_an_area_that_is_whole_pixels_but_for_rounding_is_whole_pixels() -> None:
    assert pixels_of_area("0.3", grid(3, 3, res=0.1**0.5)) == 3


def test_degrees_are_metres_at_the_grids_centre() -> None:
    where = Grid(CRS.from_epsg(4326), Affine(0.001, 0, 10, 0, -0.001, 60.0005), 1, 1)
    side = 6371008.8 * np.pi / 180 * 0.001
    assert [pixels_of_area(f"{side**2 / 2 * n:.3f}", where) for n in (3.9, 4.1)] == [4, 5]


@pytest.mark.parametrize("text", ["", "ten", "-5", "5 acres", "1e3", "5 px2", "nan"])
def test_what_is_no_area_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--min-area '.*' is no area; give square metres"):
        parse_area(text)
