"""The examples run as they stand, on the files that the demo leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pairs import FWHM, WAVELENGTHS, painted, write_x
from scenes import make_scene

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def demo_files(tmp_path: Path) -> Path:
    """A folder with the names of the demo's files, and a smaller scene in them."""
    scene = make_scene(tmp_path / "comix-demo")
    shutil.copy(scene.labels, scene.folder / "train.gpkg")
    shutil.copy(scene.labels, scene.folder / "test.gpkg")
    return scene.folder


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    scripts = Path(sys.executable).parent
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_train_map_evaluate(demo_files: Path, tmp_path: Path) -> None:
    script = EXAMPLES / "train_map_evaluate.py"
    done = run(sys.executable, script, demo_files, "result", "--steps", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "overall accuracy" in done.stdout
    assert (tmp_path / "result" / "map.tif").exists()


def test_map_every_scene_names_what_failed_and_skips_what_is_done(
    finished: Path, tmp_path: Path
) -> None:
    scenes = tmp_path / "scenes"
    for name in ("east", "west", "broken"):
        (scenes / name).mkdir(parents=True)
        for raster in ("hsi.tif", "lidar.tif"):
            shutil.copy(finished / raster, scenes / name)
    (scenes / "broken" / "lidar.tif").write_text("dear diary")
    script = EXAMPLES / "map_every_scene.sh"
    first = run(script, finished / "model.safetensors", scenes, cwd=tmp_path)
    assert first.returncode == 3
    assert "failed: " in first.stderr
    assert "broken" in first.stderr
    assert (scenes / "east" / "map.tif").exists()
    assert not (scenes / "broken" / "map.tif").exists()
    (scenes / "broken" / "lidar.tif").unlink()
    shutil.copy(finished / "lidar.tif", scenes / "broken")
    again = run(script, finished / "model.safetensors", scenes, cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_walds_protocol(tmp_path: Path) -> None:
    truth = painted((48, 48)).fine.astype("float32")
    write_x(tmp_path / "sharp.tif", truth, wavelengths=WAVELENGTHS, fwhm=FWHM)
    script = EXAMPLES / "wald_protocol.py"
    options = ("--methods", "bicubic", "gsa", "--x-bands", "490:66,560:36,665:32,842:106")

    done = run(sys.executable, script, "sharp.tif", "result", *options, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    head, _, bicubic, gsa = done.stdout.splitlines()
    assert head == "| method | PSNR, dB | SSIM | SAM, degrees | ERGAS |"
    assert float(gsa.split(" | ")[1]) > float(bicubic.split(" | ")[1]) + 8
    assert (tmp_path / "result" / "gsa.tif").exists()
