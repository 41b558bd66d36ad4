"""Blocks made as large as the network's window where the scene is smaller."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.stack import Block

Scalar = TypeVar("Scalar", bound=np.generic)


def pad_block(block: Block, size: tuple[int, int]) -> Block:
    """The block in the top left corner of one of `size` (H, W), the rest mirrored.

    Reflection repeats where the block is smaller than half the size; one single row or column is
    repeated. A block that is large enough is returned as it is.
    """
    if block.valid.shape == size:
        return block
    return Block(
        hsi=_reflect(block.hsi, size), x=_reflect(block.x, size), valid=_reflect(block.valid, size)
    )


def _reflect(array: NDArray[Scalar], size: tuple[int, int]) -> NDArray[Scalar]:
    missing = [max(0, full - have) for full, have in zip(size, array.shape[-2:], strict=True)]
    leading = [(0, 0)] * (array.ndim - 2)
    if array.size == 0:  # no channels: there is nothing to mirror
        return np.zeros((*array.shape[:-2], *size), array.dtype)
    return np.pad(array, [*leading, (0, missing[0]), (0, missing[1])], mode="reflect")
