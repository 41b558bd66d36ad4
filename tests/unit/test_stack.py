"""HSI and X on one grid: values, validity, bands."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds
from scenes import CRS, ORIGIN, make_scene, write_raster
from stacks import hsi, lidar, read_all, whole

from comix_cli.errors import GridError, RasterError, UsageError
from comix_cli.scene.empty_bands import empty_bands
from comix_cli.scene.grid import Grid
from comix_cli.scene.pixels import NativeBands
from comix_cli.scene.stack import GridOptions, SourceSpec, Stack, open_stack
from comix_cli.scene.windows import Window, tile_windows

X0, Y0 = ORIGIN


def noise(*shape: int, dtype: str = "float32", seed: int = 1) -> NDArray[Any]:
    return np.random.default_rng(seed).uniform(10, 1000, shape).astype(dtype)


def by_gdal(path: Path, grid: Grid, method: str, nodata: float | None = None) -> NDArray[Any]:
    """What `rasterio.warp.reproject` makes of the first band, NaN where nothing is."""
    out = np.full(grid.shape, np.nan, np.float32)
    with rasterio.open(path) as dataset:
        reproject(
            dataset.read(1).astype(np.float32),
            out,
            src_transform=dataset.transform,
            src_crs=dataset.crs,
            src_nodata=nodata,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            dst_nodata=np.nan,
            resampling=Resampling[method],
            tolerance=1e-6,
        )
    return out


def test_the_scene_comes_on_the_fine_rasters_grid(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    with open_stack(hsi(scene.hsi), [lidar(scene.lidar)]) as stack:
        assert stack.grid.shape == (47, 47)
        assert stack.grid.resolution == (2, 2)
        assert stack.hsi_bands == tuple(range(1, 13))
        assert stack.x_bands == ((1,),)
        assert stack.resamplings == ("nearest", "bilinear")
        block = stack.read(Window(3, 5, 20, 30))
    assert block.hsi.shape == (12, 20, 30)
    assert block.x.shape == (1, 20, 30)
    assert block.hsi.dtype == block.x.dtype == np.float32
    assert block.valid.all()


def test_a_fine_raster_on_its_own_pixels_is_read_unchanged(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    block = read_all(hsi(scene.hsi), lidar(scene.lidar))
    with rasterio.open(scene.lidar) as dataset:
        np.testing.assert_array_equal(block.x[0], dataset.read(1)[1:, 1:])


def test_an_hsi_without_x_is_a_stack_of_no_x_channel(tmp_path: Path) -> None:
    values = noise(4, 7, 9)
    block = read_all(hsi(write_raster(tmp_path / "a.tif", values)))
    np.testing.assert_array_equal(block.hsi, values)
    assert block.x.shape == (0, 7, 9)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.floats(-2, 2), st.floats(-2, 2), st.floats(1.5, 9.7), st.booleans(), st.integers(0, 10**6)
)
def test_nearest_equals_gdals_at_any_offset_and_ratio(
    tmp_path: Path, dx: float, dy: float, ratio: float, south_up: bool, seed: int
) -> None:
    values = noise(1, 9, 11, dtype="int16", seed=seed)
    top = Y0 + dy - (9 * ratio if south_up else 0)
    transform = Affine(ratio, 0, X0 + dx, 0, ratio if south_up else -ratio, top)
    coarse = write_raster(tmp_path / "a.tif", values, transform=transform)
    fine = write_raster(tmp_path / "b.tif", noise(1, 40, 40), res=1.0)
    with open_stack(hsi(coarse), [lidar(fine)]) as stack:
        block = stack.read(whole(stack))
        expected = by_gdal(coarse, stack.grid, "nearest")
        to_source = ~transform * stack.grid.transform
    # Where a pixel's centre lies on an edge between two, either answer is right.
    rows = (np.arange(stack.grid.height) + 0.5) * to_source.e + to_source.f
    cols = (np.arange(stack.grid.width) + 0.5) * to_source.a + to_source.c
    clear = (abs(rows - rows.round()) > 1e-5)[:, np.newaxis] & (abs(cols - cols.round()) > 1e-5)
    np.testing.assert_array_equal(block.hsi[0][clear], np.nan_to_num(expected)[clear])
    np.testing.assert_array_equal(block.valid[clear], ~np.isnan(expected)[clear])


@pytest.mark.parametrize("method", ["bilinear", "cubic", "nearest"])
def test_other_resampling_equals_gdals(tmp_path: Path, method: str) -> None:
    fine = write_raster(tmp_path / "a.tif", noise(1, 40, 50), res=2.0)
    x = write_raster(
        tmp_path / "b.tif", noise(1, 20, 20, seed=2), res=5.0, origin=(X0 + 1.7, Y0 - 2.2)
    )
    with open_stack(hsi(fine), [lidar(x, resampling=method)]) as stack:
        block = stack.read(whole(stack))
        expected = by_gdal(x, stack.grid, method)
    assert block.valid.any()
    np.testing.assert_allclose(
        block.x[0][block.valid], expected[block.valid], rtol=1e-5, equal_nan=False
    )


def test_a_continuous_raster_is_averaged_on_a_coarser_grid(tmp_path: Path) -> None:
    values = noise(1, 12, 12)
    fine = write_raster(tmp_path / "a.tif", values, res=2.0)
    with open_stack(
        hsi(write_raster(tmp_path / "b.tif", noise(2, 4, 4), res=6.0)),
        [lidar(fine)],
        GridOptions(resolution=6.0),
    ) as stack:
        assert stack.resamplings == ("nearest", "average")
        block = stack.read(whole(stack))
    means = values[0].reshape(4, 3, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(block.x[0], means, rtol=1e-6)


def test_a_categorical_raster_is_never_mixed(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).choice([1, 5, 9], (1, 10, 10)).astype(np.uint8)
    x = write_raster(tmp_path / "a.tif", codes, res=4.0, origin=(X0 + 1, Y0 - 1))
    fine = write_raster(tmp_path / "b.tif", noise(1, 50, 50), res=1.0)
    block = read_all(hsi(fine), SourceSpec(str(x), "categorical"))
    assert set(np.unique(block.x)) == {1, 5, 9}


def test_rasters_in_different_crs_agree_with_gdal(tmp_path: Path) -> None:
    degrees = write_raster(
        tmp_path / "a.tif", noise(1, 60, 60), crs="EPSG:4326", origin=(13.5325, 52.343), res=1e-4
    )
    metres = write_raster(
        tmp_path / "b.tif", noise(1, 80, 60, seed=3), res=5.0, origin=(399_950, 5_800_150)
    )
    with open_stack(hsi(degrees), [lidar(metres)]) as stack:
        assert stack.grid.crs == rasterio.crs.CRS.from_string(CRS)
        block = stack.read(whole(stack))
        expected = by_gdal(degrees, stack.grid, "nearest")
    assert 0.5 < block.valid.mean() < 1
    same = (block.hsi[0] == expected) | (~block.valid & np.isnan(expected))
    assert same.mean() > 0.999  # centres that lie on an edge may fall either way


def test_a_rotated_raster_is_set_upright(tmp_path: Path) -> None:
    transform = Affine.translation(X0, Y0) * Affine.rotation(20) * Affine.scale(6, -6)
    turned = write_raster(tmp_path / "a.tif", noise(1, 30, 30), transform=transform)
    x = write_raster(
        tmp_path / "b.tif", noise(1, 150, 150, seed=4), res=2.0, origin=(X0 - 30, Y0 + 70)
    )
    with open_stack(hsi(turned), [lidar(x)]) as stack:
        assert stack.grid.is_north_up
        block = stack.read(whole(stack))
        expected = by_gdal(turned, stack.grid, "nearest")
    assert not block.valid.all()
    same = (block.hsi[0] == expected) | (~block.valid & np.isnan(expected))
    assert same.mean() > 0.999


def test_windows_are_parts_of_the_whole(tmp_path: Path) -> None:
    degrees = write_raster(
        tmp_path / "a.tif", noise(3, 60, 60), crs="EPSG:4326", origin=(13.5325, 52.343), res=1e-4
    )
    x = write_raster(tmp_path / "b.tif", noise(1, 80, 60, seed=3), res=5.0)
    other = write_raster(tmp_path / "c.tif", noise(1, 40, 60, seed=5), res=7.0)
    with open_stack(hsi(degrees), [lidar(x), lidar(other)]) as stack:
        block = stack.read(whole(stack))
        for window in tile_windows(stack.grid.shape, 17):
            rows, cols = window.slices
            part = stack.read(window)
            np.testing.assert_array_equal(part.hsi, block.hsi[:, rows, cols])
            np.testing.assert_array_equal(part.x, block.x[:, rows, cols])
            np.testing.assert_array_equal(part.valid, block.valid[rows, cols])
            np.testing.assert_array_equal(stack.read_valid(window), part.valid)


def test_interpolated_values_do_not_depend_on_where_the_grid_is_cut(tmp_path: Path) -> None:
    first = write_raster(tmp_path / "a.tif", noise(1, 300, 300), res=2.0)
    x = write_raster(tmp_path / "b.tif", noise(1, 100, 100, seed=5), res=7.0)
    block = read_all(hsi(first), lidar(x))
    left, top = X0 + 2 * 101, Y0 - 2 * 57
    cut = GridOptions(bounds=(left, top - 2 * 90, left + 2 * 80, top))
    part = read_all(hsi(first), lidar(x), grid=cut)
    np.testing.assert_allclose(part.x, block.x[:, 57:147, 101:181], rtol=1e-6)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "average"])
def test_a_raster_in_another_crs_has_the_same_bits_wherever_the_grid_is_cut(
    tmp_path: Path, resampling: str
) -> None:
    first = write_raster(tmp_path / "a.tif", noise(1, 200, 200), res=2.0)
    left, bottom, right, top = transform_bounds(
        "EPSG:32633", "EPSG:32632", X0 - 50, Y0 - 450, X0 + 450, Y0 + 50
    )
    x = write_raster(
        tmp_path / "b.tif", noise(1, 150, 150, seed=5), crs="EPSG:32632",
        res=((right - left) / 150, (top - bottom) / 150), origin=(left, top),
    )  # fmt: skip
    other = lidar(x, resampling=resampling)
    block = read_all(hsi(first), other)
    cut = GridOptions(bounds=(X0 + 2 * 101, Y0 - 2 * 147, X0 + 2 * 181, Y0 - 2 * 57))
    part = read_all(hsi(first), other, grid=cut)
    np.testing.assert_array_equal(part.x, block.x[:, 57:147, 101:181])


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("int16", -99),
        ("uint8", 255),
        ("int32", -2147483648),
        ("uint32", 4294967295),
        ("float32", -9999),
        ("float32", math.nan),
        ("float32", -3.4028234663852886e38),
        ("float64", -1.7976931348623157e308),
        ("float64", -9999),
    ],
)
def test_a_pixel_is_valid_where_every_band_is(tmp_path: Path, dtype: str, nodata: float) -> None:
    values = noise(3, 8, 8).clip(0, 200).astype(dtype)
    values[0, 1, 2] = nodata
    values[2, 5, 5] = nodata
    block = read_all(hsi(write_raster(tmp_path / "a.tif", values, nodata=nodata)))
    assert np.argwhere(~block.valid).tolist() == [[1, 2], [5, 5]]
    assert (block.hsi[:, ~block.valid] == 0).all()
    np.testing.assert_array_equal(block.hsi[:, block.valid], values[:, block.valid])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinity_are_invalid_without_a_nodata_value(tmp_path: Path, dtype: str) -> None:
    values = noise(2, 4, 4, dtype=dtype)
    values[0, 0, 0], values[1, 1, 1], values[1, 2, 2] = np.nan, np.inf, -np.inf
    block = read_all(hsi(write_raster(tmp_path / "a.tif", values)))
    assert np.argwhere(~block.valid).tolist() == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("nodata", [-9999.0, math.nan])
def test_nodata_never_leaks_into_interpolated_values(tmp_path: Path, nodata: float) -> None:
    values = np.full((2, 10, 10), 100, np.float32)
    values[0, 4, 4] = nodata  # of one band only
    x = write_raster(tmp_path / "a.tif", values, res=6.0, nodata=nodata)
    fine = write_raster(tmp_path / "b.tif", noise(1, 60, 60), res=1.0)
    block = read_all(hsi(fine), lidar(x))
    expected = np.ones((60, 60), bool)
    expected[24:30, 24:30] = False
    np.testing.assert_array_equal(block.valid, expected)
    np.testing.assert_allclose(block.x[:, block.valid], 100, rtol=1e-6)


def test_integers_without_nodata_are_invalid_outside_their_footprint_only(tmp_path: Path) -> None:
    values = np.zeros((1, 5, 5), np.uint8)
    x = write_raster(tmp_path / "a.tif", values, res=7.0, origin=(X0 + 7, Y0 - 7))
    first = write_raster(tmp_path / "b.tif", noise(1, 40, 40), res=2.0)
    bounds = (X0, Y0 - 80, X0 + 80, Y0)
    block = read_all(hsi(first), lidar(x), grid=GridOptions(bounds=bounds))
    assert not block.valid[:3].any()
    assert not block.valid[:, :3].any()
    assert block.valid[4:21, 4:21].all()


def test_an_internal_mask_counts(tmp_path: Path) -> None:
    mask = np.ones((8, 8), bool)
    mask[2, 3] = False
    path = write_raster(tmp_path / "a.tif", noise(2, 8, 8, dtype="int16"), mask=mask)
    assert (read_all(hsi(path)).valid == mask).all()


def test_an_internal_mask_counts_under_the_warper(tmp_path: Path) -> None:
    mask = np.ones((8, 8), bool)
    mask[2, 3] = False
    values = np.full((2, 8, 8), 100, np.int16)
    values[:, 2, 3] = 30_000
    x = write_raster(tmp_path / "a.tif", values, mask=mask, res=5.0)
    fine = write_raster(tmp_path / "b.tif", noise(1, 40, 40), res=1.0)
    block = read_all(hsi(fine), lidar(x))
    assert not block.valid[12, 17]
    np.testing.assert_allclose(block.x[:, block.valid], 100, rtol=1e-6)


@pytest.mark.parametrize("res", [1.0, 5.0])
def test_an_alpha_band_masks_and_is_no_channel(tmp_path: Path, res: float) -> None:
    values = noise(3, 8, 8).clip(0, 250).astype(np.uint8)
    values[2] = 255
    values[2, 2, 3] = 0
    x = write_raster(tmp_path / "a.tif", values, alpha=True, res=res)
    fine = write_raster(tmp_path / "b.tif", noise(1, 60, 60), res=1.0)
    with open_stack(hsi(fine), [lidar(x)]) as stack:
        assert stack.x_bands == ((1, 2),)
        block = stack.read(whole(stack))
    row, col = int(2.5 * res), int(3.5 * res)
    assert not block.valid[row, col]
    assert block.valid.mean() > 0.9


def test_scale_and_offset_are_applied(tmp_path: Path) -> None:
    values = noise(2, 5, 5, dtype="int16")
    values[1, 0, 0] = -99
    path = write_raster(tmp_path / "a.tif", values, nodata=-99, scale=1e-4, offset=0.5)
    block = read_all(hsi(path))
    expected = values * 1e-4 + 0.5
    np.testing.assert_allclose(block.hsi[:, block.valid], expected[:, block.valid], rtol=1e-6)
    assert not block.valid[0, 0]


def test_each_band_of_a_vrt_has_its_own_nodata_value(tmp_path: Path) -> None:
    one = write_raster(tmp_path / "a.tif", np.full((1, 6, 6), 7, np.int16), res=4.0)
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{i}"><NoDataValue>{nodata}</NoDataValue>'
        f"<SimpleSource><SourceFilename>{one}</SourceFilename><SourceBand>1</SourceBand>"
        "</SimpleSource></VRTRasterBand>"
        for i, nodata in ((1, -1), (2, 7))
    )
    vrt = tmp_path / "a.vrt"
    vrt.write_text(
        f'<VRTDataset rasterXSize="6" rasterYSize="6"><SRS>{CRS}</SRS><GeoTransform>{X0}, 4, 0, '
        f"{Y0}, 0, -4</GeoTransform>{bands}</VRTDataset>"
    )
    with open_stack(hsi(vrt), []) as stack:
        assert stack.hsi_bands == (1,)
        assert stack.dropped == {2: "all nodata"}
    fine = write_raster(tmp_path / "b.tif", noise(1, 24, 24), res=1.0)
    assert read_all(hsi(fine), lidar(vrt, bands=(1,))).valid.all()
    assert not read_all(hsi(fine), lidar(vrt, bands=(2, 1))).valid.any()


def test_bad_and_empty_bands_are_dropped_and_remembered(tmp_path: Path) -> None:
    values = noise(5, 6, 6)
    values[3] = -1
    values[4, :5] = -1
    path = write_raster(tmp_path / "a.tif", values, nodata=-1, bad_bands=[2])
    with open_stack(hsi(path), []) as stack:
        assert stack.hsi_bands == (1, 3, 5)
        assert stack.dropped == {2: "bad-band list", 4: "all nodata"}
        block = stack.read(whole(stack))
    np.testing.assert_array_equal(block.hsi[0, 5], values[0, 5])
    assert block.valid[5].all()
    assert not block.valid[:5].any()


def test_bands_that_are_named_are_taken_in_their_order(tmp_path: Path) -> None:
    values = noise(4, 3, 3)
    path = write_raster(tmp_path / "a.tif", values, bad_bands=[2])
    with open_stack(hsi(path, bands=(4, 2)), []) as stack:
        assert stack.dropped == {}
        np.testing.assert_array_equal(stack.read(whole(stack)).hsi, values[[3, 1]])


def test_bands_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", noise(3, 3, 3))
    with (
        pytest.raises(RasterError, match="has bands 1 to 3, not 4, 9"),
        open_stack(hsi(path, bands=(1, 4, 9)), []),
    ):
        pass


def test_a_raster_without_a_usable_band_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((2, 3, 3), -1, np.int16), nodata=-1)
    with (
        pytest.raises(RasterError, match="none of its 2 bands can be used"),
        open_stack(hsi(path), []),
    ):
        pass


@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
@pytest.mark.parametrize("chunk_bytes", [1, 5000, 40_000, 1 << 20])
def test_one_valid_pixel_anywhere_keeps_a_band(
    tmp_path: Path, layout: dict[str, Any], chunk_bytes: int
) -> None:
    values = np.full((4, 50, 70), -1, np.int16)
    for band, place in enumerate([(0, 0), (49, 69), (17, 33)]):
        values[(band, *place)] = 5
    path = write_raster(tmp_path / "a.tif", values, nodata=-1, **layout)
    with rasterio.open(path) as dataset:
        assert empty_bands(dataset, str(path), (1, 2, 3, 4), chunk_bytes=chunk_bytes) == (4,)


@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64}])
def test_a_truncated_raster_is_named(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = write_raster(tmp_path / "a.tif", noise(3, 200, 200), **layout)
    path.write_bytes(path.read_bytes()[:200_000])
    with (
        pytest.raises(RasterError, match=r"a\.tif: cannot be read; it may be truncated"),
        open_stack(hsi(path, bands=(1, 2, 3)), []) as stack,
    ):
        stack.read(whole(stack))


def test_a_raster_that_is_truncated_under_the_warper_is_named(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", noise(3, 200, 200))
    path.write_bytes(path.read_bytes()[:200_000])
    fine = write_raster(tmp_path / "b.tif", noise(1, 300, 300), res=5.0, origin=(X0, Y0 - 400))
    with (
        pytest.raises(RasterError, match=r"a\.tif: cannot be read; it may be truncated"),
        open_stack(hsi(fine), [lidar(path, bands=(1, 2, 3))]) as stack,
    ):
        stack.read(whole(stack))


def test_rasters_apart_are_refused_with_their_names(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", noise(1, 5, 5))
    b = write_raster(tmp_path / "b.tif", noise(1, 5, 5), origin=(0, 0))
    with (
        pytest.raises(GridError, match=r"a\.tif covers x .*b\.tif covers x "),
        open_stack(hsi(a), [lidar(b)]),
    ):
        pass


def test_like_takes_the_grid_of_another_raster(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", noise(1, 50, 50), res=2.0)
    like = write_raster(tmp_path / "b.tif", noise(1, 3, 4), res=20.0, origin=(X0 + 5, Y0 - 5))
    with open_stack(hsi(a), [], GridOptions(like=str(like))) as stack:
        assert stack.grid.transform == Affine(20, 0, X0 + 5, 0, -20, Y0 - 5)
        assert stack.grid.shape == (3, 4)
        assert stack.read(whole(stack)).valid.all()


def test_a_resampling_that_gdal_has_not_is_refused(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", noise(1, 5, 5))
    with (
        pytest.raises(UsageError, match="resampling 'best' is not known; choose one of average"),
        open_stack(hsi(a, resampling="best"), []),
    ):
        pass


def test_grid_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", noise(1, 5, 5))
    with (
        pytest.raises(UsageError, match="--dst-crs EPSG:0"),
        open_stack(hsi(a), [], GridOptions(dst_crs="EPSG:0")),
    ):
        pass
    with (
        pytest.raises(UsageError, match="not 3 numbers"),
        open_stack(hsi(a), [], GridOptions(bounds=(1, 2, 3))),
    ):
        pass


def test_a_window_beyond_the_grid_is_refused(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", noise(1, 5, 5))
    with open_stack(hsi(a), []) as stack, pytest.raises(ValueError, match="leaves the grid"):
        stack.read(Window(0, 1, 5, 5))


def counted_reads(stack: Stack, window: Window, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose own pixels are read for a window."""
    seen: list[str] = []
    before = NativeBands.read_raw

    def read_raw(self: NativeBands, window: Window) -> Any:
        seen.append(Path(self._path).name)
        return before(self, window)

    with monkeypatch.context() as patch:
        patch.setattr(NativeBands, "read_raw", read_raw)
        stack.read(window)
    return seen


