"""Numbers that are none never reach a network, whatever a file and its tags hold."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scenes import write_raster
from stacks import hsi, lidar, read_all

from comix_cli.errors import RasterError
from comix_cli.learning.normalise import fit_normalisation
from comix_cli.scene.stack import GridOptions

HALF = GridOptions(resolution=5.0)


@pytest.mark.parametrize("resampling", ["nearest", "cubic"])
@pytest.mark.parametrize(
    ("scale", "offset"), [(1e37, 0.0), (math.nan, 0.0), (math.inf, 0.0), (1.0, -math.inf)]
)
def test_a_scale_that_spoils_numbers_is_named_with_band_and_window(
    tmp_path: Path, resampling: str, scale: float, offset: float
) -> None:
    values = np.full((3, 8, 10), 1000, np.float32)
    path = write_raster(tmp_path / "a.tif", values, scale=scale, offset=offset)
    with pytest.raises(RasterError) as error:
        read_all(hsi(path, resampling=resampling), grid=HALF)
    size = "8 x 10" if resampling == "nearest" else "16 x 20"
    assert f"a.tif: band 1 has numbers that its scale of {scale:g}" in error.value.message
    assert f"in the window of {size} pixels at row 0, column 0" in error.value.message
    assert "gdal_edit.py" in error.value.message


def test_fill_values_may_become_anything(tmp_path: Path) -> None:
    values = np.full((2, 4, 4), 1000, np.float32)
    values[1, 2, 3], values[0, 0, 0] = -3e38, np.nan
    block = read_all(hsi(write_raster(tmp_path / "a.tif", values, scale=100.0)))
    assert np.argwhere(~block.valid).tolist() == [[0, 0], [2, 3]]
    assert set(np.unique(block.hsi)) == {0, 100_000}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    arrays(np.float32, (2, 6, 7), elements=st.floats(width=32)),
    st.sampled_from([1.0, 1e-30, 3.0, 1e10, 1e38]),
    st.sampled_from(["nearest", "bilinear", "cubic", "lanczos", "average"]),
)
def test_whatever_a_file_holds_a_network_sees_numbers_from_0_to_1(
    tmp_path: Path, values: np.ndarray, scale: float, resampling: str
) -> None:
    first = write_raster(tmp_path / "a.tif", np.ones((1, 12, 14), np.float32), res=5.0)
    other = write_raster(tmp_path / "b.tif", values, scale=scale)
    try:
        block = read_all(hsi(first), lidar(other, resampling=resampling))
    except RasterError:
        return
    assert np.isfinite(block.x).all()
    if block.valid.any():
        scaled = fit_normalisation(block.x[:, block.valid]).apply(block.x)
        assert ((scaled >= 0) & (scaled <= 1)).all()
