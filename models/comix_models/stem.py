"""The stems: from bands to features of one width, pixel by pixel."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class Stem(nn.Module):
    """1x1 convolution, batch normalisation and SiLU.

    Args:
        bands: Channels of the image.
        width: Channels C of the features.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(bands, width, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.activation = nn.SiLU()

    def forward(self, image: Tensor) -> Tensor:
        """An image ``(B, bands, H, W)``, usually in [0, 1], to features ``(B, H, W, C)``."""
        features: Tensor = self.activation(self.norm(self.conv(image)))
        return features.permute(0, 2, 3, 1).contiguous()


class SpectralStem(nn.Module):
    """A stem for each of D contiguous ranges of bands, so that the third axis is the spectrum.

    Args:
        bands: Bands of the HSI, at least ``depth``.
        width: Channels C of each plane.
        depth: Planes D; the ranges differ in length by one band at most.
    """

    def __init__(self, bands: int, width: int, depth: int) -> None:
        super().__init__()
        ends = [bands * plane // depth for plane in range(depth + 1)]
        self.sizes = [stop - start for start, stop in pairwise(ends)]
        self.planes = nn.ModuleList(Stem(size, width) for size in self.sizes)

    def forward(self, image: Tensor) -> Tensor:
        """An HSI ``(B, bands, H, W)``, usually in [0, 1], to a volume ``(B, D, H, W, C)``."""
        ranges = torch.split(image, self.sizes, dim=1)
        planes = [stem(part) for stem, part in zip(self.planes, ranges, strict=True)]
        return planes[0].unsqueeze(1) if len(planes) == 1 else torch.stack(planes, dim=1)
