"""Work that runs beside the main thread, always in order and never further ahead than allowed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_END: Final = object()


@contextmanager
def thread_pool(
    workers: int, name: str, start: Callable[[], object] | None = None
) -> Iterator[ThreadPoolExecutor]:
    """Threads that are gone when the block ends; what they have not begun by then is dropped.

    Args:
        workers: How many.
        name: What debuggers and `top -H` call them.
        start: Called by every thread before its first task.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix=name, initializer=start)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prefetched(pool: ThreadPoolExecutor, items: Iterable[Item], ahead: int) -> Iterator[Item]:
    """The items of an iterable that a pool of one thread computes up to `ahead` items early."""
    iterator = iter(items)
    pending: deque[Future[Any]] = deque()
    for _ in range(ahead):
        pending.append(pool.submit(next, iterator, _END))
    while (item := pending.popleft().result()) is not _END:
        pending.append(pool.submit(next, iterator, _END))
        yield item


def in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
) -> Iterator[Result]:
    """`map(function, items)` in the threads of a pool, with up to `ahead` items in work at once."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


@contextmanager
def in_background(function: Callable[..., object], ahead: int) -> Iterator[Callable[..., None]]:
    """A function whose calls run in one other thread, in order, up to `ahead` of them unfinished.

    An error of an earlier call is raised by a later one, or at the end of the block.
    """
    pending: deque[Future[object]] = deque()
    with thread_pool(1, "comix-writer") as pool:

        def call(*arguments: object) -> None:
            if len(pending) == ahead:
                pending.popleft().result()
            pending.append(pool.submit(function, *arguments))

        yield call
        while pending:
            pending.popleft().result()
