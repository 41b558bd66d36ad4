"""From windows to finished rows, with networks whose answer is known."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_scene import CountingScene, unchanged
from numpy.typing import NDArray

from comix_cli.mapping.feed import WindowFeed
from comix_cli.mapping.predict import Pace, predict_rows
from comix_cli.mapping.predictor import Halving, Predictor
from comix_cli.mapping.rehearsal import rehearse, seconds_per_window
from comix_cli.mapping.scores import class_codes
from comix_cli.progress import Silent
from comix_cli.scene.legend import Legend
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import Window, plan_windows
from comix_models.build import build_model
from comix_models.fuse import fuse
from comix_models.spec import preset

LEGEND = Legend.from_names([(3, "a"), (7, "b"), (200, "c")])
CPU = torch.device("cpu")
ONE = Pace(workers=1, batch=1, ahead=1)


class Echo(torch.nn.Module):
    """Logits are the bands themselves: the answer of a pixel does not depend on its window."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, hsi: torch.Tensor, x: torch.Tensor | None = None) -> torch.Tensor:
        assert x is None
        self.seen.append(len(hsi))
        return hsi


def rows_of(
    scene: CountingScene,
    size: int,
    overlap: int,
    *,
    pace: Pace = ONE,
    network: torch.nn.Module | None = None,
    carry: bool = True,
) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
    """The map `(H, W)` and the probabilities `(classes, H, W)` of a scene."""
    plan = plan_windows(scene.grid.shape, size, overlap, scene.grid.lattice_position)
    feed = WindowFeed(scene, unchanged, plan, (size, size), carry=carry)
    predictor = Predictor(network or Echo(), 3, CPU)
    codes, probabilities = [], []
    expected_row = 0
    for row, values, valid in predict_rows(feed, [predictor], plan, pace, Silent()):
        assert row == expected_row
        expected_row += values.shape[1]
        codes.append(class_codes(values, valid, LEGEND))
        probabilities.append(values)
    return np.concatenate(codes), np.concatenate(probabilities, axis=1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 17), st.data())