def test_x_is_not_read_where_the_hsi_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = noise(3, 8, 8)
    values[1, :4] = -1  # one band is enough to make a pixel invalid
    first = write_raster(tmp_path / "a.tif", values, nodata=-1)
    second = noise(2, 8, 8)
    second[0, 6:] = -1
    x = write_raster(tmp_path / "b.tif", second, nodata=-1)
    last = write_raster(tmp_path / "c.tif", noise(1, 8, 8))
    with open_stack(hsi(first), [lidar(x), lidar(last)]) as stack:
        empty = stack.read(Window(0, 0, 4, 8))
        assert (empty.hsi.shape, empty.x.shape) == ((3, 4, 8), (3, 4, 8))
        assert not empty.hsi.any()
        assert not empty.x.any()
        assert not empty.valid.any()
        assert counted_reads(stack, Window(0, 0, 4, 8), monkeypatch) == ["a.tif"]
        assert counted_reads(stack, Window(6, 0, 2, 8), monkeypatch) == ["a.tif", "b.tif"]
        assert counted_reads(stack, whole(stack), monkeypatch) == ["a.tif", "b.tif", "c.tif"]


def test_like_without_crs_takes_the_one_that_is_given(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", noise(1, 50, 50), res=2.0)
    like = write_raster(tmp_path / "b.tif", noise(1, 3, 4), res=20.0, crs=None)
    with open_stack(hsi(a), [], GridOptions(like=str(like), like_crs=CRS)) as stack:
        assert stack.grid.crs == rasterio.crs.CRS.from_string(CRS)
        assert stack.grid.shape == (3, 4)


def test_reading_writes_nothing_beside_the_inputs(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    before = sorted(tmp_path.iterdir())
    read_all(hsi(scene.hsi), lidar(scene.lidar))
    assert sorted(tmp_path.iterdir()) == before
