"""One window computed before the real ones: what it takes, and how long.

It also lets the compiled operator be built while only one thread is asking for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode  # no public name, as torch's own tools
from torch.utils._pytree import tree_leaves

from comix_cli.mapping.device import seconds_on_devices
from comix_cli.mapping.predict import Pace
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
        peak = _peak_bytes(predictor, block)
        if compiled:
            # Not before: torch leaves alone for good what it has once met while being followed.
            predictor.network.compile()
            predictor([block])
    own = max(0, peak - block.hsi.nbytes - block.x.nbytes)
    return int((side / tried) ** 2 * own)


def _peak_bytes(predictor: Predictor, block: Block) -> int:
    """The most that computing a block holds: as its device tells, or what operations return."""
    device = predictor.device
    if device.type != "cuda":
        with _LiveBytes() as live:
            predictor([block])
        return int(live.peak)
    predictor([block])  # what is compiled or loaded at the first call is not a window's
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    predictor([block])
    return int(torch.cuda.max_memory_allocated(device) - before)


def seconds_per_window(
    predictors: Sequence[Predictor], bands: int, channels: int, side: int, pace: Pace
) -> float:
    """How long a window takes at this pace, the first ones left out."""
    block = _blank(bands, channels, side)
    if predictors[0].device.type != "cpu":
        return seconds_on_devices(predictors, block, pace.batch)
    for _ in range(WARM_UP + 1):
        start = time.perf_counter()
        for _ in predict_windows(predictors[0], [block] * pace.workers, pace.workers):
            pass
        taken = time.perf_counter() - start
    return taken / pace.workers


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
