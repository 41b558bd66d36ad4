"""Ways to look at a tensor without moving it.

Features travel channels-last, ``(B, H, W, C)`` for X and ``(B, D, H, W, C)`` for the HSI volume:
linear layers, layer norms, attention and the deformable operator all read them so. Convolutions and
batch norms see the same memory through a permuted view, which is torch's ``channels_last``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def through(module: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """A channels-first 2-D module applied to channels-last features.

    Args:
        module: Maps ``(B, C, H, W)`` to ``(B, C', H', W')``.
        features: ``(B, H, W, C)``.

    Returns:
        ``(B, H', W', C')``.
    """
    result = module(features.permute(0, 3, 1, 2))
    return result.permute(0, 2, 3, 1)


def residual(branch: Tensor, skip: Tensor) -> Tensor:
    """``branch + skip``; where no gradient is wanted, in the memory of `branch`.

    Args:
        branch: A tensor that nothing else uses.
        skip: What went around the branch, of the same shape.
    """
    if torch.is_grad_enabled() or branch.dtype != skip.dtype:
        return branch + skip
    return branch.add_(skip)


def as_planes(volume: Tensor) -> Tensor:
    """``(B, D, H, W, C)`` as a batch of planes, ``(B D, H, W, C)``."""
    return volume.flatten(0, 1)


def as_tokens(volume: Tensor) -> Tensor:
    """``(B, D, H, W, C)`` as tokens, ``(B, N, C)`` with N = D H W."""
    return volume.flatten(1, 3)
