"""One safetensors file that carries everything needed to use a model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from comix_cli.errors import ModelFileError
from comix_cli.learning.model_file import (
    InputRecord,
    ModelCard,
    load_model,
    read_card,
    save_model,
)
from comix_cli.learning.normalise import Normalisation
from comix_cli.scene.legend import Legend
from comix_models.build import build_model
from comix_models.forest import ForestSpec
from comix_models.fusion_fcn import FusionFCNSpec
from comix_models.spec import preset
from comix_models.spec_base import Spec
from comix_models.svm import SvmSpec
from comix_models.unet import UNetSpec

CPU = torch.device("cpu")


def record(name: str, bands: tuple[int, ...], count: int) -> InputRecord:
    n = len(bands)
    return InputRecord(
        name=name,
        role="hsi",
        count=count,
        bands=bands,
        dropped={2: "all nodata"},
        wavelengths_nm=(450.0, None, 2300.5)[:n],
        fwhm_nm=(None,) * n,
        resampling="nearest",
        normalisation=Normalisation((0.0,) * n, (1.0,) * n, "by hand"),
    )


def card() -> ModelCard:
    return ModelCard(
        spec=preset("nano", hsi_bands=3, x_channels=1, classes=2),
        hsi=record("hsi.tif", (1, 3, 4), 4),
        x=(record("dsm.tif", (1,), 1),),
        legend=Legend.from_names([(7, "Wasser & Ufer"), (2, "forêt")]),
        window=64,
        gsd_m=3.6,
        training={"steps": 5},
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_model(path, build_model(card().spec).state_dict(), card())
    return path


def test_the_card_comes_back_as_it_was(saved: Path) -> None:
    assert read_card(saved) == card()


def test_the_weights_come_back_as_they_were(saved: Path) -> None:
    torch.manual_seed(0)
    original = build_model(card().spec)
    network, _ = load_model(saved, CPU)
    assert not network.training
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, original.state_dict()[name], rtol=0, atol=0)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nothing\.safetensors: .*comix train"):
        read_card(tmp_path / "nothing.safetensors")


def test_what_is_in_a_file_is_as_good_as_the_file(saved: Path) -> None:
    data = saved.read_bytes()
    saved.unlink()
    network, found = load_model(saved, CPU, data)
    assert found == card()
    torch.manual_seed(0)
    for name, tensor in build_model(card().spec).state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_what_is_in_a_truncated_file_is_refused_by_its_name(saved: Path, keep: int) -> None:
    data = saved.read_bytes()[:keep]
    saved.unlink()
    with pytest.raises(ModelFileError, match=r"model\.safetensors: .*truncated"):
        load_model(saved, CPU, data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x02\0\0\0\0\0\0\0{}", "not one that comix wrote"),
        (b"\x02\0\0\0\0\0\0\0[]", "not a model file"),
        (b"\x02\0\0\0\0\0\0\0{}x", "not a model file"),
        (b"\xff" * 40, "not a model file"),
        (b"PK\x03\x04 a zipped pickle", "not a model file"),
        (b'\x17\0\0\0\0\0\0\0{"__metadata__": "text"}', "not a model file"),
    ],
)
def test_bytes_of_something_else_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        load_model(tmp_path / "far.safetensors", CPU, data)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match="truncated"):
        load_model(saved, CPU)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="not a model file"):
        load_model(path, CPU)


def test_safetensors_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="not one that comix wrote"):
        load_model(path, CPU)


def rewrite(path: Path, **changes: object) -> None:
    document = card().to_json() | changes
    save_file({"w": torch.zeros(1)}, path, metadata={"comix": json.dumps(document)})


def test_a_newer_format_asks_for_a_newer_comix(saved: Path) -> None:
    rewrite(saved, format_version=99)
    with pytest.raises(ModelFileError, match=r"version 99.*upgrade comix"):
        read_card(saved)


def test_a_file_from_before_there_were_other_models_still_loads(saved: Path) -> None:
    document = card().to_json() | {"format_version": 1}
    assert document["spec"].pop("model") == "comix"
    weights = load_file(saved)
    save_file(weights, saved, metadata={"comix": json.dumps(document)})
    network, found = load_model(saved, CPU)
    assert found == card()
    assert set(network.state_dict()) == set(weights)


@pytest.mark.parametrize(
    "spec",
    [
        UNetSpec(3, 1, 2, width=2),
        FusionFCNSpec(3, 1, 2, x_groups=(1,), width=2),
        ForestSpec(3, 1, 2, depths=(2, 0), nodes=6, leaves=4),
        SvmSpec(3, 1, 2, support=(2, 1)),
    ],
    ids=lambda spec: spec.model,
)
def test_every_kind_of_model_comes_back_as_it_was(spec: Spec, tmp_path: Path) -> None:
    model = build_model(spec)
    path = tmp_path / "model.safetensors"
    save_model(path, model.state_dict(), replace(card(), spec=spec))
    loaded, found = load_model(path, CPU)
    assert found.spec == spec
    assert type(loaded) is type(model)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("changes", [{"legend": 3}, {"spec": {}}, {"hsi": {}}])
def test_a_damaged_description_is_refused(saved: Path, changes: dict[str, object]) -> None:
    rewrite(saved, **changes)
    with pytest.raises(ModelFileError, match="damaged"):
        read_card(saved)


def test_weights_that_do_not_fit_are_refused(saved: Path) -> None:
    rewrite(saved)
    with pytest.raises(ModelFileError, match="do not fit"):
        load_model(saved, CPU)


def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    broken = card()
    object.__setattr__(broken, "gsd_m", float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        save_model(tmp_path / "model.safetensors", {}, broken)
    assert list(tmp_path.iterdir()) == []
