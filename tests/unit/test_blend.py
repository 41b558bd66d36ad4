"""Overlapping windows become one seamless scene."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from comix_cli.mapping.blend import StripBlender, axis_weights, window_ramp
from comix_cli.scene.windows import Window, WindowPlan, axis_starts, plan_windows

Scene = NDArray[np.float32]


@st.composite
def plans(draw: st.DrawFn) -> WindowPlan:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    window = draw(st.integers(1, 24))
    return plan_windows((height, width), window, draw(st.integers(0, window - 1)))


def window_values(plan: WindowPlan, channels: int, seed: int) -> Iterator[tuple[Window, Scene]]:
    rng = np.random.default_rng(seed)
    for window in plan:
        yield window, rng.normal(size=(channels, *window.shape)).astype(np.float32)


def blended(plan: WindowPlan, channels: int, seed: int, *, fetch_every: int = 1) -> Scene:
    blender = StripBlender(plan, channels)
    pieces: list[Scene] = []
    for number, (window, values) in enumerate(window_values(plan, channels, seed), start=1):
        blender.add(window, values)
        if number % fetch_every == 0:
            pieces += [rows for _, rows in blender.finished()]
    pieces += [rows for _, rows in blender.finished()]
    return np.concatenate(pieces, axis=1)


def naive_blend(plan: WindowPlan, channels: int, seed: int) -> NDArray[np.float64]:
    """Weighted mean over the whole scene at once, in double precision."""
    total = np.zeros((channels, *plan.shape))
    weights = np.zeros(plan.shape)
    for window, values in window_values(plan, channels, seed):
        weight = np.outer(*(window_ramp(n) for n in plan.window))
        total[:, *window.slices] += weight * values
        weights[window.slices] += weight
    return total / weights


@given(st.integers(1, 300), st.integers(1, 64), st.data())
def test_weights_sum_to_one_everywhere(size: int, window: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, window - 1))
    starts, used = axis_starts(size, window, overlap), min(size, window)
    weights = axis_weights(size, starts, used)
    total = np.zeros(size)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + used] += weight
    assert weights.dtype == np.float32
    assert weights.min() > 0
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_a_pixel_of_one_window_only_has_exactly_the_weight_one() -> None:
    assert (axis_weights(7, (0,), 7) == 1).all()
    assert (axis_weights(8, (0, 4), 4) == 1).all()


def test_weights_of_two_windows_are_known_by_hand() -> None:
    # sin²(π/8) = 0.1464, sin²(3π/8) = 0.8536: where they meet they already sum to one
    low, high = 0.5 - np.sqrt(0.125), 0.5 + np.sqrt(0.125)
    expected = [[1, 1, high, low], [low, high, 1, 1]]
    np.testing.assert_allclose(axis_weights(6, (0, 2), 4), expected, atol=1e-7)


def test_the_ramp_is_symmetric_smooth_and_highest_in_the_middle() -> None:
    ramp = window_ramp(65)
    np.testing.assert_allclose(ramp, ramp[::-1], atol=1e-15)
    assert ramp.argmax() == 32
    assert ramp[32] == 1
    assert np.abs(np.diff(ramp)).max() < np.pi / 65


@pytest.mark.parametrize(("starts", "window"), [((0, 5), 4), ((0, 8), 4), ((-1, 3), 4)])
def test_windows_that_leave_gaps_or_the_axis_are_refused(
    starts: tuple[int, ...], window: int
) -> None:
    with pytest.raises(ValueError, match=r"cover|leaves"):
        axis_weights(9, starts, window)


@given(plans(), st.integers(1, 3), st.integers(0, 5))
@settings(deadline=None)
def test_it_equals_a_weighted_mean_over_the_whole_scene(
    plan: WindowPlan, channels: int, seed: int
) -> None:
    result = blended(plan, channels, seed)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, naive_blend(plan, channels, seed), atol=2e-6)


@given(plans(), st.floats(-100, 100, width=32))
@settings(deadline=None)
def test_a_constant_stays_that_constant(plan: WindowPlan, value: float) -> None:
    blender = StripBlender(plan, 1)
    for window in plan:
        blender.add(window, np.full((1, *window.shape), value, np.float32))
    scene = np.concatenate([rows for _, rows in blender.finished()], axis=1)
    assert scene.shape == (1, *plan.shape)
    np.testing.assert_allclose(scene, value, rtol=1e-6, atol=1e-6)


@given(plans(), st.integers(1, 9), st.integers(0, 5))
@settings(deadline=None)
def test_the_result_does_not_depend_on_when_rows_are_fetched(
    plan: WindowPlan, fetch_every: int, seed: int
) -> None:
    one = blended(plan, 2, seed)
    other = blended(plan, 2, seed, fetch_every=fetch_every)
    np.testing.assert_array_equal(one, other)


@given(plans())
@settings(deadline=None)
def test_rows_leave_in_order_as_soon_as_no_later_window_touches_them(plan: WindowPlan) -> None:
    blender = StripBlender(plan, 1)
    windows = list(plan)
    out = 0
    for number, window in enumerate(windows):
        blender.add(window, np.ones((1, *window.shape), np.float32))
        for row, rows in blender.finished():
            assert row == out
            out += rows.shape[1]
        untouched = min((w.row for w in windows[number + 1 :]), default=plan.shape[0])
        assert out == untouched
        assert blender.buffered_rows == plan.window[0]
    assert out == plan.shape[0]


@pytest.mark.parametrize("height", [100, 1000])
def test_memory_does_not_depend_on_the_height_of_the_scene(height: int) -> None:
    plan = plan_windows((height, 8), 8, 4)
    blender = StripBlender(plan, 1)
    most = 0
    for window in plan:
        blender.add(window, None)
        most = max(most, blender.buffered_rows)
        list(blender.finished())
    assert most == 8 + 8  # the strip in work, and at the very end the last window's rows


def test_a_scene_of_one_pixel_is_that_pixel() -> None:
    plan = plan_windows((1, 1), 64, 16)
    blender = StripBlender(plan, 2)
    blender.add(Window(0, 0, 1, 1), np.array([[[3.0]], [[4.0]]], np.float32))
    [(row, rows)] = blender.finished()
    assert row == 0
    assert rows.ravel().tolist() == [3, 4]


def test_a_single_window_comes_out_as_it_went_in() -> None:
    plan = plan_windows((5, 7), 32, 8)
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    blender = StripBlender(plan, 3)
    blender.add(Window(0, 0, 5, 7), values)
    np.testing.assert_array_equal(next(blender.finished())[1], values)


def test_no_values_are_zeros() -> None:
    plan = plan_windows((4, 6), 4, 2)
    blender = StripBlender(plan, 1)
    blender.add(Window(0, 0, 4, 4), None)
    blender.add(Window(0, 2, 4, 4), np.ones((1, 4, 4), np.float32))
    [(_, rows)] = blender.finished()
    np.testing.assert_array_equal(rows[0, :, :2], 0)
    np.testing.assert_array_equal(rows[0, :, 4:], 1)


def test_what_was_handed_out_is_never_changed() -> None:
    plan = plan_windows((6, 4), 4, 2)
    blender = StripBlender(plan, 1)
    blender.add(Window(0, 0, 4, 4), np.ones((1, 4, 4), np.float32))
    [(_, rows)] = blender.finished()
    before = rows.copy()
    blender.add(Window(2, 0, 4, 4), np.full((1, 4, 4), 9, np.float32))
    np.testing.assert_array_equal(rows, before)


def test_windows_out_of_turn_and_of_the_wrong_shape_are_refused() -> None:
    plan = plan_windows((4, 6), 4, 2)
    blender = StripBlender(plan, 1)
    with pytest.raises(ValueError, match="expected"):
        blender.add(Window(0, 2, 4, 4), None)
    with pytest.raises(ValueError, match="shape"):
        blender.add(Window(0, 0, 4, 4), np.zeros((1, 4, 3), np.float32))
    blender.add(Window(0, 0, 4, 4), None)
    blender.add(Window(0, 2, 4, 4), None)
    with pytest.raises(ValueError, match="all 2 windows"):
        blender.add(Window(0, 2, 4, 4), None)
