"""A network ready to be asked for class probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from comix_cli.progress import Progress
from comix_cli.scene.stack import Block

Values = NDArray[np.float32]
Result = TypeVar("Result")


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
        probabilities: Values = self.probabilities(hsi, x).cpu().numpy()
        return probabilities

    def probabilities(self, hsi: Tensor, x: Tensor) -> Tensor:
        """`(B, classes, H, W)` in single precision, of tensors that are on the device already."""
        with torch.inference_mode(), self._autocast():
            logits: Tensor = self.network(*((hsi, x) if x.shape[1] else (hsi,)))
            return logits.float().softmax(dim=1)

    def _tensor(self, arrays: Sequence[Values]) -> Tensor:
        """Arrays of one shape as a batch; a single one is not copied."""
        batch = arrays[0][np.newaxis] if len(arrays) == 1 else np.stack(arrays)
        return torch.from_numpy(batch).to(self.device)

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if self.number_type == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.number_type)


class Halving(Generic[Result]):
    """Asks for half of a batch at a time where the device's memory does not suffice for all of it.

    Args:
        predict: What predicts a batch.
        device: Where, for people.
        progress: Who is told.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Block]], Result],
        device: torch.device,
        progress: Progress,
    ) -> None:
        self._predict, self._device, self._progress = predict, device, progress
        self._most: int | None = None

    def __call__(self, blocks: Sequence[Block]) -> list[Result]:
        """What is predicted, in as many parts as it took.

        Raises:
            torch.OutOfMemoryError: Not even one window fits.
        """
        parts: list[Result] = []
        rest = list(blocks)
        while rest:
            size = min(self._most or len(rest), len(rest))
            found = self._try(rest[:size])
            if found is not None:
                parts.append(found)
                rest = rest[size:]
        return parts

    def _try(self, blocks: Sequence[Block]) -> Result | None:
        """The prediction, or None where the memory did not suffice and fewer are to be tried."""
        try:
            return self._predict(blocks)
        except RuntimeError as error:
            if len(blocks) == 1 or not _is_out_of_memory(error):
                raise
        # Outside of the handler: the error holds on to the tensors of the attempt.
        self._most = len(blocks) // 2
        self._progress.warn(
            f"{len(blocks)} windows at once do not fit into the memory of {self._device}: "
            f"going on with {self._most}"
        )
        torch.cuda.empty_cache()
        return None


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Libraries below torch say so in their own ways."""
    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in said for words in ("out of memory", "alloc_failed")
    )


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let torch compute every operation in the thread that asks for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
