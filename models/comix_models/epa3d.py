"""The 3-D DCN block of the HSI, eqs. 5 to 10: paired attention, then 3x3x3 convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from comix_models.attention import PairedAttention, spatial_attention, spectral_attention
from comix_models.layout import residual, through


class EfficientPairedAttention(nn.Module):
    """EPA of UNETR++: spatial and spectral attention with shared queries and keys (eqs. 5 to 10).

    ``SA = softmax(Q Kp^T / sqrt d) Vp`` and ``SE = V softmax(Q^T K)^T``; a linear layer halves the
    channels of each, and the halves are concatenated.

    Args:
        attention: Makes both sides of a volume.
        width: Channels C.
    """

    def __init__(self, attention: PairedAttention, width: int) -> None:
        super().__init__()
        self.attention = attention
        self.spatial_half = nn.Linear(width, width // 2)
        self.spectral_half = nn.Linear(width, width // 2)

    def forward(self, volume: Tensor) -> Tensor:
        """``(B, D, H, W, C)`` to ``(B, D, H, W, C)``."""
        spatial = self.attention.spatial(volume)
        spectral = self.attention.spectral(volume)
        halves = (
            self.spatial_half(spatial_attention(spatial, spatial)),
            spectral_attention(spectral, spectral, self.spectral_half),
        )
        return torch.cat(halves, dim=2).view_as(volume)


class Conv3x3x3(nn.Module):
    """3x3x3 convolution of a volume, zero outside, that skips taps which only meet padding.

    In a volume of one plane the first and the last third of the taps only ever meet zeros: the
    middle slice alone gives the same result.

    Args:
        width: Channels C, in and out.
        taps: 3, or 1 where the volume has one plane and the other taps are not even kept.
    """

    bias: nn.Parameter | None

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, taps, 3, 3))
        # Only a convolution that has taken over a normalisation has one.
        self.register_parameter("bias", None)

    def forward(self, volume: Tensor) -> Tensor:
        """``(B, D, H, W, C)`` to ``(B, D, H, W, C)``."""
        if volume.shape[1] == 1:
            plane = volume.squeeze(1).permute(0, 3, 1, 2)
            middle = self.weight[:, :, self.weight.shape[2] // 2]
            found = functional.conv2d(plane, middle, self.bias, padding=1)
            return found.permute(0, 2, 3, 1).unsqueeze(1)
        full = functional.conv3d(volume.permute(0, 4, 1, 2, 3), self.weight, self.bias, padding=1)
        return full.permute(0, 2, 3, 4, 1)


class VolumeNorm(nn.BatchNorm2d):
    """Batch normalisation of a volume ``(B, D, H, W, C)`` over all axes but C."""

    def forward(self, volume: Tensor) -> Tensor:
        """``(B, D, H, W, C)`` to the same shape."""
        return through(super().forward, volume.flatten(1, 2)).view_as(volume)


class Block3d(nn.Module):
    """The 3-D DCN block: ``X2 = LN(EPA(X)) + X``, then convolutions with a skip (eqs. 5 to 10).

    ``out = Conv1x1x1(Conv3x3x3(ReLU(Conv3x3x3(X2)))) + X2``, with batch normalisation after each
    3x3x3 convolution, as in UNETR++.

    Args:
        attention: EPA, ``(B, D, H, W, C)`` to the same shape.
        width: Channels C.
        taps: Spectral taps of the convolutions, see ``Conv3x3x3``.
    """

    def __init__(self, attention: nn.Module, width: int, taps: int) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width)
        self.convolutions = nn.Sequential(
            Conv3x3x3(width, taps),
            VolumeNorm(width),
            nn.ReLU(inplace=True),
            Conv3x3x3(width, taps),
            VolumeNorm(width),
            nn.Linear(width, width),
        )

    def forward(self, volume: Tensor) -> Tensor:
        """``(B, D, H, W, C)`` to ``(B, D, H, W, C)``."""
        volume = residual(self.attention_norm(self.attention(volume)), volume)
        return residual(self.convolutions(volume), volume)
