"""Bicubic interpolation from a coarse grid to a fine one, wherever they lie."""

from __future__ import annotations

import torch
from torch import Tensor

from comix_models.placement import Placement

# Keys 1981, doi:10.1109/TASSP.1981.1163711: exact for parabolas. GDAL's cubic is the same.
_KEYS = -0.5


def upsampled(coarse: Tensor, placement: Placement, fine: tuple[int, int]) -> Tensor:
    """A coarse image on fine pixels, by bicubic interpolation; beyond its edge its last pixels.

    Args:
        coarse: `(..., h, w)`.
        placement: Where its pixels lie among the fine ones.
        fine: Height and width wanted.

    Returns:
        `(..., H, W)`; exact for images that are linear in both directions, away from the edges.
    """
    rows = cubic_weights(placement, 0, fine[0], coarse.shape[-2]).to(coarse)
    cols = cubic_weights(placement, 1, fine[1], coarse.shape[-1]).to(coarse)
    return rows @ (coarse @ cols.T)


def cubic_weights(placement: Placement, axis: int, fine: int, coarse: int) -> Tensor:
    """Keys' weights of coarse pixels for each fine one along an axis: float64 `(fine, coarse)`."""
    at = torch.arange(fine, dtype=torch.float64) + 0.5
    position = (at - placement.offset[axis]) / placement.ratio[axis] - 0.5
    base = torch.floor(position)
    weights = torch.zeros(fine, coarse, dtype=torch.float64)
    for step in (-1, 0, 1, 2):
        neighbour = base + step
        index = neighbour.clamp(0, coarse - 1).to(torch.int64)
        weights.scatter_add_(1, index[:, None], _keys(position - neighbour)[:, None])
    return weights


def _keys(distance: Tensor) -> Tensor:
    d = distance.abs()
    near = ((_KEYS + 2) * d - (_KEYS + 3)) * d * d + 1
    far = ((_KEYS * d - 5 * _KEYS) * d + 8 * _KEYS) * d - 4 * _KEYS
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))
