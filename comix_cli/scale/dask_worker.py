"""What a Dask worker does for a crew: tasks, as many at once as it has slots."""

from __future__ import annotations

import heapq
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Worker, get_worker

from comix_cli.scale.attempt import SAID, STARTED, attempt
from comix_cli.scale.dask_plugins import gift_name

# The abstract resource that a task takes one of: a worker has as many as it has slots, so that it
# does no more tasks at once, of all crews together, however many threads it has.
RESOURCE = "comix"
# Of a worker's limit. From 0.8 on Dask lets a worker pause, and from 0.95 on it ends it.
_SHARE_OF_MEMORY = 0.75
_RUNNING = ("running", "paused", "closing_gracefully")


@dataclass(frozen=True)
class Place:
    """How much of a worker each task has, and where it tells of itself."""

    topic: str
    slots: int
    threads: int
    memory: int | None


class _Slots:
    """Numbers from 0, of which the lowest that is free is taken."""

    def __init__(self) -> None:
        self._free = [0]
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[int]:
        with self._lock:
            number = heapq.heappop(self._free)
            if not self._free:
                self._free.append(number + 1)
        try:
            yield number
        finally:
            with self._lock:
                heapq.heappush(self._free, number)


# Of each worker of this process; crews that share a worker share its slots.
_SLOTS: WeakKeyDictionary[Worker, _Slots] = WeakKeyDictionary()


async def prepare(worker: Worker, topic: str, asked: bytes, memory: int | None) -> Place:
    """Make a worker take as many tasks at once as it has slots.

    Args:
        worker: The worker that this process is, or one of them.
        topic: Of the crew's events.
        asked: A pickled function that says how many slots it has, or a pickled None for one.
        memory: Bytes for each task; None leaves it to the worker's own limit.
    """
    ask = pickle.loads(asked)
    threads = worker.state.nthreads
    # Dask does not begin more tasks than a worker has threads.
    slots = max(1, min(threads, 1 if ask is None else ask()))
    limit = worker.memory_manager.memory_limit
    if memory is None and limit:
        memory = int(limit * _SHARE_OF_MEMORY) // slots
    _SLOTS.setdefault(worker, _Slots())
    # Setting it anew makes the scheduler forget which tasks have taken one.
    if worker.state.total_resources.get(RESOURCE) != slots:
        await worker.set_resources(**{RESOURCE: slots})
    return Place(topic, slots, max(1, threads // slots), memory)


class WorkerPost:
    """A `Post` whose worker is Dask's."""

    def __init__(self, worker: Worker, crew: str, number: int, slot: int) -> None:
        plugin: Any = worker.plugins[crew]
        place: Place = plugin.place
        self.worker: str = worker.address
        self.threads = place.threads
        self.memory = place.memory
        self.slot = slot
        self._topic = place.topic
        self._worker = worker
        self._crew = crew
        self._number = number

    def tell(self, what: Any) -> None:
        """Send something to the crew, by way of the scheduler."""
        self.send(SAID, pickle.dumps(what))

    def given(self, name: str) -> bytes:
        """What the crew has given."""
        plugin: Any = self._worker.plugins[gift_name(self._crew, name)]
        return bytes(plugin.value)

    def cancelled(self) -> bool:
        """Whether the scheduler has told the worker to forget the task, or is gone itself."""
        if self._worker.status.name not in _RUNNING:
            return True
        task = self._worker.state.tasks.get(dask_key(self._crew, self._number))
        return task is None or task.state not in ("executing", "long-running")

    def send(self, kind: str, content: bytes = b"") -> None:
        """Send a message about the task."""
        message = {"kind": kind, "number": self._number, "content": content}
        self._worker.log_event(self._topic, message)


def dask_key(crew: str, number: int) -> tuple[str, int]:
    """What Dask calls a task; all of a crew are one group to it."""
    return crew, number


def perform(crew: str, number: int, order: bytes) -> None:
    """Do a task, and tell the crew.

    The result travels as an event, too: it is with the crew before Dask knows that the task is
    over, and a worker that dies afterwards takes nothing along.
    """
    worker = get_worker()
    with _SLOTS[worker].one() as slot:
        post = WorkerPost(worker, crew, number, slot)
        post.send(STARTED)
        post.send(*attempt(post, order))
