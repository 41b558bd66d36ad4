"""Batches on one machine, and what happens to them: killed workers, signals, full disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alone import HereCrew
from cli import Outcome, comix, running
from huge import (
    BATCH,
    OPTIONS,
    TABLE,
    as_classified,
    children,
    finished_parts,
    is_alive,
    partial,
    same,
    until,
)
from numpy.typing import NDArray

from comix_cli.tools.classify_job import ready
from comix_cli.tools.classify_parts import assemble

FOUR_PARTS = (*BATCH, "--workers", "2", "--parts", "4")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Work is done in this process; the list tells which parts are really computed."""
    monkeypatch.setattr("comix_cli.tools.batch_crew.ProcessCrew", HereCrew)
    found: list[Any] = []

    def counted(options: Any, scene: Any, part: Any) -> Any:
        found.append(part)
        return ready(options, scene, part)

    monkeypatch.setattr("comix_cli.tools.classify_parts.ready", counted)
    return found


def again(folder: Path, *options: str) -> Outcome:
    return comix(folder, "batch", TABLE, *OPTIONS, "-q", *options)


def log(folder: Path) -> str:
    path = folder / "scenes-batch/logs/huge.log"
    return path.read_text() if path.exists() else ""


def test_a_worker_that_is_killed_loses_a_part_and_no_more(
    huge: Path, expected: NDArray[Any]
) -> None:
    with running(huge, *FOUR_PARTS) as process:
        until(lambda: "[part 2 of 4] begins" in log(huge))
        os.kill(children(process.pid)[0], signal.SIGKILL)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert same(huge, expected)
    assert "was killed (SIGKILL), as the system does where memory runs out" in log(huge)
    assert not partial(huge)
    assert not finished_parts(huge)  # they have become the map


def test_where_comix_itself_is_killed_its_workers_end_and_the_next_run_goes_on(
    huge: Path, expected: NDArray[Any], computed: list[Any]
) -> None:
    with running(huge, *FOUR_PARTS) as process:
        until(lambda: finished_parts(huge))
        workers = children(process.pid)
        process.kill()
        process.wait()
        until(lambda: not any(map(is_alive, workers)))
    assert len(workers) == 2
    assert not (huge / "map.tif").exists()
    kept = len(finished_parts(huge))
    assert kept >= 1
    done = again(huge)  # without --parts: what was cut stays cut alike
    assert done.code == 0, done.err
    assert same(huge, expected)
    assert len(computed) == 4 - kept
    assert not partial(huge)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_batch_says_how_to_go_on_and_does(
    huge: Path, expected: NDArray[Any], computed: list[Any], signum: signal.Signals, code: int
) -> None:
    with running(huge, *interruptible(*FOUR_PARTS)) as process:
        until(lambda: finished_parts(huge))
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "scenes-batch keeps what has been done: the same command goes on" in err
    assert "Traceback" not in err
    assert not partial(huge)
    assert not (huge / "map.tif").exists()
    document = json.loads((huge / "scenes-batch/summary.json").read_text())
    assert document["results"][0]["status"] == "interrupted"
    kept = len(finished_parts(huge))
    assert again(huge).code == 0
    assert same(huge, expected)
    assert len(computed) == 4 - kept


def interruptible(*command: str) -> tuple[str, ...]:
    """A test runner in the background of a shell hands on that SIGINT is ignored."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; sys.argv[0] = 'comix'\n"
        "from comix_cli.commands.app import main\n"
        "if __name__ == '__main__': main()\n"
    )
    return (command[0], "-c", program, *command[3:])


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_costs_a_part_and_with_more_room_the_rest_is_done(
    huge: Path, expected: NDArray[Any], computed: list[Any], tmp_path: Path
) -> None:
    # A part of the map takes 66 kB; two of them fit, and what says so.
    with small_disk(tmp_path, 180_000) as disk:
        (huge / TABLE).write_text(f"id,hsi,x,out\nhuge,hsi.tif,x.tif,{disk}/map.tif\n")
        done = again(huge, "--parts", "4", "--retries", "0")
        assert done.code == 3
        assert "the disk is full; free some space" in done.error
        assert not partial(disk)
        assert not (disk / "map.tif").exists()
        kept = len(finished_parts(disk))
        assert 1 <= kept < 4
        computed.clear()
        subprocess.run(["mount", "-o", "remount,size=50M", str(disk)], check=True)
        done = again(huge)
        assert done.code == 0, done.err
        assert len(computed) == 4 - kept
        assert same(disk, expected)
        assert not finished_parts(disk)


def test_a_part_that_is_damaged_on_the_disk_is_made_again(
    huge: Path, expected: NDArray[Any], computed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_damage(options: Any, cut: Any, folder: Path, *others: Any, **more: Any) -> Any:
        rows = max(folder.iterdir(), key=lambda path: path.stat().st_size)
        values = bytearray(rows.read_bytes())
        values[7] ^= 1
        rows.write_bytes(values)
        monkeypatch.setattr("comix_cli.tools.batch_work.assemble", assemble)
        return assemble(options, cut, folder, *others, **more)

    monkeypatch.setattr("comix_cli.tools.batch_work.assemble", after_damage)
    done = again(huge, "--parts", "4")
    assert done.code == 0, done.err
    assert len(computed) == 5
    assert same(huge, expected)
    assert "damaged" in log(huge)


def test_parts_of_changed_inputs_are_not_mixed(
    huge: Path, computed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise OSError("the machine stopped")

    monkeypatch.setattr("comix_cli.tools.batch_work.assemble", fails)
    assert again(huge, "--parts", "4", "--retries", "0").code == 3
    assert len(finished_parts(huge)) == 4
    monkeypatch.undo()
    monkeypatch.setattr("comix_cli.tools.batch_crew.ProcessCrew", HereCrew)
    x = huge / "x.tif"
    values = x.read_bytes()
    x.unlink()  # it is a link to the file of other tests
    x.write_bytes(values[:-5000] + bytes(5000))
    computed.clear()
    assert again(huge, "--parts", "4").code == 0
    assert same(huge, as_classified(huge))
    assert not finished_parts(huge)
