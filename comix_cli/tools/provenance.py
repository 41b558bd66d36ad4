"""What made a file: versions, time, options."""

from __future__ import annotations

import dataclasses
import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from comix_cli import __version__
from comix_cli.mapping.threads import thread_pool

T = TypeVar("T")

_LIBRARIES = ("torch", "numpy", "numba", "rasterio", "scikit-learn")


def versions() -> dict[str, str]:
    """The versions of comix and of the libraries that results depend on."""
    found = {"comix": __version__, "python": platform.python_version()}
    return found | {name: version(name) for name in _LIBRARIES}


def timestamp() -> str:
    """The time now, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


def plain(value: Any) -> Any:
    """A frozen options record as plain dictionaries, lists, numbers and strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


@contextmanager
def on_the_side(work: Callable[[Callable[[], bool]], T]) -> Iterator[Callable[[], T]]:
    """Do something while other work goes on, as finding checksums: they read every byte once more.

    Args:
        work: Is told how to ask whether its result is still wanted.

    Yields:
        What waits for the result and gives it. Nobody waits for one that has not been asked for by
        the end of the block.
    """
    over = threading.Event()
    with thread_pool(1, "comix-checksums") as pool:
        found = pool.submit(work, over.is_set)
        try:
            yield found.result
        finally:
            over.set()
