"""Rows and blocks of a raster in a plain file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from comix_cli.mapping.row_file import open_row_file
from comix_cli.scene.grid import Grid


def grid(height: int, width: int) -> Grid:
    return Grid(CRS.from_epsg(32633), Affine(10, 0, 4e5, 0, -10, 5.8e6), width, height)


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 3),
    st.sampled_from(("uint8", "uint16", "float32")),
    st.integers(1, 9),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
def test_blocks_in_any_order_are_the_rows(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    bands: int,
    dtype: str,
    tall: int,
    wide: int,
    random: Any,
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.bin"
    values = np.random.default_rng(1).integers(0, 250, (bands, height, width)).astype(dtype)
    corners = [(r, c) for r in range(0, height, tall) for c in range(0, width, wide)]
    random.shuffle(corners)
    with open_row_file(path, grid(height, width), dtype, bands) as rows:
        for row, col in corners:
            rows.write_block(row, col, values[:, row : row + tall, col : col + wide])
        rows.flush()
        np.testing.assert_array_equal(rows.read(0, height), values)
    assert path.read_bytes() == np.moveaxis(values, 0, -1).tobytes()


@pytest.mark.parametrize(
    ("row", "col", "shape", "message"),
    [
        (0, 3, (2, 1, 3), "do not fit"),
        (0, -1, (2, 1, 3), "do not fit"),
        (3, 0, (2, 2, 3), "do not fit"),
        (0, 0, (1, 1, 3), "do not fit"),
        (1, 0, (2, 1, 5), "written before"),
    ],
)
def test_blocks_that_cannot_be_right_are_refused(
    tmp_path: Path, row: int, col: int, shape: tuple[int, ...], message: str
) -> None:
    with open_row_file(tmp_path / "rows.bin", grid(4, 5), "uint8", 2) as rows:
        rows.write_block(1, 2, np.ones((2, 1, 3), np.uint8))
        with pytest.raises(ValueError, match=message):
            rows.write_block(row, col, np.ones(shape, np.uint8))


def test_a_block_that_is_missing_is_noticed(tmp_path: Path) -> None:
    with open_row_file(tmp_path / "rows.bin", grid(4, 5), "uint8") as rows:
        rows.write_block(0, 0, np.ones((1, 4, 3), np.uint8))
        rows.write_block(0, 3, np.ones((1, 2, 2), np.uint8))
        with pytest.raises(ValueError, match="row 2 of the map was never written"):
            rows.flush()
