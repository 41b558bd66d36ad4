from __future__ import annotations

import pytest
import torch
from torch import Tensor

from comix_models.mossfuse import Block, MossFuse, MossFuseSpec

SPEC = MossFuseSpec(channels=3, components=5, features=4, width=6, blocks=2)


def a_network(seed: int = 0) -> MossFuse:
    torch.manual_seed(seed)
    return MossFuse(SPEC)


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(2, 4, 8, 12, generator=generator),
        torch.randn(2, 5, 2, 3, generator=generator),
    )


def test_before_it_has_learnt_the_prior_stands() -> None:
    network = a_network()
    x, _ = images()
    shared, spatial = network.encode_x(x)

    correction = network(shared, spatial, torch.randn_like(shared))

    assert correction.shape == (2, 5, 8, 12)
    assert (correction == 0).all()


def test_yet_it_can_learn_from_there() -> None:
    network = a_network()
    x, _ = images()
    shared, spatial = network.encode_x(x)

    network(shared, spatial, shared).sum().backward()

    gradient = network.aggregate.get_parameter("3.weight").grad  # after the first and two blocks
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_each_image_has_two_parts_and_is_rebuilt_from_them() -> None:
    network = a_network()
    x, hsi = images()

    x_parts, hsi_parts = network.encode_x(x), network.encode_hsi(hsi)
    rebuilt = network.rebuild(x_parts, hsi_parts)

    assert [part.shape for part in x_parts] == [(2, 4, 8, 12)] * 2
    assert [part.shape for part in hsi_parts] == [(2, 4, 2, 3)] * 2
    assert [image.shape for image in rebuilt] == [x.shape, hsi.shape]


def parameters(inputs: int, outputs: int, kernel: int, blocks: int) -> int:
    """Of an encoder or decoder, counted by hand."""
    width = SPEC.width
    around = width * kernel**2 + width if kernel > 1 else 0
    block = around + (width * 2 * width + 2 * width) + (2 * width * width + width)
    return (inputs * width + width) + blocks * block + (width * outputs + outputs)


def test_its_parameters_are_those_of_its_coders() -> None:
    expected = (
        parameters(4, 4, 1, 2)  # shared, from X
        + parameters(4, 4, 3, 2)  # spatial
        + 2 * parameters(5, 4, 1, 2)  # shared and spectral, from the HSI
        + parameters(8, 4, 1, 1)
        + parameters(8, 5, 1, 1)
        + parameters(12, 5, 1, 2)
    )

    assert sum(parameter.numel() for parameter in a_network().parameters()) == expected


def test_only_the_spatial_encoder_looks_around() -> None:
    network = a_network()
    x, _ = images()
    changed = x.clone()
    changed[:, :, 4, 4] += 1

    before, after = network.encode_x(x), network.encode_x(changed)

    moved = [(a != b).any(1)[0] for a, b in zip(after, before, strict=True)]
    assert moved[0].nonzero().tolist() == [[4, 4]]
    assert moved[1].sum() == 25  # two blocks of three by three


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_block_whose_last_layer_is_zero_changes_nothing(kernel: int) -> None:
    block = Block(6, kernel)
    torch.nn.init.zeros_(block.narrow.weight)
    assert block.narrow.bias is not None
    torch.nn.init.zeros_(block.narrow.bias)
    x = torch.randn(1, 6, 5, 5)

    torch.testing.assert_close(block(x), x)


def test_one_seed_makes_one_network() -> None:
    x, hsi = images()
    outputs = [
        (*network.encode_x(x), *network.encode_hsi(hsi))
        for network in (a_network(3), a_network(3), a_network(4))
    ]

    assert all(torch.equal(a, b) for a, b in zip(outputs[0], outputs[1], strict=True))
    assert not torch.equal(outputs[0][0], outputs[2][0])
