"""Windows computed side by side on a CPU, each alone and in one thread.

That is faster than sharing every small operation among all threads, and what a window becomes then
depends neither on the number of threads nor on the windows around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch

from comix_cli.mapping.blend import Arrays, NumpyArrays
from comix_cli.mapping.feed import Prepared
from comix_cli.mapping.predictor import Halving, Predictor, Values, single_threaded
from comix_cli.mapping.threads import in_order, thread_pool
from comix_cli.progress import Progress
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import Window


class SideBySide:
    """Predicts and blends on a CPU; see `predict.Engine`.

    Args:
        predictor: The network, on the CPU.
        progress: Who is told of trouble.
    """

    # Rows are on the host as soon as they are finished.
    behind = 0

    def __init__(self, predictor: Predictor, progress: Progress) -> None:
        self.arrays: Arrays = NumpyArrays()
        self.classes = predictor.classes
        self._ask = Halving(predictor, predictor.device, progress)

    def workers(self, count: int) -> AbstractContextManager[ThreadPoolExecutor]:
        """Threads that predict."""
        return _one_thread_each(count)

    def predict(self, batch: list[Prepared]) -> list[tuple[Window, Values | None]]:
        """`(classes + 1, h, w)` of each window, probabilities and validity; None for nothing."""
        blocks = [prepared.inputs for prepared in batch if prepared.inputs is not None]
        found = (values for part in self._ask(blocks) for values in part)
        result: list[tuple[Window, Values | None]] = []
        for prepared in batch:
            window, values = prepared.window, None
            if prepared.inputs is not None:
                values = np.empty((self.classes + 1, window.height, window.width), np.float32)
                values[:-1] = next(found)[:, : window.height, : window.width]
                values[-1] = prepared.inputs.valid
            result.append((window, values))
        return result

    def to_host(self, rows: Values) -> Callable[[], Values]:
        """Finished rows, when asked for."""
        return lambda: rows


def predict_windows(
    predictor: Predictor, blocks: Iterable[Block], workers: int
) -> Iterator[Values]:
    """Probabilities `(1, classes, H, W)` of one block after the other, and nothing else."""
    with _one_thread_each(workers) as pool:
        yield from in_order(pool, lambda block: predictor([block]), blocks, 2 * workers)


@contextmanager
def _one_thread_each(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in which torch computes every operation in the one that asks for it."""
    with single_threaded(), thread_pool(count, "comix-worker", _use_one_thread) as pool:
        yield pool


def _use_one_thread() -> None:
    # OpenMP keeps the number for each thread that opens a parallel region.
    torch.set_num_threads(1)
