"""The ``cpu`` backend: loops compiled with numba, forward and backward, in single and double.

For torch it is one operator, ``comix::deform_conv2d_cpu``, which ``torch.compile`` keeps whole.
numba is imported at the first use, because that takes half a second.
"""

from __future__ import annotations

import importlib
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from comix_models.deform.registry import Backend, register
from comix_models.deform.shape import DeformShape

_KNOWN = {torch.float32, torch.float64}
_LONGEST_SIDE = 2**24
"""Beyond it a float32 no longer tells one pixel from the next."""
_WIDEST_ROW = 2**28 - 1
"""Bytes; the loops multiply it, shifted by four bits, in a 32-bit register."""


_asked: dict[str, str] = {}


def why_not() -> str:
    """Say why this backend does not work on this machine; an empty text where it does."""
    if "numba" not in _asked:
        try:
            importlib.import_module("numba")
            _asked["numba"] = ""
        except Exception as error:  # a broken LLVM raises all sorts of things
            _asked["numba"] = f"numba does not import ({error})"
    return _asked["numba"]


def why_not_for(value: Tensor, _shape: DeformShape) -> str:
    """Say why this backend cannot do this job; an empty text where it can."""
    if value.device.type != "cpu":
        return f"it runs on the CPU, not on {value.device}"
    if value.dtype not in _KNOWN:
        return f"it knows float32 and float64, not {value.dtype}"
    if max(value.shape[1:3]) > _LONGEST_SIDE:
        return f"an image of {tuple(value.shape)} has a side beyond {_LONGEST_SIDE} pixels"
    if value.shape[2] * value.shape[3] * value.element_size() > _WIDEST_ROW:
        return f"an image of {tuple(value.shape)} has rows beyond {_WIDEST_ROW} bytes"
    return ""


def warm_up(dtype: torch.dtype, group_width: int) -> None:
    """Compile both directions now, instead of at the first use of each."""
    from comix_models.deform.compiled import lanes_of, loop_of  # noqa: PLC0415

    element = torch.empty((), dtype=dtype).element_size()
    lanes = lanes_of(group_width, element)
    loop_of("forward", 8 * element, lanes)
    loop_of("backward", 8 * element, lanes)


def deform_compiled(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
    """Compute the operator with the compiled loops; same arguments as `deform_conv2d`."""
    result: Tensor = deform_conv2d_cpu(value, offset_mask, *astuple(shape))
    return result


@custom_op("comix::deform_conv2d_cpu", mutates_args=(), device_types="cpu")
def deform_conv2d_cpu(
    value: Tensor,
    offset_mask: Tensor,
    kernel: int,
    groups: int,
    stride: int,
    padding: int,
    dilation: int,
    offset_scale: float,
    remove_center: bool,
) -> Tensor:
    """Run the forward loop; the fields of `DeformShape` one by one, as torch wants them."""
    from comix_models.deform.jobs import forward  # noqa: PLC0415  # numba is slow to import

    shape = DeformShape(kernel, groups, stride, padding, dilation, offset_scale, remove_center)
    return forward(value.contiguous(), offset_mask.contiguous(), shape)


@custom_op("comix::deform_conv2d_cpu_backward", mutates_args=(), device_types="cpu")
def deform_conv2d_cpu_backward(
    grad: Tensor,
    value: Tensor,
    offset_mask: Tensor,
    kernel: int,
    groups: int,
    stride: int,
    padding: int,
    dilation: int,
    offset_scale: float,
    remove_center: bool,
) -> tuple[Tensor, Tensor]:
    """Run the loop of the gradients of value and offset_mask."""
    from comix_models.deform.jobs import backward  # noqa: PLC0415  # numba is slow to import

    shape = DeformShape(kernel, groups, stride, padding, dilation, offset_scale, remove_center)
    return backward(grad.contiguous(), value.contiguous(), offset_mask.contiguous(), shape)


def _fake_forward(value: Tensor, offset_mask: Tensor, *_fields: Any) -> Tensor:
    return value.new_empty((*offset_mask.shape[:3], value.shape[3]))


def _fake_backward(
    _grad: Tensor, value: Tensor, offset_mask: Tensor, *_fields: Any
) -> tuple[Tensor, Tensor]:
    return value.new_empty(value.shape), offset_mask.new_empty(offset_mask.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:2])
    ctx.fields = inputs[2:]


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = deform_conv2d_cpu_backward(grad, *ctx.saved_tensors, *ctx.fields)
    return (*grads, *(None for _ in ctx.fields))


deform_conv2d_cpu.register_fake(_fake_forward)
deform_conv2d_cpu_backward.register_fake(_fake_backward)
deform_conv2d_cpu.register_autograd(_differentiate, setup_context=_remember)

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
