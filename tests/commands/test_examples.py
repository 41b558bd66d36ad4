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


def test_the_batch_of_fifty_scenes_of_which_five_are_broken(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "there/comix-demo")
    done = run(EXAMPLES / "batch/run.sh", "there", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scenes = tmp_path / "there/scenes"
    assert len(list(scenes.glob("*/map.tif"))) == 50
    named = [line.split(",")[:2] for line in done.stdout.splitlines() if ",failed," in line]
    assert named == [[f"{number:02}", "failed"] for number in (4, 14, 24, 34, 44)]
    first, second = done.stdout.split("44,failed,")
    assert [row.split()[1::2] for row in first.splitlines() if "│" in row] == [
        ["done", "45"], ["failed", "5"],
    ]  # fmt: skip
    assert [row.split()[1::2] for row in second.splitlines() if "│" in row] == [
        ["unchanged", "45"], ["done", "5"],
    ]  # fmt: skip
    assert not (scenes / "scenes-batch/failed.csv").exists()


def test_the_batch_on_a_cluster(finished: Path, tmp_path: Path) -> None:
    for name in ("hsi.tif", "lidar.tif", "model.safetensors"):
        shutil.copy(finished / name, tmp_path)
    (tmp_path / "two.csv").write_text(
        "hsi,x,out\nhsi.tif,lidar.tif,a.tif\nhsi.tif,lidar.tif,b.tif\n"
    )
    done = run(EXAMPLES / "batch/cluster.sh", "two.csv", "model.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.tif").exists()


def test_shares_of_an_array_of_jobs(finished: Path, tmp_path: Path) -> None:
    for name in ("hsi.tif", "lidar.tif", "model.safetensors"):
        shutil.copy(finished / name, tmp_path)
    rows = "".join(f"hsi.tif,lidar.tif,{name}.tif\n" for name in "abc")
    (tmp_path / "three.csv").write_text(f"hsi,x,out\n{rows}")
    share = ("env", "SLURM_ARRAY_TASK_ID=2", "SLURM_ARRAY_TASK_COUNT=2")
    script = EXAMPLES / "batch/slurm.sh"
    done = run(*share, script, "three.csv", "model.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in sorted(tmp_path.glob("?.tif"))] == ["b.tif"]
