"""Whether a backend computes what the reference computes, on this machine, before it is used."""

from __future__ import annotations

import torch
from torch import Tensor

from comix_models.deform.custom_op import Forward
from comix_models.deform.shape import DeformShape
from comix_models.deform.torch_backend import deform_with_grid_sample

_TOLERANCE = 1e-3


def disagreement(function: Forward, device: torch.device, dtype: torch.dtype) -> str:
    """How far a backend is from the reference, results and gradients; empty where it is not.

    It may be asked for the first time in the middle of an inference, where torch would record
    nothing that gradients could follow.
    """
    with (
        torch.inference_mode(mode=False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        for remove_center in (False, True):
            shape = DeformShape(3, groups=2, padding=1, remove_center=remove_center)
            told = _difference(function, shape, device, dtype)
            if told:
                return f"it disagrees with the reference: {told}"
    return ""


def _difference(
    function: Forward, shape: DeformShape, device: torch.device, dtype: torch.dtype
) -> str:
    ours, theirs = (
        _result_and_gradients(each, shape, device, dtype)
        for each in (deform_with_grid_sample, function)
    )
    for what, own, other in zip(("result", "gradient", "gradient"), ours, theirs, strict=True):
        difference = float((own - other).abs().max())
        if not difference <= _TOLERANCE:
            return f"{what} of {shape.taps} taps differs by {difference:.3g}"
    return ""


def _result_and_gradients(
    function: Forward, shape: DeformShape, device: torch.device, dtype: torch.dtype
) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    value = torch.randn(2, 7, 9, 16 * shape.groups, generator=random)
    # Between whole pixels, where gradients jump.
    part = 0.15 + 0.7 * torch.rand(2, 7, 9, shape.scalars, generator=random)
    whole = torch.randint(-2, 3, part.shape, generator=random)
    inputs = [tensor.to(device, dtype).requires_grad_() for tensor in (value, whole + part)]
    result = function(inputs[0], inputs[1], shape)
    return [result.detach(), *torch.autograd.grad(result.square().sum(), inputs)]


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
