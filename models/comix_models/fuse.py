"""A trained network rewritten for inference: the same function in fewer passes over memory.

Once the running statistics of a batch normalisation stand still it is a scaling and a shift of each
channel, which the linear layer before it can take over. Most of what a small network costs on a CPU
is reading and writing features, so every pass saved counts.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.jit import _state
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from comix_models.decoder import AllMLPDecoder
from comix_models.epa3d import Block3d, Conv3x3x3
from comix_models.pixelwise import PixelModel
from comix_models.stem import SpectralStem, Stem
from comix_models.unet import ConvPair

Network = TypeVar("Network", bound=nn.Module)


def fuse(network: Network) -> Network:
    """A copy of a network in evaluation mode whose batch normalisations are folded away.

    Its outputs equal the network's to rounding. It cannot be trained, and its weights do not fit
    into the network it comes from.

    Raises:
        ValueError: The network is in training mode.
    """
    if network.training:
        raise ValueError("only a network in evaluation mode can be fused")
    fused = copy.deepcopy(network)
    fused.requires_grad_(False)
    for module in list(fused.modules()):
        if isinstance(module, SpectralStem):
            module.planes = nn.ModuleList(FusedStem(cast(Stem, stem)) for stem in module.planes)
        elif isinstance(module, Block3d):
            _fold_convolutions(module)
        for name, child in module.named_children():
            if isinstance(child, AllMLPDecoder):
                setattr(module, name, FusedDecoder(child))
            elif isinstance(child, ConvPair):
                setattr(module, name, _without_norms(child))
            elif isinstance(child, Stem):
                setattr(module, name, FusedStem(child))
    return fused.eval()


def traced(network: nn.Module, *inputs: Tensor) -> nn.Module:
    """A network in evaluation mode as one frozen graph for inputs of the shapes given.

    Between its operations no Python runs, so several threads do not wait for each other. Results
    are the same bit for bit. A model of single pixels comes back as it is: its operations are few
    and large, and as a graph there would be one for every part of the window.

    Args:
        network: The network.
        inputs: What its forward takes; their values play no part.
    """
    if isinstance(network, PixelModel):
        return network
    with warnings.catch_warnings(), torch.no_grad():
        # Shapes become constants, which is what is wanted here; and torch would rather export.
        warnings.simplefilter("ignore")
        trace: Callable[..., nn.Module] = torch.jit.trace
        graph: nn.Module = torch.jit.freeze(trace(network, inputs, check_trace=False))
    return graph


def forget_graphs() -> None:
    """Let go of what torch keeps of every graph for as long as the process lives: 40 MB each.

    For processes that map many scenes, between two of them: graphs in use may not outlive it.
    """
    # Torch has no public way; its own tests do this.
    for owner, name in ((torch._C, "_jit_clear_class_registry"), (_state, "_clear_class_state")):
        clear = getattr(owner, name, None)
        if clear is not None:
            clear()


class FusedStem(nn.Module):
    """A stem as one matrix product that writes its features channels-last.

    Args:
        stem: The stem it stands for.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        scale, shift = _scale_and_shift(stem.norm)
        weight = stem.conv.weight.flatten(1) * scale[:, None]
        self.register_buffer("weight", weight.T.contiguous())
        self.register_buffer("bias", shift)

    def forward(self, image: Tensor) -> Tensor:
        """An image ``(B, bands, H, W)`` to features ``(B, H, W, C)``."""
        pixels = image.flatten(2).transpose(1, 2)
        weight = self.weight.expand(len(image), -1, -1)
        features = functional.silu(torch.baddbmm(self.bias, pixels, weight), inplace=True)
        return features.view(len(image), *image.shape[2:], -1)


class FusedDecoder(nn.Module):
    """The All-MLP decoder with each stage's embedding, fusion and normalisation as one matrix.

    Args:
        decoder: The decoder it stands for.
    """

    def __init__(self, decoder: AllMLPDecoder) -> None:
        super().__init__()
        scale, shift = _scale_and_shift(decoder.norm)
        layers = decoder.stage_layers()
        weights = [scale[:, None] * weight for weight, _ in layers]
        biases = [scale * bias for _, bias in layers]
        self.first = _linear(weights[0], biases[0] + sum(biases[1:], shift))
        self.later = _linear(torch.cat(weights[1:], dim=1), None)
        self.classes = decoder.classes

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Logits ``(B, classes, H, W)`` of the features of every stage, see ``AllMLPDecoder``."""
        full, *halves = stages
        half = self.later(torch.cat(halves, dim=3)).permute(0, 3, 1, 2)
        size = list(full.shape[1:3])
        upsampled = functional.interpolate(half, size=size, mode="bilinear", align_corners=False)
        fused = self.first(full).add_(upsampled.permute(0, 2, 3, 1)).relu_()
        logits: Tensor = self.classes(fused)
        return logits.permute(0, 3, 1, 2)


def _without_norms(pair: ConvPair) -> nn.Sequential:
    """The two convolutions and activations of a pair, the norms folded into the former."""
    first, first_norm, active, second, second_norm, _ = pair
    convolutions = [(first, first_norm), (second, second_norm)]
    folded = [
        fuse_conv_bn_eval(cast(nn.Conv2d, c), cast(nn.BatchNorm2d, n)) for c, n in convolutions
    ]
    return nn.Sequential(folded[0], active, folded[1], active)


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch normalisation in evaluation mode multiplies by, and what it adds."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


def _fold_convolutions(block: Block3d) -> None:
    """Fold every pair of 3x3x3 convolution and normalisation of a block into the convolution."""
    layers = list(block.convolutions)
    for layer, follower in pairwise(layers):
        if isinstance(layer, Conv3x3x3) and isinstance(follower, nn.BatchNorm2d):
            scale, shift = _scale_and_shift(follower)
            layer.weight = nn.Parameter(
                layer.weight * scale.view(-1, 1, 1, 1, 1), requires_grad=False
            )
            layer.bias = nn.Parameter(shift, requires_grad=False)
    kept = [layer for layer in layers if not isinstance(layer, nn.BatchNorm2d)]
    block.convolutions = nn.Sequential(*kept)
