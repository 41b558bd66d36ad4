"""comix train with fewer labels than there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli import Outcome, comix
from quick_models import MODELS, quick
from safetensors.numpy import load_file
from scenes import make_scene

from comix_cli.learning import checkpoint
from comix_cli.learning.steps import Step

TRAIN = ("train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class",
         "--threads", "1")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    make_scene(folder, size=200)
    return folder


def train(folder: Path, model: str, *more: str) -> Outcome:
    return comix(folder, *TRAIN, *quick(model, steps=2, batch_size=1), *more)


def trained(folder: Path, model: str, *more: str) -> dict[str, Any]:
    """What the model's card says of its training."""
    outcome = train(folder, model, "--overwrite", *more)
    assert outcome.code == 0, outcome.err
    card = json.loads(comix(folder, "info", "model.safetensors", "--json").out)
    training: dict[str, Any] = card["training"]
    return training


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("validation", ["auto", "none"])
def test_every_model_trains_on_few_labels(place: Path, model: str, validation: str) -> None:
    training = trained(place, model, "--labels-per-class", "3", "--validation", validation)
    assert set(training["labelled_pixels"].values()) == {3}
    assert training["label_budget"] == {"fraction": 1.0, "per_class": 3}


def test_a_single_label_of_each_class_will_do(place: Path) -> None:
    training = trained(place, "svm", "--label-fraction", "1e-9")
    assert set(training["labelled_pixels"].values()) == {1}


def test_labels_that_judge_stay(place: Path) -> None:
    whole = trained(place, "random-forest")
    few = trained(place, "random-forest", "--label-fraction", "0.1")
    for name, pixels in whole["labelled_pixels"].items():
        assert few["labelled_pixels"][name] == round(0.1 * pixels)
    assert few["samples"] == sum(few["labelled_pixels"].values())
    one, other = (each["validation"] for each in (whole, few))
    assert one["blocks"] == other["blocks"]
    assert one["history"][-1]["pixels"] == other["history"][-1]["pixels"]


def test_the_seed_decides_which(place: Path) -> None:
    forests = []
    for seed in ("1", "1", "2"):
        training = trained(place, "random-forest", "--labels-per-class", "20", "--seed", seed,
                           "--validation", "none")  # fmt: skip
        assert set(training["labelled_pixels"].values()) == {20}
        forests.append(load_file(place / "model.safetensors"))
    one, same, other = forests
    assert all((one[name] == same[name]).all() for name in one)
    assert any(one[n].shape != other[n].shape or (one[n] != other[n]).any() for n in one)


def test_a_budget_in_two_ways_or_of_nothing_is_refused(place: Path) -> None:
    both = train(place, "svm", "--label-fraction", "0.5", "--labels-per-class", "5")
    assert both.code == 2
    assert "--label-fraction and --labels-per-class contradict each other" in both.error
    for option, value in [
        ("--label-fraction", "0"), ("--label-fraction", "1.5"),
        ("--labels-per-class", "0"),
    ]:  # fmt: skip
        refused = train(place, "svm", option, value)
        assert refused.code == 2, (option, value)
        assert option in refused.error


def test_a_training_is_not_gone_on_with_on_other_labels(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PAUSE_S", 0)
    inner, done = Step.__call__, []

    def interrupted(self: Step, *arguments: Any) -> float:
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt
        return inner(self, *arguments)

    few = ("-o", "few.safetensors", "--label-fraction", "0.5")
    with monkeypatch.context() as patched:
        patched.setattr(Step, "__call__", interrupted)
        assert train(place, "unet", *few).code == 130
    assert (place / "few.checkpoint.safetensors").exists()
    for other in (few[:2], (*few[:3], "0.4"), (*few[:2], "--labels-per-class", "9999")):
        refused = train(place, "unet", *other, "--resume")
        assert refused.code == 1
        assert "is of a training with other options, inputs or ground truth" in refused.error
    resumed = train(place, "unet", *few, "--resume")
    assert resumed.code == 0, resumed.err
