"""What handing out tasks costs: a real Dask scheduler, many workers, tasks that only sleep.

Run on a quiet machine::

    PYTHONPATH=tests python tests/benchmarks/bench_scheduler.py
    PYTHONPATH=tests python tests/benchmarks/bench_scheduler.py --each 64
    PYTHONPATH=tests python tests/benchmarks/bench_scheduler.py --workers 50 --windows 5000

The scheduler is a process of its own, and so is the crew. The workers are real ones, each with its
connection to the scheduler, a few hundred in a process; there their tasks sleep in the event loop
and not in threads, of which a thousand would keep this machine busy with waking each other up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from crew_work import doze
from distributed import Worker, get_worker

from comix_cli.scale import attempt, dask_worker
from comix_cli.scale.cluster import ClusterCrew
from comix_cli.scale.crew import Done, Failed, Task

TESTS = Path(__file__).resolve().parents[1]
# For the workers alone: what each of a thousand does fifty times a second to watch its machine
# would keep the cores of this one busy, and has nothing to do with tasks.
CALM = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "60s",
    "DASK_DISTRIBUTED__ADMIN__TICK__CYCLE": "60s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "60s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED": "False",
    "DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "False",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "120s",
}

HEAD = (
    *("workers", "windows", "tasks", "wall s", "asleep s", "overhead a task ms"),
    *("CPU a task ms: scheduler", "workers", "crew", "scheduler MB"),
)


@dataclass(frozen=True)
class Run:
    """What handing out so many tasks took."""

    tasks: int
    wall_s: float
    ideal_s: float
    scheduler_mb: float
    scheduler_s: float
    workers_s: float
    crew_s: float

    @property
    def overhead_ms(self) -> float:
        """Time beyond the pure sleeping, divided among the tasks."""
        return 1e3 * (self.wall_s - self.ideal_s) / self.tasks


def python(
    *arguments: str, log: IO[str], settings: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a process that can import comix, these tests and Dask."""
    paths = (TESTS, TESTS.parent, TESTS.parent / "models")
    env = {**os.environ, **(settings or {}), "PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.Popen(
        [sys.executable, *arguments], env=env, text=True, stdout=log, stderr=log
    )


async def sleep_in_the_loop(crew: str, number: int, order: bytes) -> None:
    """What workers here do in place of `dask_worker.perform`."""
    with dask_worker._SLOTS[get_worker()].one() as slot:
        post = dask_worker.WorkerPost(get_worker(), crew, number, slot)
        post.send(attempt.STARTED)
        _, (seconds,) = pickle.loads(order)
        await asyncio.sleep(seconds)
        post.send(attempt.DONE, pickle.dumps(None))


async def work(address: str, number: int) -> None:
    """Be so many workers until the scheduler goes."""
    dask_worker.perform = sleep_in_the_loop  # type: ignore[assignment]  # found by its name
    kind: Any = Worker  # without types
    options = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "dashboard_address": None}
    with tempfile.TemporaryDirectory() as folder:
        make = (kind(address, local_directory=folder, **options) for _ in range(number))
        workers = [await each for each in make]
        await asyncio.gather(*(worker.finished() for worker in workers))


@contextmanager
def cluster(workers: int, processes: int) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and workers: its address, and the processes, the scheduler's first."""
    started: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w") as log:
        file = Path(folder, "scheduler.json")
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        tool = ("-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(file))
        started.append(python(*tool, *options, log=log))
        while not file.exists() or not file.read_text().endswith("}"):
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        for number in range(processes):
            share = workers // processes + (number < workers % processes)
            play = (__file__, "--play", address, str(share))
            started.append(python(*play, log=log, settings=CALM))
        try:
            yield address, [process.pid for process in started]
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


def measure(
    address: str, processes: Sequence[int], workers: int, tasks: int, seconds: float
) -> Run:
    """Let a crew do so many tasks of so many seconds each."""
    everybody = [*processes, os.getpid()]
    with ClusterCrew(address, patience=600) as crew:
        while crew.size < workers:
            crew.wait(0.5)
        begin, before = time.perf_counter(), [cpu_seconds(each) for each in everybody]
        for number in range(tasks):
            crew.submit(Task(f"part {number}", doze, (seconds,)))
        left = tasks
        while left:
            event = crew.wait()
            if isinstance(event, Failed) or event is None:
                raise SystemExit(f"failed: {event}")
            left -= isinstance(event, Done)
        wall = time.perf_counter() - begin
        spent = [cpu_seconds(each) - old for each, old in zip(everybody, before, strict=True)]
        ideal = -(-tasks // workers) * seconds
        memory = resident_mb(processes[0])
        return Run(tasks, wall, ideal, memory, spent[0], sum(spent[1:-1]), spent[-1])


def cpu_seconds(process: int) -> float:
    """CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: int) -> float:
    """Memory that a process holds."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--windows", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=1, help="windows in a task")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a window takes")
    parser.add_argument("--processes", type=int, default=2, help="that play the workers")
    parser.add_argument("--play", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        asyncio.run(work(options.play[0], int(options.play[1])))
        return
    tasks = -(-options.windows // options.each)
    begin = time.perf_counter()
    with cluster(options.workers, options.processes) as (address, processes):
        seconds = options.seconds * options.each
        run = measure(address, processes, options.workers, tasks, seconds)
        print(f"ready after {time.perf_counter() - begin - run.wall_s:.0f} s", file=sys.stderr)
    shares = (1e3 * each / tasks for each in (run.scheduler_s, run.workers_s, run.crew_s))
    row = (
        *(options.workers, options.windows, tasks),
        *(f"{run.wall_s:.1f}", f"{run.ideal_s:.1f}", f"{run.overhead_ms:.2f}"),
        *(f"{share:.2f}" for share in shares),
        f"{run.scheduler_mb:.0f}",
    )
    for line in (HEAD, ["---"] * len(HEAD), row):
        print(f"| {' | '.join(map(str, line))} |")


if __name__ == "__main__":
    main()
