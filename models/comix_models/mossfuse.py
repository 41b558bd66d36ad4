"""MossFuse: a coarse hyperspectral and a fine multispectral image, decoupled and joined again.

Du et al.: "Unsupervised Hyperspectral and Multispectral Image Fusion via Self-Supervised Modality
Decoupling", arXiv:2412.04802. Each image has one encoder for what both know and one for what only
it knows: spatial detail from the multispectral, spectral detail from the hyperspectral image.
Decoders rebuild each input from its two parts; an aggregation decoder makes the sharp image of what
is shared, the spatial and the spectral part. Written from the paper's idea.

The network speaks of spectral shapes (see `spectral_prior`): its inputs do not change with
illumination, and what it says is what the sharp image has more than the prior expects, in principal
components of shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class MossFuseSpec:
    """Sizes.

    Attributes:
        channels: Channels of the other sensor.
        components: Principal components that the hyperspectral image is told in.
        features: Features of each of the four parts.
        width: Channels inside encoders and decoders.
        blocks: Residual blocks of an encoder.
    """

    channels: int
    components: int
    features: int = 16
    width: int = 48
    blocks: int = 2


class Block(nn.Module):
    """A residual block: neighbours channel by channel (unless `kernel` is 1), then an MLP."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.around = (
            nn.Conv2d(width, width, kernel, padding="same", groups=width, padding_mode="replicate")
            if kernel > 1
            else nn.Identity()
        )
        self.widen, self.narrow = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, width, H, W)` to the same."""
        moved: Tensor = self.narrow(nn.functional.gelu(self.widen(self.around(x))))
        return x + moved


def coder(inputs: int, outputs: int, spec: MossFuseSpec, kernel: int, blocks: int) -> nn.Module:
    """An encoder or a decoder: `(B, inputs, H, W)` to `(B, outputs, H, W)`."""
    inner = [Block(spec.width, kernel) for _ in range(blocks)]
    return nn.Sequential(
        nn.Conv2d(inputs, spec.width, 1), *inner, nn.Conv2d(spec.width, outputs, 1)
    )


class MossFuse(nn.Module):
    """The encoders and decoders.

    Images are given in standardised features: the other sensor's shape and the logarithm of its
    brightness `(B, channels + 1, H, W)`, and the components of the hyperspectral shapes
    `(B, components, h, w)`.
    """

    def __init__(self, spec: MossFuseSpec) -> None:
        super().__init__()
        self.spec = spec
        told, features, blocks = spec.channels + 1, spec.features, spec.blocks
        self.shared_x = coder(told, features, spec, 1, blocks)
        self.spatial = coder(told, features, spec, 3, blocks)
        self.shared_hsi = coder(spec.components, features, spec, 1, blocks)
        self.spectral = coder(spec.components, features, spec, 1, blocks)
        self.decode_x = coder(2 * features, told, spec, 1, 1)
        self.decode_hsi = coder(2 * features, spec.components, spec, 1, 1)
        self.aggregate = coder(3 * features, spec.components, spec, 1, blocks)
        last = self.aggregate[-1]  # type: ignore[index]
        nn.init.zeros_(last.weight)  # before it has learnt anything, the prior stands
        nn.init.zeros_(last.bias)

    def encode_x(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is shared and what is spatial, `(B, features, H, W)` each."""
        return self.shared_x(x), self.spatial(x)

    def encode_hsi(self, hsi: Tensor) -> tuple[Tensor, Tensor]:
        """What is shared and what is spectral, `(B, features, h, w)` each."""
        return self.shared_hsi(hsi), self.spectral(hsi)

    def rebuild(
        self, x_parts: tuple[Tensor, Tensor], hsi_parts: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Each image from its own two parts."""
        return self.decode_x(torch.cat(x_parts, 1)), self.decode_hsi(torch.cat(hsi_parts, 1))

    def forward(self, shared: Tensor, spatial: Tensor, spectral: Tensor) -> Tensor:
        """What the sharp image has beyond the prior.

        Args:
            shared: `(B, features, H, W)`.
            spatial: `(B, features, H, W)`.
            spectral: `(B, features, H, W)`: interpolated to the fine pixels.

        Returns:
            `(B, components, H, W)`, in standard deviations of the components of shapes.
        """
        correction: Tensor = self.aggregate(torch.cat([shared, spatial, spectral], 1))
        return correction
