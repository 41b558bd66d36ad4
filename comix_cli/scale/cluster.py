"""Work spread over the workers of a Dask cluster.

The crew itself says which worker does which task, and gives a worker no more than it can do at
once. So a task whose worker goes away is not begun elsewhere by Dask, which would hide the loss and
let one greedy task end worker after worker; and the scheduler never holds more tasks than there
are slots, however many wait here.
"""

from __future__ import annotations

import importlib.util
import itertools
import pickle
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from comix_cli import __version__
from comix_cli.errors import CrewError, UsageError, counted
from comix_cli.scale import attempt, dask_plugins
from comix_cli.scale.crew import Done, Event, Failed, Failure, Started, Task
from comix_cli.scale.dask_roster import Order, Roster

if TYPE_CHECKING:
    from comix_cli.scale.dask_link import Link

# How long a scheduler may take to answer at first.
_CONNECT_S = 20.0
# Between two attempts to find one.
_PAUSE_S = 0.5
# Between two looks at whether the scheduler is still there.
_TICK_S = 1.0
# How long a worker may leave a task alone before people are told, who may know why.
_RELUCTANT_S = 60.0
# How long the reports of workers may be on their way once the workers have been prepared.
_REPORTS_S = 10.0
_MOST_NAMED = 8

_GONE = "its worker went away (killed, out of memory, or cut off)"
_STARVED = (
    "its worker was ended because it took too much memory ({}); "
    "give workers more (dask worker --memory-limit), or use a smaller --ram"
)
_AGAIN = "what is done is kept; give the same command again"


