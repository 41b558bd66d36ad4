"""What a finished part of a scene leaves behind: rows as they are stored, and a record of them.

The record comes last, so a part without one is not finished. It holds size and checksum of each
file, so that what has been cut off or changed since is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comix_cli.errors import InputError
from comix_cli.files import write_atomic_text
from comix_cli.mapping.row_file import RowFile
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend
from comix_cli.scene.windows import Window
from comix_cli.tools.output_files import OutputOptions
from comix_cli.tools.outputs import Outputs, open_stored
from comix_cli.tools.provenance import plain

_SCORES = ("probabilities", "confidence", "entropy")
_AT_ONCE = 32 << 20


@dataclass(frozen=True)
class StoredFile:
    """One file of a part, as it was when it was finished.

    Attributes:
        name: In the folder of parts.
        size: In bytes.
        sha256: Of its bytes.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class PartRecord:
    """What a finished part says of itself.

    Attributes:
        mark: All that its pixels depend on but what is in the rasters, as a checksum.
        own: The pixels that it has written.
        counts: How many of them have each code, from 0 on.
        outside: How many are valid and lie outside the mask.
        files: Its files by what they hold: `map`, and the scores that were asked for.
    """

    mark: str
    own: Window
    counts: tuple[int, ...]
    outside: int
    files: Mapping[str, StoredFile]

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> PartRecord:
        """The inverse of `plain`."""
        return cls(
            str(document["mark"]),
            Window(**document["own"]),
            tuple(int(count) for count in document["counts"]),
            int(document["outside"]),
            {content: StoredFile(**file) for content, file in document["files"].items()},
        )


def read_record(folder: Path, own: Window, mark: str) -> PartRecord | None:
    """The record of a part; None where it is not finished, or is of another run.

    The files have been looked for, and not read.
    """
    try:
        record = PartRecord.from_json(json.loads(_record_path(folder, own).read_text("utf-8")))
        sizes = [((folder / f.name).stat().st_size, f.size) for f in record.files.values()]
    except (OSError, AttributeError, KeyError, TypeError, ValueError):
        return None
    same = (record.mark, record.own) == (mark, own)
    return record if same and all(found == size for found, size in sizes) else None


def is_intact(folder: Path, record: PartRecord) -> bool:
    """Whether the files of a part still hold what was written."""
    return all(_sum_of(folder / file.name) == file.sha256 for file in record.files.values())


def discard(folder: Path, own: Window) -> None:
    """Remove a part, so that nothing of it looks finished."""
    _record_path(folder, own).unlink(missing_ok=True)
    for path in folder.glob(f"{_stem(own)}.*"):
        path.unlink(missing_ok=True)


@contextmanager
def part_outputs(
    options: OutputOptions, grid: Grid, legend: Legend, folder: Path, own: Window
) -> Iterator[Outputs]:
    """What takes the rows of a part, the first one as row 0; files appear when the block ends well.

    Args:
        options: Which scores are wanted, and how.
        grid: Of the whole scene.
        legend: The classes.
        folder: Where the files go.
        own: The pixels of the part.

    Raises:
        OutputError: A file cannot be written, or the disk is full.
    """
    places: dict[str, Any] = {
        name: folder / f"{_stem(own)}.{name}"
        for name in ("map", *_SCORES)
        if getattr(options, name) is not None
    }
    stored = OutputOptions(**places, float_scores=options.float_scores)
    with open_stored(stored, grid.part(own), legend) as outputs:
        yield outputs


def write_record(
    folder: Path, own: Window, mark: str, outputs: Outputs, outside: int
) -> PartRecord:
    """Record that a part is finished; its files are there already.

    Raises:
        OutputError: It cannot be written.
    """
    files = {
        content: StoredFile(path.name, path.stat().st_size, _sum_of(path))
        for content, (path, _) in outputs.files.items()
    }
    record = PartRecord(mark, own, tuple(outputs.counts.tolist()), outside, files)
    write_atomic_text(_record_path(folder, own), json.dumps(plain(record), indent=1))
    return record


def copy_part(folder: Path, record: PartRecord, outputs: Outputs) -> bool:
    """Copy the rows of a part into the outputs of the scene.

    Returns:
        Whether its files still hold what was written; where not, the outputs are spoilt.

    Raises:
        InputError: A file cannot be read.
        OutputError: An output cannot be written.
    """
    outputs.add_counts(record.counts)
    return all(
        _copy_file(folder / file.name, file.sha256, record.own, content, outputs)
        for content, file in record.files.items()
    )


def _copy_file(path: Path, sha256: str, own: Window, content: str, outputs: Outputs) -> bool:
    digest = hashlib.sha256()
    _, rows = outputs.files[content]
    try:
        with path.open("rb") as stream:
            for place, size in _strips(own, rows):
                data = stream.read(size)
                digest.update(data)
                if len(data) < size:
                    return False
                values = np.frombuffer(data, rows.dtype).reshape(*place.shape, rows.bands)
                outputs.write_stored(content, place, np.moveaxis(values, -1, 0))
            return digest.hexdigest() == sha256 and not stream.read(1)
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror or error})",
            path=path,
            remedy="check the disk, and give the same command again",
        ) from error


def _strips(own: Window, rows: RowFile) -> Iterator[tuple[Window, int]]:
    """Strips of a part from top to bottom, and the bytes of each in its file."""
    row_bytes = own.width * rows.bands * rows.dtype.itemsize
    step = max(1, _AT_ONCE // row_bytes)
    for first in range(0, own.height, step):
        height = min(step, own.height - first)
        yield Window(own.row + first, own.col, height, own.width), height * row_bytes


def _sum_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def _stem(own: Window) -> str:
    return f"part-{own.row}-{own.col}"


def _record_path(folder: Path, own: Window) -> Path:
    return folder / f"{_stem(own)}.json"
