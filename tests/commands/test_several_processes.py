"""Training in several processes, as torchrun starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli import comix

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `comix ARGUMENTS` in two processes at once."""
    command = [*TORCHRUN, "-m", "comix_cli", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )


TRAIN = (
    "train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--preset", "nano", "--steps", "30",
    "--window", "32", "--device", "cpu", "-o", "together.safetensors",
)  # fmt: skip


def test_two_processes_train_one_model(scene: Path) -> None:
    finished = torchrun(scene, *TRAIN)
    assert finished.returncode == 0, finished.stderr
    # one line, by one of them
    assert finished.stderr.count("together.safetensors: HSI and 1 X raster(s)") == 1
    assert "Warning" not in finished.stderr
    card = json.loads(comix(scene, "info", "together.safetensors", "--json").out)
    assert card["training"]["steps"] == 30
    assert card["training"]["last_loss"] < 0.6 * card["training"]["first_loss"]
    mapped = comix(
        scene, "classify", "hsi.tif", "lidar.tif", "-m", "together.safetensors", "-o", "map.tif"
    )
    assert mapped.code == 0, mapped.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--batch-size", "3"), "cannot be shared out among 2 processes"),
        (("--accumulate", "4"), "give a multiple of 8"),
    ],
)
def test_what_two_processes_cannot_do_is_refused(
    scene: Path, more: tuple[str, ...], message: str
) -> None:
    refused = torchrun(scene, *TRAIN, *more)
    assert refused.returncode != 0
    errors = [line for line in refused.stderr.splitlines() if line.startswith("Error: ")]
    assert errors
    assert all(message in line for line in errors)
    # torchrun tells where it was itself; none of it is ours.
    assert "comix_cli/" not in refused.stderr
    assert not (scene / "together.safetensors").exists()