@settings(max_examples=40)
def test_every_pixel_gets_the_class_of_its_largest_band_and_nodata_stays_nodata(
    height: int, width: int, size: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    scene = CountingScene((height, width))
    codes, probabilities = rows_of(scene, size, overlap)
    expected = np.asarray(LEGEND.codes)[scene.hsi.argmax(axis=0)]
    np.testing.assert_array_equal(codes, np.where(scene.valid, expected, 0))
    total = np.exp(scene.hsi).sum(axis=0)
    known = np.broadcast_to(scene.valid, probabilities.shape)
    np.testing.assert_allclose(
        probabilities[known], (np.exp(scene.hsi) / total)[known], rtol=2e-5, atol=2e-6
    )


def network() -> torch.nn.Module:
    """A real network, whose answer depends on the whole of a window."""
    torch.manual_seed(0)
    return fuse(build_model(preset("nano", hsi_bands=3, x_channels=2, classes=3)).eval())


@pytest.mark.parametrize(
    "pace",
    [Pace(1, 2, 1), Pace(1, 100, 3), Pace(3, 1, 5), Pace(2, 3, 2)],
    ids=["batches of 2", "one batch", "3 workers", "2 workers, batches of 3"],
)
def test_the_probabilities_are_the_same_bit_for_bit_however_fast_they_come(pace: Pace) -> None:
    scene = CountingScene((70, 53), channels=2)
    codes, expected = rows_of(scene, 16, 5, network=network())
    for carry in (True, False):
        again, found = rows_of(scene, 16, 5, network=network(), pace=pace, carry=carry)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(again, codes)


@pytest.mark.parametrize("position", [(0, 0), (5_800_003, -77)])
def test_pieces_with_a_halo_are_the_same_bit_for_bit_as_the_whole(
    position: tuple[int, int],
) -> None:
    scene = CountingScene((75, 64), channels=2, position=position)
    _, whole = rows_of(scene, 16, 5, network=network())
    halo = 16
    for inner in (Window(0, 0, 40, 30), Window(0, 30, 40, 34), Window(40, 0, 35, 64)):
        top, left = max(0, inner.row - halo), max(0, inner.col - halo)
        bottom = min(75, inner.row + inner.height + halo)
        right = min(64, inner.col + inner.width + halo)
        piece = scene.piece(Window(top, left, bottom - top, right - left))
        _, found = rows_of(piece, 16, 5, network=network())
        rows, columns = Window(inner.row - top, inner.col - left, *inner.shape).slices
        np.testing.assert_array_equal(found[:, rows, columns], whole[:, *inner.slices])


def test_windows_without_a_valid_pixel_never_reach_the_network() -> None:
    scene = CountingScene((32, 32))
    scene.valid[:] = False
    scene.valid[20:23, 20:23] = True
    echo = Echo()
    codes, _ = rows_of(scene, 8, 0, network=echo)
    np.testing.assert_array_equal(codes > 0, scene.valid)
    assert sum(echo.seen) == 1


def test_an_empty_scene_is_nodata_and_asks_nothing() -> None:
    scene = CountingScene((20, 20))
    scene.valid[:] = False
    echo = Echo()
    codes, _ = rows_of(scene, 16, 4, network=echo)
    assert not codes.any()
    assert not echo.seen


def test_one_wrong_window_ends_it_all() -> None:
    class Broken(torch.nn.Module):
        def forward(self, *_inputs: torch.Tensor | None) -> torch.Tensor:
            raise RuntimeError("a window too many")

    with pytest.raises(RuntimeError, match="a window too many"):
        rows_of(CountingScene((50, 50)), 16, 4, network=Broken(), pace=Pace(2, 1, 5))


def test_nobody_reads_or_computes_any_longer_once_the_rows_are_closed() -> None:
    scene = CountingScene((200, 30))
    plan = plan_windows(scene.grid.shape, 16, 4)
    feed = WindowFeed(scene, unchanged, plan, (16, 16))
    before = threading.active_count()
    with closing(predict_rows(feed, [Predictor(Echo(), 3, CPU)], plan, ONE, Silent())) as rows:
        next(rows)
        assert threading.active_count() > before
    assert threading.active_count() == before
    read = scene.reads.sum()
    assert 0 < read < scene.reads.size
    time.sleep(0.05)
    assert scene.reads.sum() == read


def test_the_threads_of_torch_are_as_before() -> None:
    before = torch.get_num_threads()
    rows_of(CountingScene((20, 20)), 16, 4)
    assert torch.get_num_threads() == before


class Small(torch.nn.Module):
    """Has memory for so many windows at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.tried: list[int] = []

    def forward(self, hsi: torch.Tensor, _x: torch.Tensor | None = None) -> torch.Tensor:
        self.tried.append(len(hsi))
        if len(hsi) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return hsi


def blocks(count: int) -> list[Block]:
    rng = np.random.default_rng(0)
    empty = np.zeros((0, 4, 4), np.float32)
    return [
        Block(rng.random((3, 4, 4), np.float32), empty, np.ones((4, 4), np.bool_))
        for _ in range(count)
    ]


def test_out_of_memory_halves_the_batch_says_so_and_goes_on() -> None:
    small, progress = Small(3), Silent()
    ask = Halving(Predictor(small, 3, CPU), CPU, progress)
    expected = Predictor(Echo(), 3, CPU)(blocks(8))
    np.testing.assert_array_equal(np.concatenate(ask(blocks(8))), expected)
    assert small.tried == [8, 4, 2, 2, 2, 2]
    np.testing.assert_array_equal(np.concatenate(ask(blocks(8))), expected)
    assert small.tried[6:] == [2, 2, 2, 2]
    assert len(progress.warnings) == 2
    assert "going on with 2" in progress.warnings[1]


def test_out_of_memory_with_one_window_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Halving(Predictor(Small(0), 3, CPU), CPU, Silent())(blocks(4))


def test_half_precision_agrees_with_single_precision() -> None:
    single = Predictor(network(), 3, CPU)
    half = Predictor(network(), 3, CPU, torch.bfloat16)
    rng = np.random.default_rng(1)
    block = Block(
        rng.random((3, 32, 32), np.float32),
        rng.random((2, 32, 32), np.float32),
        np.ones((32, 32), np.bool_),
    )
    expected, found = single([block]), half([block])
    assert np.abs(found - expected).max() < 0.05
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.97


def test_a_rehearsal_knows_what_a_window_takes() -> None:
    class Doubling(torch.nn.Module):
        def forward(self, hsi: torch.Tensor, _x: torch.Tensor | None = None) -> torch.Tensor:
            large = hsi.repeat(1, 10, 1, 1)
            return large[:, :3] * 2

    found = rehearse(Predictor(Doubling(), 3, CPU), 3, 0, 32)
    plane = 32 * 32 * 4
    # ten copies of three bands, and three bands computed from them
    assert found >= 33 * plane
    assert found <= 45 * plane


def test_the_time_of_a_window_is_shared_by_those_that_compute() -> None:
    class Waiting(torch.nn.Module):
        def forward(self, hsi: torch.Tensor, _x: torch.Tensor | None = None) -> torch.Tensor:
            time.sleep(0.1)
            return hsi

    for workers in (1, 4):
        found = seconds_per_window([Predictor(Waiting(), 3, CPU)], 3, 0, 8, Pace(workers, 1, 1))
        assert 0.1 / workers <= found < 0.2 / workers


def test_a_large_window_is_rehearsed_on_a_small_one() -> None:
    seen: list[tuple[int, ...]] = []

    class Looking(torch.nn.Module):
        def forward(self, hsi: torch.Tensor, _x: torch.Tensor | None = None) -> torch.Tensor:
            seen.append(tuple(hsi.shape[2:]))
            return hsi * 2

    small = rehearse(Predictor(Looking(), 3, CPU), 3, 0, 128)
    large = rehearse(Predictor(Looking(), 3, CPU), 3, 0, 1280)
    assert set(seen) == {(128, 128)}
    assert large == pytest.approx(100 * small, rel=0.01)
    rehearse(Predictor(Looking(), 3, CPU), 3, 0, 1280, fixed=64)
    assert seen[-1] == (64, 64)


def test_a_compiled_network_is_compiled_as_a_whole_and_stays_so() -> None:
    compiled: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> object:
        compiled.append(graph)
        return graph.forward

    class Compiling(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 3, 1)

        def forward(self, hsi: torch.Tensor, _x: torch.Tensor | None = None) -> torch.Tensor:
            result: torch.Tensor = self.layer(hsi).relu()
            return result

        def compile(self) -> None:
            super().compile(backend=backend)

    torch._dynamo.reset()
    network = Compiling().eval()
    rehearse(Predictor(network, 3, CPU), 3, 0, 16, compiled=True)
    assert len(compiled) == 1
    assert any("conv" in str(node.target) for node in compiled[0].graph.nodes)
    rows_of(CountingScene((40, 40)), 16, 4, network=network)
    assert len(compiled) == 1
