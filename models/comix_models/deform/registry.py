"""The backends of the deformable operator, by name.

A backend is a module that registers one `Backend`. It must not import anything heavy before it is
asked whether it works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from comix_models.deform.shape import DeformShape


@dataclass(frozen=True)
class Backend:
    """One implementation of the operator.

    Args:
        name: What a user calls it.
        speed: Among the backends that can do a job, ``auto`` takes the one with the highest.
        run: ``(value, offset_mask, shape) -> (N, Ho, Wo, C)``, for checked tensors.
        why_not: The reason why it does not work on this machine, or an empty text.
        why_not_for: The reason why it cannot do this job, or an empty text.
        warm_up: Prepares it for a number type and a group width, or None.
    """

    name: str
    speed: int
    run: Callable[[Tensor, Tensor, DeformShape], Tensor]
    why_not: Callable[[], str]
    why_not_for: Callable[[Tensor, DeformShape], str]
    warm_up: Callable[[torch.dtype, int], None] | None = None


_BACKENDS: dict[str, Backend] = {}


def register(backend: Backend) -> None:
    """Offer a backend under its name."""
    _BACKENDS[backend.name] = backend


def backends() -> list[Backend]:
    """All registered backends, the fastest first."""
    return sorted(_BACKENDS.values(), key=lambda backend: -backend.speed)


def choose(name: str, value: Tensor, shape: DeformShape) -> Backend:
    """Return the backend called `name`, or for ``auto`` the fastest one for this job.

    Raises:
        ValueError: There is no such backend, or it cannot do this job; the message says why.
    """
    if name == "auto":
        for backend in backends():
            # Asked in this order, a backend for another device is never imported.
            if not backend.why_not_for(value, shape) and not backend.why_not():
                return backend
    if name not in _BACKENDS:
        known = ", ".join(["auto", *_BACKENDS])
        raise ValueError(f"no deformable backend called {name!r}; there are {known}")
    backend = _BACKENDS[name]
    reason = backend.why_not() or backend.why_not_for(value, shape)
    if reason:
        raise ValueError(f"deformable backend {name!r} cannot run here: {reason}")
    return backend
