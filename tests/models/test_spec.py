from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from comix_models.build import build_model, count_parameters
from comix_models.spec import PRESETS, CoMiXSpec, preset

HOUSTON: dict[str, Any] = {"hsi_bands": 144, "x_channels": 1, "classes": 15}


def nano(**changes: Any) -> CoMiXSpec:
    return preset("nano", **{**HOUSTON, **changes})


def test_the_paper_preset_has_the_published_number_of_parameters() -> None:
    count = count_parameters(build_model(preset("paper", **HOUSTON)))

    assert count == pytest.approx(21.87e6, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("nano", 140_711), ("tiny", 564_727), ("small", 1_377_851), ("base", 6_324_019)],
)
def test_a_preset_has_the_documented_number_of_parameters(name: str, parameters: int) -> None:
    assert count_parameters(build_model(preset(name, **HOUSTON))) == parameters


def test_presets_are_the_documented_ones() -> None:
    assert list(PRESETS) == ["nano", "tiny", "small", "base", "paper"]


def test_only_the_paper_preset_fixes_the_window() -> None:
    windows = {name: preset(name, **HOUSTON).window for name in PRESETS}

    assert windows == {"nano": None, "tiny": None, "small": None, "base": None, "paper": 128}


@pytest.mark.parametrize("name", PRESETS)
def test_a_spec_comes_back_from_json_as_it_went(name: str) -> None:
    spec = preset(name, **HOUSTON, head_dropout=0.25)

    assert CoMiXSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        nano().classes = 3  # type: ignore[misc]


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ValueError, match=r"^colour: no such field"):
        CoMiXSpec.from_json({**nano().to_json(), "colour": "red"})


def test_missing_fields_are_named() -> None:
    record = nano().to_json()
    del record["heads"], record["classes"]

    with pytest.raises(ValueError, match=r"classes, heads missing"):
        CoMiXSpec.from_json(record)


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"^preset: 'huge' is none of nano, tiny, small, base"):
        preset("huge", **HOUSTON)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hsi_bands", 0),
        ("hsi_bands", "7"),
        ("x_channels", -1),
        ("classes", 1),
        ("classes", 2.0),
        ("classes", True),
        ("channels", (16, 16, 32)),
        ("channels", (16, 16, 32, 40)),
        ("channels", 16),
        ("depths", (1, 0, 1, 1)),
        ("tokens", (16, 16, 16, -4)),
        ("heads", 0),
        ("kernels", (3, 3, 4, 3)),
        ("ffn_ratio", 0),
        ("ffm_ratio", 1.5),
        ("decoder_width", 0),
        ("group_width", 0),
        ("projection", "hashed"),
        ("projection", ["pooled"]),
        ("window", 128),
        ("spectral_depth", 0),
        ("spectral_depth", 145),
        ("padding_taps", "yes"),
        ("hsi_blocks", "1d"),
        ("x_blocks", "3d"),
        ("cmfex", None),
        ("fusion", "sum"),
        ("head_dropout", 1.0),
        ("head_dropout", "0.1"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        nano(**{field: value})


@pytest.mark.parametrize("window", [None, 127, 0])
def test_a_learned_projection_needs_an_even_window(window: int | None) -> None:
    with pytest.raises(ValueError, match=r"^window: "):
        nano(projection="learned", window=window)


def test_the_heads_must_divide_the_channels() -> None:
    with pytest.raises(ValueError, match=r"^channels: 16 is not a multiple .* heads = 3"):
        nano(heads=3)
