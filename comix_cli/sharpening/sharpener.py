"""What a method of sharpening learns from, and what it is then asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from comix_models.degradation import PointSpread
from comix_models.placement import Placement


@dataclass(frozen=True)
class PairWindow:
    """A part of both images.

    Attributes:
        hsi: `(bands, h, w)` float32 in the physical units of the HSI; where it is invalid, a value
            from nearby.
        x: `(channels, H, W)` float32, the other sensor in units of the HSI: what its bands, mixed
            by the spectral response, give. Where it is invalid, a value from nearby.
        placement: Where the coarse pixels lie among the fine ones.
        hsi_valid: `(h, w)`.
        x_valid: `(H, W)`.
    """

    hsi: Tensor
    x: Tensor
    placement: Placement
    hsi_valid: Tensor
    x_valid: Tensor

    @property
    def fine(self) -> tuple[int, int]:
        """Height and width of the fine image."""
        return self.x.shape[-2], self.x.shape[-1]

    @property
    def coarse(self) -> tuple[int, int]:
        """Height and width of the coarse image."""
        return self.hsi.shape[-2], self.hsi.shape[-1]


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

    def sharpen(self, window: PairWindow) -> Tensor:
        """The HSI on the fine pixels of a window: `(bands, H, W)`, in its own units."""
