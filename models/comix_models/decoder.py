"""The All-MLP decoder, after SegFormer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class AllMLPDecoder(nn.Module):
    """Embeds each stage, brings all to full size, fuses them and tells the classes apart.

    As printed: a linear layer per stage to one width E, bilinear upsampling, concatenation, a 1x1
    fusion ``4 E -> E`` with batch normalisation and ReLU, and a linear layer to the classes.
    Computed otherwise, with the same result: a linear layer and the upsampling commute, so the
    stages are fused at their own resolution and only their sum is upsampled; and two linear layers
    in a row are one, so no embedding is ever formed.

    Args:
        channels: Width of each stage; the first is at full size, the others at half.
        width: Embedding width E.
        classes: Number of classes.
        dropout: Probability of dropping a channel before the classes, while training.
    """

    def __init__(
        self, channels: Sequence[int], width: int, classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Linear(channel, width) for channel in channels)
        self.fusion = nn.Linear(len(channels) * width, width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout2d(dropout)
        self.classes = nn.Linear(width, classes)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Logits of every pixel.

        Args:
            stages: ``(B, H, W, C1)``, then ``(B, H / 2, W / 2, C)`` of the later stages.

        Returns:
            ``(B, classes, H, W)``.
        """
        full, *halves = self._fuse_each(stages)
        half = sum(halves[1:], halves[0]).permute(0, 3, 1, 2)
        size = list(full.shape[1:3])
        upsampled = functional.interpolate(half, size=size, mode="bilinear", align_corners=False)
        fused = self.activation(self.norm(full.permute(0, 3, 1, 2) + upsampled))
        logits: Tensor = self.classes(self.dropout(fused).permute(0, 2, 3, 1))
        return logits.permute(0, 3, 1, 2)

    def _fuse_each(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Each stage's share of the fused embedding, at its own resolution, ``(B, h, w, E)``."""
        return [
            functional.linear(stage, weight, bias)
            for stage, (weight, bias) in zip(stages, self.stage_layers(), strict=True)
        ]

    def stage_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight ``(E, C)`` and bias ``(E,)`` of each stage's embedding and fusion as one layer."""
        shares = torch.split(self.fusion.weight, self.fusion.out_features, dim=1)
        embeddings = cast("Iterable[nn.Linear]", self.embeddings)
        return [
            (share @ embedding.weight, share @ embedding.bias)
            for share, embedding in zip(shares, embeddings, strict=True)
        ]
