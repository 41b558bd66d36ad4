"""Bands that no file holds: sums of bands, and heights above the ground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import ORIGIN, write_raster
from stacks import hsi, lidar, read_all, whole

from comix_cli.errors import GridError
from comix_cli.scene.spectral import BandMix
from comix_cli.scene.stack import open_stack
from comix_cli.scene.windows import tile_windows

X0, Y0 = ORIGIN


def noise(*shape: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(10, 1000, shape).astype(np.float32)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_mixed_bands_are_sums_of_what_is_read(tmp_path: Path, method: str) -> None:
    values = noise(4, 10, 10)
    values[3, 0, 0] = -1  # takes no part
    values[1, 5, 5] = -1
    coarse = write_raster(tmp_path / "a.tif", values, nodata=-1, res=6.0)
    fine = write_raster(tmp_path / "b.tif", noise(1, 60, 60), res=1.0)
    mix = BandMix((((0, 0.25), (1, 0.75)), ((1, 1.0),), ((0, 0.5), (1, 0.5))), "test")
    plain = hsi(coarse, bands=(3, 2), resampling=method)
    other = hsi(coarse, bands=(3, 2), resampling=method, mix=mix)
    block, expected = (read_all(source, lidar(fine)) for source in (other, plain))
    np.testing.assert_array_equal(block.valid, expected.valid)
    assert block.valid.mean() == 1 - 0.01
    third, second = expected.hsi
    sums = [third * 0.25 + second * 0.75, second, (third + second) / 2]
    np.testing.assert_allclose(block.hsi, sums, rtol=1e-6)
    with open_stack(other, [lidar(fine)]) as stack:
        assert stack.channels == (3, 1)
        assert stack.hsi_bands == (3, 2)
        for window in tile_windows(stack.grid.shape, 17):
            part = stack.read(window)
            np.testing.assert_array_equal(part.hsi, block.hsi[:, *window.slices])
            np.testing.assert_array_equal(stack.read_valid(window), part.valid)


def surface_and_terrain(folder: Path, **options: Any) -> tuple[Path, Path]:
    """A surface of two bands with a hole, and a plane of terrain of 5 m with another."""
    rows, cols = np.mgrid[:40, :40]
    surface = np.stack([100 + rows + noise(1, 40, 40)[0] / 100, 300.0 + cols]).astype(np.float32)
    surface[1, 30, 30] = -1
    rows, cols = np.mgrid[-2:20, -2:20]
    terrain = (50 + 2.0 * rows + 3.0 * cols).astype(np.float32)[np.newaxis]
    terrain[0, 2, 2] = -1
    dsm = write_raster(folder / "dsm.tif", surface, res=2.0, nodata=-1)
    dtm = write_raster(
        folder / "dtm.tif", terrain, res=5.0, nodata=-1, origin=(X0 - 10, Y0 + 10), **options
    )
    return dsm, dtm


def test_a_terrain_model_is_subtracted_from_every_band(tmp_path: Path) -> None:
    dsm, dtm = surface_and_terrain(tmp_path)
    first = hsi(write_raster(tmp_path / "a.tif", noise(3, 16, 16), res=5.0))
    block = read_all(first, lidar(dsm, minus=lidar(dtm)))
    alone = read_all(first, lidar(dsm))
    # Bilinear interpolation of a plane is the plane.
    rows, cols = np.mgrid[:40, :40] * 2.0 + 1
    plane = 50 + 2 * (rows / 5 - 0.5) + 3 * (cols / 5 - 0.5)
    away = block.valid & ((rows > 10) | (cols > 10))
    for band in range(2):
        np.testing.assert_allclose(
            block.x[band][away], (alone.x[band] - plane)[away], rtol=1e-4, atol=1e-3
        )
    assert not block.valid[30, 30]
    holes = np.argwhere(~block.valid & alone.valid) * 2 + 1
    assert len(holes)
    assert (holes < 5).all()  # within the terrain's one invalid pixel


def test_a_terrain_model_has_no_say_in_the_grid(tmp_path: Path) -> None:
    dsm, dtm = surface_and_terrain(tmp_path)
    finer = write_raster(tmp_path / "finer.tif", noise(1, 30, 30), res=1.0)
    first = hsi(write_raster(tmp_path / "a.tif", noise(3, 16, 16), res=5.0))
    with open_stack(first, [lidar(dsm)]) as stack:
        expected = stack.grid
    for terrain in (dtm, finer):
        with open_stack(first, [lidar(dsm, minus=lidar(terrain))]) as stack:
            assert stack.grid == expected
            assert stack.channels == (3, 2)
            block = stack.read(whole(stack))
    assert block.valid[:15, :15].all()  # the finer one covers 30 m, and is averaged
    assert not block.valid[15:].any()
    assert not block.valid[:, 15:].any()


def test_a_terrain_model_may_have_another_crs_and_scale(tmp_path: Path) -> None:
    degrees = write_raster(
        tmp_path / "dtm.tif", np.full((1, 40, 40), 420, np.int16), crs="EPSG:4326",
        origin=(13.530, 52.345), res=1e-3, scale=0.1, offset=8.0,
    )  # fmt: skip
    dsm = write_raster(tmp_path / "dsm.tif", np.full((1, 30, 30), 75, np.float32), res=2.0)
    block = read_all(hsi(dsm), lidar(dsm, minus=lidar(degrees)))
    assert block.valid.all()
    np.testing.assert_allclose(block.x, 25, rtol=1e-6)


def test_a_terrain_model_elsewhere_is_refused_with_both_extents(tmp_path: Path) -> None:
    far = write_raster(tmp_path / "far.tif", noise(1, 5, 5), origin=(0, 50))
    dsm = write_raster(tmp_path / "dsm.tif", noise(1, 5, 5))
    with (
        pytest.raises(GridError, match=r"far\.tif: shares no ground .*x 0\.\.50.*x 400000\.\."),
        open_stack(hsi(dsm), [lidar(dsm, minus=lidar(far))]),
    ):
        pass
