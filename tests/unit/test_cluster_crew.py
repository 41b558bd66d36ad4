"""Work spread over a Dask cluster: real schedulers, real workers, real signals."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import crew_work as work
import dask
import pytest
from crew_work import eventually, failure, run
from dask_processes import Dask, free_port
from dask_processes import dask as dask_processes
from distributed import LocalCluster, Scheduler

from comix_cli import __version__
from comix_cli.errors import CrewError, UsageError
from comix_cli.scale import cluster
from comix_cli.scale.cluster import ClusterCrew
from comix_cli.scale.crew import Done, Failed, Said, Started, Task


def two() -> int:
    return 2


def local(**options: Any) -> LocalCluster:
    settings = {
        "processes": True,
        "n_workers": 2,
        "threads_per_worker": 1,
        "dashboard_address": ":0",
        "memory_limit": 0,
        "silence_logs": 60,
    }
    make: Any = LocalCluster  # without types
    return cast(LocalCluster, make(**(settings | options)))


def scheduler(cluster: LocalCluster) -> Scheduler:
    assert isinstance(cluster.scheduler, Scheduler)
    return cluster.scheduler


@pytest.fixture(scope="module")
def place() -> Iterator[LocalCluster]:
    """A cluster for tests that leave it as it was."""
    with local() as found:
        yield found


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Dask]:
    folder = tmp_path / "dask"
    folder.mkdir()
    with dask_processes(folder) as found:
        yield found


def crew_of(cluster: LocalCluster, **options: Any) -> ClusterCrew:
    return ClusterCrew(cluster.scheduler_address, patience=30, **options)


def doubles(*numbers: int) -> list[Task]:
    return [Task(f"t{n}", work.doubled, (n,)) for n in numbers]


def test_every_task_is_done_by_some_worker(place: LocalCluster) -> None:
    with crew_of(place) as crew:
        assert crew.size == 2
        events = work.until_over(crew, *doubles(*range(30)), Task("say", work.count_aloud, (4,)))
    done = {e.key: e.value for e in events if isinstance(e, Done)}
    assert done.pop("say") == "counted"
    assert done == {f"t{n}": 2 * n for n in range(30)}
    told = [e for e in events if e.key == "say"]
    assert isinstance(told[0], Started)
    assert [e.what["count"] for e in told if isinstance(e, Said)] == [0, 1, 2, 3]
    assert isinstance(told[-1], Done)
    assert {e.worker for e in events} == set(place.scheduler_info["workers"])


def test_a_worker_knows_its_place(place: LocalCluster) -> None:
    with crew_of(place, memory=123) as crew:
        worker, slot, threads, memory, pid = run(crew, Task("facts", work.facts))["facts"]
    assert worker in place.scheduler_info["workers"]
    assert (slot, threads, memory) == (0, 1, 123)
    assert pid != os.getpid()


def test_errors_of_tasks_are_told_in_one_line(place: LocalCluster) -> None:
    tasks = [Task(kind, work.refuse, (kind,)) for kind in ("usage", "raster", "other")]
    tasks += [Task(kind, work.strange, (kind,)) for kind in ("unsendable", "unreadable")]
    with crew_of(place) as crew:
        events = work.until_over(crew, *tasks, Task("exit", work.leave), *doubles(1))
    failed = {e.key: e for e in events if isinstance(e, Failed)}
    said = {key: event.failure.cause for key, event in failed.items()}
    assert said["usage"] == "--window 7: too small; use more"
    assert said["raster"] == "a.tif: has no CRS; set one"
    assert said["other"].startswith("unexpected StubbornError: ('one\\nline'")
    assert said["exit"] == "unexpected SystemExit: enough"
    assert "pickle" in said["unsendable"]
    assert said["unreadable"] == "unexpected ValueError: no"
    assert [key for key, event in failed.items() if event.failure.hopeless] == ["usage"]
    assert all(event.worker.startswith("tcp://") for event in failed.values())
    assert not any(event.failure.lost for event in failed.values())


def test_gifts_reach_every_worker_once_and_go_with_the_crew(place: LocalCluster) -> None:
    with crew_of(place) as crew:
        crew.give("model", b"x" * 2_000_000)
        found = run(crew, *(Task(f"g{n}", work.length_given, ("model",)) for n in range(8)))
        lost = failure(run(crew, Task("none", work.length_given, ("nothing",)))["none"])
    assert len(set(found.values())) <= 2  # the same object for all tasks of a worker
    assert {length for length, _ in found.values()} == {2_000_000}
    assert "KeyError" in lost.cause
    assert [name for name in scheduler(place).worker_plugins if "comix" in name] == []
    assert eventually(lambda: not scheduler(place).tasks)


def test_two_crews_share_workers_and_never_crowd_them(place: LocalCluster) -> None:
    with crew_of(place) as one, crew_of(place) as other:
        for number in range(3):
            one.submit(Task(f"a{number}", work.slow_facts, (0.2,)))
        found = run(other, *(Task(f"b{n}", work.slow_facts, (0.2,)) for n in range(3)))
        events = work.until_ended(one, {"a0", "a1", "a2"})
        found |= {e.key: e.value for e in events if isinstance(e, Done)}
    assert len(found) == 6
    assert not_crowded(found.values())


def not_crowded(places: Any) -> bool:
    """Whether no worker did two things in one slot at once."""
    spans: dict[Any, list[tuple[float, float]]] = {}
    for worker, slot, begin, end in places:
        spans.setdefault((worker, slot), []).append((begin, end))
    ordered = [sorted(each) for each in spans.values()]
    return all(a[1] <= b[0] for each in ordered for a, b in pairwise(each))


@pytest.mark.parametrize(("slots", "most"), [(None, 1), (two, 2)])
def test_a_worker_does_as_many_at_once_as_it_has_slots(slots: Any, most: int) -> None:
    with local(n_workers=1, threads_per_worker=4) as place, crew_of(place, slots=slots) as crew:
        assert crew.size == most
        found = run(crew, *(Task(f"s{n}", work.slow_facts, (0.2,)) for n in range(6)))
        threads = run(crew, Task("facts", work.facts))["facts"][2]
    assert {slot for _, slot, _, _ in found.values()} == set(range(most))
    assert not_crowded(found.values())
    assert threads == 4 // most


def test_the_workers_limit_is_divided_among_its_slots() -> None:
    options = {"n_workers": 1, "threads_per_worker": 2, "memory_limit": "4 GB"}
    with local(**options) as place, crew_of(place, slots=two) as crew:
        assert run(crew, Task("facts", work.facts))["facts"][3] == 1_500_000_000


def test_a_killed_worker_loses_its_task_at_once_and_its_successor_goes_on() -> None:
    with local() as place, crew_of(place) as crew:
        crew.give("model", b"abc")
        kill = Task("kill", work.kill_me, (signal.SIGKILL, 0.3))
        events = work.until_over(crew, kill, *doubles(*range(4)))
        (lost,) = (e for e in events if isinstance(e, Failed))
        assert lost.key == "kill"
        assert lost.worker.startswith("tcp://")
        assert lost.failure.lost
        assert lost.failure.cause == "its worker went away (killed, out of memory, or cut off)"
        # the nanny starts another worker, which has all that the first ones had
        assert eventually(lambda: [crew.wait(0.1)] and crew.size == 2)
        tasks = [Task(f"g{n}", work.slow_facts, (0.3,)) for n in range(2)]
        assert len({place[0] for place in run(crew, *tasks).values()}) == 2
        tasks = [Task(f"h{n}", work.length_given, ("model",)) for n in range(4)]
        assert {length for length, _ in run(crew, *tasks).values()} == {3}
        assert sum(isinstance(e, Started) and e.key == "kill" for e in events) == 1


def test_a_worker_that_takes_too_much_memory_is_told_of() -> None:
    settings = {"distributed.worker.memory.monitor-interval": "50ms"}
    with (
        dask.config.set(settings),
        local(n_workers=1, memory_limit="400 MB") as place,
        crew_of(place) as crew,
    ):
        found = failure(run(crew, Task("eat", work.devour, (20_000_000, 2_000_000_000)))["eat"])
        assert found.lost
        assert found.cause.startswith("its worker was ended because it took too much memory (0.")
        assert "--memory-limit" in found.cause
        assert run(crew, *doubles(1)) == {"t1": 2}


def test_what_nobody_wants_any_more_learns_of_it(place: LocalCluster, tmp_path: Path) -> None:
    path = tmp_path / "held"
    with crew_of(place) as crew:
        crew.submit(Task("hold", work.hold, (path,)))
        assert [type(crew.wait(10)) for _ in range(2)] == [Started, Said]
        assert path.exists()
    assert eventually(lambda: not path.exists(), 5)
    assert scheduler(place).tasks == {}


CLIENT = """
import sys
from pathlib import Path
import crew_work as work
from comix_cli.scale.crew import Said, Task
from comix_cli.scale import cluster
from comix_cli.scale.cluster import ClusterCrew
with ClusterCrew(sys.argv[1]) as crew:
    crew.submit(Task("hold", work.hold, (Path(sys.argv[2]),)))
    while not isinstance(crew.wait(), Said):
        pass
    print("begun", flush=True)
    crew.wait()
