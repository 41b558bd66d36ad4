"""What a second worker brings: one huge scene in parts, and many small scenes.

Run on a quiet machine::

    python tests/benchmarks/bench_batch.py

Workers are started beforehand and have one thread each; what is timed is the work. What two cores
allow is measured too: whole scenes given to the same workers by hand. Cores share memory, caches
and perhaps more, so that two are not twice as fast as one. All of it takes turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.big_scene import write_big_scene
from rich.console import Console
from rich.table import Table

from comix_cli.progress import Silent
from comix_cli.scale.cluster import ClusterCrew
from comix_cli.scale.crew import Crew, Done, Failed, Task
from comix_cli.scale.processes import ProcessCrew
from comix_cli.tools.batch import BatchOptions, batch
from comix_cli.tools.batch_jobs import Scene
from comix_cli.tools.batch_orders import Order
from comix_cli.tools.batch_work import do_scene, slots
from comix_cli.tools.classify_job import ClassifyOptions
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.output_files import OutputOptions

HUGE, SMALL, COUNT = 2000, 400, 16


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", choices=("huge", "small"), help="leave the other work out")
    arguments = parser.parse_args()
    table = Table("work", "workers", "one (s)", "two (s)", "speed-up", "the cores allow", "share")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_big_scene(folder / "huge", (HUGE, HUGE))
        write_big_scene(folder / "small", (SMALL, SMALL))
        for kind, workers in (("processes", processes), ("Dask", dask)):
            with workers(1) as one, workers(2) as two:
                for crew, count in ((one, 1), (two, 2)):  # each worker imports what it needs
                    side_by_side(folder / "small", crew, count)
                for name, scenes in (("huge", 1), ("small", COUNT)):
                    if arguments.only in (None, name):
                        turns = range(arguments.times)
                        found = [measure(folder / name, scenes, one, two) for _ in turns]
                        table.add_row(f"{scenes} {name}", kind, *figures(found))
    Console(width=100).print(table)


def figures(found: list[tuple[float, float, float]]) -> Iterator[str]:
    """Of each turn the seconds of one worker and of two, and the speed-up that cores allow."""
    one, two, allowed = (statistics.median(column) for column in zip(*found, strict=True))
    yield from (f"{one:.1f}", f"{two:.1f}", f"{one / two:.2f}", f"{allowed:.2f}")
    yield f"{one / two / allowed:.2f}"


def measure(source: Path, scenes: int, one: Crew, two: Crew) -> tuple[float, float, float]:
    """One turn."""
    count = max(2, scenes)
    allowed = side_by_side(source, one, count) / side_by_side(source, two, count)
    return run(source, scenes, one), run(source, scenes, two), allowed


def run(source: Path, scenes: int, crew: Crew) -> float:
    """Seconds of a batch."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        jobs = [job(source, folder / f"{number}.tif") for number in range(scenes)]
        listed = tuple(Scene(str(n), "", each) for n, each in enumerate(jobs))
        options = BatchOptions(listed, folder / "batch", retries=0)
        begin = time.perf_counter()
        outcomes = batch(options, lambda: kept(crew), Silent())
        taken = time.perf_counter() - begin
        assert all(outcome.status == "done" for outcome in outcomes)
    return taken


def side_by_side(source: Path, crew: Crew, count: int) -> float:
    """Seconds of so many classifications, each of all of the scene."""
    model = (source / "model.safetensors").read_bytes()
    crew.give("bench", model)
    with tempfile.TemporaryDirectory() as place:
        begin = time.perf_counter()
        for number in range(count):
            order = Order(job(source, Path(place) / f"{number}.tif"), model="bench")
            crew.submit(Task(f"{place}-{number}", do_scene, (order,)))
        left = count
        while left:
            event = crew.wait()
            assert not isinstance(event, Failed), event
            left -= isinstance(event, Done)
        return time.perf_counter() - begin


def job(source: Path, target: Path) -> ClassifyOptions:
    """The scene of a folder."""
    inputs = SceneInputs(str(source / "hsi.tif"), (str(source / "x.tif"),))
    return ClassifyOptions(
        inputs, source / "model.safetensors", OutputOptions(target), device="cpu"
    )


@contextmanager
def kept(crew: Crew) -> Iterator[Crew]:
    """A crew that is used again afterwards."""
    yield crew


@contextmanager
def processes(count: int) -> Iterator[Crew]:
    """Workers on this machine."""
    with ProcessCrew(count, threads=1) as crew:
        yield crew


@contextmanager
def dask(count: int) -> Iterator[Crew]:
    """Workers of a cluster of processes."""
    from distributed import LocalCluster

    with (
        LocalCluster(  # type: ignore[no-untyped-call]  # distributed leaves it untyped
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        ClusterCrew(cluster.scheduler_address, slots=slots) as crew,
    ):
        yield crew


if __name__ == "__main__":
    main()
