"""The feature fusion module, eqs. 23 to 25, and what stands in for it where it is removed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from comix_models.layout import residual, through


class FoldPlanes(nn.Module):
    """A linear layer from the D planes of a volume to one: ``D C -> C`` at every pixel.

    Args:
        width: Channels C.
        depth: Planes D.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.linear = nn.Linear(depth * width, width)

    def forward(self, volume: Tensor) -> Tensor:
        """``(B, D, H, W, C)`` to ``(B, H, W, C)``."""
        folded: Tensor = self.linear(volume.permute(0, 2, 3, 1, 4).flatten(3))
        return folded


class SinglePlane(nn.Module):
    """The one plane of a volume that has no other."""

    def forward(self, volume: Tensor) -> Tensor:
        """``(B, 1, H, W, C)`` to ``(B, H, W, C)``."""
        return volume.squeeze(1)


def fold_planes(width: int, depth: int) -> nn.Module:
    """What turns a volume ``(B, D, H, W, C)`` into features ``(B, H, W, C)``."""
    return SinglePlane() if depth == 1 else FoldPlanes(width, depth)


class FFM(nn.Module):
    """Fuses both modalities: ``MLP(DWConv3x3(GELU(MLP(Ycat)))) + MLP(Ycat)`` (eqs. 23 to 25).

    Args:
        width: Channels C of each modality and of the result.
        hidden: Hidden width.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(2 * width, hidden)
        self.activation = nn.GELU()
        self.depthwise = nn.Conv2d(hidden, hidden, kernel_size=3, padding=1, groups=hidden)
        self.reduce = nn.Linear(hidden, width)
        self.skip = nn.Linear(2 * width, width)

    def forward(self, hsi: Tensor, x: Tensor) -> Tensor:
        """Two of ``(B, H, W, C)`` to one."""
        both = torch.cat((hsi, x), dim=3)
        hidden = through(self.depthwise, self.activation(self.expand(both)))
        return residual(self.reduce(hidden), self.skip(both))


class Average(nn.Module):
    """The mean of both modalities: what the ablation without FFM hands to the decoder."""

    def forward(self, hsi: Tensor, x: Tensor) -> Tensor:
        """Two of ``(B, H, W, C)`` to one."""
        return (hsi + x) / 2
