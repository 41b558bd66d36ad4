"""The wheel, installed into a fresh environment far from the source tree, does the main job."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.packaging


def run(*command: str | Path, cwd: Path) -> str:
    # Nothing of the source tree may help: neither its path nor its environment.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    run(*build, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment that holds nothing but the wheel and its needs."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet")
    pins = ROOT / "constraints.txt"
    torch = next(line for line in pins.read_text().splitlines() if line.startswith("torch=="))
    run(*pip, torch, cwd=folder)  # first and by itself, before a range can choose
    run(*pip, "-c", pins, wheel, cwd=folder)
    return folder / "bin"


def test_the_wheel_holds_both_packages_and_no_package_called_models(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {"comix_cli", "comix_models"} <= tops
    assert "models" not in tops
    assert "tests" not in tops


def test_the_installed_command_shows_its_help(installed: Path, tmp_path: Path) -> None:
    text = run(installed / "comix", "--help", cwd=tmp_path)
    for command in ("train", "classify", "evaluate", "info", "init", "demo"):
        assert command in text


def test_the_installed_command_does_the_main_job(installed: Path, tmp_path: Path) -> None:
    text = run(installed / "comix", "demo", "out", "--steps", "2", "-q", cwd=tmp_path)
    assert "overall accuracy" in text
    assert (tmp_path / "out" / "map.tif").stat().st_size > 0
    assert (tmp_path / "out" / "map.png").stat().st_size > 0
