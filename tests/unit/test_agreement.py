"""The coarse picture of agreement, against counting every pixel of every cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from comix_cli.accuracy.agreement import AgreementPicture, Level, grown

Mask = NDArray[np.bool_]


def counted_by_hand(mask: Mask, side: int) -> NDArray[np.int64]:
    """Pixels of each cell, cell by cell."""
    rows, columns = range(0, mask.shape[0], side), range(0, mask.shape[1], side)
    cells = [[int(mask[i : i + side, j : j + side].sum()) for j in columns] for i in rows]
    return np.array(cells, np.int64)


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    most=st.integers(1, 80),
    tile=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_tiles_add_up_to_the_pixels_of_every_cell(
    height: int, width: int, most: int, tile: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    compared = rng.random((height, width)) < 0.4
    right = rng.random((height, width)) < 0.6  # also where nothing is compared
    picture = AgreementPicture.empty(height, width, most)
    for row in range(0, height, tile):
        for col in range(0, width, tile):
            part = np.s_[row : row + tile, col : col + tile]
            picture.add(row, col, right[part], compared[part])
    side = picture.pixels_per_cell
    assert max(picture.right.shape) <= most
    assert (side - 1) * most < max(height, width) <= side * most
    np.testing.assert_array_equal(picture.right, counted_by_hand(right & compared, side))
    np.testing.assert_array_equal(picture.wrong, counted_by_hand(~right & compared, side))


def test_a_small_map_has_a_cell_for_every_pixel() -> None:
    picture = AgreementPicture.empty(30, 40)
    assert picture.pixels_per_cell == 1
    assert picture.right.shape == (30, 40)


def test_what_a_cell_shows_follows_from_its_pixels() -> None:
    picture = AgreementPicture.empty(1, 6)
    picture.right[:] = [[0, 7, 5, 3, 2, 0]]
    picture.wrong[:] = [[0, 0, 2, 3, 9, 1]]
    assert [Level(level) for level in picture.levels()[0]] == [
        Level.NO_REFERENCE,
        Level.RIGHT,
        Level.MOSTLY_RIGHT,
        Level.MOSTLY_WRONG,
        Level.MOSTLY_WRONG,
        Level.WRONG,
    ]


def test_one_pixel_of_a_huge_map_is_seen() -> None:
    picture = AgreementPicture.empty(20_000, 20_000)
    one = np.ones((1, 1), np.bool_)
    picture.add(12_345, 6_789, ~one, one)
    assert picture.pixels_per_cell == 20
    marks = picture.marks()
    rows, columns = np.nonzero(marks)
    assert set(marks[rows, columns]) == {Level.WRONG}
    assert (rows.min(), rows.max()) == (615, 619)  # around 12 345 // 20
    assert (columns.min(), columns.max()) == (337, 341)


def test_marks_of_a_small_map_stay_as_they_are() -> None:
    picture = AgreementPicture.empty(20, 20)
    ones = np.ones((1, 1), np.bool_)
    picture.add(3, 4, ones, ones)
    np.testing.assert_array_equal(picture.marks(), picture.levels())


def test_a_mark_spreads_into_empty_cells_only_and_the_worst_goes_first() -> None:
    right, wrong, none = int(Level.RIGHT), int(Level.WRONG), int(Level.NO_REFERENCE)
    row = np.array([[none, right, none, wrong, none, none]], np.uint8)
    assert grown(row, 1).tolist() == [[right, right, wrong, wrong, wrong, none]]
    np.testing.assert_array_equal(grown(row, 0), row)


@pytest.mark.parametrize(("row", "col"), [(-1, 0), (0, -1), (9, 0), (0, 15)])
def test_a_tile_beyond_the_map_is_refused(row: int, col: int) -> None:
    picture = AgreementPicture.empty(10, 16)
    tile = np.ones((2, 2), np.bool_)
    with pytest.raises(ValueError, match="lies outside"):
        picture.add(row, col, tile, tile)


def test_masks_of_different_shapes_are_refused() -> None:
    picture = AgreementPicture.empty(10, 16)
    with pytest.raises(ValueError, match="not of one tile"):
        picture.add(0, 0, np.ones((2, 2), np.bool_), np.ones((2, 3), np.bool_))


@pytest.mark.parametrize("size", [(0, 5, 10), (5, 0, 10), (5, 5, 0)])
def test_an_empty_map_has_no_picture(size: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no picture"):
        AgreementPicture.empty(*size)
