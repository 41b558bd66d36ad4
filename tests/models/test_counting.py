"""Multiply-accumulates, counted by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from comix_models.build import build_model
from comix_models.counting import executed, published
from comix_models.fusion_fcn import FusionFCNSpec
from comix_models.spec import CoMiXSpec, preset
from comix_models.unet import UNetSpec

HOUSTON: dict[str, Any] = {"hsi_bands": 144, "x_channels": 1, "classes": 15}


def test_fusion_fcn_by_hand() -> None:
    spec = FusionFCNSpec(hsi_bands=5, x_channels=3, classes=4, x_groups=(1, 2), width=6)
    branches = sum(9 * (channels * 6 + 6 * 6 + 6 * 6) for channels in (1, 2))
    by_hand = (branches + (6 + 6 + 5) * 4) * 10**2

    assert executed(spec, 10) == by_hand
    assert published(spec, 10) == by_hand


def test_unet_by_hand() -> None:
    down = [(7, 2, 16), (2, 4, 8), (4, 8, 4), (8, 16, 2)]
    up = [(16 + 8, 8, 4), (8 + 4, 4, 8), (4 + 2, 2, 16)]
    pairs = sum(9 * (into * out + out * out) * side**2 for into, out, side in [*down, *up])
    spec = UNetSpec(hsi_bands=5, x_channels=2, classes=3, width=2)

    assert executed(spec, 16) == published(spec, 16) == pairs + 2 * 3 * 16**2


def block_2d(width: int, kernel: int, places: int) -> tuple[int, int]:
    """Layers and samples of a 2-D DCN block of groups of 16 and an MLP of twice the width."""
    scalars = math.ceil(3 * (width // 16) * kernel**2 / 8) * 8
    layers = 9 * width + width * scalars + 2 * width**2 + 2 * width * 2 * width
    return layers * places, 5 * width * kernel**2 * places


def attention_block(width: int, tokens: int, places: int) -> tuple[int, int]:
    """Layers and products of a block of attention of as many tokens."""
    on_pixels = 2 * width**2 + 2 * width * 2 * width  # queries, merging, and the MLP
    on_tokens = tokens * 2 * width**2 + tokens**2 * width
    return on_pixels * places, on_tokens + 2 * places * tokens * width


@pytest.mark.parametrize("kind", ["2d", "attention"])
def test_comix_of_the_hsi_alone_by_hand(kind: str) -> None:
    full, half = 32**2, 16**2
    stages = [(16, full), (16, half), (32, half), (32, half)]
    blocks = [
        block_2d(width, 3, places) if kind == "2d" else attention_block(width, 16, places)
        for width, places in stages
    ]
    stem = 7 * 16 * full
    into = (4 * 16 * 16 + 16 * 32) * half
    decoder = 16 * 32 * full + (16 + 32 + 32) * 32 * half + 32 * 3 * full
    by_hand = stem + into + decoder + sum(map(sum, blocks))
    spec = preset("nano", hsi_bands=7, x_channels=0, classes=3, hsi_blocks=kind)

    assert executed(spec, 32) == by_hand


def test_the_paper_preset_has_the_published_multiply_accumulates_per_batch_of_four() -> None:
    spec = preset("paper", **HOUSTON)

    assert 4 * published(spec, 128) == pytest.approx(197.02e9, rel=3e-3)
    # what it really computes is much less: taps that only meet padding, layers that are one matrix
    assert executed(spec, 128) == pytest.approx(26.9e9, rel=0.01)


def test_planes_of_the_spectrum_are_counted_each() -> None:
    one, four = (preset("nano", spectral_depth=d, **HOUSTON) for d in (1, 4))

    assert 2 * published(one, 32) < published(four, 32) < 12 * published(one, 32)


def test_counting_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    executed(preset("nano", hsi_bands=4, x_channels=1, classes=2), 16)

    assert torch.equal(before, torch.get_rng_state())


def test_a_window_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="window"):
        executed(preset("paper", **HOUSTON), 64)


def test_a_spec_of_before_there_were_blocks_for_x_is_as_published() -> None:
    record = preset("nano", **HOUSTON).to_json()
    del record["x_blocks"]

    spec = CoMiXSpec.from_json(record)
    assert spec == preset("nano", **HOUSTON)
    assert build_model(spec) is not None
