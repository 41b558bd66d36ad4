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
    offsets, modulation = _split_scalars(offset_mask, shape)
    result = torch.zeros((), dtype=value.dtype, device=value.device)
    for first in range(0, shape.taps, _TAPS_AT_A_TIME):
        some = slice(first, first + _TAPS_AT_A_TIME)
        sample = _sample(planes, offsets[:, :, :, some], modulation[..., some], shape, some)
        result = result + sample
    joined = result.unflatten(0, (-1, shape.groups)).permute(0, 3, 4, 1, 2)
    return joined.flatten(-2).contiguous()


def _planes_by_group(value: Tensor, groups: int) -> Tensor:
    """``(N, H, W, G Cg)`` to ``(N G, Cg, H, W)``."""
    return value.unflatten(-1, (groups, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1).contiguous()


def _split_scalars(offset_mask: Tensor, shape: DeformShape) -> tuple[Tensor, Tensor]:
    """Offsets ``(N G, Ho, Wo, K, 2)``, x first, and modulation ``(N G, Ho, Wo, K)``."""
    used = offset_mask[..., : 3 * shape.groups * shape.taps].unflatten(-1, (shape.groups, -1))
    used = used.permute(0, 3, 1, 2, 4).flatten(0, 1)
    offsets, modulation = used.split((2 * shape.taps, shape.taps), dim=-1)
    return offsets.unflatten(-1, (shape.taps, 2)), modulation


def _sample(
    planes: Tensor, offsets: Tensor, modulation: Tensor, shape: DeformShape, some: slice
) -> Tensor:
    """Sum the samples of some taps: ``(N G, Cg, Ho, Wo)``."""
    height, width = planes.shape[-2:]
    positions = _positions(offsets, shape, some)
    size = positions.new_tensor((width, height))
    # A position that no corner reaches, NaN among them, gives zero whatever else is there.
    inside = ((positions > -1) & (positions < size)).all(dim=-1)
    positions = torch.where(inside.unsqueeze(-1), positions, -2)
    modulation = torch.where(inside, modulation, 0)
    sampled = F.grid_sample(
        planes,
        ((2 * positions + 1) / size - 1).flatten(2, 3),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    return (sampled.unflatten(-1, modulation.shape[2:]) * modulation.unsqueeze(1)).sum(-1)


def _positions(offsets: Tensor, shape: DeformShape, some: slice) -> Tensor:
    """Sampling positions (x, y) in pixels: ``(N G, Ho, Wo, taps, 2)``."""
    rows, columns = offsets.shape[1:3]
    taps = offsets.new_tensor(shape.tap_positions()[some])
    y = torch.arange(rows, dtype=offsets.dtype, device=offsets.device) * shape.stride
    x = torch.arange(columns, dtype=offsets.dtype, device=offsets.device) * shape.stride
    pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return pixels.unsqueeze(2) + taps + offsets * shape.offset_scale


register(
    Backend(
        name="torch",
        speed=0,
        run=deform_with_grid_sample,
        why_not=lambda: "",
        why_not_for=lambda _value, _shape: "",
    )
)
