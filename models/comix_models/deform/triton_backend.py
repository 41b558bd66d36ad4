"""The ``triton`` backend: kernels that a GPU compiles for itself, forward and backward.

Any odd window, any dilation, any group width, in half, single and double precision; sums are kept
in single precision at least. For torch it is one operator, ``comix::deform_conv2d_triton``, which
``torch.compile`` and ``torch.export`` keep whole. Gradients of the value are added by atomic
operations in no fixed order, so that two runs differ by rounding.

Where ``TRITON_INTERPRET=1`` is set, Triton's interpreter runs the same kernels on a CPU: slowly,
and only for who asks for this backend by name. Triton is imported at the first use.
"""

from __future__ import annotations

import importlib
import math
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from comix_models.deform.agreement import disagreement, first_line
from comix_models.deform.custom_op import define
from comix_models.deform.registry import AskedOnce, Backend, register
from comix_models.deform.shape import DeformShape

_KNOWN = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_MOST = 2**31
"""Whole numbers of 32 bits tell apart what is fewer."""
_OLDEST = (7, 0)
"""Compute capability; Triton compiles for no older NVIDIA GPU."""
_WARPS = 4
_BLOCK = 1024
"""Numbers that a program keeps sums of: eight for each thread of four warps."""
_WIDEST_BLOCK = 64


def interpreted() -> bool:
    """Whether Triton's interpreter runs kernels on the CPU, as the environment has it."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in {"1", "true", "on", "yes"}


@AskedOnce
def why_not() -> str:
    """Say why this backend does not work on this machine; an empty text where it does."""
    if not interpreted() and not torch.cuda.is_available():
        return "there is no GPU that torch can use"
    try:
        importlib.import_module("comix_models.deform.triton_kernels")
    except Exception as error:  # a broken installation raises all sorts of things
        return f"triton does not import ({error})"
    if interpreted():
        return ""
    try:
        return disagreement(_operator, torch.device("cuda"), torch.float32)
    except Exception as error:  # Triton wants a C compiler for its launcher
        return f"triton cannot compile or run its kernels ({first_line(error)})"


def why_not_for(value: Tensor, shape: DeformShape) -> str:
    """Say why this backend cannot do this job; an empty text where it can."""
    device = value.device
    if device.type != "cuda" and not (device.type == "cpu" and interpreted()):
        return f"it runs on CUDA devices, not on {device}"
    if value.dtype not in _KNOWN:
        return f"it knows floating-point numbers, not {value.dtype}"
    if device.type == "cuda" and _too_old(device):
        return f"{torch.cuda.get_device_name(device)} is older than compute capability 7.0"
    return _too_large(value, shape)


def _too_old(device: torch.device) -> bool:
    return torch.version.hip is None and torch.cuda.get_device_capability(device) < _OLDEST


def _too_large(value: Tensor, shape: DeformShape) -> str:
    count, height, width = value.shape[:3]
    pixels = max(height * width, shape.out_size(height) * shape.out_size(width))
    if count * pixels >= _MOST:
        return f"a batch of {tuple(value.shape)} has 2^31 pixels or more"
    reach = sum((n - 1) * step for n, step in zip(value.shape[1:], value.stride()[1:], strict=True))
    if max(reach, value[:1].numel()) >= _MOST:
        return f"an image of {tuple(value.shape[1:])} spans 2^31 numbers or more"
    return ""


def _near_channels(offset_mask: Tensor) -> Tensor:
    """Offsets whose channels lie side by side, so that 32 bits reach all of a pixel."""
    return offset_mask if offset_mask.stride(3) == 1 else offset_mask.contiguous()


def _forward(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
    from comix_models.deform import triton_kernels as kernels  # noqa: PLC0415  # slow to import

    offset_mask = _near_channels(offset_mask)
    out = value.new_empty((*offset_mask.shape[:3], value.shape[3]))
    group_width = value.shape[3] // shape.groups
    pixels, channels = _blocks(group_width)
    programs = math.ceil(_count(offset_mask) / pixels) * shape.groups
    programs *= math.ceil(group_width / channels)
    with _on(value.device):
        kernels.forward[(programs,)](
            value,
            offset_mask,
            out,
            *_sizes(value, offset_mask, shape),
            *value.stride(),
            *offset_mask.stride(),
            **_constants(value, shape),
            block_pixels=pixels,
            block_channels=channels,
            num_warps=_WARPS,
        )
    return out


def _backward(
    grad: Tensor, value: Tensor, offset_mask: Tensor, shape: DeformShape
) -> tuple[Tensor, Tensor]:
    from comix_models.deform import triton_kernels as kernels  # noqa: PLC0415  # slow to import

    offset_mask = _near_channels(offset_mask)
    # Atomic additions in half precision would lose most of what they add.
    precise = torch.float64 if value.dtype == torch.float64 else torch.float32
    grad_value = torch.zeros(value.shape, dtype=precise, device=value.device)
    grad_offset_mask = torch.zeros(offset_mask.shape, dtype=offset_mask.dtype, device=value.device)
    pixels, channels = _blocks(value.shape[3] // shape.groups)
    with _on(value.device):
        kernels.backward[(math.ceil(_count(offset_mask) / pixels) * shape.groups,)](
            grad.contiguous(),
            value,
            offset_mask,
            grad_value,
            grad_offset_mask,
            *_sizes(value, offset_mask, shape),
            grad_offset_mask.shape[3],
            *value.stride(),
            *offset_mask.stride(),
            **_constants(value, shape),
            block_pixels=pixels,
            block_channels=channels,
            num_warps=_WARPS,
        )
    return grad_value.to(value.dtype), grad_offset_mask


def _blocks(group_width: int) -> tuple[int, int]:
    """How many pixels and channels a program takes at once, powers of two."""
    channels = min(1 << (group_width - 1).bit_length(), _WIDEST_BLOCK)
    return _BLOCK // channels, channels


def _count(offset_mask: Tensor) -> int:
    """Output pixels of all images."""
    return math.prod(offset_mask.shape[:3])


def _sizes(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> tuple[int, ...]:
    inner = (*value.shape[1:3], *offset_mask.shape[1:3])
    return (_count(offset_mask), *inner, shape.groups, value.shape[3] // shape.groups)


def _constants(value: Tensor, shape: DeformShape) -> dict[str, Any]:
    """What a kernel is compiled for."""
    import triton.language as tl  # noqa: PLC0415  # slow to import

    return {
        "kernel": shape.kernel,
        "stride": shape.stride,
        "padding": shape.padding,
        "dilation": shape.dilation,
        "offset_scale": shape.offset_scale,
        "remove_center": int(shape.remove_center),
        "real": tl.float64 if value.dtype == torch.float64 else tl.float32,
    }


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device, whatever the tensors' is."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


_operator = define("deform_conv2d_triton", ["CUDA", "CPU"], _forward, _backward)

register(
    Backend(
        name="triton",
        speed=20,
        run=_operator,
        why_not=why_not,
        why_not_for=why_not_for,
        # The interpreter is for tests.
        automatic=lambda value: value.is_cuda and not interpreted(),
    )
)
