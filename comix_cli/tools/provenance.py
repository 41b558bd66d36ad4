"""What made a file: versions, time, options."""

from __future__ import annotations

import dataclasses
import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from comix_cli import __version__
from comix_cli.mapping.threads import thread_pool
from comix_cli.scene.raster import checksum

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
def checksums_aside(paths: Sequence[str]) -> Iterator[Callable[[], list[str | None]]]:
    """Checksums of files, found while other work goes on: they read every byte once more.

    Yields:
        What waits for them and gives them, in the order of the files. Nobody waits for sums that
        have not been asked for by the end of the block.
    """
    over = threading.Event()
    with thread_pool(1, "comix-checksums") as pool:
        sums = pool.submit(lambda: [checksum(path, over.is_set) for path in paths])
        try:
            yield sums.result
        finally:
            over.set()