class ClusterCrew:
    """A `Crew` of workers of a Dask cluster.

    Args:
        scheduler: Its address (`tcp://host:8786`), or the path of its scheduler file.
        memory: Bytes for each task; None leaves it to the workers' own limits.
        slots: How many tasks a worker does at once: a function of a module, called there. None is
            one. A worker never does more than it has threads.
        patience: Seconds to wait for the first worker, and for a scheduler that went away.
        warn: Told, in a line, what people should know and need do nothing about.

    Raises:
        UsageError: Dask is not installed.
    """

    def __init__(
        self,
        scheduler: str,
        *,
        memory: int | None = None,
        slots: Callable[[], int] | None = None,
        patience: float = 120.0,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        if importlib.util.find_spec("distributed") is None:
            raise UsageError("a cluster needs Dask", remedy="pip install 'comix[dask]'")
        self._scheduler = scheduler
        self._memory, self._slots = memory, slots
        self._patience = patience
        self._warn = warn or (lambda message: None)  # noqa: ARG005  # nobody listens
        self._crew = f"comix-{uuid.uuid4().hex}"
        self._gifts: dict[str, bytes] = {}
        self._numbers = itertools.count()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._events: deque[Event] = deque()
        # What the link has to say, as calls to be made by the thread of whoever uses the crew.
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._roster = Roster()
        self._link: Link | None = None
        self._broken = False
        self._alone_since: float | None = None
        self._last_look = time.monotonic()
        self._named: set[str] = set()
        self._stack = ExitStack()

    @property
    def size(self) -> int:
        """Tasks that the workers known now do at once, at least 1."""
        return max(1, self._roster.size)

    def __enter__(self) -> Self:
        """Connect, and wait for the first worker.

        Raises:
            CrewError: The scheduler does not answer; it has no workers, or some with another comix.
        """
        from comix_cli.scale.dask_link import check_scheduler, quiet  # noqa: PLC0415  # optional

        check_scheduler(self._scheduler)
        with self._stack:
            self._stack.enter_context(quiet())
            self._stack.callback(self._leave)
            self._find(
                min(_CONNECT_S, self._patience),
                "no Dask scheduler answers",
                "start one with dask scheduler, or check the address",
            )
            if self._roster.refused:
                raise _another_comix(self._roster.refused)
            self._await_workers()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what is under way; tasks that go on learn of it by `cancelled`."""
        self._waiting.clear()
        self._stack.close()

    def give(self, name: str, value: bytes) -> None:
        """Keep a value in every worker, those that come later too; it is sent once to each."""
        self._gifts[name] = value
        if self._link is not None:
            try:
                self._equip(self._link, name)
            except (OSError, TimeoutError):
                self._broken = True

    def submit(self, task: Task) -> None:
        """Let a task be done, after those that wait already.

        Raises:
            Exception: The task cannot be pickled.
        """
        self._waiting.append((task.key, pickle.dumps((task.work, task.arguments))))
        self._employ()

    def wait(self, seconds: float | None = None) -> Event | None:
        """The next thing that happens; None where nothing does for so long, or nothing can.

        Raises:
            CrewError: The scheduler or all workers went away, and have not come back in time.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._events:
            self._look_around()
            self._employ()
            if deadline is None and not self._waiting and self._roster.idle:
                return None
            left = _TICK_S if deadline is None else deadline - time.monotonic()
            if not self._hear(min(left, _TICK_S)) and left <= 0:
                return None
        return self._events.popleft()

    # What the link tells, see `News`.

    def told(self, message: dict[str, Any]) -> None:
        """A worker has sent a message: about itself, or about a task."""
        kind = message["kind"]
        if kind == dask_plugins.READY:
            self._roster.welcome(message["worker"], message["slots"])
        elif kind == dask_plugins.REFUSED:
            self._refuse(message["worker"], message["cause"])
        elif order := self._roster.orders.get(message["number"]):
            self._take(order, kind, message["content"])

    def left(self, worker: str) -> None:
        """A worker has gone: its tasks are lost, but why will be known in a moment."""
        for order in self._roster.lose(worker):
            self._release(order)

    def buried(self, worker: str) -> None:
        """Nothing more will be told of a worker that has gone."""
        taken = self._roster.taken.pop(worker, None)
        cause = _GONE if taken is None else _STARVED.format(f"{taken / 1e9:.2g} GB")
        for order in self._roster.lost.pop(worker, ()):
            self._events.append(Failed(order.key, worker, Failure(cause, lost=True)))

    def starved(self, worker: str, taken: int) -> None:
        """A worker is going to be ended, because it has taken so many bytes."""
        self._roster.taken[worker] = taken

    def over(self, number: int, status: str, error: BaseException | None) -> None:
        """A task's future has come to its end; usually the task has told so before."""
        order = self._roster.orders.get(number)
        if order is None:
            return
        if status == "cancelled":  # not by us: the scheduler has restarted
            self._broken = True
            return
        self._roster.end(order)
        self._release(order)
        cause = "its result was lost" if error is None else f"cannot be begun ({_in_a_line(error)})"
        failure = Failure(cause, lost=type(error).__name__ == "KilledWorker")
        self._events.append(Failed(order.key, order.member.address, failure))

    def _take(self, order: Order, kind: str, content: bytes) -> None:
        """Make an event of what has been told of a task."""
        told = attempt.event(order.key, order.member.address, kind, content)
        if isinstance(told, Started):
            order.begun = True
        elif isinstance(told, Done | Failed):
            self._roster.end(order)
            self._release(order)
        self._events.append(told)

    def _refuse(self, worker: str, cause: str) -> None:
        self._roster.refused[worker] = cause
        self._warn(f"{worker} is not used: {cause} there, comix {__version__} here")

    # What the crew asks for.

    def _employ(self) -> None:
        """Give tasks that wait to slots that are free."""
        while self._waiting and self._link is not None and not self._broken:
            order = self._roster.begin(next(self._numbers), *self._waiting[0])
            if order is None:
                return
            self._waiting.popleft()
            try:
                self._link.submit(order.number, order.content, order.member.address)
            except OSError:
                self._broken = True

    def _release(self, order: Order) -> None:
        if self._link is not None:
            self._link.release(order.number)

    def _equip(self, link: Link, name: str) -> None:
        plugin = dask_plugins.gift(self._gifts[name])
        link.equip(dask_plugins.gift_name(self._crew, name), plugin)

    def _connect(self, seconds: float) -> Link:
        """Connect, and prepare the workers that are there.

        Raises:
            OSError: The scheduler does not answer.
            CrewError: The scheduler file does not name one.
        """
        from comix_cli.scale.dask_link import Link, scheduler_address  # noqa: PLC0415  # optional

        address = scheduler_address(self._scheduler)
        link = Link(address, self._crew, self, self._inbox.put, seconds)
        try:
            for name in self._gifts:
                self._equip(link, name)
            outfit = dask_plugins.outfit(link.topic, __version__, self._memory, self._slots)
            link.equip(self._crew, outfit)
            end = time.monotonic() + _REPORTS_S
            present = link.workers()
            while present - self._roster.reported() and time.monotonic() < end:
                if not self._hear(_PAUSE_S):
                    present = link.workers()
        except BaseException:
            link.close()
            raise
        return link

    def _find(self, seconds: float, cause: str, remedy: str) -> None:
        """Connect to the scheduler, which may be about to be there.

        Raises:
            CrewError: It is not, with this cause and remedy.
        """
        end = time.monotonic() + seconds
        while self._link is None:
            self._roster = Roster()
            try:
                self._link = self._connect(max(1.0, min(_CONNECT_S, end - time.monotonic())))
            except (OSError, TimeoutError, CrewError) as error:
                if time.monotonic() + _PAUSE_S > end:
                    if isinstance(error, CrewError):
                        raise
                    cause = f"{cause} ({_in_a_line(error)})"
                    raise CrewError(cause, path=self._scheduler, remedy=remedy) from error
                time.sleep(_PAUSE_S)
        self._broken = False

    def _leave(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _look_around(self) -> None:
        """Notice where the scheduler is lost, or all workers are."""
        if self._broken or self._link is None or self._link.lost:
            while self._hear(0):
                pass  # results that are here already need not be computed again
            self._warn(f"{self._scheduler}: the scheduler went away; waiting for it")
            self._leave()
            self._waiting.extendleft(reversed(self._roster.unfinished()))
            self._find(self._patience, "the scheduler went away", _AGAIN)
        if self._roster.members or not self._waiting:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > self._patience:
            raise CrewError("has no workers any more", path=self._scheduler, remedy=_AGAIN)
        if time.monotonic() - self._last_look > _RELUCTANT_S / 4:
            self._name_reluctant()

    def _name_reluctant(self) -> None:
        """Tell of workers that do not begin what they are given, once of each."""
        self._last_look = time.monotonic()
        for worker in sorted(self._roster.reluctant(_RELUCTANT_S) - self._named):
            self._named.add(worker)
            self._warn(f"{worker} lets a task wait: other work keeps it busy, or too little memory")

    def _await_workers(self) -> None:
        end = time.monotonic() + self._patience
        if not self._roster.members:
            self._warn(f"{self._scheduler}: no workers yet; waiting for the first")
        while not self._roster.members:
            if self._link is None or time.monotonic() > end:
                address = self._scheduler if self._link is None else self._link.address
                remedy = f"start some with dask worker {address}"
                raise CrewError("has no workers", path=self._scheduler, remedy=remedy)
            self._hear(min(_TICK_S, self._patience))

    def _hear(self, seconds: float) -> bool:
        """Let one thing that the link has to say be said; False where nothing comes in time."""
        try:
            call = self._inbox.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        call()
        return True


def _another_comix(refused: dict[str, str]) -> CrewError:
    named = [f"{cause} on {worker}" for worker, cause in sorted(refused.items())]
    if len(named) > _MOST_NAMED:
        named[_MOST_NAMED:] = [f"and on {counted(len(named) - _MOST_NAMED, 'more worker')}"]
    return CrewError(
        f"workers cannot be used: comix {__version__} here, {', '.join(named)}",
        remedy="install the same comix everywhere",
    )


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
