"""The ``dcnv4`` backend: the published CUDA package, for 3x3 windows, where it works and agrees.

The package is an optional accelerator (``comix[dcnv4]``; it is compiled while it is installed). It
knows windows of 9 and 8 taps, single and half precision, and groups of a multiple of 16 channels.
Where a batch has several images and its block size does not divide an image's pixels, it leaves
some of them wrong without a word, so images are handed over one at a time. Before its first use it
is compared with the reference.
"""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from comix_models.deform.agreement import disagreement, first_line
from comix_models.deform.registry import AskedOnce, Backend, register
from comix_models.deform.shape import DeformShape

_KNOWN = {torch.float16, torch.float32}
_WIDTHS = 16
_IMAGES_A_STEP = 256
"""The package wants to know; it plays no part for a single image."""
_DEVICE = "cuda"


@AskedOnce
def why_not() -> str:
    """Say why this backend does not work on this machine; an empty text where it does."""
    if _DEVICE == "cuda" and not torch.cuda.is_available():
        return "there is no GPU that torch can use"
    try:
        importlib.import_module("DCNv4.functions")
    except ModuleNotFoundError as error:
        return f"the package DCNv4 is not installed ({error}); install comix[dcnv4]"
    except Exception as error:  # built for another torch, another CUDA, another GPU...
        return f"the package DCNv4 does not import ({error})"
    try:
        told = disagreement(deform_with_package, torch.device(_DEVICE), torch.float32)
    except Exception as error:
        return f"the package DCNv4 fails ({first_line(error)})"
    return told and f"the package DCNv4: {told}"


def why_not_for(value: Tensor, shape: DeformShape) -> str:
    """Say why this backend cannot do this job; an empty text where it can."""
    if value.device.type != _DEVICE:
        return f"it runs on CUDA devices, not on {value.device}"
    if shape.kernel != 3:
        return f"the package has 3x3 windows only, not {shape.kernel}x{shape.kernel}"
    if value.dtype not in _KNOWN:
        return f"the package knows float16 and float32, not {value.dtype}"
    if value.shape[3] // shape.groups % _WIDTHS:
        width = value.shape[3] // shape.groups
        return f"the package wants groups of a multiple of {_WIDTHS} channels, not of {width}"
    return ""


def deform_with_package(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
    """Compute the operator with the package; same arguments as `deform_conv2d`."""
    images = [
        _one_image(value[n : n + 1].contiguous(), offset_mask[n : n + 1].contiguous(), shape)
        for n in range(len(value))
    ]
    return images[0] if len(images) == 1 else torch.cat(images)


def _one_image(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
    pairs = [shape.kernel, shape.stride, shape.padding, shape.dilation]
    function: Any = importlib.import_module("DCNv4.functions").DCNv4Function
    # The package launches on the current device, whatever the tensors' is.
    with torch.cuda.device(value.device) if value.is_cuda else nullcontext():
        result: Tensor = function.apply(
            value,
            offset_mask,
            *(side for pair in pairs for side in (pair, pair)),
            shape.groups,
            value.shape[3] // shape.groups,
            shape.offset_scale,
            _IMAGES_A_STEP,
            int(shape.remove_center),
        )
    return result


register(
    Backend(
        name="dcnv4",
        speed=30,
        run=deform_with_package,
        why_not=why_not,
        why_not_for=why_not_for,
    )
)
