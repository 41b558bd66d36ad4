"""A part of both images, as methods of sharpening see it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

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
