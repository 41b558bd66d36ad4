"""From prepared windows of a scene to finished rows of probabilities.

A CPU computes windows side by side, each alone and in one thread: that is faster than sharing every
small operation among all threads, and what a window becomes then depends neither on the number of
threads nor on the windows around it. Another device computes them in batches.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from comix_cli.mapping.blend import StripBlender
from comix_cli.mapping.feed import Prepared
from comix_cli.mapping.threads import in_order, prefetched, thread_pool
from comix_cli.progress import Progress, Task
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import WindowPlan

Item = TypeVar("Item")
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Predictor:
    """A network ready to be asked for class probabilities.

    Attributes:
        network: In evaluation mode, on `device`.
        classes: How many classes the network tells apart.
        device: Where the network is.
        number_type: What it computes in; single precision unless told otherwise.
    """

    network: nn.Module
    classes: int
    device: torch.device
    number_type: torch.dtype = torch.float32

    def __call__(self, blocks: Sequence[Block]) -> Values:
        """Probabilities `(B, classes, H, W)` of blocks of normalised values of one size."""
        hsi = self._tensor([block.hsi for block in blocks])
        x = self._tensor([block.x for block in blocks])
        with torch.inference_mode(), self._autocast():
            logits = self.network(*((hsi, x) if x.shape[1] else (hsi,)))
            probabilities: Values = logits.float().softmax(dim=1).cpu().numpy()
        return probabilities

    def _tensor(self, arrays: Sequence[Values]) -> torch.Tensor:
        """Arrays of one shape as a batch; a single one is not copied."""
        batch = arrays[0][np.newaxis] if len(arrays) == 1 else np.stack(arrays)
        return torch.from_numpy(batch).to(self.device)

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if self.number_type == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.number_type)


class HalvingPredictor:
    """A predictor that goes on with half the batch where the device's memory does not suffice.

    Args:
        predictor: What predicts.
        progress: Who is told.
    """

    def __init__(self, predictor: Predictor, progress: Progress) -> None:
        self._predictor, self._progress = predictor, progress
        self._most: int | None = None

    def __call__(self, blocks: Sequence[Block]) -> Values:
        """As the predictor's.

        Raises:
            torch.OutOfMemoryError: Not even one window fits.
        """
        parts = []
        rest = list(blocks)
        while rest:
            size = min(self._most or len(rest), len(rest))
            found = self._try(rest[:size])
            if found is not None:
                parts.append(found)
                rest = rest[size:]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _try(self, blocks: Sequence[Block]) -> Values | None:
        """The probabilities, or None where the memory did not suffice and fewer are to be tried."""
        try:
            return self._predictor(blocks)
        except RuntimeError as error:
            if len(blocks) == 1 or not _is_out_of_memory(error):
                raise
        # Outside of the handler: the error holds on to the tensors of the attempt.
        self._most = len(blocks) // 2
        self._progress.warn(
            f"{len(blocks)} windows at once do not fit into the memory of "
            f"{self._predictor.device}: going on with {self._most}"
        )
        torch.cuda.empty_cache()
        return None


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Libraries below torch say so in their own ways."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in said


@dataclass(frozen=True)
class Pace:
    """How much is done at once.

    Attributes:
        workers: Threads that compute.
        batch: Windows that one thread computes at once.
        ahead: Batches that are read, in work, or waiting to be blended.
    """

    workers: int
    batch: int
    ahead: int


def predict_rows(
    feed: Iterable[Prepared],
    predictor: Predictor,
    plan: WindowPlan,
    pace: Pace,
    progress: Progress,
) -> Generator[tuple[int, Values, NDArray[np.bool_]], None, None]:
    """Finished rows of a scene from top to bottom.

    One thread reads, `pace.workers` threads predict, and the caller's thread blends in the order of
    the plan; rows that no later window can touch are yielded and forgotten.

    Args:
        feed: The windows of the plan, in its order.
        predictor: The network.
        plan: The windows.
        pace: How much is done at once.
        progress: Who is told.

    Yields:
        The first row, the blended probabilities `(classes, rows, W)`, and where they are valid
        `(rows, W)`.
    """
    # Validity travels through the blender as one more channel: its blended value is 1 where every
    # window saw a valid pixel and 0 where every window saw none; windows never disagree.
    blender = StripBlender(plan, predictor.classes + 1)
    with progress.task("classifying", len(plan)) as task:
        for batch in _predicted(feed, predictor, pace, progress):
            yield from _blend(blender, batch, task)


def _blend(
    blender: StripBlender, batch: list[tuple[Prepared, Values | None]], task: Task
) -> Iterator[tuple[int, Values, NDArray[np.bool_]]]:
    for prepared, values in batch:
        blender.add(prepared.window, values)
    for row, rows in blender.finished():
        yield row, rows[:-1], rows[-1] > 0.5
    task.advance(len(batch))


def _predicted(
    feed: Iterable[Prepared], predictor: Predictor, pace: Pace, progress: Progress
) -> Iterator[list[tuple[Prepared, Values | None]]]:
    """Batches of windows with `(classes + 1, h, w)` each: probabilities, then validity."""
    ask = HalvingPredictor(predictor, progress)

    def predict(batch: list[Prepared]) -> list[tuple[Prepared, Values | None]]:
        return _with_validity(batch, ask, predictor.classes)

    with (
        thread_pool(1, "comix-reader") as reader,
        _workers(predictor.device, pace.workers) as workers,
    ):
        batches = prefetched(reader, batched(feed, pace.batch), 1)
        yield from in_order(workers, predict, batches, pace.ahead)


def predict_windows(
    predictor: Predictor, blocks: Iterable[Block], workers: int
) -> Iterator[Values]:
    """Probabilities `(1, classes, H, W)` of one block after the other, and nothing else."""
    with _workers(predictor.device, workers) as pool:
        yield from in_order(pool, lambda block: predictor([block]), blocks, 2 * workers)


@contextmanager
def _workers(device: torch.device, count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that predict; on a CPU torch computes every operation in the one that asks for it."""
    one_thread = device.type == "cpu"
    with (
        single_threaded() if one_thread else nullcontext(),
        thread_pool(count, "comix-worker", _use_one_thread if one_thread else None) as pool,
    ):
        yield pool


def _with_validity(
    batch: list[Prepared], ask: HalvingPredictor, classes: int
) -> list[tuple[Prepared, Values | None]]:
    blocks = [prepared.inputs for prepared in batch if prepared.inputs is not None]
    found = iter(ask(blocks)) if blocks else iter(())
    result: list[tuple[Prepared, Values | None]] = []
    for prepared in batch:
        window, values = prepared.window, None
        if prepared.inputs is not None:
            values = np.empty((classes + 1, window.height, window.width), np.float32)
            values[:-1] = next(found)[:, : window.height, : window.width]
            values[-1] = prepared.inputs.valid
        # The inputs are not needed any longer, and are by far the largest part.
        result.append((Prepared(window, None), values))
    return result


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let torch compute every operation in the thread that asks for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _use_one_thread() -> None:
    # OpenMP keeps the number for each thread that opens a parallel region.
    torch.set_num_threads(1)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one with what is left."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
