"""The deformable convolution (DCNv4): one door, several implementations behind it.

`deform_conv2d` computes, for output pixel p, group g and its channels x_g::

    y(p) = sum over taps k of m_gk(p) x_g(p + p_k + d_gk(p))

with bilinear sampling and zeros outside the image. `available_backends` says what can run here.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Importing a backend's module is what registers it.
from comix_models.deform import cpu as _cpu  # noqa: F401
from comix_models.deform import dcnv4_backend as _dcnv4_backend  # noqa: F401
from comix_models.deform import torch_backend as _torch_backend  # noqa: F401
from comix_models.deform import triton_backend as _triton_backend  # noqa: F401
from comix_models.deform.registry import backends, choose
from comix_models.deform.shape import DeformShape
from comix_models.deform.verdicts import Verdict, verdict

__all__ = ["DeformShape", "Verdict", "available_backends", "deform_conv2d", "verdict", "warm_up"]


def deform_conv2d(
    value: Tensor,
    offset_mask: Tensor,
    *,
    kernel: int,
    groups: int,
    stride: int = 1,
    padding: int | None = None,
    dilation: int = 1,
    offset_scale: float = 1.0,
    remove_center: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Sample each group of channels at moved positions and sum the samples (DCNv4).

    Tap k = i kernel + j (i along x, j along y; the horizontal index is the slow one) of output
    pixel (wo, ho) samples at ``x = wo stride - padding + half + (i dilation - half + dx)
    offset_scale`` with ``half = dilation (kernel - 1) / 2``, likewise y. A position with no corner
    inside the image, NaN among them, gives zero. The modulation is used as it is, without softmax
    or sigmoid.

    Args:
        value: ``(N, H, W, C)``, C = groups x group width.
        offset_mask: ``(N, Ho, Wo, S)``, S = 3 groups K rounded up to a multiple of 8. Group g owns
            channels ``3 K g`` to ``3 K (g + 1)``: K pairs (dx, dy) in pixels, then K modulation
            scalars.
        kernel: Side of the window, odd.
        groups: Groups of channels that share their offsets.
        stride: Input pixels from one output pixel to the next.
        padding: Pixels of zeros around the image; None keeps the size at stride 1.
        dilation: Pixels from one tap to the next.
        offset_scale: Stretches the window and the offsets alike.
        remove_center: Leave out the middle tap: K = kernel^2 - 1 instead of kernel^2.
        backend: ``auto`` (the fastest that can do it) or a name from `available_backends`.

    Returns:
        ``(N, Ho, Wo, C)``, of the number type of `value`.

    Raises:
        ValueError: Shapes, number types or devices do not fit, or the backend cannot do it.
    """
    if padding is None:
        padding = dilation * (kernel - 1) // 2
    shape = DeformShape(
        kernel, groups, stride, padding, dilation, float(offset_scale), remove_center
    )
    shape.check(value, offset_mask)
    return choose(backend, value, shape).run(value, offset_mask, shape)


def available_backends() -> dict[str, str]:
    """Return name -> why it does not work on this machine ("" where it does), fastest first."""
    return {backend.name: backend.why_not() for backend in backends()}


def warm_up(
    dtype: torch.dtype = torch.float32, *, group_width: int = 16, device: str = "cpu"
) -> None:
    """Compile what ``auto`` would compile at its first call, so that it happens now.

    Args:
        dtype: Number type of the tensors to come.
        group_width: Channels of a group.
        device: Where the tensors will be.
    """
    value = torch.empty((1, 1, 1, group_width), dtype=dtype, device=device)
    backend = choose("auto", value, DeformShape(kernel=1, groups=1))
    if backend.warm_up is not None:
        backend.warm_up(dtype, group_width)
