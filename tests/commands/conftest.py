"""One small scene with a trained model and a map, made once for all tests of the commands."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pairs
import pytest
import sharp
from benches import SCENE, TWO
from cli import comix
from huge import TABLE, as_classified, write_huge_scene
from numpy.typing import NDArray
from scenes import make_scene

from comix_cli.progress import Progress
from comix_cli.sharpening.budget import Budget
from comix_cli.tools import sharp_hsi
from comix_cli.tools.sharpen import SharpenOptions, sharpen

TRAIN = ("train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class")
QUICK = (
    "--preset",
    "nano",
    "--steps",
    "40",
    "--batch-size",
    "2",
    "--window",
    "32",
    "-q",
    "--threads",
    "1",
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hsi.tif, lidar.tif, labels.gpkg, model.safetensors and map.tif; look only."""
    folder = tmp_path_factory.mktemp("finished")
    make_scene(folder)
    trained = comix(folder, *TRAIN, *QUICK)
    assert trained.code == 0, trained.err
    mapped = comix(folder, "classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "-q")
    assert mapped.code == 0, mapped.err
    return folder


@pytest.fixture
def scene(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished folder without the map, to do anything with."""
    folder = tmp_path / "scene"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("map.*"))
    return folder


@pytest.fixture(scope="session")
def benchmarked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, and a finished benchmark of two methods in `b`; look only."""
    folder = tmp_path_factory.mktemp("benchmark")
    make_scene(folder)
    labels = geopandas.read_file(folder / "labels.gpkg")
    odd = labels["plot"] % 2 == 1
    labels[~odd].to_file(folder / "train.gpkg")
    labels[odd].to_file(folder / "test.gpkg")
    outcome = comix(folder, *SCENE, *TWO, "-o", "b")
    assert outcome.code == 0, outcome.err
    (folder / "printed.txt").write_text(outcome.out)
    return folder


@pytest.fixture
def copied(benchmarked: Path, tmp_path: Path) -> Path:
    """A copy of it to do anything with."""
    folder = tmp_path / "copied"
    shutil.copytree(benchmarked, folder)
    return folder


@pytest.fixture(scope="session")
def huge_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene that is worth cutting, a model and a table; look only."""
    return write_huge_scene(tmp_path_factory.mktemp("huge"))


@pytest.fixture(scope="session")
def expected(huge_files: Path) -> NDArray[Any]:
    """The pixels that `comix classify` makes of it."""
    return as_classified(huge_files)


@pytest.fixture
def huge(huge_files: Path, tmp_path: Path) -> Path:
    """A folder of its own with these files; the rasters are links, and not to be changed."""
    folder = tmp_path / "huge"
    folder.mkdir()
    for name in ("hsi.tif", "x.tif", "model.safetensors"):
        (folder / name).hardlink_to(huge_files / name)
    shutil.copy(huge_files / TABLE, folder)
    return folder


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hsi.tif, x.tif and truth.tif; look only."""
    return pairs.write_pair(tmp_path_factory.mktemp("pair"), pairs.painted())


@pytest.fixture
def pair(painted: Path, tmp_path: Path) -> Path:
    """A copy of it to do anything with."""
    return Path(shutil.copytree(painted, tmp_path / "pair"))


@pytest.fixture
def sharp_place(tmp_path: Path) -> Path:
    """A pair to sharpen, with labels, to do anything with."""
    return sharp.write_place(tmp_path)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> list[SharpenOptions]:
    """`--sharpen` with little learning; the list tells how often."""
    calls: list[SharpenOptions] = []

    def quick(options: SharpenOptions, progress: Progress) -> dict[str, Any]:
        calls.append(options)
        return sharpen(replace(options, budget=Budget(1)), progress)

    monkeypatch.setattr(sharp_hsi, "sharpen", quick)
    return calls
