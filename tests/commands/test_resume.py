"""A training that is killed goes on as if it had never stopped; what it leaves to look at."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from cli import Outcome, comix
from safetensors.torch import load_file
from scenes import make_scene

ARGUMENTS = (
    "train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class", "--preset", "nano",
    "--steps", "30", "--batch-size", "1", "--window", "16", "--threads", "1",
)  # fmt: skip
# Checkpoints after every step, and slow enough to be caught between two of them.
EAGER = (
    # A test runner in the background of a shell hands on that SIGINT is ignored.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "import time, comix_cli.learning.checkpoint as c, comix_cli.learning.loop as l;"
    "c.PAUSE_S = 0; step = l.Run.step;"
    "l.Run.step = lambda self, *a: (time.sleep(0.2), step(self, *a))[1];"
    "from comix_cli.commands.app import main; main()"
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    make_scene(folder, size=200)
    return folder


def train(folder: Path, output: str, *more: str) -> Outcome:
    return comix(folder, *ARGUMENTS, "-o", output, *more)


def card_of(folder: Path, model: str) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(comix(folder, "info", model, "--json").out)
    return card


def ended(folder: Path, output: str, signum: signal.Signals) -> tuple[Path, int, str]:
    """A training that a signal ends after some steps: its checkpoint, exit code and stderr."""
    checkpoint = folder / f"{Path(output).stem}.checkpoint.safetensors"
    command = [sys.executable, "-c", EAGER, *ARGUMENTS, "-o", output, "-q"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=env)
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)  # some more steps
    process.send_signal(signum)
    _, error = process.communicate(timeout=60)
    assert checkpoint.exists(), error
    return checkpoint, process.returncode, error


def test_a_killed_training_goes_on_bit_for_bit(scene: Path) -> None:
    assert train(scene, "whole.safetensors").code == 0
    checkpoint, code, error = ended(scene, "model.safetensors", signal.SIGKILL)
    assert code == -signal.SIGKILL, error
    assert not (scene / "model.safetensors").exists()

    refused = train(scene, "model.safetensors")
    assert refused.code == 1
    assert "is of a training that was interrupted; give --resume" in refused.error
    other = train(scene, "model.safetensors", "--resume", "--seed", "5")
    assert other.code == 1
    assert "is of a training with other options, inputs or ground truth" in other.error

    outcome = train(scene, "model.safetensors", "--resume")
    assert outcome.code == 0, outcome.err
    assert not checkpoint.exists()
    whole, resumed = (load_file(scene / f"{name}.safetensors") for name in ("whole", "model"))
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    one, other_card = (card_of(scene, f"{n}.safetensors")["training"] for n in ("whole", "model"))
    assert one["validation"] == other_card["validation"]
    assert one["last_loss"] == other_card["last_loss"]


@pytest.mark.parametrize(
    ("signum", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_who_interrupts_a_training_is_told_that_it_can_be_gone_on_with(
    scene: Path, signum: signal.Signals, code: int, word: str
) -> None:
    output = f"{word}.safetensors"
    checkpoint, found, error = ended(scene, output, signum)
    assert found == code, error
    assert not (scene / output).exists()
    assert [line for line in error.splitlines() if line] == [
        f"Error: {word}; {checkpoint.name} keeps what has been done: give --resume to go on with it"
    ]


def test_resuming_what_never_began_begins(scene: Path) -> None:
    outcome = train(scene, "fresh.safetensors", "--resume", "--steps", "2")
    assert outcome.code == 0, outcome.err


def test_a_damaged_checkpoint_is_refused_and_replaced_when_told_to(scene: Path) -> None:
    (scene / "d.checkpoint.safetensors").write_bytes(b"nothing")
    refused = train(scene, "d.safetensors", "--resume")
    assert refused.code == 1
    assert "d.checkpoint.safetensors: is no checkpoint, or a damaged one" in refused.error
    assert train(scene, "d.safetensors", "--overwrite", "--steps", "2").code == 0
    assert not (scene / "d.checkpoint.safetensors").exists()


def test_logs_are_a_table_curves_and_events(scene: Path) -> None:
    outcome = train(scene, "logged.safetensors", "--logs", "logs")
    assert outcome.code == 0, outcome.err
    with (scene / "logs" / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    steps = [row for row in rows if row["loss"]]
    looks = [row for row in rows if row["validation_oa"]]
    assert [int(row["step"]) for row in steps] == list(range(1, 31))
    history = card_of(scene, "logged.safetensors")["training"]["validation"]["history"]
    assert [float(row["validation_oa"]) for row in looks] == [
        look["overall_accuracy"] for look in history
    ]
    assert (scene / "logs" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((scene / "logs").glob("events.out.tfevents.*"))


def test_the_papers_recipe_and_single_changes_of_it(scene: Path) -> None:
    outcome = train(scene, "p.safetensors", "--recipe", "paper", "--steps", "2", "--cutmix", "0.5")
    assert outcome.code == 0, outcome.err
    recipe = card_of(scene, "p.safetensors")["training"]["recipe"]
    assert (recipe["optimiser"], recipe["schedule"]) == ("adam", "polynomial")
    assert (recipe["steps"], recipe["learning_rate"]) == (2, 0.001)
    assert recipe["augmentation"]["cutmix"] == 0.5
    assert recipe["augmentation"]["flips"] is False


def test_pixels_without_a_label_need_an_average_to_teach(scene: Path) -> None:
    outcome = train(scene, "c.safetensors", "--steps", "3", "--consistency", "0.5", "--chip", "99")
    assert outcome.code == 0, outcome.err
    recipe = card_of(scene, "c.safetensors")["training"]["recipe"]
    assert recipe["consistency"]["weight"] == 0.5
    assert recipe["chip"] == 16  # no more than the window
    refused = train(scene, "d.safetensors", "--consistency", "1", "--recipe", "paper")
    assert refused.code == 2
    assert "the averaged network teaches, and nothing is averaged; give --ema" in refused.error
