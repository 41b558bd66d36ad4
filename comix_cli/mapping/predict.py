"""From windows of a scene to finished rows of the map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from comix_cli.mapping.blend import StripBlender
from comix_cli.progress import Progress
from comix_cli.scene.legend import NO_CLASS, Legend
from comix_cli.scene.padding import pad_block
from comix_cli.scene.stack import Block, BlockReader
from comix_cli.scene.windows import Window, WindowPlan

Normaliser = Callable[[Block], tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class Predictor:
    """A network ready to be asked for class probabilities.

    Attributes:
        network: In evaluation mode, on `device`.
        normalise: Turns a raw block into the network's inputs.
        classes: How many classes the network tells apart.
        size: Height and width of the windows that the network sees; smaller blocks are padded.
        device: Where the network is.
    """

    network: nn.Module
    normalise: Normaliser
    classes: int
    size: tuple[int, int]
    device: torch.device

    def __call__(self, blocks: Sequence[Block]) -> NDArray[np.float32]:
        """Probabilities `(B, classes, H, W)` of the blocks, H and W as in `size`."""
        pairs = [self.normalise(pad_block(block, self.size)) for block in blocks]
        hsi, x = (
            torch.from_numpy(np.stack(arrays)).to(self.device)
            for arrays in zip(*pairs, strict=True)
        )
        with torch.inference_mode():
            logits = self.network(hsi, x if x.shape[1] else None)
            probabilities: NDArray[np.float32] = logits.float().softmax(dim=1).cpu().numpy()
        return probabilities


def predict_rows(
    scene: BlockReader,
    predictor: Predictor,
    plan: WindowPlan,
    batch_size: int,
    progress: Progress,
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.bool_]]]:
    """Finished rows of the scene from top to bottom.

    Windows are read row by row, predicted in batches and blended; rows that no later window can
    touch are yielded and forgotten. Windows without a valid pixel never reach the network.

    Yields:
        The first row, the blended probabilities `(classes, rows, W)`, and where they are valid
        `(rows, W)`.
    """
    # Validity travels through the blender as one more channel: its blended value is 1 where every
    # window saw a valid pixel and 0 where every window saw none; windows never disagree.
    blender = StripBlender(plan, predictor.classes + 1)
    with progress.task("classifying", len(plan)) as task:
        for windows in _batched(plan, batch_size):
            for window, values in zip(windows, _predict(scene, predictor, windows), strict=True):
                blender.add(window, values)
            for row, rows in blender.finished():
                yield row, rows[:-1], rows[-1] > 0.5
            task.advance(len(windows))


def _predict(
    scene: BlockReader, predictor: Predictor, windows: Sequence[Window]
) -> Iterator[NDArray[np.float32]]:
    """`(classes + 1, h, w)` of each window: probabilities, then validity."""
    blocks = [scene.read(window) for window in windows]
    wanted = [block for block in blocks if block.valid.any()]
    predicted = iter(predictor(wanted)) if wanted else iter(())
    for window, block in zip(windows, blocks, strict=True):
        values = np.zeros((predictor.classes + 1, window.height, window.width), np.float32)
        if block.valid.any():
            values[:-1] = next(predicted)[:, : window.height, : window.width]
            values[-1] = block.valid
        yield values


def class_codes(
    probabilities: NDArray[np.float32], valid: NDArray[np.bool_], legend: Legend
) -> NDArray[np.integer]:
    """Codes `(rows, W)` of the likeliest class; `NO_CLASS` where the data is not valid."""
    table = np.asarray(legend.codes, legend.dtype)
    codes: NDArray[np.integer] = table[probabilities.argmax(axis=0)]
    codes[~valid] = NO_CLASS
    return codes


def _batched(windows: Iterable[Window], size: int) -> Iterator[tuple[Window, ...]]:
    iterator = iter(windows)
    while batch := tuple(islice(iterator, size)):
        yield batch
