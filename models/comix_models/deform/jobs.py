"""From tensors to jobs for the compiled loops of the ``cpu`` backend, and back."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from comix_models.deform import kernels as k
from comix_models.deform.compiled import Direction, lanes_of, loop_of
from comix_models.deform.launch import run_in_threads
from comix_models.deform.shape import DeformShape

_SCALARS_WORTH_A_TEAM = 2**16
"""Fewer offsets and modulations take less time than waking other threads."""
_MOST_SLABS = 8
"""Each one needs memory for the gradient of one image."""


def forward(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
    """Compute the operator; contiguous ``(N, H, W, C)`` and ``(N, Ho, Wo, S)`` in and out.

    Of bfloat16 the result is in single precision.
    """
    size = (*offset_mask.shape[:3], value.shape[3])
    out = torch.empty(size, dtype=_computed_in(value.dtype))
    rows = out.shape[0] * out.shape[1]
    addresses = {k.VALUE: value, k.OFFSET_MASK: offset_mask, k.OUT: out}
    _run("forward", _describe(value, offset_mask, shape), addresses, shape, rows)
    return out


def backward(
    grad: Tensor, value: Tensor, offset_mask: Tensor, shape: DeformShape
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of value and offset_mask from the output's, all contiguous."""
    grad_value, grad_offset_mask = torch.empty_like(value), torch.empty_like(offset_mask)
    grad_offset_mask[..., 3 * shape.groups * shape.taps :] = 0
    sizes = _describe(value, offset_mask, shape)
    slabs = slabs_of(shape.groups, torch.get_num_threads(), offset_mask.shape[1])
    sizes[k.SLABS] = slabs
    parts = value.new_empty((slabs, *value.shape[1:]))
    # Image by image, so that the slabs' memory does not grow with the batch.
    for n in range(len(value)):
        parts.zero_()
        addresses = {
            k.VALUE: value[n],
            k.OFFSET_MASK: offset_mask[n],
            k.GRAD_OUT: grad[n],
            k.GRAD_OFFSET_MASK: grad_offset_mask[n],
            k.GRAD_VALUE: parts,
        }
        _run("backward", sizes, addresses, shape, shape.groups * slabs)
        torch.sum(parts, dim=0, out=grad_value[n])
    return grad_value, grad_offset_mask


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype


def slabs_of(groups: int, threads: int, rows: int) -> int:
    """In how many slabs of rows to cut the gradients of one image.

    No two threads may add to the same place, so the groups are what is shared out. Where they are
    few and do not share out evenly, cutting the rows too makes the pieces a multiple of the
    threads. The number never depends on the batch, and so neither does the order of any sum.
    """
    if groups >= 4 * threads:
        return 1
    return min(threads // math.gcd(groups, threads), _MOST_SLABS, rows)


def _describe(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> dict[int, int]:
    group_width = value.shape[3] // shape.groups
    return {
        k.HEIGHT: value.shape[1],
        k.WIDTH: value.shape[2],
        k.OUT_HEIGHT: offset_mask.shape[1],
        k.OUT_WIDTH: offset_mask.shape[2],
        k.STRIDE: shape.stride,
        k.GROUPS: shape.groups,
        k.BLOCKS: group_width // lanes_of(group_width, _computed_in(value.dtype).itemsize),
        k.TAPS: shape.taps,
        k.SCALARS: shape.scalars,
    }


def _run(
    direction: Direction,
    sizes: dict[int, int],
    tensors: dict[int, Tensor],
    shape: DeformShape,
    pieces: int,
) -> None:
    value = tensors[k.VALUE]
    real = _computed_in(value.dtype)
    # All of torch's threads or none of them: a smaller team would end some, to be started anew.
    worth_it = pieces > 1 and tensors[k.OFFSET_MASK].numel() >= _SCALARS_WORTH_A_TEAM
    threads = torch.get_num_threads() if worth_it else 1
    grid = _grid(shape, real)
    scratch = torch.empty(threads * shape.taps * k.SCRATCH_BYTES, dtype=torch.uint8)
    job = torch.zeros(k.SLOTS, dtype=torch.int64)
    table: Any = job.numpy()
    table[k.PIECES] = pieces
    for slot, number in sizes.items():
        table[slot] = number
    for slot, tensor in (tensors | {k.GRID: grid, k.SCRATCH: scratch}).items():
        table[slot] = tensor.data_ptr()
    lanes = lanes_of(value.shape[-1] // shape.groups, real.itemsize)
    loop = loop_of(direction, 8 * real.itemsize, lanes, value.element_size())
    run_in_threads(loop, job.data_ptr(), threads)


@functools.cache
def _grid(shape: DeformShape, dtype: torch.dtype) -> Tensor:
    """Tap positions, x then y, and behind them offset_scale: ``(2 K + 1,)``."""
    x, y = zip(*shape.tap_positions(), strict=True)
    return torch.tensor([*x, *y, shape.offset_scale], dtype=dtype)
