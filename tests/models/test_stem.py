from __future__ import annotations

import network_oracles as oracle
import numpy as np
import pytest
import torch

from comix_models.stem import SpectralStem, Stem
from comix_models.transition import Halving, transition


def test_a_stem_is_a_convolution_a_norm_and_silu() -> None:
    stem = Stem(bands=5, width=3)
    oracle.randomise(stem)
    image = torch.rand(1, 5, 4, 6, dtype=torch.float64)

    result = stem(image)

    pixels = oracle.numbers(image[0]).transpose(1, 2, 0)
    mixed = oracle.batch_norm(pixels @ oracle.numbers(stem.conv.weight)[:, :, 0, 0].T, stem.norm)
    np.testing.assert_allclose(oracle.numbers(result[0]), mixed / (1 + np.exp(-mixed)))


def test_every_plane_sees_its_own_bands() -> None:
    stem = SpectralStem(bands=7, width=3, depth=3).eval()
    image = torch.rand(1, 7, 4, 5)
    before = stem(image)
    image[:, 2:4] += 1

    changed = (stem(image) != before).flatten(2).any(2)

    assert stem.sizes == [2, 2, 3]
    assert changed.tolist() == [[False, True, False]]


def test_one_plane_is_a_plain_stem() -> None:
    stem = SpectralStem(bands=7, width=3, depth=1).eval()
    image = torch.rand(2, 7, 4, 5)

    torch.testing.assert_close(stem(image)[:, 0], stem.planes[0](image))


def test_the_halving_takes_planes_alike() -> None:
    halving = Halving(4, 6)
    volume = torch.randn(2, 3, 8, 6, 4)

    result = halving(volume)

    assert result.shape == (2, 3, 4, 3, 6)
    torch.testing.assert_close(result[:, 1], halving(volume[:, 1]))


@pytest.mark.parametrize(
    ("stage", "width", "shape"), [(0, 4, (8, 6, 4)), (1, 4, (4, 3, 4)), (2, 6, (8, 6, 6))]
)
def test_only_the_second_stage_is_smaller(
    stage: int, width: int, shape: tuple[int, int, int]
) -> None:
    result = transition(stage, 4, width)(torch.randn(1, 8, 6, 4))

    assert result.shape[1:] == shape


def test_nothing_happens_where_the_width_stays() -> None:
    features = torch.randn(1, 8, 6, 4)

    assert transition(3, 4, 4)(features) is features
