"""How much a network computes: multiply-accumulates, in two ways of counting.

`executed` is what mapping one window really takes: convolutions, matrix products (linear layers and
attention among them) and the sampling of deformable convolutions. Norms, activations, pooling,
upsampling and additions are not counted.

`published` counts as papers do, CoMiX's among them: every convolution and linear layer once, as it
is printed, at its own resolution, with the taps that only meet padding and without attention
products and sampling. Published tables give it for a whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from comix_models.build import build_model
from comix_models.dcn2d import DeformableConv
from comix_models.epa3d import Conv3x3x3
from comix_models.fuse import fuse
from comix_models.spec import CoMiXSpec
from comix_models.spec_base import Spec

# A sample is the weighted sum of four corners, and is itself weighed once.
_PER_SAMPLE = 5
# Every layer that both counts know.
_LAYERS = (nn.Linear, nn.Conv2d, Conv3x3x3)


def executed(spec: Spec, side: int) -> int:
    """Multiply-accumulates of mapping one window of ``side`` x ``side`` pixels.

    The network is the one that maps: batch normalisations and chains of linear layers are one
    matrix each. One window is computed to see.

    Raises:
        ValueError: The network does not take such a window.
    """
    sampled = [0]

    def count(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        assert isinstance(module, DeformableConv)
        sampled[0] += _PER_SAMPLE * inputs[0].numel() * module.kernel**2

    # As matrix products, attention is counted wherever it runs.
    with _random_state_kept(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network = fuse(build_model(spec).eval())
        with _watched(network, DeformableConv, count), FlopCounterMode(display=False) as counter:
            network(*_window(spec, side))
    # Its operations are multiplications and additions, one each.
    return int(counter.get_total_flops()) // 2 + sampled[0]


def published(spec: Spec, side: int) -> int:
    """Multiply-accumulates of the layers of a network for one window, as papers count them."""
    total = [0]

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        total[0] += _weights(module) * math.prod(output.shape) // _width(module)

    with _random_state_kept(), torch.no_grad():
        network = build_model(spec).eval()
        if isinstance(spec, CoMiXSpec):
            return _as_printed(network, spec, side)
        with _watched(network, _LAYERS, count):
            network(*_window(spec, side))
    return total[0]


def _as_printed(network: nn.Module, spec: CoMiXSpec, side: int) -> int:
    """The count of CoMiX, whose layers are multiplied together before they meet the pixels."""
    total = 0
    for name, module in network.named_modules():
        if not isinstance(module, _LAYERS):
            continue
        places = side**2 if _is_full_size(name) else (side // 2) ** 2
        if ".tokens." in name:  # weighs all places for each of C channels
            places = network.get_parameter(name.split(".tokens.")[0] + ".key.weight").shape[0]
        elif ".hsi." in name:
            places *= spec.spectral_depth
        total += _weights(module) * places
    return total


def _is_full_size(name: str) -> bool:
    """Whether a layer of CoMiX is printed at full size, and not at half."""
    if name.startswith("decoder.embeddings."):
        return name == "decoder.embeddings.0"
    return "stem" in name or name.startswith(("stages.0.", "decoder"))


def _weights(module: nn.Module) -> int:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.numel()


def _width(module: nn.Module) -> int:
    """Channels that a layer puts out, each of which takes its share of the weights."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.shape[0]


def _random_state_kept() -> AbstractContextManager[None]:
    """Weights are drawn, and nobody else's numbers are to change by that."""
    return torch.random.fork_rng(devices=[])


def _window(spec: Spec, side: int) -> tuple[Tensor, Tensor]:
    return (
        torch.zeros(1, spec.hsi_bands, side, side),
        torch.zeros(1, spec.x_channels, side, side),
    )


@contextmanager
def _watched(
    network: nn.Module,
    kinds: type[nn.Module] | tuple[type[nn.Module], ...],
    look: Callable[[nn.Module, tuple[Tensor, ...], Tensor], None],
) -> Iterator[None]:
    """Tell of every call of some kinds of modules."""
    found = [m.register_forward_hook(look) for m in network.modules() if isinstance(m, kinds)]
    try:
        yield
    finally:
        for handle in found:
            handle.remove()
