"""From a spec to a model: the one place where the parts are put together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeVar, overload

from torch import Tensor, nn

from comix_models.attention import PairedAttention
from comix_models.attention_block import AttentionBlock
from comix_models.cmfex import CMFeX
from comix_models.comix import Branch, CoMiX, HsiNet, HsiStage, Stage
from comix_models.dcn2d import Block2d, DeformableConv
from comix_models.decoder import AllMLPDecoder
from comix_models.epa3d import Block3d, Conv3x3x3, EfficientPairedAttention
from comix_models.ffm import FFM, Average, fold_planes
from comix_models.forest import Forest, ForestSpec
from comix_models.fusion_fcn import FusionFCN, FusionFCNSpec
from comix_models.spec import STAGES, CoMiXSpec, HsiBlocks, XBlocks
from comix_models.spec_base import Spec
from comix_models.stem import SpectralStem, Stem
from comix_models.svm import Svm, SvmSpec
from comix_models.tokens import LearnedTokens, PooledTokens
from comix_models.transition import transition
from comix_models.unet import UNet, UNetSpec

Network = TypeVar("Network", bound=nn.Module)

SPECS: Final[Mapping[str, type[Spec]]] = {
    kind.model: kind for kind in (CoMiXSpec, UNetSpec, FusionFCNSpec, ForestSpec, SvmSpec)
}


def spec_from_json(record: Mapping[str, Any]) -> Spec:
    """The spec that ``to_json`` of any kind of model wrote; CoMiX's where it does not say which.

    Raises:
        ValueError: There is no such kind, or a field is unknown, missing or out of range.
    """
    kind = record.get("model", CoMiXSpec.model)
    if not isinstance(kind, str) or kind not in SPECS:
        raise ValueError(f"model: {kind!r} is none of {', '.join(SPECS)}")
    return SPECS[kind].from_json(record)


@overload
def build_model(spec: CoMiXSpec, *, deform_backend: str = "auto") -> CoMiX | HsiNet: ...


@overload
def build_model(spec: Spec, *, deform_backend: str = "auto") -> nn.Module: ...


def build_model(spec: Spec, *, deform_backend: str = "auto") -> nn.Module:
    """The model of a spec, weights of networks drawn from torch's global random generator.

    Args:
        spec: What to build.
        deform_backend: Implementation of the deformable operator, see ``comix_models.deform``.

    Returns:
        A module whose forward takes the HSI ``(B, bands, H, W)`` and X ``(B, channels, H, W)`` (or
        nothing, where ``spec.x_channels`` is 0) and returns logits ``(B, classes, H, W)``. Forests
        and support vector machines have learned nothing until their buffers are loaded.

    Raises:
        TypeError: The spec is of no kind that can be built.
    """
    match spec:
        case CoMiXSpec():
            return _comix(spec, deform_backend)
        case UNetSpec():
            return initialise(UNet(spec))
        case FusionFCNSpec():
            return initialise(FusionFCN(spec))
        case ForestSpec():
            return Forest(spec)
        case SvmSpec():
            return Svm(spec)
        case _:
            raise TypeError(f"no model is built from a {type(spec).__name__}")


def _comix(spec: CoMiXSpec, deform_backend: str) -> CoMiX | HsiNet:
    decoder = AllMLPDecoder(spec.channels, spec.decoder_width, spec.classes, spec.head_dropout)
    hsi_stem = SpectralStem(spec.hsi_bands, spec.channels[0], spec.spectral_depth)
    model: CoMiX | HsiNet
    if spec.x_channels:
        x_stem = Stem(spec.x_channels, spec.channels[0])
        stages = [_stage(spec, stage) for stage in range(STAGES)]
        model = CoMiX(hsi_stem, x_stem, stages, decoder, spec.window)
    else:
        hsi_stages = [_hsi_stage(spec, stage) for stage in range(STAGES)]
        model = HsiNet(hsi_stem, hsi_stages, decoder, spec.window)
    initialise(model)
    set_deform_backend(model, deform_backend)
    return model


def set_deform_backend(model: nn.Module, backend: str) -> None:
    """Choose the implementation of the deformable operator in every part of a network."""
    for module in model.modules():
        if isinstance(module, DeformableConv):
            module.backend = backend


def count_parameters(model: nn.Module) -> int:
    """Learned scalars of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


