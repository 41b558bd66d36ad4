"""One window computed before the real ones: what it takes, and how long.

It also lets the compiled operator be built while only one thread is asking for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode  # no public name, as torch's own tools
from torch.utils._pytree import tree_leaves

from comix_cli.mapping.predict import Predictor
from comix_cli.scene.stack import Block

# A larger window takes as much more as it has more pixels.
SMALL = 128


@dataclass(frozen=True)
class Rehearsal:
    """What one window takes.

    Attributes:
        bytes: Most that its tensors hold at once, inputs left out.
        seconds: How long one thread computes it, the first time left out.
    """

    bytes: int
    seconds: float


def rehearse(
    predictor: Predictor,
    bands: int,
    channels: int,
    side: int,
    *,
    fixed: int | None = None,
    compiled: bool = False,
) -> Rehearsal:
    """Predict a window of zeros, alone and in one thread.

    A small window speaks for a large one, whose memory nobody has granted yet.

    Args:
        predictor: The network.
        bands: Bands of the HSI.
        channels: Channels of X.
        side: Side of the windows to come.
        fixed: Side of the only window that the network takes; None takes any.
        compiled: Let torch compile the network, once its memory is known.
    """
    tried = fixed or min(side, SMALL)
    larger = (side / tried) ** 2
    block = Block(
        np.zeros((bands, tried, tried), np.float32),
        np.zeros((channels, tried, tried), np.float32),
        np.ones((tried, tried), np.bool_),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _LiveBytes() as live:
            predictor([block])
        if compiled:
            # Not before: torch leaves alone for good what it has once met while being followed.
            predictor.network.compile()
            predictor([block])
        seconds = _seconds(predictor, block)
    finally:
        torch.set_num_threads(before)
    own = max(0, live.peak - block.hsi.nbytes - block.x.nbytes)
    return Rehearsal(int(larger * own), larger * seconds)


def _seconds(predictor: Predictor, block: Block) -> float:
    start = time.perf_counter()
    predictor([block])
    return time.perf_counter() - start


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Follows the memory of all tensors that operations return, while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._alive: dict[int, tuple[Any, int]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Telling torch's compiler to leave this alone would import it: a hundred megabytes.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._alive = {key: kept for key, kept in self._alive.items() if not kept[0].expired()}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._alive[storage._cdata] = (_weak(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


# torch leaves it untyped.
_weak: Any = StorageWeakRef
