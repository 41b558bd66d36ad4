"""The folder of a batch: a record and a log for each scene, and the summaries."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comix_cli.errors import OutputError
from comix_cli.files import make_folder, output_errors
from comix_cli.tools.batch_jobs import Scene, files_of
from comix_cli.tools.batch_records import Record, read_record, write_record
from comix_cli.tools.provenance import timestamp
from comix_cli.tools.scene_table import slug

Status = Literal["done", "unchanged", "failed", "interrupted", "not begun"]
_RECORDS, _LOGS = "records", "logs"
# Characters of the name of an output in that of its record.
_STEM = 50


@dataclass(frozen=True)
class SceneOutcome:
    """What became of a scene.

    Attributes:
        scene: The scene.
        status: `unchanged` where it was done before, from the same contents.
        record: What is known of it; None where nothing is.
        error: Why it failed; empty where it did not.
    """

    scene: Scene
    status: Status
    record: Record | None = None
    error: str = ""


class BatchFolder:
    """Where a batch keeps what it knows.

    Args:
        path: The folder, made where it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the folder.

        Raises:
            OutputError: It cannot be made, or holds files that are none of a batch's.
        """
        is_other = self.path.is_dir() and any(self.path.iterdir())
        if is_other and not (self.path / _RECORDS).is_dir():
            raise OutputError(
                "holds files, and none of a batch", path=self.path, remedy="name a new --folder"
            )
        for name in (_RECORDS, _LOGS):
            make_folder(self.path / name)

    @contextmanager
    def claimed(self, shard: tuple[int, int]) -> Iterator[None]:
        """While the block lasts, nobody else does these scenes.

        Runs of several shards go together; a run of all goes with none.

        Raises:
            OutputError: Somebody does already.
        """
        with ExitStack() as locks:
            alone = shard == (1, 1)
            locks.enter_context(self._locked("all", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
            if not alone:
                locks.enter_context(self._locked("{}-of-{}".format(*shard), fcntl.LOCK_EX))
            yield

    @contextmanager
    def _locked(self, name: str, kind: int) -> Iterator[None]:
        # The file stays: if it went, two runs could hold locks on two files of its name.
        with (self.path / _RECORDS / f".{name}.lock").open("a") as stream:
            try:
                fcntl.flock(stream, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(
                    "another run of this batch is under way",
                    path=self.path,
                    remedy="wait for it, or end it",
                ) from error
            except OSError:  # not every network disk has locks
                pass
            yield

    def record(self, scene: Scene) -> Record | None:
        """What is known of a scene."""
        return read_record(self._record_path(scene))

    def note(self, scene: Scene, record: Record) -> None:
        """Keep what is known of a scene.

        Raises:
            OutputError: It cannot be written.
        """
        write_record(self._record_path(scene), record)

    def log_path(self, scene: str) -> Path:
        """Where the log of a scene is."""
        return self.path / _LOGS / f"{scene}.log"

    def log(self, scene: str, worker: str, lines: Iterable[str]) -> None:
        """Add lines to the log of a scene.

        Raises:
            OutputError: They cannot be written.
        """
        path = self.log_path(scene)
        head = " ".join(filter(None, (timestamp(), worker)))
        with output_errors(path), path.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{head}: {line}\n" for line in lines)

    def _record_path(self, scene: Scene) -> Path:
        """By what the scene writes: what it is called may depend on the other rows."""
        target = files_of(scene.job)[1][0]
        place = os.path.relpath(target, self.path)
        mark = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
        return self.path / _RECORDS / f"{slug(target.stem)[:_STEM]}-{mark}.json"


def folder_beside(table: Path) -> Path:
    """The folder of a table's batch; a list that a batch has left belongs to that batch."""
    if (table.parent / _RECORDS).is_dir() and (table.parent / _LOGS).is_dir():
        return table.parent
    return table.with_name(f"{table.stem}-batch")
