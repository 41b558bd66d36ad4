"""A plan of windows cut into parts that fit together again bit for bit."""

from __future__ import annotations

import pickle
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_scene import CountingScene, unchanged
from numpy.typing import NDArray

from comix_cli.mapping.blend import StripBlender, Weights
from comix_cli.mapping.feed import WindowFeed
from comix_cli.scene.parts import LEAST, Part, cut, part_of, sub_plan, whole
from comix_cli.scene.windows import Window, WindowPlan, plan_windows

CHANNELS = 3


@st.composite
def plans(draw: st.DrawFn, longest: int = 60) -> WindowPlan:
    shape = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    side = draw(st.integers(1, 17))
    phase = draw(st.integers(-100, 100)), draw(st.integers(-100, 100))
    return plan_windows(shape, side, draw(st.integers(0, side - 1)), phase)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[WindowPlan, tuple[Part, ...]]:
    plan = draw(plans())
    width = draw(st.none() | st.integers(1, 8))
    least = draw(st.integers(1, 3))
    return plan, cut(plan, draw(st.integers(1, 12)), least=least, most_width=width)


def touches(window: Window, other: Window) -> bool:
    """Whether two windows share a pixel, found out pixel by pixel."""
    one = set(product(*(range(s.start, s.stop) for s in window.slices)))
    return any(pixel in one for pixel in product(*(range(s.start, s.stop) for s in other.slices)))


@given(cuts())
def test_every_pixel_is_some_parts_own_and_only_one_parts(
    made: tuple[WindowPlan, tuple[Part, ...]],
) -> None:
    plan, parts = made
    owners = np.zeros(plan.shape, np.int64)
    for part in parts:
        owners[part.own.slices] += 1
    assert (owners == 1).all()


