"""What two sensors share and what each has alone, as a loss on features: subspace clustering.

Features of a modality are rows that span a subspace of all functions of place. A part that both
modalities share must span the same subspace from either side, so that each side's features are
linear combinations of the other's (self-expression); parts that only one has must not be
expressible by the other's. The idea is MossFuse's (Du et al. 2024, arXiv:2412.04802); the measure,
shares of variance explained by ridge regression, is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Of the mean variance of the explaining features: keeps the solution steady while they are few.
_RIDGE = 1e-3


def explained_share(features: Tensor, by: Tensor) -> Tensor:
    """How much of the variance of some features others explain linearly.

    Args:
        features: `(C, pixels)`.
        by: `(D, pixels)`.

    Returns:
        A share from 0 (nothing) to 1 (all).
    """
    own = features - features.mean(1, keepdim=True)
    others = by - by.mean(1, keepdim=True)
    gram = others @ others.T
    ridge = _RIDGE * gram.diagonal().mean().clamp_min(1e-12)
    steady = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(steady, others @ own.T)
    left: Tensor = (own - weights.T @ others).square().sum()
    return 1 - left / own.square().sum().clamp_min(1e-12)


def clustering_loss(
    shared_x: Tensor, shared_hsi: Tensor, spatial: Tensor, spectral: Tensor
) -> Tensor:
    """The subspace-clustering loss, from 0 to 4.

    Args:
        shared_x: `(C, pixels)`: the shared part as X tells it, at coarse pixels.
        shared_hsi: `(C, pixels)`: the shared part as the HSI tells it.
        spatial: `(C, pixels)`: what only X has.
        spectral: `(C, pixels)`: what only the HSI has.
    """
    together = explained_share(shared_x, shared_hsi) + explained_share(shared_hsi, shared_x)
    apart = explained_share(spatial, spectral) + explained_share(spectral, spatial)
    return 2 - together + apart
