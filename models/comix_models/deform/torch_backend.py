"""The ``torch`` backend: the reference. ``grid_sample``, a few taps at a time; runs everywhere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from comix_models.deform.registry import Backend, register
from comix_models.deform.shape import DeformShape

_TAPS_AT_A_TIME = 8
"""Bounds the memory: all 49 taps of a 7x7 window at once are 49 copies of the value."""


def deform_with_grid_sample(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
    """Compute the operator from ``grid_sample``; same arguments as `deform_conv2d`.

    Half precision is computed in single: a position in a large image needs more than 11 bits.
    """
    if value.dtype in {torch.float16, torch.bfloat16}:
        return deform_with_grid_sample(value.float(), offset_mask.float(), shape).to(value.dtype)
    planes = _planes_by_group(value, shape.groups)
    dx, dy, modulation = _split_scalars(offset_mask, shape)
    result = value.new_zeros((*planes.shape[:2], *offset_mask.shape[1:3]))
    for first in range(0, shape.taps, _TAPS_AT_A_TIME):
        some = slice(first, first + _TAPS_AT_A_TIME)
        x, y = _positions(dx[:, some], dy[:, some], shape, some)
        result = result + _sample(planes, x, y, modulation[:, some])
    joined = result.reshape(len(value), shape.groups, *result.shape[1:]).permute(0, 3, 4, 1, 2)
    return joined.flatten(-2)


def _planes_by_group(value: Tensor, groups: int) -> Tensor:
    """``(N, H, W, G Cg)`` to ``(N G, Cg, H, W)``."""
    by_group = value.reshape(*value.shape[:3], groups, -1)
    return by_group.permute(0, 3, 4, 1, 2).flatten(0, 1).contiguous()


def _split_scalars(offset_mask: Tensor, shape: DeformShape) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets along x and along y, and modulation, each ``(N G, K, Ho, Wo)``."""
    used = offset_mask[..., : 3 * shape.groups * shape.taps]
    used = used.reshape(*used.shape[:3], shape.groups, 3 * shape.taps)
    used = used.permute(0, 3, 4, 1, 2).flatten(0, 1).contiguous()
    return (
        used[:, 0 : 2 * shape.taps : 2],
        used[:, 1 : 2 * shape.taps : 2],
        used[:, 2 * shape.taps :],
    )


def _positions(dx: Tensor, dy: Tensor, shape: DeformShape, some: slice) -> tuple[Tensor, Tensor]:
    """Sampling positions x and y of some taps in pixels, each ``(N G, taps, Ho, Wo)``."""
    rows, columns = dx.shape[2:]
    grid_x, grid_y = dx.new_tensor(shape.tap_positions()[some]).T
    pixel_x = torch.arange(columns, dtype=dx.dtype, device=dx.device) * shape.stride
    pixel_y = torch.arange(rows, dtype=dx.dtype, device=dx.device) * shape.stride
    x = grid_x[:, None, None] + pixel_x + dx * shape.offset_scale
    y = grid_y[:, None, None] + pixel_y[:, None] + dy * shape.offset_scale
    return x, y


def _sample(planes: Tensor, x: Tensor, y: Tensor, modulation: Tensor) -> Tensor:
    """Sum the samples of some taps: ``(N G, Cg, Ho, Wo)``."""
    height, width = planes.shape[2:]
    # A position that no corner reaches, NaN among them, gives zero whatever else is there.
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    x, y = torch.where(inside, x, -2), torch.where(inside, y, -2)
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    sampled = F.grid_sample(
        planes, grid.flatten(1, 2), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    sampled = sampled.reshape(*planes.shape[:2], *x.shape[1:])
    return (sampled * torch.where(inside, modulation, 0).unsqueeze(1)).sum(2)


register(
    Backend(
        name="torch",
        speed=0,
        run=deform_with_grid_sample,
        why_not=lambda: "",
        why_not_for=lambda _value, _shape: "",
    )
)
