"""Work spread over processes of this machine, each with a pipe of its own.

A queue that processes share has locks, and a process that is killed while it holds one stops the
others. A pipe has two ends and no lock: when a worker dies its pipe closes, and that is all.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Self

from comix_cli.errors import CrewError
from comix_cli.scale import process_child as child
from comix_cli.scale.attempt import event
from comix_cli.scale.cores import usable_cores
from comix_cli.scale.crew import Done, Event, Failed, Failure, Task

# How long workers may take to unwind when they are asked to end.
_PATIENCE_S = 10.0
# Between the end of a pipe and the end of its process.
_LAST_BREATH_S = 2.0
# Workers that die one after the other before they can take a task.
_MOST_STILLBORN = 3
_LESS = "use fewer --workers, or a smaller --ram"
_DEATHS = {
    signal.SIGKILL: f"was killed (SIGKILL), as the system does where memory runs out; {_LESS}",
    signal.SIGSEGV: "crashed (SIGSEGV)",
    signal.SIGABRT: "gave up (SIGABRT)",
    signal.SIGBUS: "crashed (SIGBUS), as where a file gets shorter or a disk full underneath",
}


@dataclass(eq=False)
class _Worker:
    """A process, the pipe to it, and what it is doing."""

    slot: int
    name: str
    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    key: str | None = None
    given: set[str] = field(default_factory=set)

    def send(self, kind: str, name: str, content: bytes) -> None:
        """Send a message; one that has died will be found dead when it is listened to."""
        with suppress(OSError):
            self.pipe.send_bytes(pickle.dumps((kind, name, content)))


class ProcessCrew:
    """A `Crew` of processes on this machine. They are started when there is something to do.

    Args:
        workers: Tasks that are done at once.
        threads: CPU threads of each; None divides the cores among them.
        memory: Bytes that each may take.
    """

    def __init__(
        self, workers: int, *, threads: int | None = None, memory: int | None = None
    ) -> None:
        self._size = max(1, workers)
        self._threads = threads or max(1, usable_cores() // self._size)
        self._memory = memory
        self._gifts: dict[str, bytes] = {}
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._workers: dict[int, _Worker] = {}
        self._events: deque[Event] = deque()
        self._stillborn: Counter[int] = Counter()
        # Slots whose workers cannot live: the machine has no memory for so many.
        self._closed: set[int] = set()

    @property
    def size(self) -> int:
        """Tasks that are done at once."""
        return max(1, self._size - len(self._closed))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what is under way: tasks are unwound, and workers that do not end are killed."""
        workers = list(self._workers.values())
        self._workers.clear()
        self._waiting.clear()
        try:
            _ask_to_end(workers)
            _await_end(workers, _PATIENCE_S)
        finally:  # somebody who presses Ctrl-C once more need not wait
            for worker in workers:
                worker.process.kill()
                worker.process.join()
                worker.process.close()

    def give(self, name: str, value: bytes) -> None:
        """Keep a value in every worker; it is sent once to each, before a task."""
        self._gifts[name] = value
        for worker in self._workers.values():
            worker.given.discard(name)

    def submit(self, task: Task) -> None:
        """Let a task be done, after those that wait already.

        Raises:
            Exception: The task cannot be pickled.
        """
        self._waiting.append((task.key, pickle.dumps((task.work, task.arguments))))

    def wait(self, seconds: float | None = None) -> Event | None:
        """The next thing that happens; None where nothing does for so long, or nothing can.

        Raises:
            CrewError: Workers cannot be started.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._events:
            self._employ()
            busy = any(w.key is not None or not w.ready for w in self._workers.values())
            if deadline is None and not busy:
                return None
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._listen(left)
            if left == 0.0 and not self._events:
                return None
        return self._events.popleft()

    def _employ(self) -> None:
        """Give tasks that wait to workers that do not, and start workers for the others."""
        for worker in self._workers.values():
            if self._waiting and worker.ready and worker.key is None:
                self._begin(worker, *self._waiting.popleft())
        coming = sum(not worker.ready for worker in self._workers.values())
        missing = min(len(self._waiting) - coming, self.size - len(self._workers))
        free = [s for s in range(self._size) if s not in self._workers and s not in self._closed]
        for slot in free[: max(0, missing)]:
            self._workers[slot] = self._start(slot)

    def _begin(self, worker: _Worker, key: str, order: bytes) -> None:
        for name in self._gifts.keys() - worker.given:
            worker.send(child.GIFT, name, self._gifts[name])
            worker.given.add(name)
        worker.key = key
        worker.send(child.TASK, key, order)

    def _start(self, slot: int) -> _Worker:
        name = f"worker {slot + 1}"
        ours, theirs = multiprocessing.Pipe()
        place = child.Place(name, self._threads, self._memory, slot)
        process = multiprocessing.get_context("spawn").Process(
            target=child.main, args=(theirs, place), name=f"comix {name}"
        )
        try:
            with theirs, _ctrl_c_held_back():
                process.start()
        except OSError as error:
            ours.close()
            cause = f"{name} cannot be started ({error.strerror or error})"
            raise CrewError(cause, remedy=_LESS) from error
        except BaseException:
            ours.close()  # by which it knows, if it has been started, that it is to end
            raise
        return _Worker(slot, name, process, ours)

    def _listen(self, seconds: float | None) -> None:
        """Wait until a worker says something or dies, and make events of it."""
        workers = list(self._workers.values())
        heard = wait(_ears(workers), seconds)
        for worker in workers:
            dead = worker.process.sentinel in heard
            if dead or worker.pipe in heard:
                self._hear(worker, dead)

    def _hear(self, worker: _Worker, dead: bool) -> None:
        """Take what a worker has said off its pipe, to the last word if it has died."""
        try:
            while worker.pipe.poll():
                self._take(worker, *pickle.loads(worker.pipe.recv_bytes()))
        except (EOFError, OSError):
            dead = True
        if dead:
            self._bury(worker)

    def _take(self, worker: _Worker, kind: str, key: str, content: bytes) -> None:
        """Make an event of a message."""
        if kind == child.READY:
            worker.ready = True
            self._stillborn.pop(worker.slot, None)
            return
        told = event(key, worker.name, kind, content)
        if isinstance(told, Done | Failed):
            worker.key = None
        self._events.append(told)

    def _bury(self, worker: _Worker) -> None:
        """A worker has died: so has its task. Another will be started when one is needed."""
        del self._workers[worker.slot]
        worker.pipe.close()
        worker.process.join(_LAST_BREATH_S)
        worker.process.kill()  # nobody could talk to it any more
        worker.process.join()
        cause = f"the worker {_death(worker.process.exitcode)}"
        worker.process.close()
        if worker.key is not None:
            self._events.append(Failed(worker.key, worker.name, Failure(cause, lost=True)))
        elif not worker.ready:
            self._stillborn[worker.slot] += 1
            if self._stillborn[worker.slot] >= _MOST_STILLBORN:
                self._closed.add(worker.slot)
            if len(self._closed) == self._size:
                raise CrewError("workers die before they can begin", remedy=f"the last {cause[4:]}")


def _ears(workers: Iterable[_Worker]) -> list[Any]:
    """What becomes ready when a worker says something, or dies."""
    return [ear for w in workers for ear in (w.pipe, w.process.sentinel)]


def _death(code: int | None) -> str:
    """What an exit code says of how a process came to its end."""
    code = code or 0
    if code in (128 + signal.SIGTERM, 128 + signal.SIGHUP):
        code = 128 - code  # it has unwound, and then told of the signal as shells do
    if code >= 0:
        return f"ended in the middle (exit code {code})"
    if -code in _DEATHS:
        return _DEATHS[signal.Signals(-code)]
    with suppress(ValueError):
        return f"was ended ({signal.Signals(-code).name})"
    return f"was ended (signal {-code})"


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """A process that is started in the block holds Ctrl-C back until it can ignore it."""
    resource_tracker.ensure_running()  # whose start would set our mask itself
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ask_to_end(workers: Iterable[_Worker]) -> None:
    for worker in workers:
        if worker.key is not None or not worker.ready:
            worker.process.terminate()
        worker.pipe.close()


def _await_end(workers: Iterable[_Worker], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    left = {worker.process.sentinel for worker in workers}
    while left and (remaining := deadline - time.monotonic()) > 0:
        left.difference_update(wait(left, remaining))
