"""What a CoMiX network is made of: one frozen record, and the presets.

A spec says everything that decides the shapes and the arithmetic of a network, and nothing about
how it is run (device, number type and backend of the deformable operator are choices of a run).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, get_args

from comix_models.spec_base import Spec, check_count, is_count

Projection = Literal["pooled", "learned"]
HsiBlocks = Literal["3d", "2d", "attention"]
XBlocks = Literal["2d", "attention"]
Exchange = Literal["both", "spatial", "spectral", "none"]
Fusion = Literal["ffm", "average"]

STAGES: Final = 4


@dataclass(frozen=True)
class CoMiXSpec(Spec):
    """A CoMiX network, field by field; per-stage fields hold four values.

    Attributes:
        hsi_bands: Bands of the hyperspectral image (HSI).
        x_channels: Channels of the other sensor (X); 0 makes a network of the HSI alone: one
            branch, no CMFeX and no FFM.
        classes: Classes told apart; the network has one logit for each.
        channels: Width C of each stage.
        depths: Blocks of each stage, the same number in both branches.
        tokens: Key and value tokens p of each stage's spatial attention.
        heads: Attention heads.
        kernels: Window of the deformable convolution in each stage, odd.
        ffn_ratio: Hidden width of the 2-D blocks' MLP over C.
        ffm_ratio: Hidden width of the feature fusion module over C.
        decoder_width: Embedding width of the decoder.
        group_width: Channels of one deformable group; divides every width.
        projection: How N tokens become p: ``pooled`` averages them onto a small grid and runs at
            any window; ``learned`` weighs every place of a fixed window.
        window: Side in pixels of that fixed window; ``None`` with ``pooled``.
        spectral_depth: Planes D of the HSI volume, each from its own contiguous bands.
        padding_taps: Keep, at D = 1, the 18 of the 27 taps of a 3x3x3 convolution that only ever
            meet padding. They are counted, as in the published count, and never computed.
        hsi_blocks: ``3d`` as published; ``2d`` puts 2-D DCN blocks on the HSI, ``attention`` those
            of a plain vision transformer (ablations).
        x_blocks: ``2d``, DCN blocks as published; ``attention`` likewise (ablation).
        cmfex: Which maps the modalities exchange (ablation).
        fusion: ``ffm`` as published; ``average`` takes the mean of both branches (ablation).
        head_dropout: Probability of dropping a channel before the classes, in [0, 1).

    Raises:
        ValueError: A value is out of range; the message begins with the name of its field.
    """

    model: ClassVar[str] = "comix"

    channels: tuple[int, ...]
    depths: tuple[int, ...]
    tokens: tuple[int, ...]
    heads: int
    kernels: tuple[int, ...]
    ffn_ratio: int
    ffm_ratio: int
    decoder_width: int
    group_width: int = 16
    projection: Projection = "pooled"
    window: int | None = None
    spectral_depth: int = 1
    padding_taps: bool = False
    hsi_blocks: HsiBlocks = "3d"
    cmfex: Exchange = "both"
    fusion: Fusion = "ffm"
    head_dropout: float = 0.1
    x_blocks: XBlocks = "2d"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_counts(self)
        _check_stages(self)
        _check_choices(self)
        _check_window(self)


def _check_counts(spec: CoMiXSpec) -> None:
    names = ("heads", "ffn_ratio", "ffm_ratio", "decoder_width", "group_width", "spectral_depth")
    for name in names:
        check_count(spec, name, 1)
    if spec.spectral_depth > spec.hsi_bands:
        raise ValueError(
            f"spectral_depth: {spec.spectral_depth} planes cannot be made of "
            f"hsi_bands = {spec.hsi_bands}"
        )


def _check_stages(spec: CoMiXSpec) -> None:
    for name in ("channels", "depths", "tokens", "kernels"):
        values = getattr(spec, name)
        if not isinstance(values, tuple) or len(values) != STAGES:
            raise ValueError(f"{name}: {values!r} is not a tuple of {STAGES} values, one a stage")
        if not all(is_count(value, 1) for value in values):
            raise ValueError(f"{name}: {values!r} holds something else than positive whole numbers")
    for width in spec.channels:
        if width % 2 or width % spec.heads or width % spec.group_width:
            raise ValueError(
                f"channels: {width} is not a multiple of 2, of heads = {spec.heads} and of "
                f"group_width = {spec.group_width}"
            )
    if any(kernel % 2 == 0 for kernel in spec.kernels):
        raise ValueError(f"kernels: {spec.kernels!r} holds an even window")


def _check_choices(spec: CoMiXSpec) -> None:
    choices = {
        "projection": get_args(Projection),
        "hsi_blocks": get_args(HsiBlocks),
        "x_blocks": get_args(XBlocks),
        "cmfex": get_args(Exchange),
        "fusion": get_args(Fusion),
        "padding_taps": (True, False),
    }
    for name, allowed in choices.items():
        value = getattr(spec, name)
        if value not in allowed:
            raise ValueError(f"{name}: {value!r} is none of {', '.join(map(repr, allowed))}")
    if not isinstance(spec.head_dropout, int | float) or not 0 <= spec.head_dropout < 1:
        raise ValueError(f"head_dropout: {spec.head_dropout!r} is no probability in [0, 1)")


def _check_window(spec: CoMiXSpec) -> None:
    if spec.projection == "pooled" and spec.window is not None:
        raise ValueError(f"window: {spec.window!r} given, but a pooled projection has no window")
    if spec.projection == "learned" and (not is_count(spec.window, 2) or (spec.window or 0) % 2):
        raise ValueError(f"window: {spec.window!r} is not an even side of a learned projection")


_TINY: Final[dict[str, Any]] = {
    "channels": (16, 32, 48, 64),
    "depths": (1, 1, 1, 1),
    "tokens": (64, 64, 64, 64),
    "heads": 4,
    "kernels": (3, 3, 7, 7),
    "ffn_ratio": 4,
    "ffm_ratio": 2,
    "decoder_width": 64,
}
_SMALL = _TINY | {"channels": (32, 48, 64, 96), "depths": (1, 1, 2, 1), "decoder_width": 128}
_BASE = _TINY | {"channels": (48, 96, 96, 192), "depths": (1, 2, 2, 2), "decoder_width": 256}
_NANO = _TINY | {
    "channels": (16, 16, 32, 32),
    "tokens": (16, 16, 16, 16),
    "heads": 2,
    "kernels": (3, 3, 3, 3),
    "ffn_ratio": 2,
    "ffm_ratio": 1,
    "decoder_width": 32,
}
_PAPER = _BASE | {
    "tokens": (64, 64, 64, 32),
    "projection": "learned",
    "window": 128,
    "padding_taps": True,
}

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "nano": _NANO,
    "tiny": _TINY,
    "small": _SMALL,
    "base": _BASE,
    "paper": _PAPER,
}


def preset(
    name: str, *, hsi_bands: int, x_channels: int, classes: int, **changes: Any
) -> CoMiXSpec:
    """A named network for the given data, with single fields changed.

    Args:
        name: One of ``PRESETS``.
        hsi_bands: Bands of the HSI.
        x_channels: Channels of X, 0 for the HSI alone.
        classes: Number of classes.
        **changes: Fields of ``CoMiXSpec`` that replace the preset's.

    Raises:
        ValueError: No such preset, no such field, or a value out of range.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: {name!r} is none of {', '.join(PRESETS)}")
    data = {"hsi_bands": hsi_bands, "x_channels": x_channels, "classes": classes}
    return CoMiXSpec.from_json(PRESETS[name] | data | changes)