"""


def test_tasks_of_a_killed_client_learn_of_it(place: LocalCluster, tmp_path: Path) -> None:
    path = tmp_path / "held"
    process = work.script(CLIENT, place.scheduler_address, str(path), stdout=-1, stderr=-1)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.kill()
    assert process.communicate(timeout=10) == ("", "")
    assert eventually(lambda: not path.exists(), 5)


def test_waiting_ends_in_time_and_costs_little(place: LocalCluster, tmp_path: Path) -> None:
    with crew_of(place) as crew:
        assert crew.wait() is None
        crew.submit(Task("hold", work.hold, (tmp_path / "held", 3)))
        assert [type(crew.wait(10)) for _ in range(2)] == [Started, Said]
        begin = time.monotonic()
        assert crew.wait(1.2) is None
        assert 1.1 < time.monotonic() - begin < 2.5


def tasks_that_take(seconds: float, number: int) -> list[Task]:
    return [Task(f"s{n}", work.slow_facts, (seconds,)) for n in range(number)]


def test_a_scheduler_that_comes_back_goes_on(processes: Dask) -> None:
    first_one, workers = processes.scheduler(), [processes.worker() for _ in range(2)]
    warnings: list[str] = []
    with ClusterCrew(processes.address, patience=30, warn=warnings.append) as crew:
        crew.give("model", b"abc")
        for task in tasks_that_take(0.5, 6):
            crew.submit(task)
        first = next(e for e in work.happenings(crew) if isinstance(e, Done))
        for process in [first_one, *workers]:
            processes.kill(process)
        processes.scheduler()
        processes.worker()
        events = work.until_ended(crew, {f"s{n}" for n in range(6)} - {first.key})
        assert not [event for event in events if isinstance(event, Failed)]
        done = [event.key for event in events if isinstance(event, Done)]
        assert sorted([first.key, *done]) == [f"s{n}" for n in range(6)]
        assert run(crew, Task("g", work.length_given, ("model",)))["g"][0] == 3
    assert warnings == [f"{processes.address}: the scheduler went away; waiting for it"]


def test_a_scheduler_that_was_away_unnoticed_is_no_trap(processes: Dask) -> None:
    first_one, worker = processes.scheduler(), processes.worker()
    with ClusterCrew(processes.address, patience=30) as crew:
        for process in (first_one, worker):
            processes.kill(process)
        processes.scheduler()
        processes.worker()
        client: Any = crew._link._client  # type: ignore[union-attr]  # which connects by itself
        comm = client.scheduler_comm
        assert eventually(lambda: client.scheduler_comm not in (None, comm))
        assert run(crew, *doubles(1, 2)) == {"t1": 2, "t2": 4}


def test_a_worker_that_does_not_begin_is_named(
    processes: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_RELUCTANT_S", 0.4)
    processes.scheduler()
    processes.worker("--nthreads", "1")
    warnings: list[str] = []
    with (
        ClusterCrew(processes.address, patience=30) as other,
        ClusterCrew(processes.address, patience=30, warn=warnings.append) as crew,
    ):
        other.submit(Task("long", work.slow_facts, (2.5,)))
        assert isinstance(other.wait(10), Started)
        assert run(crew, *doubles(1, 2)) == {"t1": 2, "t2": 4}
    assert len(warnings) == 1
    assert "lets a task wait: other work keeps it busy" in warnings[0]


def test_a_scheduler_that_stays_away_is_told_of(processes: Dask) -> None:
    process = processes.scheduler()
    processes.worker()
    with ClusterCrew(processes.address, patience=30) as crew:
        crew.submit(tasks_that_take(30, 1)[0])
        assert isinstance(crew.wait(10), Started)
        processes.kill(process)
        crew._patience = 1
        begin = time.monotonic()
        with pytest.raises(CrewError, match=r"the scheduler went away .*give the same command"):
            crew.wait()
        assert time.monotonic() - begin < 10


def test_workers_that_stay_away_are_told_of(processes: Dask) -> None:
    processes.scheduler()
    worker = processes.worker()
    with ClusterCrew(processes.address, patience=30) as crew:
        crew._patience = 1
        processes.kill(worker)
        assert eventually(lambda: [crew.wait(0.1)] and not crew._roster.members)
        crew.submit(doubles(1)[0])
        with pytest.raises(CrewError, match="has no workers any more; what is done is kept"):
            list(work.happenings(crew))


def test_a_scheduler_file_and_workers_that_come_later(processes: Dask, tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    processes.scheduler("--scheduler-file", str(path))
    to = ("--scheduler-file", str(path))
    processes.worker("--nthreads", "1", to=to)
    with ClusterCrew(str(path), patience=30) as crew:
        crew.give("model", b"abcd")
        assert crew.size == 1
        processes.worker("--nthreads", "1", to=to)
        assert eventually(lambda: [crew.wait(0.1)] and crew.size == 2)
        found = run(crew, *tasks_that_take(0.3, 4))
        assert len({place[0] for place in found.values()}) == 2
        gifts = run(crew, *(Task(f"g{n}", work.length_given, ("model",)) for n in range(4)))
        assert {length for length, _ in gifts.values()} == {4}


def other_comix(folder: Path, code: str) -> Path:
    package = folder / "comix_cli"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    return folder


def test_another_comix_is_refused(processes: Dask, tmp_path: Path) -> None:
    older = other_comix(tmp_path / "older", '__version__ = "0.0.9"\n')
    none = other_comix(
        tmp_path / "none", "raise ModuleNotFoundError('no such', name='comix_cli')\n"
    )
    processes.scheduler()
    processes.worker()
    warnings: list[str] = []
    with ClusterCrew(processes.address, patience=30, warn=warnings.append) as crew:
        odd = [processes.worker(path=older), processes.worker(path=none)]
        assert eventually(lambda: [crew.wait(0.1)] and len(warnings) == 2)
        assert run(crew, *doubles(1, 2, 3)) == {"t1": 2, "t2": 4, "t3": 6}
        assert crew.size == 1
    assert all(process.poll() is None for process in odd)  # others may need them
    assert all(f"there, comix {__version__} here" in warning for warning in warnings)
    with pytest.raises(CrewError) as caught, ClusterCrew(processes.address, patience=30):
        pass
    said = caught.value.message
    assert said.startswith(f"workers cannot be used: comix {__version__} here, ")
    assert "comix 0.0.9 on tcp://127.0.0.1:" in said
    assert "no comix on tcp://127.0.0.1:" in said


def test_nobody_there_is_told_in_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    begin = time.monotonic()
    with pytest.raises(CrewError) as caught, ClusterCrew(address, patience=1):
        pass
    assert time.monotonic() - begin < 10
    said, _, remedy = caught.value.message.partition("; ")
    # A machine that is busy enough does not even refuse in time.
    reasons = ("Connection refused", "nothing within 1 s")
    assert said in [f"{address}: no Dask scheduler answers ({reason})" for reason in reasons]
    assert remedy == "start one with dask scheduler, or check the address"
    assert capfd.readouterr() == ("", "")


def test_what_answers_otherwise_than_a_scheduler_is_told_in_a_line() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        words = r"no Dask scheduler answers \(nothing within 1 s\)"
        with pytest.raises(CrewError, match=words), ClusterCrew(address, patience=1):
            pass


def test_no_workers_are_told_of(processes: Dask) -> None:
    processes.scheduler()
    assert eventually(processes.answers, 30)
    with pytest.raises(CrewError) as caught, ClusterCrew(processes.address, patience=2):
        pass
    assert caught.value.message == (
        f"{processes.address}: has no workers; start some with dask worker {processes.address}"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere/scheduler.json", "is neither the address of a scheduler nor a scheduler file"),
        ("missing.json", r"is no scheduler file \(No such file"),
        ("other.json", r"is no scheduler file \(no address in it\)"),
    ],
)
def test_what_is_no_scheduler_is_told(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "other.json").write_text("[1]")
    path = str(tmp_path / name)
    with pytest.raises(CrewError, match=words) as caught, ClusterCrew(path, patience=0.5):
        pass
    assert caught.value.message.startswith(path)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'comix\[dask\]'"):
        ClusterCrew("tcp://a:1")
