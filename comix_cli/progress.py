"""How a tool tells of its progress without knowing who listens.

`commands/display.py` shows it on a terminal; tests and library users pass `SILENT`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of long work, counted in steps."""

    def advance(self, amount: float = 1, *, status: str = "") -> None:
        """Count `amount` more steps as done; `status` is a short text beside the bar."""


class Progress(Protocol):
    """What a tool reports to."""

    def task(self, description: str, total: float | None) -> AbstractContextManager[Task]:
        """Begin a piece of work of `total` steps (None: unknown); it ends with the context."""

    def info(self, message: str) -> None:
        """Say something that only a curious user needs (shown with `-v`)."""

    def warn(self, message: str) -> None:
        """Say something that may change how the user reads the result."""


class _SilentTask:
    def advance(self, amount: float = 1, *, status: str = "") -> None:
        """Count nothing."""


class Silent:
    """A `Progress` that says nothing and keeps the warnings for whoever asks."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    @contextmanager
    def task(self, description: str, total: float | None) -> Iterator[Task]:  # noqa: ARG002
        """Begin a piece of work that nobody watches."""
        yield _SilentTask()

    def info(self, message: str) -> None:
        """Say nothing."""

    def warn(self, message: str) -> None:
        """Keep the warning."""
        self.warnings.append(message)


class EachOnce:
    """A `Progress` that says the same warning only once, however often it is true."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said: set[str] = set()

    def task(self, description: str, total: float | None) -> AbstractContextManager[Task]:
        """Begin a piece of work."""
        return self._progress.task(description, total)

    def info(self, message: str) -> None:
        """Say something that only a curious user needs."""
        self._progress.info(message)

    def warn(self, message: str) -> None:
        """Say something that may change how the user reads the result, unless it has been said."""
        if message not in self._said:
            self._said.add(message)
            self._progress.warn(message)
