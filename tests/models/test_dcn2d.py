from __future__ import annotations

import network_oracles as oracle
import numpy as np
import torch

from comix_models.dcn2d import Block2d, DeformableConv


def a_convolution(width: int, kernel: int, group_width: int) -> DeformableConv:
    return DeformableConv(width, kernel, group_width, backend="torch")


def deformable_oracle(x: oracle.Array, layer: DeformableConv) -> oracle.Array:
    offset_mask = oracle.linear(oracle.depthwise3x3(x, layer.depthwise), layer.offset_mask)
    value = oracle.linear(x, layer.value_proj)
    sampled = oracle.deform(value, offset_mask, layer.kernel, layer.groups)
    return oracle.linear(sampled, layer.output_proj)


def test_a_deformable_convolution_is_its_equation() -> None:
    layer = a_convolution(width=4, kernel=3, group_width=2)
    oracle.randomise(layer)
    x = torch.randn(2, 5, 4, 4, dtype=torch.float64)

    result = layer(x)

    for image, found in zip(x, result, strict=True):
        expected = deformable_oracle(oracle.numbers(image), layer)
        np.testing.assert_allclose(oracle.numbers(found), expected, rtol=0, atol=1e-9)


def test_a_2d_block_is_its_equations() -> None:
    block = Block2d(a_convolution(width=4, kernel=3, group_width=4), width=4, hidden=6)
    oracle.randomise(block, seed=1)
    x = torch.randn(1, 3, 5, 4, dtype=torch.float64)

    result = block(x)

    start = oracle.numbers(x[0])
    assert isinstance(block.deformable, DeformableConv)
    found = deformable_oracle(start, block.deformable)
    first = oracle.layer_norm(found, block.deformable_norm) + start
    hidden = oracle.gelu(oracle.linear(first, block.mlp[0]))
    expected = oracle.layer_norm(oracle.linear(hidden, block.mlp[2]), block.mlp_norm) + first
    np.testing.assert_allclose(oracle.numbers(result[0]), expected, rtol=0, atol=1e-9)


def test_a_deformable_convolution_starts_as_the_mean_of_its_window() -> None:
    layer = a_convolution(width=4, kernel=3, group_width=2).double()
    layer.start_as_average()
    torch.nn.init.eye_(layer.value_proj.weight)
    torch.nn.init.zeros_(layer.value_proj.bias)
    torch.nn.init.eye_(layer.output_proj.weight)
    torch.nn.init.zeros_(layer.output_proj.bias)
    x = torch.randn(1, 5, 6, 4, dtype=torch.float64)

    windows = torch.nn.functional.avg_pool2d(x.permute(0, 3, 1, 2), 3, stride=1, padding=1)

    torch.testing.assert_close(layer(x), windows.permute(0, 2, 3, 1))


def test_the_scalars_are_padded_to_a_multiple_of_eight() -> None:
    assert a_convolution(width=48, kernel=7, group_width=16).offset_mask.out_features == 448


def test_a_2d_block_takes_a_volume_plane_by_plane() -> None:
    block = Block2d(a_convolution(width=4, kernel=3, group_width=2), width=4, hidden=4)
    oracle.randomise(block)
    volume = torch.randn(2, 3, 4, 5, 4, dtype=torch.float64)

    planes = torch.stack([block(volume[:, plane]) for plane in range(3)], dim=1)

    torch.testing.assert_close(block(volume), planes)
