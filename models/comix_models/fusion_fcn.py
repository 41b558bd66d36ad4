"""Fusion-FCN, winner of the 2018 data fusion contest of the IEEE GRSS.

Xu, Du, Zhang, Cerra, Pato, Carmona, Prasad, Yokoya, Hänsch, Le Saux: "Advanced Multi-Sensor
Optical Remote Sensing for Urban Land Use and Land Cover Classification: Outcome of the 2018 IEEE
GRSS Data Fusion Contest", IEEE JSTARS 12(6), 2019, doi:10.1109/JSTARS.2019.2911113; the network
alone: Xu, Du, Zhang, IGARSS 2018, doi:10.1109/IGARSS.2018.8518295.

As published: a branch of three blocks (3x3 convolution of 64 channels, ReLU, average pooling) for
each sensor of high resolution, nothing of which becomes smaller than the image; the outputs of the
three blocks are added up; the HSI goes past the branches as it is; all are concatenated, and a 1x1
convolution tells the classes apart. Ours: the average is taken over 3x3 pixels, which has a middle,
at every pixel; every X raster has a branch, whatever sensor it is from; the published rules that
correct single classes afterwards belong to that contest's data and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from comix_models.spec_base import Spec, check_count, check_counts
from comix_models.stacked import check_x

BLOCKS: Final = 3


@dataclass(frozen=True)
class FusionFCNSpec(Spec):
    """A Fusion-FCN.

    Attributes:
        x_groups: Channels of each X raster; none stands for a single raster.
        width: Channels of the branches.
    """

    model: ClassVar[str] = "fusion-fcn"

    x_groups: tuple[int, ...] = ()
    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "x_channels", 1)
        check_counts(self, "x_groups", 1)
        check_count(self, "width", 1)
        if sum(self.groups) != self.x_channels:
            raise ValueError(
                f"x_groups: {self.x_groups!r} are not the {self.x_channels} channels of X"
            )

    @property
    def groups(self) -> tuple[int, ...]:
        """Channels of each branch."""
        return self.x_groups or (self.x_channels,)


class FusionFCN(nn.Module):
    """Branches for the rasters of X, past which the HSI goes unchanged.

    Args:
        spec: What it is made of.
    """

    def __init__(self, spec: FusionFCNSpec) -> None:
        super().__init__()
        self.groups: Sequence[int] = spec.groups
        self.branches = nn.ModuleList(Branch(channels, spec.width) for channels in spec.groups)
        fused = len(spec.groups) * spec.width + spec.hsi_bands
        self.classes = nn.Linear(fused, spec.classes)

    def forward(self, hsi: Tensor, x: Tensor | None = None) -> Tensor:
        """Logits of every pixel.

        Args:
            hsi: ``(B, bands, H, W)``, scaled to about [0, 1].
            x: ``(B, channels, H, W)`` on the same grid, scaled likewise.

        Returns:
            ``(B, classes, H, W)``.

        Raises:
            ValueError: X is not what the network takes.
        """
        check_x(hsi, x, sum(self.groups))
        assert x is not None
        rasters = torch.split(x, list(self.groups), dim=1)
        features = [branch(raster) for branch, raster in zip(self.branches, rasters, strict=True)]
        fused = torch.cat([*features, hsi], dim=1)
        logits: Tensor = self.classes(fused.permute(0, 2, 3, 1))
        return logits.permute(0, 3, 1, 2)


class Branch(nn.Module):
    """Three blocks in a row, the sum of whose outputs is the branch's.

    Args:
        channels: Channels that come in.
        width: Channels that go out.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width if block else channels, width, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            )
            for block in range(BLOCKS)
        )

    def forward(self, features: Tensor) -> Tensor:
        """From ``(B, channels, H, W)`` to ``(B, width, H, W)``."""
        outputs: list[Tensor] = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        return torch.stack(outputs).sum(dim=0)
