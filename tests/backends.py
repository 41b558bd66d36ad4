"""The backends of the deformable operator as tests ask for them."""

from __future__ import annotations

import torch
from torch import Tensor

from comix_models.deform import DeformShape, deform_conv2d

BACKENDS = ("torch", "cpu", "triton")
"""Those that every machine can test; without a GPU Triton's interpreter runs the kernels."""


def device_of(backend: str) -> str:
    """Where a backend is tested."""
    return "cuda" if backend in {"triton", "dcnv4"} and torch.cuda.is_available() else "cpu"


def run_operator(
    value: Tensor,
    offset_mask: Tensor,
    shape: DeformShape,
    backend: str,
    device: str | None = None,
) -> Tensor:
    """The operator, on the device of its backend unless told otherwise; the result comes back."""
    device = device or device_of(backend)
    result = deform_conv2d(
        value.to(device),
        offset_mask.to(device),
        kernel=shape.kernel,
        groups=shape.groups,
        stride=shape.stride,
        padding=shape.padding,
        dilation=shape.dilation,
        offset_scale=shape.offset_scale,
        remove_center=shape.remove_center,
        backend=backend,
    )
    return result.to(value.device)
