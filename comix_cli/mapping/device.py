"""Windows computed in batches on one or several GPUs, and blended there.

While a device computes one batch the next one is copied to it from page-locked memory, on a stream
of its own. Probabilities stay on the device; only finished rows come back. With several devices
each takes the next batch when it is free, and all of it is blended on the first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comix_cli.mapping.blend import Arrays
from comix_cli.mapping.feed import Prepared
from comix_cli.mapping.predictor import Halving, Predictor, Values
from comix_cli.mapping.threads import thread_pool
from comix_cli.progress import Progress, Silent
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import Window

# One batch is computed while another one is copied.
BUFFERS = 2


class TorchArrays:
    """Arrays on a device, for the blender."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """Memory for single precision numbers."""
        return torch.empty(shape, device=self._device)

    def constant(self, values: NDArray[np.float32]) -> Tensor:
        """An array with these values."""
        return torch.from_numpy(values).to(self._device)

    def multiply(self, one: Tensor, other: Tensor, out: Tensor) -> None:
        """The product, written to `out`."""
        torch.mul(one, other, out=out)

    def copy(self, array: Tensor) -> Tensor:
        """A copy, contiguous."""
        return array.clone(memory_format=torch.contiguous_format)


class DeviceEngine:
    """Predicts and blends on GPUs; see `predict.Engine`.

    Args:
        predictors: The network, once on each device; the first device blends.
        batch: Windows at once, at most.
        progress: Who is told of trouble.
    """

    # One lot of rows travels while the next windows are computed.
    behind = 1

    def __init__(self, predictors: Sequence[Predictor], batch: int, progress: Progress) -> None:
        first = predictors[0]
        self.classes = first.classes
        self.arrays: Arrays = TorchArrays(first.device)
        self._device = first.device
        self._homeward = _Stream(first.device)
        self._free: SimpleQueue[Halving[Tensor]] = SimpleQueue()
        for predictor in predictors:
            self._free.put(Halving(_Lane(predictor, batch), predictor.device, progress))

    def workers(self, count: int) -> AbstractContextManager[ThreadPoolExecutor]:
        """Threads that keep a device busy each."""
        return thread_pool(count, "comix-worker")

    def predict(self, batch: list[Prepared]) -> list[tuple[Window, Tensor | None]]:
        """`(classes + 1, h, w)` of each window, probabilities and validity; None for nothing."""
        blocks = [prepared.inputs for prepared in batch if prepared.inputs is not None]
        lane = self._free.get()
        try:
            parts = [part.to(self._device, non_blocking=True) for part in lane(blocks)]
        finally:
            self._free.put(lane)
        found = (values for part in parts for values in part)
        return [(prepared.window, _within(prepared, found)) for prepared in batch]

    def to_host(self, rows: Tensor) -> Callable[[], Values]:
        """Begin to bring finished rows to the host; the function waits until they are there."""
        self._homeward.wait_for_current()
        with self._homeward.entered():
            there = _page_locked(tuple(rows.shape), rows.dtype, self._device)
            there.copy_(rows, non_blocking=True)
            arrived = _event(self._device)
            arrived.record()
        return partial(_when_arrived, arrived, there, rows)


def _when_arrived(arrived: Any, there: Tensor, rows: Tensor) -> Values:  # noqa: ARG001
    """Values on the host; until they are there, the memory of `rows` serves nothing else."""
    arrived.synchronize()
    values: Values = there.numpy()
    return values


def _within(prepared: Prepared, found: Any) -> Tensor | None:
    """The next prediction, without what the window was padded with."""
    if prepared.inputs is None:
        return None
    values: Tensor = next(found)[:, : prepared.window.height, : prepared.window.width]
    return values


class _Lane:
    """One device: copies a batch to it and has it computed, without waiting for either."""

    def __init__(self, predictor: Predictor, batch: int) -> None:
        self._predictor, self._batch = predictor, batch
        self._outward = _Stream(predictor.device)
        self._buffers: deque[_Buffers] = deque()

    def __call__(self, blocks: Sequence[Block]) -> Tensor:
        """`(B, classes + 1, H, W)`: probabilities, and 1 where pixels are valid."""
        with _on(self._predictor.device):
            return self._compute(blocks)

    def _compute(self, blocks: Sequence[Block]) -> Tensor:
        buffers = self._next_buffers(blocks)
        buffers.fill(blocks, self._outward)
        hsi, x, valid = (tensor[: len(blocks)] for tensor in buffers.there)
        with torch.inference_mode():
            shape = (len(blocks), self._predictor.classes + 1, *hsi.shape[2:])
            result = torch.empty(shape, device=self._predictor.device)
            result[:, :-1] = self._predictor.probabilities(hsi, x)
            result[:, -1] = valid
        buffers.computed.record()
        return result

    def _next_buffers(self, blocks: Sequence[Block]) -> _Buffers:
        if not self._buffers:
            for _ in range(BUFFERS):
                self._buffers.append(_Buffers(blocks[0], self._batch, self._predictor.device))
            # Their memory may have served something that the device still computes.
            self._outward.wait_for_current()
        self._buffers.rotate()
        return self._buffers[0]


class _Buffers:
    """Page-locked memory for a batch, and memory on the device that it is copied to."""

    def __init__(self, like: Block, batch: int, device: torch.device) -> None:
        shapes = [array.shape for array in (like.hsi, like.x, _frame(like))]
        kinds = (torch.float32, torch.float32, torch.bool)
        pairs = [((batch, *shape), kind) for shape, kind in zip(shapes, kinds, strict=True)]
        self.here = [_page_locked(size, kind, device) for size, kind in pairs]
        self.there = [torch.empty(size, dtype=kind, device=device) for size, kind in pairs]
        self.computed = _event(device)

    def fill(self, blocks: Sequence[Block], outward: _Stream) -> None:
        """Bring blocks to the device; what it computes next waits for them."""
        # The batch before may still be read on the device.
        self.computed.synchronize()
        hsi, x, valid = (tensor.numpy() for tensor in self.here)
        for i, block in enumerate(blocks):
            hsi[i], x[i], valid[i] = block.hsi, block.x, _frame(block)
        with outward.entered():
            for here, there in zip(self.here, self.there, strict=True):
                there[: len(blocks)].copy_(here[: len(blocks)], non_blocking=True)
        outward.hold_up_current()


def _frame(block: Block) -> NDArray[np.bool_]:
    """Validity of the size of the inputs, which may be padded; padding is never looked at."""
    height, width = block.hsi.shape[1:]
    missing = (height - block.valid.shape[0], width - block.valid.shape[1])
    return np.pad(block.valid, [(0, side) for side in missing])


def _page_locked(shape: tuple[int, ...], kind: torch.dtype, device: torch.device) -> Tensor:
    """Memory on the host that a GPU copies from and to by itself; any memory without one."""
    return torch.empty(shape, dtype=kind, pin_memory=device.type == "cuda")


class _Stream:
    """Copies beside what a device computes; a device without streams does one after the other."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        stream: Any = torch.cuda.Stream
        self._stream = stream(device) if device.type == "cuda" else None

    def entered(self) -> AbstractContextManager[Any]:
        """What is asked for inside happens on this stream."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def wait_for_current(self) -> None:
        """What follows here waits for what the device has been asked to compute."""
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def hold_up_current(self) -> None:
        """What the device is asked to compute from now on waits for what was asked here."""
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)


class _NoEvent:
    """Stands for an event where everything has happened when a call returns."""

    def record(self) -> None:
        """Nothing to remember."""

    def synchronize(self) -> None:
        """Nothing to wait for."""


def _event(device: torch.device) -> Any:
    event: Any = torch.cuda.Event if device.type == "cuda" else _NoEvent
    return event()


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Events and kernels belong to the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def seconds_on_devices(predictors: Sequence[Predictor], block: Block, batch: int) -> float:
    """How long a window takes where all devices compute full batches; the first ones left out."""
    engine = DeviceEngine(predictors, batch, Silent())
    window = Window(0, 0, *block.valid.shape)
    work = [[Prepared(window, block)] * batch] * len(predictors)
    with engine.workers(len(predictors)) as pool:
        for _ in range(2):
            start = time.perf_counter()
            for found in pool.map(engine.predict, work):
                # What has come to the host has been computed.
                for _, values in found[-1:]:
                    assert values is not None
                    engine.to_host(values)()
            taken = time.perf_counter() - start
    return taken / (batch * len(predictors))
