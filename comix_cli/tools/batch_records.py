"""What a batch knows of each scene from one run to the next: a small JSON file for each.

A record is written when a scene is begun and again when it is over, so what an interrupted run was
about to write is known to be its own. Contents count, not times: times and sizes only tell when a
checksum that is known need not be found again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from comix_cli.files import output_errors, partial_path, publish
from comix_cli.scene.checksum import KnownFile, checksum

KIND = "batch-scene"
SCHEMA_VERSION = 1
# Size, time of change, and later the checksum of a file.
State = list[Any]
Status = Literal["begun", "done", "failed"]


@dataclass(frozen=True)
class Record:
    """What came of a scene when it was last tried.

    Attributes:
        status: `begun` until it is over.
        asked: Mark of what was asked for, by names of files.
        mark: Mark of what that depends on, by contents; empty until it is done.
        inputs: Every file that was read.
        outputs: Size, time and checksum of every file that was written, by its path relative to the
            folder of the records; None until it is done.
        figures: What the summary shows of it.
        worker: Who did it.
        seconds: Wall-clock time.
        warnings: How often it was warned of something.
        error: Why it failed.
        date: When that was.
    """

    status: Status
    asked: str
    mark: str = ""
    inputs: Mapping[str, KnownFile] = field(default_factory=dict)
    outputs: Mapping[str, State | None] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    worker: str = ""
    seconds: float = 0.0
    warnings: int = 0
    error: str = ""
    date: str = ""


def read_record(path: Path) -> Record | None:
    """A record; None where there is none, or where it is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("kind") != KIND or document.pop("schema_version") != SCHEMA_VERSION:
            return None
        inputs = {name: KnownFile(**known) for name, known in document.pop("inputs").items()}
        return Record(inputs=inputs, **document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    document = {"kind": KIND, "schema_version": SCHEMA_VERSION, **asdict(record)}
    # Without looking for what others have left: ten thousand records take long to list.
    partial = partial_path(path)
    try:
        with output_errors(path):
            partial.write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")
            publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def output_states(paths: Iterable[Path], folder: Path) -> dict[str, State | None]:
    """What files look like, by their paths relative to a folder; None where they are not there.

    Relative, so that a folder that is moved as a whole keeps its records.
    """
    return {os.path.relpath(path, folder): _state(path) for path in paths}


def with_checksums(states: Mapping[str, State | None], folder: Path) -> dict[str, State | None]:
    """The same with checksums."""
    return {
        name: None if state is None else [*state[:2], checksum(folder / name)]
        for name, state in states.items()
    }


def is_same(name: str, state: State | None, known: State | None, folder: Path) -> bool:
    """Whether a file is what it was; where only its time has changed, as in copies, by contents."""
    if state is None or known is None or state[:2] == known[:2]:
        return (state is None) == (known is None)
    return state[0] == known[0] and known[2:] == [checksum(folder / name)]


def _state(path: Path) -> State | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
