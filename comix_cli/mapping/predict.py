"""From prepared windows of a scene to finished rows of probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from comix_cli.mapping.blend import Arrays, StripBlender, Weights
from comix_cli.mapping.device import DeviceEngine
from comix_cli.mapping.feed import Prepared
from comix_cli.mapping.predictor import Predictor, Values
from comix_cli.mapping.side_by_side import SideBySide
from comix_cli.mapping.threads import in_order, prefetched, thread_pool
from comix_cli.progress import Progress, Task
from comix_cli.scene.windows import Window, WindowPlan

Item = TypeVar("Item")
Row = tuple[int, Values, NDArray[np.bool_]]


class Engine(Protocol):
    """What computes: windows, and what becomes of them until they are rows on the host.

    Attributes:
        classes: How many classes there are.
        arrays: Where the engine's values can be blended.
        behind: How many lots of rows may be on their way to the host at once.
    """

    classes: int
    arrays: Arrays
    behind: int

    def workers(self, count: int) -> AbstractContextManager[ThreadPoolExecutor]:
        """Threads in which `predict` is called."""

    def predict(self, batch: list[Prepared]) -> list[tuple[Window, Any | None]]:
        """`(classes + 1, h, w)` of each window, probabilities and validity; None for nothing."""

    def to_host(self, rows: Any) -> Callable[[], Values]:
        """Begin to bring finished rows to the host; the function waits until they are there."""


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
    predictors: Sequence[Predictor],
    plan: WindowPlan,
    pace: Pace,
    progress: Progress,
    weights: Weights | None = None,
) -> Generator[Row, None, None]:
    """Finished rows of a scene from top to bottom.

    Args:
        feed: The windows of the plan, in its order.
        predictors: The network, on a CPU or once on each of some GPUs.
        plan: The windows.
        pace: How much is done at once.
        progress: Who is told.
        weights: Of the windows of the plan where it is a part of another one; None where they are
            its own.

    Yields:
        The first row, the blended probabilities `(classes, rows, W)`, and where they are valid
        `(rows, W)`.
    """
    first = predictors[0]
    on_cpu = first.device.type == "cpu"
    engine: Engine = SideBySide(first, progress)
    if not on_cpu:
        engine = DeviceEngine(predictors, pace.batch, progress)
    return blended_rows(feed, engine, plan, pace, progress, weights)


def blended_rows(
    feed: Iterable[Prepared],
    engine: Engine,
    plan: WindowPlan,
    pace: Pace,
    progress: Progress,
    weights: Weights | None = None,
) -> Generator[Row, None, None]:
    """As `predict_rows`, by an engine.

    One thread reads, `pace.workers` threads predict, and the caller's thread blends in the order of
    the plan; rows that no later window can touch are yielded and forgotten.
    """
    # Validity travels through the blender as one more channel: its blended value is 1 where every
    # window saw a valid pixel and 0 where every window saw none; windows never disagree.
    blender = StripBlender(plan, engine.classes + 1, engine.arrays, weights)
    leaving: deque[tuple[int, Callable[[], Values]]] = deque()
    with progress.task("classifying", len(plan)) as task:
        for batch in _predicted(feed, engine, pace):
            _blend(blender, batch, task)
            for row, rows in blender.finished():
                leaving.append((row, engine.to_host(rows)))
            yield from _arrived(leaving, engine.behind)
        yield from _arrived(leaving, 0)


def _arrived(leaving: deque[tuple[int, Callable[[], Values]]], behind: int) -> Iterator[Row]:
    while len(leaving) > behind:
        row, wait = leaving.popleft()
        rows = wait()
        yield row, rows[:-1], rows[-1] > 0.5


def _blend(blender: StripBlender, batch: list[tuple[Window, Any | None]], task: Task) -> None:
    for window, values in batch:
        blender.add(window, values)
    task.advance(len(batch))


def _predicted(
    feed: Iterable[Prepared], engine: Engine, pace: Pace
) -> Iterator[list[tuple[Window, Any | None]]]:
    with (
        thread_pool(1, "comix-reader") as reader,
        engine.workers(pace.workers) as workers,
    ):
        batches = prefetched(reader, batched(feed, pace.batch), 1)
        yield from in_order(workers, engine.predict, batches, pace.ahead)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one with what is left."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
