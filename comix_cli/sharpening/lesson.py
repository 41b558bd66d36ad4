"""The coarse pixels of a lesson, and what of the fine images each of them sees."""

from __future__ import annotations

import torch
from torch import Tensor

from comix_cli.errors import TrainingError
from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.sharpener import Lesson


def lesson_pixels(lesson: Lesson) -> tuple[Tensor, Tensor]:
    """All coarse pixels of a lesson that can be told in both images.

    Returns:
        `(bands, n)` of the HSI and `(channels, n)` of X, as the HSI's sensor would see it.

    Raises:
        TrainingError: There is none.
    """
    hsi, x = [], []
    for window in lesson.windows:
        seen = Blur(window, lesson.spread).of_valid(window.x)
        told = window.hsi_valid & torch.isfinite(seen).all(0)
        hsi.append(window.hsi[:, told])
        x.append(seen[:, told])
    if not any(pixels.shape[1] for pixels in hsi):
        raise TrainingError(
            "no pixel of the hyperspectral image is valid in both images",
            remedy="check that they show the same ground, and their nodata values",
        )
    return torch.cat(hsi, 1), torch.cat(x, 1)
