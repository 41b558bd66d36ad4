from __future__ import annotations

import network_oracles as oracle
import numpy as np
import pytest
import torch
from torch import nn

from comix_models.attention import PairedAttention, spectral_map
from comix_models.epa3d import Block3d, Conv3x3x3, EfficientPairedAttention
from comix_models.tokens import LearnedTokens, PooledTokens, token_grid

SIZES = [(1, 4, 6), (1, 5, 3), (1, 1, 1), (3, 4, 5)]


def project(x: oracle.Array, tokens: nn.Module) -> tuple[oracle.Array, oracle.Array]:
    """What the keys and the values of ``(D, H, W, C)`` become: matrices ``(p, N)`` applied."""
    if isinstance(tokens, PooledTokens):
        mixed = oracle.numbers(tokens.mix.weight) @ oracle.pool(x, tokens.grid)
        return mixed, mixed
    assert isinstance(tokens, LearnedTokens)
    flat = x.reshape(-1, x.shape[-1])
    return oracle.numbers(tokens.keys.weight) @ flat, oracle.numbers(tokens.values.weight) @ flat


def epa_oracle(x: oracle.Array, epa: EfficientPairedAttention) -> oracle.Array:
    """EPA as printed: keys and values of every token first, their projection after."""
    part, flat = epa.attention, x.reshape(-1, x.shape[-1])
    query, key = oracle.linear(flat, part.query), oracle.linear(flat, part.key)
    keys, _ = project(oracle.linear(x, part.key), part.tokens)
    _, values = project(oracle.linear(x, part.spatial_value), part.tokens)
    spatial = oracle.with_spatial(oracle.spatial_map(query, keys, part.heads), values)
    maps = oracle.spectral_map(query, key, oracle.numbers(part.temperature))
    spectral = oracle.with_spectral(maps, oracle.linear(flat, part.spectral_value))
    halves = oracle.linear(spatial, epa.spatial_half), oracle.linear(spectral, epa.spectral_half)
    return np.concatenate(halves, axis=1).reshape(x.shape)


def an_epa(tokens: nn.Module) -> EfficientPairedAttention:
    epa = EfficientPairedAttention(PairedAttention(8, heads=2, tokens=tokens), width=8)
    oracle.randomise(epa)
    return epa


