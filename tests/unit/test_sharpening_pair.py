from __future__ import annotations

from pathlib import Path

import numpy as np
from pairs import coarse_grid, painted, seen_by, write_hsi, write_x

from comix_cli.scene.windows import Window
from comix_cli.sharpening.pair import open_pair


def test_holes_of_an_hsi_that_is_off_its_place_move_with_it(tmp_path: Path) -> None:
    canvas = painted((48, 40))
    grid = coarse_grid(canvas.shape)
    values = seen_by(canvas, grid).astype(np.float32)
    values[:, 5, 3] = -1
    hsi = write_hsi(tmp_path / "hsi.tif", values, grid, nodata=-1)
    x = write_x(tmp_path / "x.tif", canvas.x)

    with open_pair(str(hsi), str(x)) as pair:
        whole = Window(0, 0, 48, 40)
        where_it_says, moved = pair.hsi_valid(whole), pair.hsi_valid(whole, (2, -3))
        part = pair.hsi_valid(Window(20, 8, 9, 7), (2, -3))
        nothing = pair.hsi_valid(Window(0, 36, 4, 4), (0, -40))

    expected = np.ones((48, 40), np.bool_)
    expected[20:24, 12:16] = False
    np.testing.assert_array_equal(where_it_says, expected)
    expected = np.ones((48, 40), np.bool_)
    expected[22:26, 9:13] = False
    expected[:2], expected[:, 37:] = False, False  # the HSI does not reach there
    np.testing.assert_array_equal(moved, expected)
    np.testing.assert_array_equal(part, expected[20:29, 8:15])
    assert not nothing.any()
