"""The ``cpu`` backend: loops compiled with numba, forward and backward, in single and double.

For torch it is one operator, ``comix::deform_conv2d_cpu``, which ``torch.compile`` keeps whole.
numba is imported at the first use, because that takes half a second.
"""

from __future__ import annotations

import importlib

import torch
from torch import Tensor

from comix_models.deform.custom_op import define
from comix_models.deform.registry import AskedOnce, Backend, register
from comix_models.deform.shape import DeformShape

_KNOWN = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
"""The half ones are computed in single precision, and rounded once at the end."""
_LONGEST_SIDE = 2**24
"""Beyond it a float32 no longer tells one pixel from the next."""
_WIDEST_ROW = 2**28 - 1
"""Bytes; the loops multiply it, shifted by four bits, in a 32-bit register."""


@AskedOnce
def why_not() -> str:
    """Say why this backend does not work on this machine; an empty text where it does."""
    try:
        importlib.import_module("numba")
    except Exception as error:  # a broken LLVM raises all sorts of things
        return f"numba does not import ({error})"
    return ""


def why_not_for(value: Tensor, _shape: DeformShape) -> str:
    """Say why this backend cannot do this job; an empty text where it can."""
    if value.device.type != "cpu":
        return f"it runs on the CPU, not on {value.device}"
    if value.dtype not in _KNOWN:
        return f"it knows floating-point numbers, not {value.dtype}"
    if max(value.shape[1:3]) > _LONGEST_SIDE:
        return f"an image of {tuple(value.shape)} has a side beyond {_LONGEST_SIDE} pixels"
    if value.shape[2] * value.shape[3] * max(4, value.element_size()) > _WIDEST_ROW:
        return f"an image of {tuple(value.shape)} has rows beyond {_WIDEST_ROW} bytes"
    return ""


def warm_up(dtype: torch.dtype, group_width: int) -> None:
    """Compile both directions now, instead of at the first use of each."""
    from comix_models.deform.compiled import lanes_of, loop_of  # noqa: PLC0415

    element = max(4, dtype.itemsize)
    lanes = lanes_of(group_width, element)
    loop_of("forward", 8 * element, lanes, 2 if dtype == torch.bfloat16 else element)
    loop_of("backward", 8 * element, lanes)


def deform_compiled(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
    """Compute the operator with the compiled loops; same arguments as `deform_conv2d`."""
    if value.dtype == torch.float16:
        return _operator(value.float(), offset_mask.float(), shape).half()
    return _operator(value, offset_mask, shape)


def _forward(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
    from comix_models.deform.jobs import forward  # noqa: PLC0415  # numba is slow to import

    return forward(value.contiguous(), offset_mask.contiguous(), shape).to(value.dtype)


def _backward(
    grad: Tensor, value: Tensor, offset_mask: Tensor, shape: DeformShape
) -> tuple[Tensor, Tensor]:
    from comix_models.deform.jobs import backward  # noqa: PLC0415  # numba is slow to import

    kind = value.dtype
    # Gradients have a loop for single and double precision only.
    wide = torch.float32 if kind == torch.bfloat16 else kind
    grad, value, offset_mask = (t.to(wide).contiguous() for t in (grad, value, offset_mask))
    grad_value, grad_offset_mask = backward(grad, value, offset_mask, shape)
    return grad_value.to(kind), grad_offset_mask.to(kind)


_operator = define("deform_conv2d_cpu", ["CPU"], _forward, _backward)

register(
    Backend(
        name="cpu",
        speed=10,
        run=deform_compiled,
        why_not=why_not,
        why_not_for=why_not_for,
        warm_up=warm_up,
    )
)
