"""How N tokens become p: the projection of keys and values in the spatial attention.

A projection weighs tokens and a linear layer without bias weighs channels, so the two commute:
``E (X W) = (E X) W``. Tokens are therefore projected first, and only p of them meet the keys' and
the values' linear layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from comix_models.layout import as_planes, as_tokens


def token_grid(tokens: int) -> tuple[int, int]:
    """The grid of ``tokens`` cells that is nearest to a square: 64 -> (8, 8), 32 -> (4, 8)."""
    rows = next(rows for rows in range(math.isqrt(tokens), 0, -1) if tokens % rows == 0)
    return rows, tokens // rows


class PooledTokens(nn.Module):
    """Averages over the cells of a small grid, then a linear mix: runs at any window size.

    Args:
        tokens: Tokens p that go out.
        depth: Planes D of the volume; each is pooled to p cells, and the mix takes all D p.
    """

    def __init__(self, tokens: int, depth: int = 1) -> None:
        super().__init__()
        self.grid = token_grid(tokens)
        self.mix = nn.Linear(depth * tokens, tokens, bias=False)

    @torch.no_grad()
    def start_as_average(self) -> None:
        """Let the mix begin as the plain mean over the planes."""
        tokens, cells = self.mix.weight.shape
        eye = torch.eye(tokens).repeat(1, cells // tokens) * (tokens / cells)
        self.mix.weight.copy_(eye)

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """A volume ``(B, D, H, W, C)`` to tokens ``(B, p, C)``, one and the same for both uses.

        Returns:
            The tokens of which keys are made, and those of which values are made.
        """
        planes = as_planes(volume).permute(0, 3, 1, 2)
        cells = functional.adaptive_avg_pool2d(planes, self.grid).permute(0, 2, 3, 1)
        cells = cells.reshape(volume.shape[0], -1, volume.shape[-1])
        mixed = self.mix.weight @ cells
        return mixed, mixed


class LearnedTokens(nn.Module):
    """Learned weights over all N places of a fixed window, apart for keys and values.

    Args:
        places: Tokens N = D H W that come in.
        tokens: Tokens p that go out.
    """

    def __init__(self, places: int, tokens: int) -> None:
        super().__init__()
        self.keys = nn.Linear(places, tokens, bias=False)
        self.values = nn.Linear(places, tokens, bias=False)

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """A volume ``(B, D, H, W, C)``, D H W = N, to tokens ``(B, p, C)`` for keys and values."""
        tokens = as_tokens(volume)
        return self.keys.weight @ tokens, self.values.weight @ tokens
