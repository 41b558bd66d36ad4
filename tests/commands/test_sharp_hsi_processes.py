"""`--sharpen` in several processes, in two runs at the same time, and when it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli import comix, files, running
from pairs import painted, write_x
from sharp import TRAIN

from comix_cli.progress import Progress, Silent
from comix_cli.sharpening.budget import Budget
from comix_cli.tools import sharp_hsi
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.sharp_hsi import FOLDER, plan_sharp_hsi
from comix_cli.tools.sharpen import SharpenOptions, sharpen

# `comix` that says when it sharpens, and learns for a given number of steps.
PROGRAM = """
import signal, sys
from dataclasses import replace
# A test runner in the background of a shell hands on that SIGINT is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from comix_cli.sharpening.budget import Budget
from comix_cli.tools import sharp_hsi
sharpen = sharp_hsi.sharpen
def told(options, progress):
    print("now it sharpens", file=sys.stderr, flush=True)
    return sharpen(replace(options, budget=Budget({steps})), progress)
sharp_hsi.sharpen = told
from comix_cli.commands.app import main
main()
"""
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")


@contextmanager
def started(folder: Path, program: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """`--sharpen` in a real process, or several; none outlives this."""
    options = (*TRAIN, "--device", "cpu", "-o", "m.safetensors", "--sharpen")
    with running(folder, *command, str(program), *options) as process:
        yield process


def program(folder: Path, steps: int) -> Path:
    path = folder / "program.py"
    path.write_text(PROGRAM.format(steps=steps))
    return path


def test_of_two_processes_one_sharpens_and_both_train(sharp_place: Path) -> None:
    with started(sharp_place, program(sharp_place, 1), *TORCHRUN) as process:
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err.count("now it sharpens") == 1
    assert err.count("m.safetensors: HSI and 1 X raster(s)") == 1
    assert len(list((sharp_place / FOLDER).iterdir())) == 1


def test_where_the_first_process_fails_it_alone_tells_why(sharp_place: Path) -> None:
    x = painted().x
    noise = np.random.default_rng(0).integers(100, 5000, x.shape).astype(x.dtype)
    write_x(sharp_place / "x.tif", noise)
    path = program(sharp_place, 1)
    before = files(sharp_place)
    with started(sharp_place, path, *TORCHRUN) as process:
        _, err = process.communicate(timeout=300)
    assert process.returncode != 0
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, err
    assert "no band of it follows the HSI" in errors[0]
    assert "comix_cli/" not in err
    assert files(sharp_place) == before


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sharpening_leaves_what_was_there(
    sharp_place: Path, signum: signal.Signals, code: int
) -> None:
    if signum == signal.SIGTERM:
        (sharp_place / FOLDER).mkdir()
        (sharp_place / FOLDER / "hsi-of-another-x.tif").write_bytes(b"kept")
    path = program(sharp_place, 1_000_000)
    before = files(sharp_place)
    with started(sharp_place, path, sys.executable) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "now it sharpens\n":
                break
        time.sleep(2)  # it learns
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert len([line for line in err.splitlines() if line.startswith("Error: ")]) == 1, err
    assert "Traceback" not in err
    assert files(sharp_place) == before


def test_of_two_runs_at_a_time_neither_disturbs_the_other(
    sharp_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one sharpens, a second one fails and a third one is done with the same pair."""
    inputs = SceneInputs(str(sharp_place / "hsi.tif"), (str(sharp_place / "x.tif"),), sharpen=True)
    plan = plan_sharp_hsi(inputs, Silent())

    def quick(options: SharpenOptions, progress: Progress) -> dict[str, Any]:
        return sharpen(replace(options, budget=Budget(1)), progress)

    def fails(*_: object) -> dict[str, Any]:
        raise KeyboardInterrupt

    def meanwhile(options: SharpenOptions, progress: Progress) -> dict[str, Any]:
        monkeypatch.setattr(sharp_hsi, "sharpen", fails)
        with pytest.raises(KeyboardInterrupt):
            plan.make(progress)
        assert plan.kept.parent.is_dir()
        assert not plan.is_there
        monkeypatch.setattr(sharp_hsi, "sharpen", quick)
        plan.make(progress)
        assert plan.is_there
        return quick(options, progress)

    monkeypatch.setattr(sharp_hsi, "sharpen", meanwhile)
    plan.make(Silent())
    assert list(plan.kept.parent.iterdir()) == [plan.kept]
    assert comix(sharp_place, "info", plan.kept).code == 0
