from __future__ import annotations

import network_oracles as oracle
import numpy as np
import torch

from comix_models.ffm import FFM, Average, FoldPlanes, fold_planes


def test_the_fusion_module_is_its_equations() -> None:
    ffm = FFM(width=4, hidden=6)
    oracle.randomise(ffm)
    hsi, x = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)

    result = ffm(hsi, x)

    for b in range(2):
        both = np.concatenate((oracle.numbers(hsi[b]), oracle.numbers(x[b])), axis=2)
        hidden = oracle.gelu(oracle.linear(both, ffm.expand))
        deep = oracle.linear(oracle.depthwise3x3(hidden, ffm.depthwise), ffm.reduce)
        expected = deep + oracle.linear(both, ffm.skip)
        np.testing.assert_allclose(oracle.numbers(result[b]), expected, rtol=0, atol=1e-9)


def test_without_it_the_modalities_are_averaged() -> None:
    hsi, x = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, -2.0]]]])

    assert Average()(hsi, x).tolist() == [[[[2.0, 0.0]]]]


def test_planes_are_folded_by_one_linear_layer_in_their_order() -> None:
    fold = FoldPlanes(width=2, depth=3)
    oracle.randomise(fold)
    volume = torch.randn(1, 3, 4, 5, 2, dtype=torch.float64)

    result = fold(volume)

    planes = np.concatenate([oracle.numbers(volume[0, d]) for d in range(3)], axis=2)
    np.testing.assert_allclose(oracle.numbers(result[0]), oracle.linear(planes, fold.linear))


def test_a_single_plane_is_handed_on_as_it_is() -> None:
    volume = torch.randn(2, 1, 4, 5, 3)

    torch.testing.assert_close(fold_planes(3, depth=1)(volume), volume[:, 0], rtol=0, atol=0)
