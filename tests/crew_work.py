"""Tasks for crews: functions that workers of other processes import by name."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comix_cli.errors import RasterError, UsageError
from comix_cli.scale.crew import Crew, Done, Event, Failed, Failure, Post, Task

TESTS = Path(__file__).parent


def doubled(post: Post, number: int) -> int:  # noqa: ARG001
    return 2 * number


def facts(post: Post) -> tuple[str, int, int, int | None, int]:
    return post.worker, post.slot, post.threads, post.memory, os.getpid()


def slow_facts(post: Post, seconds: float) -> tuple[str, int, float, float]:
    begin = time.time()
    time.sleep(seconds)
    return post.worker, post.slot, begin, time.time()


def doze(post: Post, seconds: float) -> None:  # noqa: ARG001
    time.sleep(seconds)


def count_aloud(post: Post, number: int) -> str:
    for each in range(number):
        post.tell({"count": each})
    return "counted"


def length_given(post: Post, name: str) -> tuple[int, int]:
    value = post.given(name)
    return len(value), id(value)


def shout(post: Post) -> str:  # noqa: ARG001
    print("to be seen by nobody who reads stdout", flush=True)
    os.write(1, b"nor this\n")
    return "said"


def kill_me(post: Post, signum: int = signal.SIGKILL, after: float = 0) -> None:  # noqa: ARG001
    time.sleep(after)
    os.kill(os.getpid(), signum)
    time.sleep(30)


def leave_at_once(post: Post, code: int) -> None:  # noqa: ARG001
    os._exit(code)


def leave_at_once_instead(*whatever: object) -> None:  # noqa: ARG001
    os._exit(7)


def leave(post: Post) -> None:  # noqa: ARG001
    sys.exit("enough")


def refuse(post: Post, kind: str) -> None:  # noqa: ARG001
    if kind == "usage":
        raise UsageError("--window 7: too small", remedy="use more")
    if kind == "raster":
        raise RasterError("has no CRS", path="a.tif", remedy="set one")
    raise StubbornError(open)  # something that cannot be pickled


class StubbornError(Exception):
    def __init__(self, what: Any) -> None:
        super().__init__("one\nline", what, lambda: None)


class Unreadable:
    """Can be pickled, and not be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_explode, ())


def _explode() -> None:
    raise ValueError("no")


def strange(post: Post, kind: str) -> Any:  # noqa: ARG001
    return Unreadable() if kind == "unreadable" else (lambda: None)


def hold(post: Post, path: Path, seconds: float = 60) -> None:
    """Keep a file as long as the task lasts, and notice when nobody wants it any more."""
    path.write_text(str(os.getpid()))
    try:
        post.tell("held")
        end = time.monotonic() + seconds
        while time.monotonic() < end and not post.cancelled():
            time.sleep(0.02)
    finally:
        path.unlink()


def hold_hard(post: Post, path: Path) -> None:
    """Go on whatever is asked."""
    post.tell("held")
    path.write_text(str(os.getpid()))
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


def once_then_die(post: Post, path: Path) -> str:
    """Kill the process the first time, and not the second."""
    if path.exists():
        return post.worker
    path.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def devour(post: Post, step: int, most: int) -> int:
    """Take more and more memory."""
    post.tell("hungry")
    eaten: list[bytes] = []
    while len(eaten) * step < most:
        eaten.append(b"x" * step)
        time.sleep(0.02)
    return len(eaten)


def run(crew: Crew, *tasks: Task) -> dict[str, Any]:
    """What has become of tasks: values, or failures."""
    return {event.key: _outcome(event) for event in until_over(crew, *tasks) if _is_over(event)}


def until_over(crew: Crew, *tasks: Task, seconds: float = 60) -> list[Event]:
    """All that happens until the tasks are over."""
    for task in tasks:
        crew.submit(task)
    return until_ended(crew, {task.key for task in tasks}, seconds)


def until_ended(crew: Crew, keys: set[str], seconds: float = 60) -> list[Event]:
    """All that happens until the tasks of these keys are over."""
    events: list[Event] = []
    left = set(keys)
    for event in happenings(crew, seconds):
        events.append(event)
        if _is_over(event):
            left.discard(event.key)
        if not left:
            break
    assert not left, (left, events)
    return events


def happenings(crew: Crew, seconds: float = 60) -> Iterator[Event]:
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > 0:
        event = crew.wait(remaining)
        if event is None:
            return
        yield event


def _is_over(event: Event) -> bool:
    return isinstance(event, Done | Failed)


def _outcome(event: Event) -> Any:
    return event.value if isinstance(event, Done) else event.failure  # type: ignore[union-attr]


def failure(value: Any) -> Failure:
    assert isinstance(value, Failure), value
    return value


def is_alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def eventually(what: Any, seconds: float = 15) -> bool:
    """Whether something becomes true within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return bool(what())


def environment() -> dict[str, str]:
    """For processes that are to import comix and these tasks."""
    path = os.pathsep.join(map(str, (TESTS, TESTS.parent, TESTS.parent / "models")))
    return {**os.environ, "PYTHONPATH": path}


def script(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """A program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment(), text=True, **options
    )
