"""What a task of a batch tells whoever waits for it, in plain tuples that every process reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from comix_cli.errors import CrewError
from comix_cli.progress import Task
from comix_cli.scale.crew import Post

BEGIN, ADVANCE, END, INFO, WARN = "begin", "advance", "end", "info", "warn"
# What was done before is not what is asked for: it is going to be replaced.
ANEW = "anew"
# More often nobody looks, and every word passes through one place.
_EVERY_S = 1.0


class PostProgress:
    """A `Progress` that tells a crew.

    Work that is part of other work is not told of: there is one bar for each worker.

    Args:
        post: Where the work is done.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._depth = 0

    @contextmanager
    def task(self, description: str, total: float | None) -> Iterator[Task]:
        """Begin a piece of work."""
        self._depth += 1
        shown = self._depth == 1
        if shown:
            self._post.tell((BEGIN, description, total))
        task = _PostTask(self._post, shown=shown)
        try:
            yield task
        finally:
            self._depth -= 1
            if shown:
                self._post.tell((END,))

    def info(self, message: str) -> None:
        """Say something for the log."""
        self._post.tell((INFO, message))

    def warn(self, message: str) -> None:
        """Say something that may change how the user reads the result."""
        self._post.tell((WARN, message))


class _PostTask:
    def __init__(self, post: Post, *, shown: bool) -> None:
        self._post, self._shown = post, shown
        self._waiting, self._last = 0.0, time.monotonic()

    def advance(self, amount: float = 1, *, status: str = "") -> None:
        """Count more steps as done; tell of them now and then.

        Raises:
            CrewError: Nobody waits for the result any more.
        """
        self._waiting += amount
        if time.monotonic() - self._last < _EVERY_S:
            return
        if self._post.cancelled():
            raise CrewError("was given up, because nobody waits for it any more")
        if self._shown:
            self._post.tell((ADVANCE, self._waiting, status))
        self._waiting, self._last = 0.0, time.monotonic()
