"""One window computed before the real ones: what it takes, and how long.

It also lets the compiled operator be built while only one thread is asking for it.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode  # no public name, as torch's own tools
from torch.utils._pytree import tree_leaves

from comix_cli.mapping.predictor import Predictor, single_threaded
from comix_cli.mapping.side_by_side import predict_windows
from comix_cli.scene.stack import Block

# A larger window takes as much more as it has more pixels.
SMALL = 128
# A frozen graph is still being optimised during its first two windows.
WARM_UP = 2


def rehearse(
    predictor: Predictor,
    bands: int,
    channels: int,
    side: int,
    *,
    fixed: int | None = None,
    compiled: bool = False,
) -> int:
    """The most that the tensors of one window hold at once, inputs left out: bytes.

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
    block = _blank(bands, channels, tried)
    with single_threaded():
        with _LiveBytes() as live:
            predictor([block])
        if compiled:
            # Not before: torch leaves alone for good what it has once met while being followed.
            predictor.network.compile()
            predictor([block])
    own = max(0, live.peak - block.hsi.nbytes - block.x.nbytes)
    return int((side / tried) ** 2 * own)


def seconds_per_window(
    predictor: Predictor, bands: int, channels: int, side: int, workers: int
) -> float:
    """How long a window takes where `workers` threads compute one each, the first ones left out."""
    blocks = [_blank(bands, channels, side)] * workers
    for _ in range(WARM_UP + 1):
        start = time.perf_counter()
        for _ in predict_windows(predictor, blocks, workers):
            pass
        taken = time.perf_counter() - start
    return taken / workers


def _blank(bands: int, channels: int, side: int) -> Block:
    """A window without content: what it takes does not depend on that."""
    return Block(
        np.zeros((bands, side, side), np.float32),
        np.zeros((channels, side, side), np.float32),
        np.ones((side, side), np.bool_),
    )


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
