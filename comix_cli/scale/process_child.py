"""What a worker process does: tasks from a pipe, one after the other, until the pipe closes.

The parent decides about the end. Ctrl-C, which a terminal sends to all processes, is not for
workers; SIGTERM and a parent that is gone unwind the task, so that it removes what it has half
written.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from comix_cli.scale.attempt import SAID, STARTED, attempt

# A parent that is gone shows as the end of the pipe, unless somebody else holds it open.
_LOOK_FOR_PARENT_S = 2.0
# How long an orphan may take to unwind.
_LAST_WORDS_S = 10.0

READY = "ready"
GIFT, TASK = "gift", "task"


class Ended(SystemExit):
    """The worker is to end; its code is the exit code."""


@dataclass(frozen=True)
class Place:
    """What a worker process is told when it begins."""

    worker: str
    threads: int
    memory: int | None
    slot: int


class ChildPost:
    """A `Post` whose worker is a process at the other end of a pipe."""

    def __init__(self, place: Place, pipe: Connection) -> None:
        self.worker = place.worker
        self.threads = place.threads
        self.memory = place.memory
        self.slot = place.slot
        self.alone = threading.Event()
        self.gifts: dict[str, bytes] = {}
        self._key = ""
        self._pipe = pipe
        self._sending = threading.Lock()

    def tell(self, what: Any) -> None:
        """Send something to the parent; any thread of the task may."""
        self.send(SAID, pickle.dumps(what))

    def given(self, name: str) -> bytes:
        """What the parent has given."""
        return self.gifts[name]

    def cancelled(self) -> bool:
        """Whether the parent is gone, or has closed the pipe."""
        return self.alone.is_set()

    def send(self, kind: str, content: bytes = b"") -> None:
        """Send a message about the task of now; nobody listens to an orphan."""
        message = pickle.dumps((kind, self._key, content))
        with self._sending, suppress(OSError):
            self._pipe.send_bytes(message)

    def do(self, key: str, order: bytes) -> None:
        """Do a task, and tell how it went."""
        self._key = key
        self.send(STARTED)
        self.send(*attempt(self, order, Ended))


def main(pipe: Connection, place: Place) -> None:
    """Work until the pipe closes."""
    os.dup2(2, 1)  # stdout is for results, which are the parent's to print
    _prepare_signals()
    post = ChildPost(place, pipe)
    orders: queue.SimpleQueue[tuple[str, str, bytes] | None] = queue.SimpleQueue()
    busy = threading.Event()
    watch = (pipe, orders.put, post, busy)
    threading.Thread(target=_listen, args=watch, name="comix-parent", daemon=True).start()
    post.send(READY)
    while (order := orders.get()) is not None:
        kind, name, content = order
        if kind == GIFT:
            post.gifts[name] = content
            continue
        busy.set()
        if post.cancelled():  # looked at last: whoever sets it looks at `busy` afterwards
            break
        post.do(name, content)
        busy.clear()


def _prepare_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent held it back until here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup does
        signal.signal(signal.SIGHUP, _end)


def _end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # A second signal must not break off the unwinding that the first one has begun.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise Ended(128 + signum)


def _listen(
    pipe: Connection,
    put: Callable[[tuple[str, str, bytes] | None], None],
    post: ChildPost,
    busy: threading.Event,
) -> None:
    """Take messages off the pipe at once, so that the parent never waits for a task to end."""
    parent = parent_process()
    with suppress(EOFError, OSError):
        while parent is None or os.getppid() == parent.pid:
            if pipe.poll(_LOOK_FOR_PARENT_S):
                put(pickle.loads(pipe.recv_bytes()))
    post.alone.set()
    put(None)
    if busy.is_set():
        os.kill(os.getpid(), signal.SIGTERM)
    # The main thread ends the process; if it hangs, nobody else is left to do it.
    threading.Event().wait(_LAST_WORDS_S)
    sys.stderr.flush()
    os._exit(1)
