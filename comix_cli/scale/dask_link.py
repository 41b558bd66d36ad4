"""A connection to a Dask scheduler, whose news come as calls that another thread makes."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import distributed
from distributed import WorkerPlugin
from distributed.versions import VersionMismatchWarning

from comix_cli.errors import CrewError
from comix_cli.scale.dask_worker import RESOURCE, dask_key, perform

# Between the end of a worker and what its nanny may have to say of it.
_LAST_WORDS_S = 0.5
# How long the end of a crew may take, whatever the scheduler does.
_GOODBYE_S = 5.0
_ADDRESS = re.compile(r"[\w.+-]+://.+|[\w.-]+:\d+")
_HELLO = "hello"


class News(Protocol):
    """Whoever listens to a link; called by the thread that makes the calls of the inbox."""

    def told(self, message: dict[str, Any]) -> None:
        """A worker has sent a message to the crew's topic."""

    def left(self, worker: str) -> None:
        """A worker has gone."""

    def buried(self, worker: str) -> None:
        """A worker has gone, and nothing more will be told of why."""

    def starved(self, worker: str, taken: int) -> None:
        """A worker is ended by its nanny, because it has taken so many bytes."""

    def over(self, number: int, status: str, error: BaseException | None) -> None:
        """A task's future is finished, cancelled or in error."""


class Link:
    """A connection to a scheduler.

    Args:
        address: The scheduler's.
        crew: What its plugins and tasks are named after.
        news: Who is told.
        put: Takes calls for another thread; those of one worker stay in order.
        seconds: How long connecting may take.

    Raises:
        OSError: No scheduler answers.
    """

    def __init__(
        self,
        address: str,
        crew: str,
        news: News,
        put: Callable[[Callable[[], None]], None],
        seconds: float,
    ) -> None:
        self.address = address
        self._crew = crew
        self._news = news
        self._alive = True
        self._greeted = False
        self._put = put
        self._futures: dict[int, Any] = {}
        self._plugins: list[str] = []
        _knock(address, seconds)
        # Other versions of comix are refused; of all else we need only what every version has.
        warnings.filterwarnings("ignore", category=VersionMismatchWarning)
        tools: Any = distributed
        self._client = tools.Client(address, timeout=seconds, set_as_default=False, name="comix")
        self._comm = self._client.scheduler_comm
        # Events that bear the name of a client are forgotten by the scheduler when it has gone.
        self.topic: str = self._client.id
        self._topics: dict[str, Callable[[tuple[float, Any]], None]] = {
            self.topic: self._on_told,
            "all": self._on_cluster,
            "worker-restart-memory": self._on_memory,
        }
        try:
            for topic, listen in self._topics.items():
                self._client.subscribe_topic(topic, listen)
            self._greet(seconds)
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> bool:
        """Whether the scheduler is gone, or was: one that is back knows nothing of before."""
        return self._client.status != "running" or self._client.scheduler_comm is not self._comm

    def equip(self, name: str, plugin: WorkerPlugin) -> None:
        """Give a plugin to all workers of now and later.

        Raises:
            OSError: The connection is lost.
        """
        with suppress(ValueError):
            self._plugins.remove(name)
        self._plugins.append(name)
        self._client.register_plugin(plugin, name=name)

    def workers(self) -> set[str]:
        """Addresses of all workers.

        Raises:
            OSError: The connection is lost.
        """
        return set(self._client.nthreads())

    def submit(self, number: int, order: bytes, worker: str) -> None:
        """Let a worker do a task, and no other one.

        Raises:
            OSError: The connection is lost.
        """
        try:
            future = self._client.submit(
                perform,
                self._crew,
                number,
                order,
                key=dask_key(self._crew, number),
                workers=[worker],
                resources={RESOURCE: 1},
                retries=0,
                pure=False,
            )
        except Exception as error:
            if self.lost:
                raise ConnectionError(str(error)) from error
            raise
        self._futures[number] = future
        future.add_done_callback(lambda each: self._on_over(number, each))

    def release(self, number: int) -> None:
        """Let the scheduler forget a task; the worker learns of it if the task goes on."""
        future = self._futures.pop(number, None)
        if future is not None:
            future.release()

    def close(self) -> None:
        """Give up what is under way and leave nothing behind, as far as the scheduler answers."""
        self._alive = False
        for number in list(self._futures):
            self.release(number)
        client = self._client
        with suppress(Exception):
            for topic in self._topics:
                client.unsubscribe_topic(topic)
            for name in () if self.lost else self._plugins:
                client.sync(
                    client.scheduler.unregister_worker_plugin,
                    name=name,
                    callback_timeout=_GOODBYE_S,
                )
        with suppress(Exception):
            client.close(timeout=_GOODBYE_S)

    def _greet(self, seconds: float) -> None:
        """Wait until the scheduler really sends what is told to the crew's topic."""
        end = time.monotonic() + seconds
        while not self._greeted:
            self._client.log_event(self.topic, {"kind": _HELLO})
            time.sleep(0.02)
            if time.monotonic() > end:
                raise TimeoutError("the scheduler sends no events")

    def _call(self, method: Callable[..., None], *arguments: Any) -> None:
        """Let the other thread call, unless the link has been closed by then."""
        self._put(lambda: method(*arguments) if self._alive else None)

    def _on_told(self, event: tuple[float, Any]) -> None:
        kind = event[1].get("kind")
        if kind == _HELLO:
            self._greeted = True
        elif kind is not None:  # the scheduler notes something of its own here
            self._call(self._news.told, event[1])

    def _on_cluster(self, event: tuple[float, Any]) -> None:
        said = event[1]
        if isinstance(said, dict) and said.get("action") == "remove-worker":
            worker = said["worker"]
            self._call(self._news.left, worker)
            self._client.loop.call_later(_LAST_WORDS_S, self._call, self._news.buried, worker)

    def _on_memory(self, event: tuple[float, Any]) -> None:
        self._call(self._news.starved, event[1]["worker"], event[1]["rss"])

    def _on_over(self, number: int, future: Any) -> None:
        if not self._alive:
            return
        error = future.exception() if future.status == "error" else None
        self._call(self._news.over, number, future.status, error)


