"""The coarse pixels of a lesson, and what of the fine images each of them sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from comix_cli.errors import TrainingError
from comix_cli.sharpening.sharpener import Lesson, PairWindow, coarse_pixels
from comix_models.degradation import PointSpread, blur_matrix, blurred

# How much of what a coarse pixel sees may lie outside the window or be invalid. Pixels along an
# edge still count: in a small scene they are many.
_UNSEEN = 0.2


@dataclass(frozen=True)
class Blur:
    """What the sensor of the HSI makes of fine images on one window.

    Attributes:
        matrix: Sparse `(coarse pixels, fine pixels)`.
        valid: `(H, W)`: the fine pixels that count.
        share: `(h, w)`: the weight that these have in each coarse pixel.
        told: `(h, w)`: where most of what a coarse pixel sees is inside and valid.
    """

    matrix: Tensor
    valid: Tensor
    share: Tensor
    told: Tensor

    def __call__(self, image: Tensor) -> Tensor:
        """A fine image `(channels, H, W)` as `(channels, h, w)`, NaN where it cannot be told."""
        height, width = self.told.shape
        seen = blurred(self.matrix, image.where(self.valid, 0.0), (height, width)) / self.share
        return seen.where(self.told, torch.nan)


def window_blur(window: PairWindow, spread: PointSpread) -> Blur:
    """The blur of a window, from where its pixels lie."""
    matrix, inside = blur_matrix(window.placement, spread, window.fine, window.coarse)
    share = blurred(matrix, window.x_valid[None].to(matrix.dtype), window.coarse)[0]
    told = inside.reshape(window.coarse) * share >= 1 - _UNSEEN
    return Blur(matrix, window.x_valid, share, told)


def lesson_pixels(lesson: Lesson) -> tuple[Tensor, Tensor]:
    """All coarse pixels of a lesson that can be told in both images.

    Returns:
        `(bands, n)` of the HSI and `(channels, n)` of X, as the HSI's sensor would see it.

    Raises:
        TrainingError: There is none.
    """
    seen = [window_blur(window, lesson.spread)(window.x) for window in lesson.windows]
    hsi, x = coarse_pixels(lesson, seen)
    if hsi.shape[1] == 0:
        raise TrainingError(
            "no pixel of the hyperspectral image is valid in both images",
            remedy="check that they show the same ground, and their nodata values",
        )
    return hsi, x
