"""comix train and the ground truth that judges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from cli import Outcome, comix
from scenes import make_scene

QUICK = ("--preset", "nano", "--steps", "4", "--batch-size", "1", "--window", "16", "--threads",
         "1", "--overwrite")  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    make_scene(folder, size=200)
    return folder


def train(folder: Path, *more: str) -> Outcome:
    arguments = ("train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class")
    return comix(folder, *arguments, *QUICK, *more)


def trained(folder: Path, *more: str) -> tuple[dict[str, Any], str]:
    """What the model's card says of its training, and what the command said."""
    outcome = train(folder, *more)
    assert outcome.code == 0, outcome.err
    shown = comix(folder, "info", "model.safetensors", "--json")
    card: dict[str, Any] = json.loads(shown.out)
    return card["training"], outcome.err


def test_some_of_the_ground_truth_judges_by_default(scene: Path) -> None:
    training, said = trained(scene)
    validation = training["validation"]
    assert validation["blocks"] > 0
    # two pixels of the HSI, which are three times as large as the 2 m of the grid
    assert validation["buffer_m"] == pytest.approx(12)
    steps = [look["step"] for look in validation["history"]]
    assert steps == sorted(set(steps))
    assert steps[-1] == 4
    assert all(0 <= look["overall_accuracy"] <= 1 for look in validation["history"])
    pixels = validation["history"][-1]["pixels"]
    assert f"of {pixels} pixels ({validation['blocks']} blocks held out)" in said
    everything = trained(scene, "--validation", "none")[0]
    left = sum(training["labelled_pixels"].values())
    assert left + pixels < sum(everything["labelled_pixels"].values())
    assert everything["validation"] is None


def test_two_runs_of_one_seed_are_equal(scene: Path) -> None:
    one, other = trained(scene)[0], trained(scene)[0]
    assert one["validation"] == other["validation"]
    assert one["last_loss"] == other["last_loss"]


def test_a_file_may_judge_and_its_classes_go_by_name(scene: Path) -> None:
    frame = geopandas.read_file(scene / "labels.gpkg")
    names = sorted(frame["class"].unique())
    judging = frame[frame["class"] != names[0]].iloc[::3]
    judging.to_file(scene / "validation.gpkg", layer="another")
    frame.drop(index=judging.index).to_file(scene / "rest.gpkg", layer="rest")
    apart = ("--gt", "rest.gpkg", "--layer", "rest", "--validation", "validation.gpkg")
    training, said = trained(scene, *apart)
    assert training["validation"]["file"] == "validation.gpkg"
    assert "(validation.gpkg)" in said
    assert "train as well" not in said
    # Of the whole ground truth some train and judge at once, which flatters.
    _, said = trained(scene, *apart[:-1], "labels.gpkg")
    assert "pixels train as well, so they do not judge" in said


def test_a_raster_of_classes_may_judge(scene: Path) -> None:
    with rasterio.open(scene / "lidar.tif") as lidar:
        profile = {**lidar.profile, "count": 1, "dtype": "uint8", "nodata": 0}
        codes = np.zeros((1, *lidar.shape), np.uint8)
    codes[0, ::2, :] = 1
    with rasterio.open(scene / "codes.tif", "w", **profile) as raster:
        raster.write(codes)
        raster.update_tags(1)
    frame = geopandas.read_file(scene / "labels.gpkg")
    numbers = {name: i + 1 for i, name in enumerate(sorted(frame["class"].unique()))}
    frame.assign(**{"class": frame["class"].map(numbers)}).to_file(scene / "numbers.gpkg")
    training, _ = trained(scene, "--gt", "numbers.gpkg", "--validation", "codes.tif")
    assert training["validation"]["file"] == "codes.tif"


def test_the_training_ground_itself_cannot_judge(scene: Path) -> None:
    refused = train(scene, "--validation", "labels.gpkg")
    assert refused.code == 1
    assert "holds no labelled pixel that does not train as well" in refused.error


def test_a_file_that_cannot_judge_is_refused(scene: Path) -> None:
    assert "there is no such file" in train(scene, "--validation", "nowhere.gpkg").error
    frame = geopandas.read_file(scene / "labels.gpkg")
    frame.assign(**{"class": "volcano"}).to_file(scene / "strange.gpkg")
    refused = train(scene, "--validation", "strange.gpkg")
    assert refused.code == 1
    assert "strange.gpkg: holds no labelled pixel of a class that is trained" in refused.error


def test_a_scene_with_too_little_ground_truth_trains_on_all_of_it(tmp_path: Path) -> None:
    make_scene(tmp_path, size=48)
    training, said = trained(tmp_path, "-v")
    assert training["validation"] is None
    assert "too little ground truth to hold some out" in said
