"""Transitions between stages: the single halving, and changes of width."""

from __future__ import annotations

from torch import Tensor, nn

from comix_models.layout import through


class Halving(nn.Module):
    """2x2 convolution of stride 2, then layer normalisation: before stage 2.

    Args:
        width: Channels that come in.
        to_width: Channels that go out.
    """

    def __init__(self, width: int, to_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, to_width, kernel_size=2, stride=2)
        self.norm = nn.LayerNorm(to_width)

    def forward(self, features: Tensor) -> Tensor:
        """``(..., H, W, C)`` with even H and W to ``(..., H / 2, W / 2, C')``."""
        planes = features.reshape(-1, *features.shape[-3:])
        halved: Tensor = self.norm(through(self.conv, planes))
        return halved.reshape(*features.shape[:-3], *halved.shape[1:])


def transition(stage: int, width: int, to_width: int) -> nn.Module:
    """What leads one modality into a stage.

    Args:
        stage: The stage entered, 0 to 3.
        width: Channels of the stage before.
        to_width: Channels of this stage.

    Returns:
        Nothing before the first stage and where the width stays; the halving before the second;
        a 1x1 convolution and layer normalisation where only the width changes. All map
        ``(..., H, W, C)``, and only the halving changes H and W.
    """
    if stage == 1:
        return Halving(width, to_width)
    if stage == 0 or width == to_width:
        return nn.Identity()
    return nn.Sequential(nn.Linear(width, to_width), nn.LayerNorm(to_width))
