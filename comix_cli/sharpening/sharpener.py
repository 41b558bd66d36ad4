"""What a method of sharpening learns from, and what it is then asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.pair_window import PairWindow
from comix_models.degradation import PointSpread


@dataclass(frozen=True)
class Lesson:
    """What methods learn from: windows drawn from the pair, and how its sensors see.

    Attributes:
        windows: Parts of the pair, all of one size unless the pair is smaller.
        response: `(channels, bands)`: the spectral response of the other sensor.
        spread: The point spread function of the HSI, in fine pixels.
    """

    windows: Sequence[PairWindow]
    response: Tensor
    spread: PointSpread


class Sharpener(Protocol):
    """A method that has learnt. It sees windows with a margin that is cut off afterwards."""

    def sharpen(self, window: PairWindow, blur: Blur) -> Tensor:
        """The HSI on the fine pixels of a window: `(bands, H, W)`, in its own units.

        Args:
            window: The window.
            blur: Its blur.
        """
