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
        automatic: Whether ``auto`` may take it for this value.
    """

    name: str
    speed: int
    run: Callable[[Tensor, Tensor, DeformShape], Tensor]
    why_not: Callable[[], str]
    why_not_for: Callable[[Tensor, DeformShape], str]
    warm_up: Callable[[torch.dtype, int], None] | None = None
    automatic: Callable[[Tensor], bool] = lambda _value: True


class AskedOnce:
    """A question about this machine whose answer is kept.

    `functools.cache` would do, but ``torch.compile`` does not look through it; what has been asked
    before it follows a network is a plain dictionary to it.

    Args:
        ask: The question: the reason why something does not work, or an empty text.
    """

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self._answers: dict[str, str] = {}

    def __call__(self) -> str:
        """The answer."""
        if "" not in self._answers:
            self._answers[""] = self._ask()
        return self._answers[""]

    def forget(self) -> None:
        """Ask again next time."""
        self._answers.clear()


_BACKENDS: dict[str, Backend] = {}


def register(backend: Backend) -> None:
    """Offer a backend under its name."""
    _BACKENDS[backend.name] = backend


def backends() -> list[Backend]:
    """All registered backends, the fastest first."""
    return sorted(_BACKENDS.values(), key=lambda backend: -backend.speed)


def why_not_automatic(backend: Backend, value: Tensor, shape: DeformShape) -> str:
    """Why ``auto`` would not take a backend for a job, or an empty text.

    Asked in this order, a backend for another device is never imported.
    """
    reason = backend.why_not_for(value, shape)
    if not reason and not backend.automatic(value):
        reason = f"on {value.device} it is only for who asks for it by name"
    return reason or backend.why_not()


def choose(name: str, value: Tensor, shape: DeformShape) -> Backend:
    """Return the backend called `name`, or for ``auto`` the fastest one for this job.

    Raises:
        ValueError: There is no such backend, or it cannot do this job; the message says why.
    """
    if name == "auto":
        for backend in backends():
            if not why_not_automatic(backend, value, shape):
                return backend
    if name not in _BACKENDS:
        known = ", ".join(["auto", *_BACKENDS])
        raise ValueError(f"no deformable backend called {name!r}; there are {known}")
    backend = _BACKENDS[name]
    reason = backend.why_not() or backend.why_not_for(value, shape)
    if reason:
        raise ValueError(f"deformable backend {name!r} cannot run here: {reason}")
    return backend
