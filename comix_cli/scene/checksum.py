"""The checksum of a file, and whether one that is known still holds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from comix_cli.scene.raster import dataset_files

_CHUNK_BYTES = 1 << 20
# They change with every look at a file in a GIS, and hold no pixel.
_UNHASHED_SUFFIXES = (".aux.xml", ".ovr", ".qml")
_SHAPEFILE_PARTS = (".dbf", ".shx", ".prj", ".cpg")
# A file that was changed so shortly before it was looked at may change again at the same time, as
# far as file systems with coarse clocks tell.
_SETTLED_NS = 2_000_000_000

Signature = list[list[int]]


@dataclass(frozen=True)
class KnownFile:
    """A file as it was when its checksum was found.

    Attributes:
        signature: Size, time of change and inode of each of its parts; empty for what is no local
            file.
        checksum: `sha256:...`; None for what is no local file.
        when: When that was, in nanoseconds since 1970.
    """

    signature: Signature
    checksum: str | None
    when: int = 0

    def is_still(self, path: str | Path) -> bool:
        """Whether nothing has touched the file since."""
        return self.is_of(signature(path))

    def is_of(self, now: Signature) -> bool:
        """The same, for what the file looks like now."""
        newest = max((each[1] for each in self.signature), default=0)
        settled = self.when - newest > _SETTLED_NS
        return settled and bool(self.signature) and now == self.signature


# What this process has found: a map's inputs are asked for by its tags, its item and its record.
_FOUND: dict[str, KnownFile] = {}


def checksum(path: str | Path, cancelled: Callable[[], bool] = lambda: False) -> str | None:
    """`sha256:...` over a file's bytes, read in pieces; once, while nothing touches the file.

    Where the data lie in several files (ENVI data and header, a VRT and its sources, the parts of a
    Shapefile), the bytes of all of them, the named file first and the others in order of name;
    statistics (`.aux.xml`), overviews and styles are left out. None for GDAL names that are no
    local file, and where it is cancelled.

    Args:
        path: The file.
        cancelled: Asked before every piece whether the sum is still wanted.
    """
    return look_at(path, cancelled=cancelled).checksum


def look_at(
    path: str | Path,
    known: KnownFile | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> KnownFile:
    """A file with its checksum; what is known already and has not been touched is not read again.

    Args:
        path: The file.
        known: What was known of it before.
        cancelled: As for `checksum`.
    """
    # The time and the state first: what changes meanwhile is then newer.
    when, now = time.time_ns(), signature(path)
    for found in (known, _FOUND.get(str(path))):
        if found is not None and found.is_of(now):
            return found
    found = KnownFile(now, _sum(path, cancelled), when)
    if found.checksum is not None:
        _FOUND[str(path)] = found
    return found


def signature(path: str | Path) -> Signature:
    """Size, time of change and inode of each file that `checksum` is over; [] where none is.

    The time is that of the inode: nobody can set it, so even a file of the same size and the same
    date as the old one is told from it.
    """
    try:
        stats = [part.stat() for part in data_files(path)]
    except OSError:
        return []
    return [[each.st_size, each.st_ctime_ns, each.st_ino] for each in stats]


def data_files(path: str | Path) -> list[Path]:
    """The files whose bytes `checksum` is over; none for GDAL names that are no local file."""
    main = Path(path)
    return [main, *_other_parts(main)] if main.is_file() else []


def _sum(path: str | Path, cancelled: Callable[[], bool]) -> str | None:
    parts = data_files(path)
    if not parts:
        return None
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                if cancelled():
                    return None
                digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _other_parts(main: Path) -> list[Path]:
    if main.suffix.lower() == ".shp":
        candidates = [main.with_suffix(suffix) for suffix in _SHAPEFILE_PARTS]
    else:
        candidates = [Path(name) for name in dataset_files(main)]
    return sorted(
        part
        for part in candidates
        if part.is_file()
        and not part.name.lower().endswith(_UNHASHED_SUFFIXES)
        and not part.samefile(main)
    )
