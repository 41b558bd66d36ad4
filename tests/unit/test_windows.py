"""Windows cover a scene."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comix_cli.scene.windows import Window, axis_starts, plan_windows, tile_windows

SIZES = st.integers(1, 300)


@st.composite
def windows_and_overlaps(draw: st.DrawFn) -> tuple[int, int]:
    window = draw(st.integers(1, 80))
    return window, draw(st.integers(0, window - 1))


@settings(deadline=None)
@given(SIZES, windows_and_overlaps())
def test_every_pixel_of_an_axis_is_covered(size: int, choice: tuple[int, int]) -> None:
    window, overlap = choice
    covered = np.zeros(size, int)
    for start in axis_starts(size, window, overlap):
        covered[start : start + window] += 1
    assert covered.min() >= 1


@settings(deadline=None)
@given(SIZES, windows_and_overlaps())
def test_starts_ascend_and_the_last_window_ends_with_the_axis(
    size: int, choice: tuple[int, int]
) -> None:
    window, overlap = choice
    starts = axis_starts(size, window, overlap)
    assert starts[0] == 0
    assert list(starts) == sorted(set(starts))
    assert starts[-1] + min(window, size) == size


@settings(deadline=None)
@given(SIZES, windows_and_overlaps())
def test_neighbours_share_at_least_the_overlap(size: int, choice: tuple[int, int]) -> None:
    window, overlap = choice
    starts = axis_starts(size, window, overlap)
    assert all(b - a <= window - overlap for a, b in itertools.pairwise(starts))


def test_the_last_window_is_shifted_inward() -> None:
    assert axis_starts(100, 40, 10) == (0, 30, 60)
    assert axis_starts(101, 40, 10) == (0, 30, 60, 61)


def test_one_window_does_where_the_axis_is_no_longer() -> None:
    assert axis_starts(40, 40, 20) == (0,)
    assert axis_starts(7, 40, 20) == (0,)


@pytest.mark.parametrize(
    ("size", "window", "overlap"), [(0, 4, 0), (9, 0, 0), (9, 4, 4), (9, 4, -1)]
)
def test_impossible_plans_are_refused(size: int, window: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="cannot cover"):
        axis_starts(size, window, overlap)


def test_a_plan_runs_row_by_row_over_windows_of_one_size() -> None:
    plan = plan_windows((50, 70), 40, 8)
    windows = list(plan)
    assert windows == sorted(windows)
    assert {w.shape for w in windows} == {(40, 40)}
    assert len(plan) == len(windows) == 2 * 2


def test_windows_are_clipped_to_a_scene_that_is_smaller() -> None:
    assert list(plan_windows((5, 70), 64, 0)) == [Window(0, 0, 5, 64), Window(0, 6, 5, 64)]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_tiles_cover_every_pixel_once(height: int, width: int, size: int) -> None:
    covered = np.zeros((height, width), int)
    for tile in tile_windows((height, width), size):
        covered[tile.slices] += 1
    assert (covered == 1).all()


def test_a_window_must_be_a_rectangle() -> None:
    with pytest.raises(ValueError, match="not a pixel rectangle"):
        Window(0, 0, 0, 5)
    with pytest.raises(ValueError, match="not a pixel rectangle"):
        Window(-1, 0, 3, 5)
    with pytest.raises(ValueError, match="cover nothing"):
        tile_windows((3, 3), 0)


@given(st.integers(1, 400), st.integers(2, 40), st.integers(-(10**7), 10**7), st.data())
def test_anchored_windows_cover_everything_and_overlap_as_asked(
    size: int, window: int, phase: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, window - 1))
    starts = axis_starts(size, window, overlap, phase)
    assert starts[0] == 0
    assert list(starts) == sorted(set(starts))
    assert starts[-1] == max(0, size - window)
    steps = [b - a for a, b in itertools.pairwise(starts)]
    assert all(step <= window - overlap for step in steps)
    assert all((start + phase) % (window - overlap) == 0 for start in starts[1:-1])


@given(st.integers(60, 300), st.integers(2, 20), st.integers(-1000, 1000), st.data())
def test_a_piece_has_the_windows_of_the_whole_away_from_its_ends(
    size: int, window: int, phase: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, window - 1))
    first = data.draw(st.integers(0, size - 50))
    length = data.draw(st.integers(50, size - first))
    whole = {s - first for s in axis_starts(size, window, overlap, phase)}
    piece = set(axis_starts(length, window, overlap, phase + first))

    def inner(starts: set[int]) -> set[int]:
        return {s for s in starts if window < s < length - 2 * window and s > 0}

    if first + length < size and first > 0:
        assert inner(piece) == inner(whole)
