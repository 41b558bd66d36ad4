"""A crew of this very process, so that tests need not start others: one task after the other."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from comix_cli.scale.crew import Done, Event, Failed, Failure, Said, Started, Task


@dataclass
class HerePost:
    """Where a task is done."""

    key: str
    events: deque[Event]
    gifts: dict[str, bytes]
    worker: str = "worker 1"
    threads: int = 1
    memory: int | None = None
    slot: int = 0

    def tell(self, what: Any) -> None:
        self.events.append(Said(self.key, self.worker, what))

    def given(self, name: str) -> bytes:
        return self.gifts[name]

    def cancelled(self) -> bool:
        return False


@dataclass
class HereCrew:
    """Does a task when somebody waits for it."""

    workers: int = 1
    threads: int | None = None
    memory: int | None = None
    gifts: dict[str, bytes] = field(default_factory=dict)
    tasks: deque[Task] = field(default_factory=deque)
    events: deque[Event] = field(default_factory=deque)

    @property
    def size(self) -> int:
        return self.workers

    def __enter__(self) -> HereCrew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.tasks.clear()

    def give(self, name: str, value: bytes) -> None:
        self.gifts[name] = value

    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    def wait(self, seconds: float | None = None) -> Event | None:
        assert seconds is None
        if not self.events:
            self._do(self.tasks.popleft())
        return self.events.popleft()

    def _do(self, task: Task) -> None:
        post = HerePost(task.key, self.events, self.gifts)
        self.events.append(Started(task.key, post.worker))
        try:
            value = task.work(post, *task.arguments)
        except Exception as error:
            self.events.append(Failed(task.key, post.worker, Failure.of(error)))
        else:
            self.events.append(Done(task.key, post.worker, value))
