"""Windows as the network sees them, read as rarely as memory allows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from memory_scene import CountingScene, unchanged
from numpy.typing import NDArray

from comix_cli.mapping.feed import WindowFeed, carried_rows, carry_bytes
from comix_cli.scene.padding import pad_block
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import Window, WindowPlan, plan_windows


class Columns:
    """Wants the windows that reach into some columns."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def touches(self, window: Window) -> bool:
        return window.col <= self.last and self.first < window.col + window.width


@st.composite
def plans(draw: st.DrawFn) -> tuple[WindowPlan, int]:
    shape = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    side = draw(st.integers(2, 17))
    phase = draw(st.integers(-100, 100)), draw(st.integers(-100, 100))
    return plan_windows(shape, side, draw(st.integers(0, side - 1)), phase), side


@given(plans(), st.booleans(), st.booleans())
def test_every_window_is_what_reading_it_by_itself_gives(
    planned: tuple[WindowPlan, int], carry: bool, masked: bool
) -> None:
    plan, side = planned
    scene = CountingScene(plan.shape, channels=2)
    region = Columns(plan.shape[1] // 3, plan.shape[1] // 2) if masked else None
    feed = WindowFeed(scene, unchanged, plan, (side, side), carry=carry, region=region)
    windows = []
    for prepared in feed:
        windows.append(prepared.window)
        raw = scene.read(prepared.window)
        if not raw.valid.any() or (region is not None and not region.touches(prepared.window)):
            assert prepared.inputs is None
            continue
        assert prepared.inputs is not None
        expected = pad_block(raw, (side, side))
        np.testing.assert_array_equal(prepared.inputs.hsi, expected.hsi)
        np.testing.assert_array_equal(prepared.inputs.x, expected.x)
        np.testing.assert_array_equal(prepared.inputs.valid, raw.valid)
    assert windows == list(plan)


def reads_of(plan: WindowPlan, *, carry: bool) -> NDArray[np.int64]:
    scene = CountingScene(plan.shape)
    for _ in WindowFeed(scene, unchanged, plan, plan.window, carry=carry):
        pass
    return scene.reads


def test_with_carried_rows_no_pixel_is_read_twice() -> None:
    assert (reads_of(plan_windows((16 + 4 * 11, 60), 16, 5), carry=True) == 1).all()


def test_without_carried_rows_only_shared_rows_are_read_twice() -> None:
    plan = plan_windows((16 + 4 * 11, 60), 16, 5)
    reads = reads_of(plan, carry=False)
    assert reads.max() == 2
    assert (reads[:, 0] == [1 + (i % 11 < 5 and 11 <= i < 55) for i in range(60)]).all()


def test_rows_that_lie_closer_together_are_read_again_and_right() -> None:
    reads = reads_of(plan_windows((50, 20), 16, 5, (3, 0)), carry=True)
    assert reads.max() == 2
    assert (reads == 1).mean() > 0.5


def test_windows_outside_the_region_are_never_read() -> None:
    plan = plan_windows((40, 40), 8, 2)
    scene = CountingScene((40, 40))
    for _ in WindowFeed(scene, unchanged, plan, (8, 8), region=Columns(10, 12)):
        pass
    assert not scene.reads[:, 24:].any()
    assert scene.reads[:, 10:13].all()


def test_what_is_kept_is_what_is_said() -> None:
    plan = plan_windows((60, 100), 16, 5)
    assert carried_rows(plan) == 5
    assert carry_bytes(plan, channels=7) == 5 * 100 * (7 * 4 + 1)
    assert carried_rows(plan_windows((16, 100), 16, 5)) == 0


def test_the_network_never_sees_memory_that_is_still_written() -> None:
    plan = plan_windows((30, 30), 8, 4)
    scene = CountingScene((30, 30))
    kept: list[tuple[Block, NDArray[np.float32]]] = [
        (prepared.inputs, prepared.inputs.hsi.copy())
        for prepared in WindowFeed(scene, unchanged, plan, (8, 8))
        if prepared.inputs is not None
    ]
    for block, then in kept:
        np.testing.assert_array_equal(block.hsi, then)