def _knock(address: str, seconds: float) -> None:
    """Try whether a scheduler answers; a client would wait for ever for something else's answer.

    Raises:
        OSError: It does not.
    """

    async def knock() -> None:
        tools: Any = distributed  # hardly any of them has types
        arguments = tools.Security().get_connection_args("client")
        door = tools.comm.connect(address, timeout=0.8 * seconds, **arguments)
        await (await asyncio.wait_for(door, seconds)).close()

    # In a thread, because the caller's may have an event loop already, as in a notebook.
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(asyncio.run, knock()).result()
        except Exception as error:  # what is no scheduler may answer anything
            raise ConnectionError(_reason(error, seconds)) from error


def _reason(error: BaseException, seconds: float) -> str:
    """What kept a connection from coming about, in few words."""
    first = error
    while isinstance(first.__cause__, Exception):
        first = first.__cause__
    if isinstance(first, TimeoutError):
        return f"nothing within {seconds:.3g} s"
    return getattr(first, "strerror", None) or str(first)


def check_scheduler(scheduler: str) -> None:
    """Refuse what neither is an address nor can become a scheduler file.

    Raises:
        CrewError: It is neither.
    """
    if _is_address(scheduler) or Path(scheduler).parent.is_dir():
        return
    raise CrewError(
        "is neither the address of a scheduler nor a scheduler file",
        path=scheduler,
        remedy="give tcp://HOST:PORT, or the file of dask scheduler --scheduler-file",
    )


def scheduler_address(scheduler: str) -> str:
    """The address of a scheduler, which may be in a file that it has written.

    Raises:
        CrewError: There is no such file, or no address in it.
    """
    if _is_address(scheduler):
        return scheduler
    try:
        return str(json.loads(Path(scheduler).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "no address in it"
        raise CrewError(
            f"is no scheduler file ({reason})",
            path=scheduler,
            remedy="name the file of dask scheduler --scheduler-file, or tcp://HOST:PORT",
        ) from error


def _is_address(scheduler: str) -> bool:
    return bool(_ADDRESS.fullmatch(scheduler)) and not Path(scheduler).exists()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask's loggers silent: what matters of it is told by errors and warnings of ours."""
    chatter = ("distributed", "tornado")
    names = [n for n in logging.root.manager.loggerDict if n.split(".")[0] in chatter]
    loggers = [logging.getLogger(name) for name in {*names, *chatter}]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
