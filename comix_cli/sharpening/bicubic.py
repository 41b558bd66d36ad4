"""The floor that every method has to rise above: the HSI alone, interpolated."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.pair_window import PairWindow
from comix_models.resample import upsampled


@dataclass(frozen=True)
class Bicubic:
    """Bicubic interpolation. It needs no lesson and does not look at the other sensor."""

    def sharpen(self, window: PairWindow, blur: Blur) -> Tensor:  # noqa: ARG002  # see Sharpener
        """The HSI on the fine pixels of a window: `(bands, H, W)`."""
        return upsampled(window.hsi, window.placement, window.fine)