@given(cuts(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_a_part_has_the_windows_that_touch_its_pixels_and_no_others(
    made: tuple[WindowPlan, tuple[Part, ...]], random: object
) -> None:
    plan, parts = made
    part = random.choice(parts)  # type: ignore[attr-defined]  # hypothesis' own Random
    numbers = list(product(range(len(plan.row_starts)), range(len(plan.col_starts))))
    expected = [n for n, window in zip(numbers, plan, strict=True) if touches(window, part.own)]
    assert list(product(part.rows, part.cols)) == expected
    assert part.windows == len(expected)


@given(cuts())
def test_the_windows_of_a_part_are_those_of_the_plan_seen_from_its_corner(
    made: tuple[WindowPlan, tuple[Part, ...]],
) -> None:
    plan, parts = made
    windows, across = list(plan), len(plan.col_starts)
    for part in parts:
        sub = sub_plan(plan, part)
        placed = [window.moved(part.seen.row, part.seen.col) for window in sub]
        assert placed == [windows[row * across + col] for row in part.rows for col in part.cols]
        assert (sub.row_starts[0], sub.col_starts[0]) == (0, 0)
        bottom = max(window.row + window.height for window in sub)
        right = max(window.col + window.width for window in sub)
        assert (bottom, right) == sub.shape == part.seen.shape


@given(plans(), st.integers(1, 12), st.integers(1, 4))
def test_strips_and_blocks_have_enough_windows_of_their_own(
    plan: WindowPlan, parts: int, least: int
) -> None:
    found = cut(plan, parts, least=least)
    assert len(found) <= max(2 * parts, 1)
    for starts, first, size, full in (
        (plan.row_starts, "row", "height", plan.shape[0]),
        (plan.col_starts, "col", "width", plan.shape[1]),
    ):
        for part in found:
            begin, length = getattr(part.own, first), getattr(part.own, size)
            own = sum(begin <= start < begin + length for start in starts)
            assert own >= least or length == full


@given(plans(), st.integers(1, 12), st.integers(1, 6))
def test_cutting_is_the_same_every_time_and_survives_the_wire(
    plan: WindowPlan, parts: int, width: int
) -> None:
    found = cut(plan, parts, least=1, most_width=width)
    assert found == cut(plan, parts, least=1, most_width=width)
    assert pickle.loads(pickle.dumps(found)) == found


def windows_of(plan: WindowPlan) -> dict[Window, NDArray[np.float32] | None]:
    """Random values of every window, and none at all of some."""
    rng = np.random.default_rng(5)
    return {
        window: rng.random((CHANNELS, *window.shape), np.float32) if rng.random() > 0.2 else None
        for window in plan
    }


def blended(
    plan: WindowPlan, values: dict[Window, NDArray[np.float32] | None], part: Part
) -> NDArray[np.float32]:
    """What a part sees, blended."""
    blender = StripBlender(sub_plan(plan, part), CHANNELS, weights=Weights.of(plan).part(part))
    for window in sub_plan(plan, part):
        blender.add(window, values[window.moved(part.seen.row, part.seen.col)])
    return np.concatenate([rows for _, rows in blender.finished()], axis=1)


@given(cuts())
@settings(deadline=None)
def test_a_blended_part_is_the_blended_whole_bit_for_bit(
    made: tuple[WindowPlan, tuple[Part, ...]],
) -> None:
    plan, parts = made
    values = windows_of(plan)
    expected = blended(plan, values, whole(plan))
    for part in parts:
        found = blended(plan, values, part)
        own, seen = part.own, part.seen
        rows = slice(own.row - seen.row, own.row - seen.row + own.height)
        cols = slice(own.col - seen.col, own.col - seen.col + own.width)
        assert found[:, rows, cols].tobytes() == expected[:, *own.slices].tobytes()


@given(cuts(), st.booleans())
@settings(deadline=None, max_examples=50)
def test_a_part_reads_its_windows_where_they_lie_in_the_scene(
    made: tuple[WindowPlan, tuple[Part, ...]], carry: bool
) -> None:
    plan, parts = made
    scene = CountingScene(plan.shape, channels=1)
    part = parts[-1]
    origin = part.seen.row, part.seen.col
    feed = WindowFeed(
        scene, unchanged, sub_plan(plan, part), plan.window, carry=carry, origin=origin
    )
    for prepared in feed:
        raw = scene.read(prepared.window.moved(*origin))
        if prepared.inputs is None:
            assert not raw.valid.any()
        else:
            np.testing.assert_array_equal(prepared.inputs.hsi, raw.hsi)
            np.testing.assert_array_equal(prepared.inputs.valid, raw.valid)


def test_strips_come_before_blocks() -> None:
    plan = plan_windows((1000, 1000), 16, 4)  # 83 rows and columns of windows
    assert [len(cut(plan, n)) for n in (1, 2, 4, 6)] == [1, 2, 4, 6]
    assert all(part.own.width == 1000 for part in cut(plan, 6))
    # Seven strips would have fewer than twelve rows of their own.
    blocks = cut(plan, 24)
    assert len(blocks) == 24
    assert len({part.own.row for part in blocks}) == 6
    assert len({part.own.col for part in blocks}) == 4


@pytest.mark.parametrize(("overlap", "halo"), [(0, 0), (5, 1), (8, 1), (9, 2), (12, 3)])
def test_the_halo_costs_no_more_than_was_promised(overlap: int, halo: int) -> None:
    plan = plan_windows((2000, 100), 16, overlap)
    parts = cut(plan, 1000)
    rows = len(plan.row_starts)
    strips = len({part.own.row for part in parts})
    computed = sum(len(part.rows) for part in parts if part.own.col == 0)
    assert strips > 5
    # Where the last windows lie closer together, one more may touch a cut.
    assert computed <= rows + (strips - 1) * halo + 1
    assert computed <= rows * (1 + 1 / LEAST)


def test_strips_take_about_as_long_as_each_other() -> None:
    parts = cut(plan_windows((3000, 400), 16, 4), 7)
    sizes = [part.windows for part in parts]
    assert len(sizes) == 7
    assert max(sizes) - min(sizes) <= len(parts[0].cols) * 2


def test_what_is_too_wide_becomes_blocks() -> None:
    plan = plan_windows((1000, 5000), 16, 4)
    for most in (300, 200, 50, 7, 2, 1):
        parts = cut(plan, 4, most_width=most)
        # With one column on both sides of a cut, a part computes two at the least.
        assert max(len(part.cols) for part in parts) <= max(2, most)
    assert cut(plan, 4, most_width=10_000) == cut(plan, 4)


def test_what_is_too_small_stays_whole() -> None:
    for shape in ((1, 1), (16, 16), (17, 150), (200, 200)):
        plan = plan_windows(shape, 16, 4)
        assert cut(plan, 5) == (whole(plan),)


def test_nonsense_is_refused() -> None:
    plan = plan_windows((100, 100), 16, 4)
    for arguments in ({"parts": 0}, {"parts": 1, "least": 0}, {"parts": 1, "most_width": 0}):
        with pytest.raises(ValueError, match="cannot cut"):
            cut(plan, **arguments)
    with pytest.raises(ValueError, match="leaves a scene"):
        part_of(plan, Window(90, 0, 11, 5))