def _stage(spec: CoMiXSpec, stage: int) -> Stage:
    width = spec.channels[stage]
    fuse = FFM(width, spec.ffm_ratio * width) if spec.fusion == "ffm" else Average()
    return Stage(
        _branch(spec, stage, spec.hsi_blocks),
        _branch(spec, stage, spec.x_blocks),
        None if spec.cmfex == "none" else _exchange(spec, stage),
        fold_planes(width, spec.spectral_depth),
        fuse,
    )


def _hsi_stage(spec: CoMiXSpec, stage: int) -> HsiStage:
    fold = fold_planes(spec.channels[stage], spec.spectral_depth)
    return HsiStage(_branch(spec, stage, spec.hsi_blocks), fold)


def _branch(spec: CoMiXSpec, stage: int, kind: HsiBlocks | XBlocks) -> Branch:
    block = {"3d": _block_3d, "2d": _block_2d, "attention": _block_of_attention}[kind]
    return Branch(_enter(spec, stage), [block(spec, stage) for _ in range(spec.depths[stage])])


def _enter(spec: CoMiXSpec, stage: int) -> nn.Module:
    return transition(stage, spec.channels[max(stage - 1, 0)], spec.channels[stage])


def _block_2d(spec: CoMiXSpec, stage: int) -> Block2d:
    width = spec.channels[stage]
    deformable = DeformableConv(width, spec.kernels[stage], spec.group_width)
    return Block2d(deformable, width, spec.ffn_ratio * width)


def _block_of_attention(spec: CoMiXSpec, stage: int) -> AttentionBlock:
    width = spec.channels[stage]
    attention = PairedAttention(width, spec.heads, _tokens(spec, stage, 1), spectral=False)
    return AttentionBlock(attention, width, spec.ffn_ratio * width)


def _block_3d(spec: CoMiXSpec, stage: int) -> Block3d:
    width = spec.channels[stage]
    taps = 3 if spec.spectral_depth > 1 or spec.padding_taps else 1
    tokens = _tokens(spec, stage, spec.spectral_depth)
    attention = PairedAttention(width, spec.heads, tokens)
    return Block3d(EfficientPairedAttention(attention, width), width, taps)


def _exchange(spec: CoMiXSpec, stage: int) -> CMFeX:
    width = spec.channels[stage]
    spatial, spectral = spec.cmfex != "spectral", spec.cmfex != "spatial"
    hsi, x = (
        PairedAttention(
            width, spec.heads, _tokens(spec, stage, depth), spatial=spatial, spectral=spectral
        )
        for depth in (spec.spectral_depth, 1)
    )
    return CMFeX(hsi, x, width, spatial=spatial, spectral=spectral)


def _tokens(spec: CoMiXSpec, stage: int, depth: int) -> nn.Module:
    if spec.window is None:
        return PooledTokens(spec.tokens[stage], depth)
    side = spec.window if stage == 0 else spec.window // 2
    return LearnedTokens(depth * side**2, spec.tokens[stage])


def initialise(model: Network) -> Network:
    """Draw the first weights of a network from torch's global random generator.

    Linear layers: truncated normal of variance 1 / fan in. The usual deviation of 0.02 suits widths
    of several hundred; at 16 to 64 channels it leaves the stems and CMFeX with less than a tenth of
    the gradient, and the network learns markedly more slowly. Convolutions: He's normal for what
    fans out. Biases start at zero, norms at one and zero. What begins as an average (deformable
    windows, pooled tokens) is set so by its own module.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=1 / math.sqrt(module.in_features))
        elif isinstance(module, nn.Conv2d | Conv3x3x3):
            _draw_convolution(module.weight, getattr(module, "groups", 1))
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, DeformableConv | PooledTokens):
            module.start_as_average()
    return model


def _draw_convolution(weight: Tensor, groups: int) -> None:
    """He's normal initialisation; a depthwise filter fans out to its own channel alone."""
    fan_out = weight.shape[0] // groups * math.prod(weight.shape[2:])
    nn.init.normal_(weight, std=math.sqrt(2 / fan_out))
