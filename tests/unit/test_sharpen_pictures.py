"""What the report of `comix sharpen` shows: which bands, where, in which colours; its drawings."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from comix_cli.scene.pixels import Values
from comix_cli.tools.sharpen_figures import response_picture, spread_outline, spread_picture
from comix_cli.tools.sharpen_pictures import Colours, choose_colours, coloured, middle

VISIBLE = tuple(452.0 + 20 * i for i in range(30))  # 452, 472, ... 1032
PALE = [236, 236, 232]


def told(**spread: float) -> dict[str, Any]:
    """What a document says of an HSI with pixels of 20 x 30 m and an X of 5 x 10 m."""
    found = {"shift_across": 0.0, "shift_down": 0.0, "direction_degrees": 0.0} | spread
    return {
        "ratio": {"across": 4.0, "down": 3.0},
        "pixel_size": {"width": 5.0, "height": 10.0},
        "point_spread": {"fwhm": [40.0, 20.0], "unit": "metre"} | found,
    }


# Which bands


@pytest.mark.parametrize(
    ("x", "hsi", "chosen"),
    [
        # Blue, green, red, infrared: natural, and the nearest bands of the HSI.
        ((490, 560, 665, 845), VISIBLE, Colours((2, 1, 0), (11, 5, 2), (0, 1, 2), True)),
        # Green, red, infrared: no blue, so the longest wavelength is red.
        ((560, 665, 845), VISIBLE, Colours((2, 1, 0), (20, 11, 5), (0, 1, 2), False)),
        # Panchromatic: grey with the range of the green band, beside a natural HSI.
        ((560,), VISIBLE, Colours((0,), (9, 5, 0), (1,), True)),
        ((845, 665), VISIBLE, Colours((1,), (9, 5, 0), (0,), True)),
        # Panchromatic and beyond the eye: both grey.
        ((1600,), (1500, 1590, 1700), Colours((0,), (1,), (0,), False)),
    ],
)
def test_both_images_are_shown_in_the_same_colours(
    x: tuple[float, ...], hsi: tuple[float, ...], chosen: Colours
) -> None:
    assert choose_colours(x, hsi) == chosen


# Where


def test_the_middle_of_a_whole_scene() -> None:
    assert middle(np.ones((9, 21), bool), 3) == (4, 10)
    # Where there is not room for so much, as much as there is.
    assert middle(np.ones((9, 21), bool), 100)[0] == 4


def test_the_middle_has_data_all_around() -> None:
    valid = np.ones((40, 40), bool)
    valid[:, 15:] = False
    valid[18:22, 18:22] = True
    row, col = middle(valid, 5)
    assert row in (19, 20)
    assert 4 <= col <= 10


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))), st.floats(0.1, 30))
def test_the_middle_is_valid(valid: np.ndarray[Any, np.dtype[np.bool_]], reach: float) -> None:
    if valid.any():
        assert valid[middle(valid, reach)]


# In which colours


def test_values_become_colours_and_gaps_become_grey() -> None:
    data = np.array([[[0.0, 0.5, 1.0, np.nan]], [[5.0, 10.0, 15.0, 1e30]], [[7.0, 7.0, 8.0, 0.0]]])
    valid = np.array([[True, True, True, False]])
    picture = coloured(Values(data.astype(np.float32), valid), [(0, 1), (10, 20), (7, 7)])
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[0, 0, 0], [128, 0, 0], [255, 128, 0], PALE]]
    grey = coloured(Values(data[:1].astype(np.float32), valid), [(0, 1)])
    assert grey.tolist() == [[[0, 0, 0], [128, 128, 128], [255, 255, 255], PALE]]


# Drawings


@pytest.mark.parametrize(
    ("direction", "end"),
    [(0, (4, 0)), (90, (0, -2)), (-90, (0, 2)), (45, (2 * 2**0.5, -(2**0.5)))],
)
def test_the_ellipse_points_where_the_document_says(
    direction: float, end: tuple[float, float]
) -> None:
    # Half of 40 m: four pixels of 5 m across, two of 10 m down; north is up.
    outline, shift = spread_outline(told(direction_degrees=direction))
    assert outline[0] == pytest.approx(end, abs=1e-9)
    assert outline[90] == pytest.approx((-end[0], -end[1]), abs=1e-9)
    assert shift.tolist() == [0, 0]


def test_the_ellipse_has_both_widths_and_its_place() -> None:
    outline, shift = spread_outline(told(shift_across=-5.0, shift_down=20.0))
    assert np.abs(outline).max(0) == pytest.approx((4, 1), rel=1e-3)
    assert shift.tolist() == [-1, 2]


def test_drawings_are_the_same_every_time_and_need_nothing() -> None:
    response = {"wavelengths_nm": [500.0], "found": [1.0], "expected": [1.0]}
    channels = [{"band": band, "centre_nm": 500.0, "response": response} for band in (1, 2)]
    for uri, again in (
        (spread_picture(told()), spread_picture(told())),
        (response_picture(channels), response_picture(channels)),
    ):
        assert uri == again
        kind, _, content = uri.partition(",")
        assert kind == "data:image/svg+xml;base64"
        text = base64.b64decode(content).decode()
        assert "<image" not in text
        assert "<script" not in text
