from __future__ import annotations

import network_oracles as oracle
import numpy as np
import pytest
import torch

from comix_models.attention import PairedAttention
from comix_models.cmfex import CMFeX
from comix_models.tokens import PooledTokens

WIDTH, HEADS = 8, 2


def an_exchange(depth: int, *, spatial: bool = True, spectral: bool = True) -> CMFeX:
    hsi, x = (
        PairedAttention(WIDTH, HEADS, PooledTokens(4, planes), spatial=spatial, spectral=spectral)
        for planes in (depth, 1)
    )
    exchange = CMFeX(hsi, x, WIDTH, spatial=spatial, spectral=spectral)
    oracle.randomise(exchange, seed=depth)
    return exchange


def inputs(depth: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    hsi = torch.randn(2, depth, 4, 6, WIDTH, dtype=torch.float64, generator=generator)
    x = torch.randn(2, 4, 6, WIDTH, dtype=torch.float64, generator=generator)
    return hsi, x


def projected(x: oracle.Array, part: PairedAttention) -> oracle.Array:
    assert isinstance(part.tokens, PooledTokens)
    return oracle.numbers(part.tokens.mix.weight) @ oracle.pool(x, part.tokens.grid)


def spatial_part(volume: oracle.Array, part: PairedAttention) -> tuple[list[oracle.Array], ...]:
    """SA of one modality, ``(N, p)`` a head, and its projected values."""
    query = oracle.linear(volume.reshape(-1, WIDTH), part.query)
    keys = projected(oracle.linear(volume, part.key), part)
    values = projected(oracle.linear(volume, part.spatial_value), part)
    return oracle.spatial_map(query, keys, HEADS), [values]


def spectral_part(volume: oracle.Array, part: PairedAttention) -> tuple[list[oracle.Array], ...]:
    """SE of one modality, ``(d, d)`` a head, and its values."""
    flat = volume.reshape(-1, WIDTH)
    query, key = oracle.linear(flat, part.query), oracle.linear(flat, part.key)
    temperature = oracle.numbers(part.temperature)
    values = oracle.linear(flat, part.spectral_value)
    return oracle.spectral_map(query, key, temperature), [values]


def swapped_spatial(
    hsi: oracle.Array, x: oracle.Array, exchange: CMFeX
) -> tuple[oracle.Array, oracle.Array]:
    """``SA_x Vproj_hsi`` on every plane, and the mean over planes of ``SA_hsi Vproj_x``."""
    assert exchange.swap_spatial is not None
    depth = len(hsi)
    sa_hsi, (v_hsi,) = spatial_part(hsi, exchange.hsi)
    sa_x, (v_x,) = spatial_part(x[None], exchange.x)
    for_hsi = np.stack([oracle.with_spatial(sa_x, v_hsi)] * depth).reshape(hsi.shape)
    for_x = oracle.with_spatial(sa_hsi, v_x).reshape(hsi.shape).mean(0)
    swap = exchange.swap_spatial
    return oracle.linear(for_hsi, swap.hsi), oracle.linear(for_x, swap.x)


def swapped_spectral(
    hsi: oracle.Array, x: oracle.Array, exchange: CMFeX
) -> tuple[oracle.Array, oracle.Array]:
    """``V_hsi SE_x^T`` and ``V_x SE_hsi^T``."""
    assert exchange.swap_spectral is not None
    se_hsi, (v_hsi,) = spectral_part(hsi, exchange.hsi)
    se_x, (v_x,) = spectral_part(x[None], exchange.x)
    for_hsi = oracle.with_spectral(se_x, v_hsi).reshape(hsi.shape)
    for_x = oracle.with_spectral(se_hsi, v_x).reshape(x.shape)
    swap = exchange.swap_spectral
    return oracle.linear(for_hsi, swap.hsi), oracle.linear(for_x, swap.x)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(
    ("spatial", "spectral"), [(True, True), (True, False), (False, True)], ids=str
)
def test_each_modality_attends_with_the_maps_of_the_other(
    depth: int, spatial: bool, spectral: bool
) -> None:
    exchange = an_exchange(depth, spatial=spatial, spectral=spectral)
    hsi, x = inputs(depth)

    new_hsi, new_x = exchange(hsi, x)

    for b in range(2):
        own_hsi, own_x = oracle.numbers(hsi[b]), oracle.numbers(x[b])
        found = [swapped_spatial(own_hsi, own_x, exchange)] if spatial else []
        found += [swapped_spectral(own_hsi, own_x, exchange)] if spectral else []
        for_hsi, for_x = (np.concatenate(parts, -1) for parts in zip(*found, strict=True))
        np.testing.assert_allclose(oracle.numbers(new_hsi[b]), own_hsi + for_hsi, atol=1e-9)
        np.testing.assert_allclose(oracle.numbers(new_x[b]), own_x + for_x, atol=1e-9)


def changed(exchange: CMFeX, depth: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    hsi, x = inputs(depth)
    with torch.no_grad():
        new_hsi, new_x = exchange(hsi, x)
    return new_hsi, new_x


def test_the_spatial_map_of_x_is_used_by_the_hsi_alone() -> None:
    exchange = an_exchange(1, spectral=False)
    hsi, x = changed(exchange)
    torch.nn.init.normal_(exchange.x.query.weight)
    hsi_after, x_after = changed(exchange)

    assert not torch.allclose(hsi, hsi_after)
    torch.testing.assert_close(x, x_after, rtol=0, atol=0)


def test_the_spectral_map_of_the_hsi_is_used_by_x_alone() -> None:
    exchange = an_exchange(1, spatial=False)
    hsi, x = changed(exchange)
    torch.nn.init.normal_(exchange.hsi.query.weight)
    hsi_after, x_after = changed(exchange)

    torch.testing.assert_close(hsi, hsi_after, rtol=0, atol=0)
    assert not torch.allclose(x, x_after)


def test_a_one_sided_exchange_has_no_parameters_of_the_other_side() -> None:
    names = {name for name, _ in an_exchange(1, spatial=False).named_parameters()}

    assert not any("spatial" in name or "tokens" in name for name in names)
