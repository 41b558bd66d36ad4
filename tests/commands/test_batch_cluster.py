"""`comix batch` on a Dask cluster of real processes: the same bits as on one machine."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli import Outcome, comix, running
from dask_processes import Dask
from dask_processes import dask as dask_processes
from distributed import LocalCluster
from huge import (
    BATCH,
    OPTIONS,
    TABLE,
    finished_parts,
    partial,
    pixels,
    same,
    until,
)
from numpy.typing import NDArray


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    make: Any = LocalCluster  # without types
    with make(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        memory_limit=0,
        silence_logs=60,
    ) as found:
        yield found


def on(cluster: LocalCluster, folder: Path, *options: str) -> Outcome:
    address = cluster.scheduler_address
    return comix(folder, "batch", TABLE, *OPTIONS, "-q", "--scheduler", address, *options)


def log(folder: Path) -> str:
    path = folder / "scenes-batch/logs/huge.log"
    return path.read_text() if path.exists() else ""


def test_a_scene_in_parts_is_the_same_as_on_one_machine(
    cluster: LocalCluster, huge: Path, expected: NDArray[Any]
) -> None:
    done = on(cluster, huge)
    assert done.code == 0, done.err
    assert same(huge, expected)
    assert "is done in 2 parts" in log(huge)
    assert len({line.split()[1] for line in log(huge).splitlines() if "part" in line}) == 2
    assert {path.name for path in huge.iterdir() if path.name.startswith(".")} == set()


def test_many_scenes_are_spread_and_failures_name_the_worker(
    cluster: LocalCluster, huge: Path, expected: NDArray[Any]
) -> None:
    rows = [f"{n},hsi.tif,x.tif,maps/{n}.tif" for n in range(4)]
    rows[3] = "3,hsi.tif,nowhere.tif,maps/3.tif"
    (huge / TABLE).write_text("\n".join(["id,hsi,x,out", *rows]) + "\n")
    done = on(cluster, huge, "--retries", "0", "--json")
    assert done.code == 3
    assert "tcp://127.0.0.1:" in done.error
    assert "nowhere.tif: there is no such file" in done.error
    results = json.loads(done.out)["results"]
    assert len({each["worker"] for each in results}) == 2
    for n in range(3):
        assert np.array_equal(pixels(huge / f"maps/{n}.tif"), expected)


def test_a_worker_that_is_killed_costs_what_it_was_doing(
    cluster: LocalCluster, huge: Path, expected: NDArray[Any]
) -> None:
    before = {worker.pid for worker in cluster.workers.values()}

    def kill() -> None:
        until(lambda: "[part 2 of 6] begins" in log(huge))
        os.kill(min(worker.pid for worker in cluster.workers.values()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = on(cluster, huge, "--parts", "6")
    killer.join()
    assert done.code == 0, done.err
    assert same(huge, expected)
    assert "its worker went away" in log(huge)
    until(lambda: len({w.pid for w in cluster.workers.values() if w.pid} - before) == 1)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Dask]:
    folder = tmp_path / "dask"
    folder.mkdir()
    with dask_processes(folder) as found:
        yield found


def test_a_scheduler_that_is_started_again_gets_the_rest_of_the_work(
    processes: Dask, huge: Path, expected: NDArray[Any]
) -> None:
    first = processes.scheduler()
    workers = [processes.worker("--nthreads", "1") for _ in range(2)]
    command = (*BATCH, "--parts", "6", "--scheduler", processes.address)
    with running(huge, *command) as process:
        until(lambda: finished_parts(huge))
        processes.kill(first)
        for worker in workers:
            processes.kill(worker)
        kept = len(finished_parts(huge))
        processes.scheduler()
        for _ in range(2):
            processes.worker("--nthreads", "1")
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err + processes.logs()
    assert kept >= 1
    assert same(huge, expected)
    assert not partial(huge)


def test_without_a_scheduler_what_is_done_is_kept_and_one_machine_goes_on(
    processes: Dask, huge: Path, expected: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = processes.scheduler()
    worker = processes.worker("--nthreads", "1")
    impatient(monkeypatch, seconds=3)

    def kill() -> None:
        until(lambda: finished_parts(huge))
        processes.kill(scheduler)
        processes.kill(worker)

    killer = threading.Thread(target=kill)
    killer.start()
    options = ("--parts", "6", "-q", "--scheduler", processes.address)
    done = comix(huge, "batch", TABLE, *OPTIONS, *options)
    killer.join()
    assert done.code == 1
    assert "what is done is kept; give the same command again" in done.error
    assert not (huge / "map.tif").exists()
    kept = len(finished_parts(huge))
    assert kept >= 1
    times = {path: path.stat().st_mtime_ns for path in finished_parts(huge)}
    time.sleep(0.01)
    assert times  # they are as the cluster has left them
    done = comix(huge, "batch", TABLE, *OPTIONS, "-q", "--workers", "1", "--threads", "1")
    assert done.code == 0, done.err
    assert same(huge, expected)


def impatient(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    from comix_cli.scale.cluster import ClusterCrew

    def soon(scheduler: str, **options: Any) -> ClusterCrew:
        return ClusterCrew(scheduler, patience=seconds, **options)

    monkeypatch.setattr("comix_cli.tools.batch_crew.ClusterCrew", soon)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--scheduler", "tcp://127.0.0.1:9", "--workers", "2"), 2, "--workers is of this machine"),
        (("--scheduler", "no-such-file.json"), 1, "no-such-file.json"),
    ],
)
def test_a_cluster_that_cannot_be_is_told_in_a_line(
    huge: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    done = comix(huge, "batch", TABLE, *OPTIONS, "-q", *options)
    assert done.code == code, done.err
    assert said in done.error
