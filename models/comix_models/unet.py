"""A plain U-Net on the stack of HSI and X: what one would try first.

After Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015, doi:10.1007/978-3-319-24574-4_28. As is usual now, convolutions keep the size, batch
normalisation follows each, and features are upsampled bilinearly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from comix_models.spec_base import Spec, check_count
from comix_models.stacked import check_x, cropped, padded, stacked

LEVELS: Final = 4
# Sides are made multiples of that, so that they can be halved once between two levels.
MULTIPLE: Final = 2 ** (LEVELS - 1)


@dataclass(frozen=True)
class UNetSpec(Spec):
    """A U-Net of four levels.

    Attributes:
        width: Channels at full size; every halving of the size doubles them.
    """

    model: ClassVar[str] = "unet"

    width: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "width", 1)


class UNet(nn.Module):
    """Goes down to an eighth of the size and up again, with a shortcut at each level.

    Args:
        spec: What it is made of.
    """

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        widths = [spec.width * 2**level for level in range(LEVELS)]
        inputs = [spec.features, *widths]
        self.x_channels = spec.x_channels
        self.down = nn.ModuleList(map(ConvPair, inputs, widths))
        self.up = nn.ModuleList(
            ConvPair(below + width, width) for width, below in reversed(list(pairwise(widths)))
        )
        self.classes = nn.Linear(spec.width, spec.classes)

    def forward(self, hsi: Tensor, x: Tensor | None = None) -> Tensor:
        """Logits of every pixel.

        Args:
            hsi: ``(B, bands, H, W)``, scaled to about [0, 1].
            x: ``(B, channels, H, W)`` on the same grid, scaled likewise; none without X.

        Returns:
            ``(B, classes, H, W)``.

        Raises:
            ValueError: X is not what the network takes.
        """
        check_x(hsi, x, self.x_channels)
        features = padded(stacked(hsi, x), MULTIPLE)
        shortcuts: list[Tensor] = []
        for pair in self.down:
            features = pair(functional.max_pool2d(features, 2) if shortcuts else features)
            shortcuts.append(features)
        for pair, shortcut in zip(self.up, reversed(shortcuts[:-1]), strict=True):
            features = pair(torch.cat([_doubled(features), shortcut], dim=1))
        logits: Tensor = self.classes(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return cropped(logits, hsi.shape[2:])


class ConvPair(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation and ReLU.

    Args:
        channels: Channels that come in.
        width: Channels that go out.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
