from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pairs import coarse_grid, painted, seen_by, write_hsi, write_x

from comix_cli.scene.windows import Window
from comix_cli.sharpening.pair import open_pair
from comix_models.resample import upsampled


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


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.2, -3.2)])
def test_where_the_hsi_reaches_beyond_x_edges_are_like_the_inside(
    tmp_path: Path, shift: tuple[float, float]
) -> None:
    # A ramp, which bicubic interpolation gives exactly wherever it has pixels on both sides.
    shape = (32, 32)
    grid = coarse_grid((72, 72), offset=(-20.0, -20.0))
    rows, cols = ((np.arange(18) + 0.5) * 4 - 20 for _ in range(2))
    ramp = rows[:, np.newaxis] + 2 * cols + 100
    hsi = write_hsi(tmp_path / "hsi.tif", np.tile(ramp, (2, 1, 1)).astype(np.float32), grid,
                    wavelengths=(500, 600), fwhm=(20, 20))  # fmt: skip
    x = write_x(tmp_path / "x.tif", np.ones((4, *shape), np.uint16))

    with open_pair(str(hsi), str(x)) as pair:
        window = pair.read(Window(0, 0, *shape))
        assert window is not None
        place = window.placement
        moved = replace(place, offset=(place.offset[0] + shift[0], place.offset[1] + shift[1]))
        found = upsampled(window.hsi, moved, shape)[0].numpy()

    down, across = (np.arange(32) + 0.5 - part for part in shift)
    np.testing.assert_allclose(found, down[:, np.newaxis] + 2 * across + 100, atol=1e-3)
