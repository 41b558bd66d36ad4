"""Work spread over processes of this machine: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import crew_work as work
import pytest
from crew_work import eventually, failure, is_alive, run

from comix_cli.errors import CrewError
from comix_cli.scale import process_child, processes
from comix_cli.scale.cores import usable_cores
from comix_cli.scale.crew import Done, Said, Started, Task
from comix_cli.scale.processes import ProcessCrew


def doubles(*numbers: int) -> list[Task]:
    return [Task(f"t{n}", work.doubled, (n,)) for n in numbers]


def test_every_task_is_done_and_begun_in_order() -> None:
    with ProcessCrew(2) as crew:
        assert crew.size == 2
        events = work.until_over(crew, *doubles(*range(20)))
    done = {e.key: e.value for e in events if isinstance(e, Done)}
    assert done == {f"t{n}": 2 * n for n in range(20)}
    begun = [e.key for e in events if isinstance(e, Started)]
    assert sorted(begun) == sorted(done)
    by_worker = {e.worker for e in events}
    assert by_worker <= {"worker 1", "worker 2"}


def test_a_worker_knows_its_place() -> None:
    with ProcessCrew(2, threads=3, memory=1 << 30) as crew:
        tasks = [Task(f"f{n}", work.slow_facts, (0.3,)) for n in range(2)]
        places = {value[:2] for value in run(crew, *tasks).values()}
        facts = run(crew, Task("facts", work.facts))["facts"]
    assert places == {("worker 1", 0), ("worker 2", 1)}
    assert facts[2:4] == (3, 1 << 30)
    assert facts[4] != os.getpid()


def test_cores_are_divided_among_workers() -> None:
    with ProcessCrew(1) as crew:
        facts = run(crew, Task("facts", work.facts))["facts"]
    assert facts[2:4] == (usable_cores(), None)


def test_what_a_task_tells_arrives_in_order_and_before_its_end() -> None:
    with ProcessCrew(1) as crew:
        events = work.until_over(crew, Task("aloud", work.count_aloud, (5,)))
    said = [e.what["count"] for e in events if isinstance(e, Said)]
    assert said == [0, 1, 2, 3, 4]
    assert isinstance(events[0], Started)
    assert events[-1] == Done("aloud", "worker 1", "counted")


def test_gifts_are_kept_and_reach_workers_that_come_later() -> None:
    with ProcessCrew(1) as crew:
        crew.give("model", b"x" * 3_000_000)
        first = run(crew, Task("a", work.length_given, ("model",)))["a"]
        assert first == run(crew, Task("b", work.length_given, ("model",)))["b"]  # the same object
        assert failure(run(crew, Task("kill", work.kill_me))["kill"]).lost
        crew.give("more", b"y")
        again = run(crew, *(Task(n, work.length_given, (n,)) for n in ("model", "more")))
        assert [again[name][0] for name in ("model", "more")] == [3_000_000, 1]
        missing = failure(run(crew, Task("c", work.length_given, ("nothing",)))["c"])
    assert "KeyError" in missing.cause


def test_a_killed_worker_loses_its_task_and_the_others_go_on() -> None:
    with ProcessCrew(2) as crew:
        found = run(crew, Task("kill", work.kill_me), *doubles(*range(6)))
    lost = failure(found.pop("kill"))
    assert lost.lost
    assert lost.cause.startswith("the worker was killed (SIGKILL), as the system does where memory")
    assert "--workers" in lost.cause
    assert found == {f"t{n}": 2 * n for n in range(6)}


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (Task("t", work.leave_at_once, (3,)), "ended in the middle (exit code 3)"),
        (Task("t", work.leave_at_once, (0,)), "ended in the middle (exit code 0)"),
        (Task("t", work.kill_me, (signal.SIGSEGV,)), "crashed (SIGSEGV)"),
        (Task("t", work.kill_me, (signal.SIGTERM,)), "was ended (SIGTERM)"),
        (Task("t", work.kill_me, (signal.SIGUSR1,)), "was ended (SIGUSR1)"),
    ],
)
def test_how_a_worker_came_to_its_end_is_told(task: Task, words: str) -> None:
    with ProcessCrew(1) as crew:
        found = failure(run(crew, task)["t"])
    assert found.lost
    assert words in found.cause


def test_errors_of_tasks_are_told_in_one_line() -> None:
    with ProcessCrew(1) as crew:
        pids = [run(crew, Task("before", work.facts))["before"][4]]
        found = run(
            crew,
            *(Task(kind, work.refuse, (kind,)) for kind in ("usage", "raster", "other")),
            Task("exit", work.leave),
            *(Task(kind, work.strange, (kind,)) for kind in ("unsendable", "unreadable")),
        )
        pids.append(run(crew, Task("after", work.facts))["after"][4])
    assert pids[0] == pids[1]
    said = {key: failure(value).cause for key, value in found.items()}
    assert said["usage"] == "--window 7: too small; use more"
    assert said["raster"] == "a.tif: has no CRS; set one"
    assert said["other"].startswith("unexpected StubbornError: ('one\\nline'")
    assert said["exit"] == "unexpected SystemExit: enough"
    assert "pickle" in said["unsendable"]
    assert said["unreadable"] == "unexpected ValueError: no"
    assert [key for key, value in found.items() if failure(value).hopeless] == ["usage"]
    assert not any(failure(value).lost for value in found.values())
    assert "refuse" in failure(found["other"]).trace


def test_nothing_under_way_is_nothing_to_wait_for() -> None:
    with ProcessCrew(2) as crew:
        assert crew.wait() is None
        begin = time.monotonic()
        assert crew.wait(0.2) is None
        assert 0.15 < time.monotonic() - begin < 2


def test_waiting_ends_in_time_and_costs_nothing(tmp_path: Path) -> None:
    with ProcessCrew(1) as crew:
        crew.submit(Task("hold", work.hold, (tmp_path / "held",)))
        kinds = [type(event) for event in work.happenings(crew, 2)]
        begin, spent = time.monotonic(), time.process_time()
        assert crew.wait(1.0) is None
        assert 0.9 < time.monotonic() - begin < 2
        assert time.process_time() - spent < 0.1
    assert kinds == [Started, Said]


def begun(crew: ProcessCrew, path: Path, task: Task) -> int:
    """The process of a task that goes on."""
    crew.submit(task)
    assert next(e for e in work.happenings(crew) if isinstance(e, Said)).what == "held"
    assert eventually(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def test_leaving_the_block_unwinds_what_is_under_way(tmp_path: Path) -> None:
    path = tmp_path / "held"
    begin = time.monotonic()
    pids: list[int] = []

    def interrupted() -> NoReturn:
        with ProcessCrew(2) as crew:
            pids.append(begun(crew, path, Task("hold", work.hold, (path,))))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not path.exists()
    assert not is_alive(pids[0])
    assert time.monotonic() - begin < 8


def test_a_worker_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_PATIENCE_S", 0.5)
    path = tmp_path / "held"
    with ProcessCrew(1) as crew:
        pid = begun(crew, path, Task("hold", work.hold_hard, (path,)))
    assert not is_alive(pid)


def test_stdout_is_the_parents_own(capfd: pytest.CaptureFixture[str]) -> None:
    with ProcessCrew(1) as crew:
        assert run(crew, Task("shout", work.shout)) == {"shout": "said"}
    out, err = capfd.readouterr()
    assert out == ""
    assert "seen by nobody" in err
    assert "nor this" in err


PARENT = """
import signal, sys
from pathlib import Path
import crew_work as work
from comix_cli.scale.crew import Said, Task
from comix_cli.scale.processes import ProcessCrew
if __name__ == "__main__":
    # The tests may run in the background, where Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(sys.argv[1])
    with ProcessCrew(2) as crew:
        for n in range(2):
            crew.submit(Task(str(n), work.hold, (folder / str(n),)))
        told = 0
        while told < 2:
            told += isinstance(crew.wait(), Said)
        print("begun", flush=True)
        while True:
            crew.wait(1)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_no_orphan_goes_on(tmp_path: Path, signum: signal.Signals) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "held").mkdir()
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "held")],
        env=work.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    pids = [int((tmp_path / "held" / str(n)).read_text()) for n in range(2)]
    if signum == signal.SIGINT:  # as a terminal sends it: to all of them
        os.killpg(process.pid, signum)
    else:
        process.send_signal(signum)
    _, said = process.communicate(timeout=20)
    assert eventually(lambda: not any(map(is_alive, pids)))
    assert list((tmp_path / "held").iterdir()) == []
    if signum == signal.SIGINT:
        assert said.count("Traceback") == 1, said  # the parent's own
    else:
        assert said == ""


def test_workers_that_cannot_begin_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_child, "main", work.leave_at_once_instead)
    with ProcessCrew(2) as crew, pytest.raises(CrewError, match="the last worker ended in the mid"):
        run(crew, *doubles(1))


def test_killing_every_time_comes_to_an_end() -> None:
    with ProcessCrew(2) as crew:
        found = run(crew, *(Task(f"k{n}", work.kill_me) for n in range(5)), *doubles(1, 2))
    assert [failure(found.pop(f"k{n}")).lost for n in range(5)] == [True] * 5
    assert found == {"t1": 2, "t2": 4}


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({}, None),
    ],
)
def test_limits_of_containers_count(
    tmp_path: Path, files: dict[str, str], most: int | None
) -> None:
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert usable_cores(tmp_path) == (most or len(os.sched_getaffinity(0)))
