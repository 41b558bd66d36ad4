"""A network rewritten for inference gives what the network gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from comix_models.build import build_model
from comix_models.fuse import fuse, traced
from comix_models.spec import PRESETS, preset


def settled(name: str, **changes: object) -> nn.Module:
    """A network whose batch normalisations have seen something."""
    torch.manual_seed(3)
    fields = {"hsi_bands": 7, "x_channels": 2, "classes": 5} | changes
    network = build_model(preset(name, **fields))  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.3, 3)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    # In double precision, where nothing but a mistake makes a difference.
    return network.double().eval()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {}) for name in PRESETS if name != "paper"),
        ("paper", {"window": 16}),
        ("nano", {"x_channels": 0}),
        ("tiny", {"spectral_depth": 3}),
        ("nano", {"fusion": "average", "cmfex": "none", "hsi_blocks": "2d"}),
        ("nano", {"hsi_blocks": "attention", "x_blocks": "attention"}),
    ],
)
def test_the_fused_network_agrees(name: str, changes: dict[str, object]) -> None:
    network = settled(name, **changes)
    hsi = torch.rand(2, 7, 16, 16, dtype=torch.float64)
    x = None if changes.get("x_channels") == 0 else torch.rand(2, 2, 16, 16, dtype=torch.float64)
    with torch.inference_mode():
        expected, found = network(hsi, x), fuse(network)(hsi, x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_nothing_is_left_to_normalise_by_batches() -> None:
    fused = fuse(settled("tiny"))
    assert not [m for m in fused.modules() if isinstance(m, nn.BatchNorm2d)]


def test_the_network_itself_stays_as_it_was() -> None:
    network = settled("nano")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fuse(network)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_a_network_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluation"):
        fuse(settled("nano").train())


@pytest.mark.parametrize("channels", [2, 0])
def test_a_traced_network_gives_the_same_bits_in_every_run_and_thread(channels: int) -> None:
    network = fuse(settled("nano", x_channels=channels).float())
    shapes = [(1, count, 16, 16) for count in (7, channels) if count]
    graph = traced(network, *(torch.zeros(shape) for shape in shapes))
    for _ in range(4):
        inputs = [torch.rand(shape) for shape in shapes]
        with torch.inference_mode(), ThreadPoolExecutor(3) as pool:
            expected = network(*inputs)
            runs = list(pool.map(lambda _, inputs=inputs: ask(graph, inputs), range(6)))
        for found in runs:
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def ask(network: nn.Module, inputs: list[torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = network(*inputs)
    return result
