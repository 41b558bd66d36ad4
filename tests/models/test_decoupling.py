from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from comix_models.decoupling import clustering_loss, explained_share

# Of the ridge, which keeps a share from being exactly what a regression without it says.
STEADY = 5e-3


def waves(*numbers: int, pixels: int = 64) -> Tensor:
    """Rows that are orthogonal to each other and have no mean."""
    at = 2 * torch.pi * torch.arange(pixels, dtype=torch.float64) / pixels
    return torch.stack([torch.sin(n * at) for n in numbers])


def test_features_of_the_same_span_are_explained_wholly() -> None:
    features = waves(1, 2, 3)
    mixing = torch.tensor([[1, 2, 0], [0, 1, -1], [1, 0, 1]], dtype=torch.float64)

    assert explained_share(mixing @ features + 5, features).item() == pytest.approx(1, abs=STEADY)


def test_orthogonal_features_explain_nothing() -> None:
    assert explained_share(waves(1, 2), waves(3, 4, 5)).item() == pytest.approx(0, abs=1e-9)


def test_half_of_the_variance_is_explained() -> None:
    # The one is known, the other is not, and both have the same variance.
    assert explained_share(waves(1, 2), waves(2, 3)).item() == pytest.approx(0.5, abs=STEADY)


def test_a_constant_explains_nothing() -> None:
    constant = torch.ones(2, 64, dtype=torch.float64)

    assert explained_share(waves(1), constant).item() == pytest.approx(0, abs=1e-9)


def test_the_share_is_that_of_ridge_regression() -> None:
    generator = np.random.default_rng(3)
    features, by = generator.normal(size=(3, 50)), generator.normal(size=(4, 50))
    own, others = (a - a.mean(1, keepdims=True) for a in (features, by))
    ridge = 1e-3 * (others**2).sum(1).mean()
    # Ridge regression is plain regression on rows that want the weights to be small.
    rows = np.vstack([others.T, np.sqrt(ridge) * np.eye(4)])
    weights = np.linalg.lstsq(rows, np.vstack([own.T, np.zeros((4, 3))]), rcond=None)[0]
    expected = 1 - ((own.T - others.T @ weights) ** 2).sum() / (own**2).sum()

    found = explained_share(torch.from_numpy(features), torch.from_numpy(by)).item()

    assert found == pytest.approx(expected, rel=1e-9)


def test_the_loss_is_0_where_shared_parts_agree_and_others_do_not() -> None:
    loss = clustering_loss(waves(1, 2), waves(2, 1), waves(3, 4), waves(5, 6))

    assert loss.item() == pytest.approx(0, abs=2 * STEADY)


def test_the_loss_is_4_where_it_is_the_other_way_round() -> None:
    loss = clustering_loss(waves(3, 4), waves(5, 6), waves(1, 2), waves(2, 1))

    assert loss.item() == pytest.approx(4, abs=2 * STEADY)


def test_the_loss_is_2_where_all_parts_are_the_same() -> None:
    loss = clustering_loss(*(waves(1, 2) for _ in range(4)))

    assert loss.item() == pytest.approx(2, abs=2 * STEADY)


def test_descending_its_gradient_lowers_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [
        torch.randn(3, 40, dtype=torch.float64, generator=generator).requires_grad_()
        for _ in range(4)
    ]
    before = clustering_loss(*parts)
    before.backward()  # type: ignore[no-untyped-call]

    with torch.no_grad():
        after = clustering_loss(*(part - 0.1 * part.grad for part in parts))  # type: ignore[operator]

    assert after < before


def test_features_without_variance_give_finite_gradients() -> None:
    flat = torch.zeros(2, 30, requires_grad=True)

    clustering_loss(flat, flat, flat, flat).backward()  # type: ignore[no-untyped-call]

    assert flat.grad is not None
    assert flat.grad.isfinite().all()
