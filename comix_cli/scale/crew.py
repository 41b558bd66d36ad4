"""What work that is spread over workers asks of whoever spreads it.

`processes.py` does it on one machine, `cluster.py` on a Dask cluster. Neither knows what the work
is: a task is a function of a module that the workers have too, and plain arguments.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from comix_cli.errors import ComixError, ThresholdError, UsageError


class Post(Protocol):
    """A worker, as the task sees it that it is doing.

    Attributes:
        worker: Its name, for people.
        threads: CPU threads that are the task's own.
        memory: Bytes that the worker may take, None where nobody has set a limit.
        slot: Number of the task among those that this machine's worker does at once, from 0: which
            GPU is its own.
    """

    worker: str
    threads: int
    memory: int | None
    slot: int

    def tell(self, what: Any) -> None:
        """Send something small and plain to whoever has asked for the task."""

    def given(self, name: str) -> bytes:
        """What `Crew.give` has given under this name.

        Raises:
            KeyError: Nothing has been.
        """

    def cancelled(self) -> bool:
        """Whether nobody wants the result any more."""


@dataclass(frozen=True)
class Task:
    """Something to be done.

    Attributes:
        key: What it is called; no two tasks of a crew's life are called alike.
        work: A function of a module, which is imported by name where the work is done. It is called
            with the worker's `Post`, then with the arguments.
        arguments: Small, and made of what every worker can unpickle.
    """

    key: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a task came to nothing.

    Attributes:
        cause: One line for people: file, cause, remedy.
        hopeless: Whether another try would end alike: the mistake lies in the options, or the
            result is there and too bad.
        lost: Whether the worker went away with the task, which may not be the task's fault.
        trace: Where it happened, for whoever looks for a fault in comix; may be empty.
    """

    cause: str
    hopeless: bool = False
    lost: bool = False
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What an error says, in words that every process understands."""
        if isinstance(error, ComixError):
            return cls(error.message, hopeless=isinstance(error, (UsageError, ThresholdError)))
        said = " ".join(f"unexpected {type(error).__name__}: {error}".split())
        return cls(said, trace="".join(traceback.format_exception(error)))


@dataclass(frozen=True)
class Started:
    """A worker has begun a task.

    Not told where the worker dies at once, and told again where the task had to be begun again.
    """

    key: str
    worker: str


@dataclass(frozen=True)
class Said:
    """What a task has told by `Post.tell`."""

    key: str
    worker: str
    what: Any


@dataclass(frozen=True)
class Done:
    """A task is over, and this is what its function has returned."""

    key: str
    worker: str
    value: Any


@dataclass(frozen=True)
class Failed:
    """A task is over, and has come to nothing.

    Attributes:
        key: The task.
        worker: Who tried; empty where nobody knows.
        failure: Why.
    """

    key: str
    worker: str
    failure: Failure


Event = Started | Said | Done | Failed


class Crew(Protocol):
    """Workers that do tasks. A context manager: at its end, what is under way is given up."""

    @property
    def size(self) -> int:
        """Tasks that can be done at once, as far as is known now; at least 1."""

    def give(self, name: str, value: bytes) -> None:
        """Keep a value in every worker, those that come later too; it is sent once to each."""

    def submit(self, task: Task) -> None:
        """Let a task be done, after those that wait already."""

    def wait(self, seconds: float | None = None) -> Event | None:
        """The next thing that happens; None where nothing does for so long.

        Raises:
            CrewError: There are no workers any more, and will not be.
        """
