"""What ``auto`` picks where, and why, for people."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from comix_models.deform.registry import backends, why_not_automatic
from comix_models.deform.shape import DeformShape


@dataclass(frozen=True)
class Verdict:
    """What ``auto`` does for one kind of job.

    Attributes:
        device: Where the tensors are.
        dtype: Their number type, such as ``float32``.
        kernel: Side of the window.
        picked: The backend that computes it.
        passed_over: Faster backend -> why it was not picked.
    """

    device: str
    dtype: str
    kernel: int
    picked: str
    passed_over: dict[str, str]


def verdict(
    device: torch.device, dtype: torch.dtype, kernel: int, *, group_width: int = 16
) -> Verdict:
    """What ``auto`` picks for a device, a number type, a window and a group width."""
    value = torch.empty((1, kernel, kernel, group_width), dtype=dtype, device=device)
    shape = DeformShape(kernel, groups=1, padding=kernel // 2)
    passed_over: dict[str, str] = {}
    for backend in backends():
        reason = why_not_automatic(backend, value, shape)
        if not reason:
            name = str(dtype).removeprefix("torch.")
            return Verdict(str(device), name, kernel, backend.name, passed_over)
        passed_over[backend.name] = reason
    raise AssertionError("the reference runs everywhere")
