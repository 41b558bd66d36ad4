"""Every X by its name, and heights above the ground."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from cli import comix
from numpy.typing import NDArray
from scenes import ORIGIN, write_raster

QUICK = (
    *("--preset", "nano", "--steps", "2", "--batch-size", "1"),
    *("--window", "32", "--threads", "1", "-q"),
)
TRUTH = ("--gt", "labels.gpkg", "--field", "class")


def values(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        array: NDArray[Any] = dataset.read()
    return array


def classified(folder: Path, *arguments: str | Path) -> NDArray[Any]:
    """The map of a scene, whose name is given anew each time."""
    outcome = comix(folder, "classify", *arguments, "-o", "map.tif", "--overwrite", "-q")
    assert outcome.code == 0, outcome.err
    codes: NDArray[Any] = values(folder / "map.tif")[0]
    return codes


def same_map(scene: Path, finished: Path, *arguments: str | Path) -> None:
    """The scene in these words has the map of the plain ones."""
    np.testing.assert_array_equal(classified(scene, *arguments), values(finished / "map.tif")[0])


def test_an_x_may_have_a_name_that_resampling_knows(scene: Path, finished: Path) -> None:
    same_map(scene, finished, "hsi.tif", "--x", "lidar.tif")
    same_map(scene, finished, "hsi.tif", "--x", "dsm=lidar.tif")
    same_map(scene, finished, "hsi.tif", "dsm=lidar.tif")
    shifted = ("--res", "1.7", "hsi.tif")
    one = classified(scene, *shifted, "--x", "height=lidar.tif", "--resampling", "height=nearest")
    two = classified(scene, *shifted, "lidar.tif", "--resampling", "x1=nearest")
    np.testing.assert_array_equal(one, two)


def test_a_file_with_an_equals_sign_in_its_name_is_no_name(scene: Path, finished: Path) -> None:
    (scene / "lidar.tif").rename(scene / "year=2024.tif")
    same_map(scene, finished, "hsi.tif", "--x", "year=2024.tif")
    same_map(scene, finished, "hsi.tif", "--x", "dsm=year=2024.tif")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--x", "hsi=lidar.tif"), "--x hsi=...: the name is taken"),
        (("--x", "x1=lidar.tif"), "--x x1=...: the name is taken"),
        (("--x", "a=lidar.tif", "--x", "a=lidar.tif"), "--x a=...: the name is taken"),
        (("--x", "a=lidar.tif", "--resampling", "b=cubic"), "name one of a, hsi, x, x1"),
        (("--x", "a=lidar.tif", "lidar.tif", "--dtm", "d.tif"), "name it: --x dsm=FILE"),
        (("--dtm", "d.tif"), "which of the 0 X rasters is the surface model"),
    ],
)
def test_names_that_cannot_be_meant(scene: Path, options: tuple[str, ...], expected: str) -> None:
    outcome = comix(scene, "train", "hsi.tif", *options, *TRUTH, *QUICK, "--overwrite")
    assert outcome.code == 2
    assert expected in outcome.error


def write_terrain(scene: Path) -> None:
    """A hillside under the scene: `dtm.tif`, and `dsm.tif` with it under the lidar heights."""
    rows, cols = np.mgrid[:20, :20] * 7.0 + 3.5
    hill = (500 - 0.5 * rows + 0.25 * cols).astype(np.float32)
    corner = (ORIGIN[0] - 14, ORIGIN[1] + 14)
    write_raster(scene / "dtm.tif", hill[np.newaxis], res=7.0, origin=corner)
    rows, cols = np.mgrid[:48, :48] * 2.0 + 1 + 14
    ground = (500 - 0.5 * rows + 0.25 * cols).astype(np.float32)
    write_raster(scene / "dsm.tif", values(scene / "lidar.tif") + ground, res=2.0)


def test_heights_above_ground_are_those_of_the_lidar(scene: Path, finished: Path) -> None:
    write_terrain(scene)
    train = ("train", "hsi.tif", "dsm.tif", "--dtm", "dtm.tif", *TRUTH, "--overwrite")
    outcome = comix(scene, *train, *QUICK, "--steps", "40", "--batch-size", "2")
    assert outcome.code == 0, outcome.err
    card = json.loads(comix(scene, "info", "model.safetensors", "--json").out)
    assert [record["above_ground"] for record in card["inputs"]] == [False, True]
    assert [Path(item["path"]).name for item in card["training"]["inputs"]] == [
        "hsi.tif", "dsm.tif", "dtm.tif",
    ]  # fmt: skip
    assert card["training"]["inputs"][2]["role"] == "dtm"
    # A plane is interpolated exactly, so that the model is the one of the lidar heights.
    found = classified(scene, "hsi.tif", "dsm.tif", "--dtm", "dtm.tif")
    assert (found == values(finished / "map.tif")[0]).mean() > 0.98


def test_a_model_knows_whether_it_needs_a_terrain_model(scene: Path) -> None:
    write_terrain(scene)
    with_dtm = ("classify", "hsi.tif", "dsm.tif", "--dtm", "dtm.tif", "-o", "map.tif")
    outcome = comix(scene, *with_dtm)
    assert "dtm.tif: the model was trained without a terrain model" in outcome.error
    assert "leave --dtm out" in outcome.error
    train = ("train", "hsi.tif", "dsm.tif", "--dtm", "dtm.tif", *TRUTH, *QUICK, "--overwrite")
    assert comix(scene, *train).code == 0
    outcome = comix(scene, "classify", "hsi.tif", "dsm.tif", "-o", "map.tif")
    assert outcome.code == 1
    assert "dsm.tif: the model was trained on heights above ground" in outcome.error
    assert "--dtm" in outcome.error
    assert comix(scene, *with_dtm).code == 0


def test_of_several_x_the_one_named_dsm_is_made_relative(scene: Path) -> None:
    write_terrain(scene)
    three = ("hsi.tif", "lidar.tif", "--x", "dsm=dsm.tif", "--dtm", "dtm.tif")
    assert comix(scene, "train", *three, *TRUTH, *QUICK, "--overwrite").code == 0
    card = json.loads(comix(scene, "info", "model.safetensors", "--json").out)
    assert [record["above_ground"] for record in card["inputs"]] == [False, False, True]
    named = classified(scene, *three)
    # The model knows which one it is.
    known = classified(scene, "hsi.tif", "lidar.tif", "dsm.tif", "--dtm", "dtm.tif")
    np.testing.assert_array_equal(named, known)
    wrong = comix(scene, "classify", "hsi.tif", "dsm=lidar.tif", "dsm.tif",
                  "--dtm", "dtm.tif", "-o", "map.tif", "--overwrite")  # fmt: skip
    assert "heights above ground, made of dsm.tif" in wrong.error


def test_the_terrain_model_is_never_overwritten(scene: Path) -> None:
    write_terrain(scene)
    train = ("train", "hsi.tif", "dsm.tif", "--dtm", "dtm.tif", *TRUTH, *QUICK)
    outcome = comix(scene, *train, "-o", "dtm.tif", "--overwrite")
    assert outcome.code == 1
    assert "dtm.tif" in outcome.error


def test_names_and_terrain_stand_in_the_project_file(scene: Path) -> None:
    write_terrain(scene)
    section = 'inputs = ["hsi.tif"]\nx = ["dsm=dsm.tif"]\ndtm = "dtm.tif"\n'
    (scene / "comix.toml").write_text(
        f'[train]\n{section}gt = "labels.gpkg"\nfield = "class"\n'
        f'[classify]\n{section}output = "map.tif"\n'
    )
    outcome = comix(scene, "train", *QUICK, "--overwrite")
    assert outcome.code == 0, outcome.err
    card = json.loads(comix(scene, "info", "model.safetensors", "--json").out)
    assert card["inputs"][1]["above_ground"]
    assert comix(scene, "classify").code == 0


def test_a_terrain_model_is_one_band_and_no_other_input(scene: Path) -> None:
    classify = ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--dtm")
    itself = comix(scene, *classify, "lidar.tif")
    assert itself.code == 2
    assert "is the HSI or an X itself" in itself.error
    train = ("train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class")
    (scene / "many.tif").write_bytes((scene / "hsi.tif").read_bytes())
    many = comix(scene, *train, "--dtm", "many.tif", "-o", "other.safetensors")
    assert many.code == 1
    assert "12 bands, and a terrain model has one" in many.error
