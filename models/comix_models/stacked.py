"""HSI and X as one image, and images of sides that can be halved."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional


def check_x(hsi: Tensor, x: Tensor | None, channels: int) -> None:
    """Refuse an X ``(B, channels, H, W)`` that does not go with the HSI or with the network.

    Raises:
        ValueError: X is missing or of another size, or has other channels than the network takes.
    """
    given = 0 if x is None else x.shape[1]
    if given != channels:
        raise ValueError(f"x: {given} channels given to a network that takes {channels}")
    if x is not None and x.shape[2:] != hsi.shape[2:]:
        raise ValueError(f"x: {tuple(x.shape[2:])} pixels where the HSI has {tuple(hsi.shape[2:])}")


def stacked(hsi: Tensor, x: Tensor | None) -> Tensor:
    """HSI ``(B, bands, H, W)`` and X ``(B, channels, H, W)`` as ``(B, bands + channels, H, W)``."""
    return hsi if x is None else torch.cat([hsi, x], dim=1)


def padded(image: Tensor, multiple: int) -> Tensor:
    """An image ``(B, C, H, W)``, its last row and column repeated up to a multiple of pixels."""
    rows, columns = (-side % multiple for side in image.shape[2:])
    if not rows and not columns:
        return image
    return functional.pad(image, (0, columns, 0, rows), mode="replicate")


def cropped(logits: Tensor, size: Iterable[int]) -> Tensor:
    """Logits ``(B, classes, H, W)`` of the given rows and columns, without what was padded."""
    rows, columns = size
    return logits[:, :, :rows, :columns]
