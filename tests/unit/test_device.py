"""Batches on devices: what a GPU does, done by CPUs that stand for it."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from memory_scene import CountingScene, unchanged
from numpy.typing import NDArray

from comix_cli.errors import UsageError
from comix_cli.learning import device as devices
from comix_cli.mapping.budget import batch_on_gpu
from comix_cli.mapping.device import DeviceEngine, TorchArrays, seconds_on_devices
from comix_cli.mapping.feed import WindowFeed
from comix_cli.mapping.predict import Engine, Pace, blended_rows
from comix_cli.mapping.predictor import Predictor
from comix_cli.mapping.side_by_side import SideBySide
from comix_cli.progress import Silent
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import WindowPlan, plan_windows
from comix_models.build import build_model
from comix_models.fuse import fuse
from comix_models.spec import preset

CPU = torch.device("cpu")


def predictor(channels: int = 2) -> Predictor:
    torch.manual_seed(0)
    spec = preset("nano", hsi_bands=3, x_channels=channels, classes=3)
    return Predictor(fuse(build_model(spec).eval()), 3, CPU)


def map_of(scene: CountingScene, engine: Engine, pace: Pace) -> tuple[NDArray[np.float32], ...]:
    """Probabilities `(3, H, W)` and validity `(H, W)`."""
    plan = plan_windows(scene.grid.shape, 16, 5)
    feed = WindowFeed(scene, unchanged, plan, (16, 16))
    values, valid, expected_row = [], [], 0
    for row, probabilities, known in blended_rows(feed, engine, plan, pace, Silent()):
        assert row == expected_row
        expected_row += known.shape[0]
        values.append(probabilities)
        valid.append(known)
    return np.concatenate(values, axis=1), np.concatenate(valid)


@pytest.mark.parametrize("shape", [(50, 37), (9, 60), (16, 16)])
@pytest.mark.parametrize("channels", [0, 2])
def test_batches_on_a_device_give_the_map_of_windows_side_by_side(
    shape: tuple[int, int], channels: int
) -> None:
    scene = CountingScene(shape, channels=channels)
    scene.valid[20:] = False
    expected = map_of(scene, SideBySide(predictor(channels), Silent()), Pace(1, 1, 1))
    found = map_of(scene, DeviceEngine([predictor(channels)], 4, Silent()), Pace(1, 4, 3))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[1], scene.valid)


def test_several_devices_give_the_map_of_one() -> None:
    scene = CountingScene((70, 53), channels=2)
    expected = map_of(scene, DeviceEngine([predictor()], 3, Silent()), Pace(1, 3, 3))
    three = DeviceEngine([predictor() for _ in range(3)], 3, Silent())
    for own, other in zip(map_of(scene, three, Pace(3, 3, 7)), expected, strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_device_that_is_too_small_for_a_batch_takes_half_of_it() -> None:
    class Small(torch.nn.Module):
        def forward(self, hsi: torch.Tensor, _x: torch.Tensor) -> torch.Tensor:
            if len(hsi) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return hsi

    scene, progress = CountingScene((40, 40), channels=2), Silent()
    small = DeviceEngine([Predictor(Small(), 3, CPU)], 5, progress)
    values, valid = map_of(scene, small, Pace(1, 5, 1))
    expected = np.exp(scene.hsi) / np.exp(scene.hsi).sum(axis=0)
    np.testing.assert_allclose(values[:, valid], expected[:, valid], atol=1e-5)
    assert progress.warnings == [
        "5 windows at once do not fit into the memory of cpu: going on with 2"
    ]


def test_an_error_on_a_device_ends_it_all() -> None:
    class Broken(torch.nn.Module):
        def forward(self, *_inputs: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("an illegal memory access was encountered")

    engine = DeviceEngine([Predictor(Broken(), 3, CPU)] * 2, 2, Silent())
    with pytest.raises(RuntimeError, match="illegal memory access"):
        map_of(CountingScene((50, 50)), engine, Pace(2, 2, 5))


def test_copies_of_arrays_are_copies() -> None:
    arrays = TorchArrays(CPU)
    one = arrays.constant(np.arange(6, dtype=np.float32).reshape(2, 3))
    copied = arrays.copy(one[:, 1:])
    one += 1
    assert copied.tolist() == [[1, 2], [4, 5]]
    assert copied.is_contiguous()


def test_the_batch_is_what_the_memory_of_a_gpu_suggests() -> None:
    plan = plan_windows((4000, 4000), 128, 42)

    def batch(free: float, *, devices: int = 1, windows: WindowPlan = plan) -> int:
        return batch_on_gpu(
            int(free), 50_000_000, windows, (128, 128), channels=50, classes=20, devices=devices
        )

    strip = 2 * 21 * 4 * 4000 * 128
    # computing, two buffers of inputs, and four windows of results on their way
    each = 60_000_000 + 2 * 50 * 4 * 128**2 + 4 * 21 * 4 * 128**2
    assert batch(1e12) == 64
    assert batch((strip + 10.5 * each) / 0.7) == 10
    assert batch(0) == 1
    few = plan_windows((300, 300), 128, 42)
    assert batch(1e12, windows=few) == len(few)
    assert batch(1e12, windows=few, devices=4) == -(-len(few) // 4)


def test_the_time_of_a_window_is_that_of_a_batch_shared_out() -> None:
    class Waiting(torch.nn.Module):
        def forward(self, hsi: torch.Tensor, _x: torch.Tensor | None = None) -> torch.Tensor:
            time.sleep(0.1)
            return hsi

    zeros = np.zeros((3, 8, 8), np.float32)
    block = Block(zeros, zeros[:0], np.ones((8, 8), np.bool_))
    for many in (1, 2):
        found = seconds_on_devices([Predictor(Waiting(), 3, CPU)] * many, block, 5)
        assert 0.1 / (5 * many) <= found < 0.2 / (5 * many)


def test_cuda_without_a_number_is_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    three = tuple(torch.device("cuda", number) for number in range(3))
    assert devices.every_one(torch.device("cuda")) == three
    assert devices.every_one(torch.device("cuda:1")) == (torch.device("cuda:1"),)
    assert devices.every_one(CPU) == (CPU,)


def test_a_gpu_computes_in_half_precision_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    assert devices.check_number_type("auto", CPU) == torch.float32
    for has_it, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(devices, "has_bfloat16", lambda _device, has=has_it: has)
        assert devices.check_number_type("auto", gpu) == expected
    assert devices.check_number_type("float16", gpu) == torch.float16
    with pytest.raises(UsageError, match="for GPUs, not for cpu"):
        devices.check_number_type("float16", CPU)
