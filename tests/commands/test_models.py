"""Every kind of model goes the whole way: train, info, classify, evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from cli import Outcome, comix
from safetensors import safe_open
from scenes import make_scene

TRAIN = ("train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class",
         "--threads", "1", "--overwrite")  # fmt: skip
STEPS = ("--steps", "30", "--batch-size", "2", "--window", "32")
MODELS: dict[str, tuple[str, ...]] = {
    "comix": ("--preset", "nano", *STEPS),
    "unet": ("--width", "4", *STEPS),
    "fusion-fcn": ("--width", "8", *STEPS),
    "random-forest": ("--trees", "20", "--samples-per-class", "100"),
    "svm": ("--samples-per-class", "100"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_scene(folder, size=200)
    return folder


def train(folder: Path, model: str, *more: str | Path) -> Outcome:
    outcome = comix(folder, *TRAIN, "--model", model, *MODELS[model], *more)
    assert outcome.code == 0, outcome.err
    return outcome


def about(folder: Path, name: str = "model.safetensors") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(comix(folder, "info", name, "--json").out)
    return document


def tensors(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_every_kind_goes_the_whole_way(place: Path, model: str) -> None:
    trained = train(place, model)
    assert f", {model} of " in trained.err
    assert "validation: " in trained.err
    document = about(place)
    assert document["model"] == document["spec"]["model"] == model
    assert document["training"]["validation"]["history"][-1]["overall_accuracy"] > 0.4
    text = comix(place, "info", "model.safetensors").out
    assert f"{model}" in text
    assert document["size"] in text
    mapped = comix(place, "classify", "hsi.tif", "lidar.tif", "-o", f"{model}.tif", "--overwrite")
    assert mapped.code == 0, mapped.err
    report = comix(place, "evaluate", f"{model}.tif", "--gt", "labels.gpkg", "--json")
    assert json.loads(report.out)["overall_accuracy"] > 0.6


@pytest.mark.parametrize("model", [name for name in MODELS if name != "comix"])
def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_are_not(
    place: Path, tmp_path: Path, model: str
) -> None:
    quick = () if "--steps" not in MODELS[model] else ("--steps", "3")
    found = []
    for number, seed in enumerate(("7", "7", "8")):
        path = tmp_path / f"{number}.safetensors"
        train(place, model, *quick, "--seed", seed, "-o", path)
        found.append(tensors(path))
    one, same, other = found
    assert all((one[name] == same[name]).all() for name in one)
    assert not all(
        one[name].shape == other[name].shape and (one[name] == other[name]).all() for name in one
    )


@pytest.mark.parametrize("model", ["random-forest", "svm"])
def test_models_of_single_pixels_make_the_same_map_whatever_the_windows(
    place: Path, model: str
) -> None:
    train(place, model)
    maps = []
    for number, how in enumerate([(), ("--window", "40", "--overlap", "13"), ("--compile",)]):
        name = f"{model}{number}.tif"
        mapped = comix(place, "classify", "hsi.tif", "lidar.tif", "-o", name, *how, "--overwrite")
        assert mapped.code == 0, mapped.err
        with rasterio.open(place / name) as dataset:
            maps.append(dataset.read(1))
    assert (maps[0] == maps[1]).all()
    assert (maps[0] == maps[2]).all()
    planned = comix(place, "classify", "hsi.tif", "lidar.tif", "-o", "no.tif", "--dry-run")
    assert planned.code == 0, planned.err
    assert not (place / "no.tif").exists()


@pytest.mark.parametrize("model", ["unet", "random-forest", "svm"])
def test_the_hsi_alone_will_do(place: Path, model: str) -> None:
    arguments = [each for each in TRAIN if each != "lidar.tif"]
    quick = ("--steps", "2") if model == "unet" else ()
    trained = comix(place, *arguments, "--model", model, *MODELS[model], *quick)
    assert trained.code == 0, trained.err
    assert about(place)["spec"]["x_channels"] == 0
    mapped = comix(place, "classify", "hsi.tif", "-o", "alone.tif", "--overwrite")
    assert mapped.code == 0, mapped.err


def test_fusion_fcn_has_a_branch_for_every_raster_of_x_and_needs_one(place: Path) -> None:
    train(place, "fusion-fcn", "--steps", "1", "--x", "second=lidar.tif")
    assert about(place)["spec"]["x_groups"] == [1, 1]
    arguments = [each for each in TRAIN if each != "lidar.tif"]
    refused = comix(place, *arguments, "--model", "fusion-fcn")
    assert refused.code == 2
    assert "--model fusion-fcn: fuses the HSI with X, and no X is given" in refused.error


@pytest.mark.parametrize("model", ["random-forest", "svm"])
def test_a_grid_search_is_recorded_and_its_best_is_taken(place: Path, model: str) -> None:
    train(place, model, "--grid-search", "--samples-per-class", "40")
    training = about(place)["training"]
    assert training["recipe"]["grid_search"] is True
    best = max(training["search"], key=lambda each: each["accuracy"])
    assert training["settings"] == best["settings"]
    assert len(training["search"]) >= 4


@pytest.mark.parametrize(
    ("model", "option", "whose"),
    [
        ("unet", ("--preset", "nano"), "comix"),
        ("svm", ("--cmfex", "none"), "comix"),
        ("comix", ("--width", "8"), "unet and fusion-fcn"),
        ("comix", ("--trees", "5"), "random-forest"),
        ("unet", ("--samples-per-class", "5"), "random-forest and svm"),
        ("fusion-fcn", ("--grid-search",), "random-forest and svm"),
        ("svm", ("--trees", "5"), "random-forest"),
        ("random-forest", ("--steps", "5"), "comix, unet and fusion-fcn"),
        ("svm", ("--window", "32"), "comix, unet and fusion-fcn"),
        ("svm", ("--precision", "float32"), "comix, unet and fusion-fcn"),
    ],
)
def test_an_option_of_another_model_is_refused_with_both_names(
    place: Path, model: str, option: tuple[str, ...], whose: str
) -> None:
    refused = comix(place, *TRAIN, "--model", model, *option)
    assert refused.code == 2
    assert f"{option[0]} is not for --model {model}, but for {whose}" in refused.error


def test_defaults_of_the_project_wait_for_the_model_that_they_are_for(
    place: Path, tmp_path: Path
) -> None:
    project = '[train]\npreset = "nano"\nsteps = 3\ncmfex = "none"\nwidth = 8\ntrees = 7\n'
    (tmp_path / "comix.toml").write_text(project)
    names = [place / name for name in ("hsi.tif", "lidar.tif")]
    truth = ("--gt", place / "labels.gpkg", "--field", "class")
    for model, expected in (("random-forest", "7 trees"), ("comix", "3 steps")):
        trained = comix(tmp_path, "train", *names, *truth, "--model", model, "--overwrite")
        assert trained.code == 0, trained.err
        assert expected in trained.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "unet", "--window", "8"), "a U-Net needs windows of at least 16 pixels"),
        (("--model", "forest"), "'forest' is not one of"),
    ],
)
def test_what_a_model_cannot_be_is_refused(
    place: Path, arguments: tuple[str, ...], message: str
) -> None:
    refused = comix(place, *TRAIN, *arguments)
    assert refused.code == 2
    assert message in refused.err


def test_several_processes_do_not_fit_one_forest(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused = comix(place, *TRAIN, "--model", "svm")
    assert refused.code == 2
    assert "is fitted by one process" in refused.error