@pytest.mark.parametrize("size", SIZES)
def test_paired_attention_with_pooled_tokens_is_its_equations(size: tuple[int, int, int]) -> None:
    epa = an_epa(PooledTokens(4, depth=size[0]))
    volume = torch.randn(2, *size, 8, dtype=torch.float64)

    result = epa(volume)

    for image, found in zip(volume, result, strict=True):
        expected = epa_oracle(oracle.numbers(image), epa)
        np.testing.assert_allclose(oracle.numbers(found), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_paired_attention_with_learned_tokens_is_its_equations(size: tuple[int, int, int]) -> None:
    epa = an_epa(LearnedTokens(size[0] * size[1] * size[2], 5))
    volume = torch.randn(2, *size, 8, dtype=torch.float64)

    result = epa(volume)

    for image, found in zip(volume, result, strict=True):
        expected = epa_oracle(oracle.numbers(image), epa)
        np.testing.assert_allclose(oracle.numbers(found), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_3d_block_is_its_equations(depth: int) -> None:
    block = Block3d(an_epa(PooledTokens(4, depth)), width=8, taps=3)
    oracle.randomise(block, seed=3)
    volume = torch.randn(1, depth, 4, 5, 8, dtype=torch.float64)

    result = block(volume)

    start = oracle.numbers(volume[0])
    assert isinstance(block.attention, EfficientPairedAttention)
    found = epa_oracle(start, block.attention)
    first = oracle.layer_norm(found, block.attention_norm) + start
    conv, norm, _, second_conv, second_norm, pointwise = block.convolutions
    assert isinstance(conv, Conv3x3x3)
    assert isinstance(second_conv, Conv3x3x3)
    hidden = np.maximum(oracle.batch_norm(oracle.conv3x3x3(first, conv.weight), norm), 0)
    hidden = oracle.batch_norm(oracle.conv3x3x3(hidden, second_conv.weight), second_norm)
    expected = oracle.linear(hidden, pointwise) + first
    np.testing.assert_allclose(oracle.numbers(result[0]), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_convolution_that_skips_padding_taps_is_a_real_one(depth: int) -> None:
    ours = Conv3x3x3(4, taps=3)
    real = nn.Conv3d(4, 4, kernel_size=3, padding=1, bias=False)
    with torch.no_grad():
        ours.weight.copy_(real.weight)
    volume = torch.randn(2, depth, 5, 6, 4)

    expected = real(volume.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)

    torch.testing.assert_close(ours(volume), expected, rtol=1e-5, atol=1e-5)


def test_one_spectral_tap_is_the_middle_of_three() -> None:
    one, three = Conv3x3x3(4, taps=1), Conv3x3x3(4, taps=3)
    nn.init.normal_(three.weight)
    with torch.no_grad():
        one.weight.copy_(three.weight[:, :, 1:2])
    volume = torch.randn(2, 1, 5, 6, 4)

    torch.testing.assert_close(one(volume), three(volume))


def test_the_spectral_map_is_convex_within_heads_and_zero_between_them() -> None:
    tokens = torch.randn(2, 50, 6, dtype=torch.float64)
    query, key = torch.randn(2, 6, 6, dtype=torch.float64)
    found = spectral_map(tokens.transpose(1, 2) @ tokens, query, key, torch.ones(3).double())

    torch.testing.assert_close(found.sum(2), torch.ones(2, 6, dtype=torch.float64))
    assert (found != 0).sum() == 2 * 3 * 2 * 2


def test_the_spectral_map_keeps_its_precision_over_a_whole_window() -> None:
    tokens = 3 + torch.randn(1, 128 * 128, 16)
    query, key = torch.randn(2, 16, 16)
    moment = tokens.transpose(1, 2) @ tokens / tokens.shape[1]
    found = spectral_map(moment, query, key, torch.ones(4))

    flat = oracle.numbers(tokens[0])
    maps = oracle.spectral_map(
        flat @ oracle.numbers(query).T, flat @ oracle.numbers(key).T, np.ones(4)
    )
    for head, expected in enumerate(maps):
        block = slice(4 * head, 4 * head + 4)
        actual = oracle.numbers(found[0, block, block])
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def test_autocasting_leaves_the_spectral_map_in_single_precision() -> None:
    attention = an_epa(PooledTokens(4)).float().attention
    volume = 10 + torch.randn(1, 1, 32, 32, 8)
    expected = attention.spectral(volume).map

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention.spectral(volume).map

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_window_of_zeros_leaves_the_attention_finite() -> None:
    epa = an_epa(PooledTokens(4)).float()
    volume = torch.zeros(1, 1, 4, 4, 8, requires_grad=True)

    epa(volume).sum().backward()

    assert volume.grad is not None
    assert all(p.grad is not None and p.grad.isfinite().all() for p in epa.parameters())


def test_pooled_tokens_start_as_the_mean_over_planes_of_every_cell() -> None:
    tokens = PooledTokens(4, depth=3)
    tokens.start_as_average()
    volume = torch.randn(1, 3, 4, 6, 8)

    cells = volume.mean(1).reshape(1, 2, 2, 2, 3, 8).mean((2, 4)).reshape(1, 4, 8)

    torch.testing.assert_close(tokens(volume)[0], cells)


@pytest.mark.parametrize(
    ("tokens", "grid"), [(64, (8, 8)), (16, (4, 4)), (32, (4, 8)), (7, (1, 7)), (1, (1, 1))]
)
def test_tokens_lie_on_the_grid_nearest_to_a_square(tokens: int, grid: tuple[int, int]) -> None:
    assert token_grid(tokens) == grid
