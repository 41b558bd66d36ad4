"""How a backend becomes one operator of torch, which ``torch.compile`` keeps whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor, library

from comix_models.deform.shape import DeformShape

Forward = Callable[[Tensor, Tensor, DeformShape], Tensor]
Backward = Callable[[Tensor, Tensor, Tensor, DeformShape], tuple[Tensor, Tensor]]

_FIELDS = (
    "int kernel, int groups, int stride, int padding, int dilation, float offset_scale, "
    "bool remove_center"
)


def define(name: str, devices: Sequence[str], forward: Forward, backward: Backward) -> Forward:
    """Define ``comix::NAME`` and the operator of its gradients.

    `torch.library.custom_op` would say this in fewer words, but its operators import torch's
    compiler at their first call: a second, and a hundred megabytes in every process.

    Args:
        name: The operator's name.
        devices: Dispatch keys of the devices it runs on, such as ``CUDA``.
        forward: ``(value, offset_mask, shape) -> out``.
        backward: ``(grad_out, value, offset_mask, shape) -> (grad_value, grad_offset_mask)``.

    Returns:
        The operator, with the arguments of `forward`.
    """
    here, back = f"comix::{name}", f"comix::{name}_backward"
    library.define(here, f"(Tensor value, Tensor offset_mask, {_FIELDS}) -> Tensor")
    library.define(
        back, f"(Tensor grad, Tensor value, Tensor offset_mask, {_FIELDS}) -> (Tensor, Tensor)"
    )

    def run(value: Tensor, offset_mask: Tensor, *fields: Any) -> Tensor:
        return forward(value, offset_mask, DeformShape(*fields))

    def run_back(
        grad: Tensor, value: Tensor, offset_mask: Tensor, *fields: Any
    ) -> tuple[Tensor, Tensor]:
        return backward(grad, value, offset_mask, DeformShape(*fields))

    library.impl(here, devices, run)
    library.impl(back, devices, run_back)
    library.register_fake(here, _fake_forward)
    library.register_fake(back, _fake_backward)
    operator, gradients = (getattr(torch.ops.comix, n) for n in (name, f"{name}_backward"))

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = gradients(grad, *ctx.saved_tensors, *ctx.fields)
        return (*grads, *(None for _ in ctx.fields))

    library.register_autograd(here, differentiate, setup_context=_remember)

    def apply(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
        result: Tensor = operator(value, offset_mask, *astuple(shape))
        return result

    return apply


def _fake_forward(value: Tensor, offset_mask: Tensor, *_fields: Any) -> Tensor:
    return value.new_empty((*offset_mask.shape[:3], value.shape[3]))


def _fake_backward(
    _grad: Tensor, value: Tensor, offset_mask: Tensor, *_fields: Any
) -> tuple[Tensor, Tensor]:
    return value.new_empty(value.shape), offset_mask.new_empty(offset_mask.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:2])
    ctx.fields = inputs[2:]
