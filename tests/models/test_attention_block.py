from __future__ import annotations

import numpy as np
import torch
from network_oracles import (
    gelu,
    layer_norm,
    linear,
    numbers,
    pool,
    randomise,
    spatial_map,
    with_spatial,
)
from torch import nn

from comix_models.attention import PairedAttention
from comix_models.attention_block import AttentionBlock
from comix_models.tokens import PooledTokens

WIDTH, HEADS, TOKENS = 8, 2, 4


def a_block() -> AttentionBlock:
    attention = PairedAttention(WIDTH, HEADS, PooledTokens(TOKENS), spectral=False)
    block = AttentionBlock(attention, WIDTH, hidden=12)
    randomise(block)
    return block


def test_the_block_does_what_its_equations_say() -> None:
    block = a_block()
    image = torch.rand(1, 6, 4, WIDTH, dtype=torch.float64)
    plane = numbers(image[0])
    mix = block.get_parameter("attention.tokens.mix.weight")
    tokens = numbers(mix) @ pool(plane[np.newaxis], (2, 2))
    query = linear(plane.reshape(-1, WIDTH), block.attention.query)
    keys = linear(tokens, block.attention.key)
    values = linear(tokens, block.attention.spatial_value)
    mixed = linear(with_spatial(spatial_map(query, keys, HEADS), values), block.merge)
    first = layer_norm(mixed.reshape(plane.shape), block.attention_norm) + plane
    expand, _, reduce = block.mlp
    assert isinstance(expand, nn.Linear)
    second = layer_norm(linear(gelu(linear(first, expand)), reduce), block.mlp_norm) + first

    np.testing.assert_allclose(numbers(block(image))[0], second, rtol=1e-9, atol=1e-9)


def test_planes_do_not_see_each_other() -> None:
    block = a_block()
    volume = torch.rand(1, 3, 6, 4, WIDTH, dtype=torch.float64)
    alone = torch.stack([block(plane) for plane in volume[0].unsqueeze(1)], dim=1)

    torch.testing.assert_close(block(volume), alone)
