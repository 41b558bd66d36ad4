"""What came of a batch: a document, a table, and the list of what to feed back in."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from comix_cli.files import write_atomic_text
from comix_cli.tools.batch_folder import SceneOutcome
from comix_cli.tools.batch_jobs import command_of, files_of
from comix_cli.tools.provenance import timestamp, versions

KIND = "batch"
SCHEMA_VERSION = 1
# Of the scenes that are to be done still, whatever the reason.
MISSING = ("failed", "interrupted", "not begun")
_COLUMNS = ("id", "status", "command", "output", "seconds", "worker", "warnings", "error")


def write_summaries(
    outcomes: Sequence[SceneOutcome], path: Path, shard: tuple[int, int], *, is_rest: bool = False
) -> None:
    """Write the summaries; those of a shard have its number in their names.

    Args:
        outcomes: What came of the scenes.
        path: The folder of the batch.
        shard: Which share of the scenes it is.
        is_rest: Whether these scenes are what an earlier run has left: the summary keeps the others
            then.

    Raises:
        OutputError: They cannot be written.
    """
    summary = path / shard_name("summary", shard, ".json")
    documents = [_document(outcome) for outcome in outcomes]
    if is_rest:
        new = {each["id"]: each for each in documents}
        older = [new.pop(each["id"], each) for each in _results(summary)]
        documents = [*older, *new.values()]
    write_atomic_text(summary, _json(documents))
    write_atomic_text(path / shard_name("summary", shard, ".csv"), _table(documents))
    missing = [outcome for outcome in outcomes if outcome.status in MISSING]
    target = failed_list(path, shard)
    if missing:
        write_atomic_text(target, to_table(missing))
    else:
        target.unlink(missing_ok=True)
    if shard == (1, 1) and not is_rest:  # what shards have left is in the list of all by now
        for stale in path.glob("failed-*-of-*.csv"):
            stale.unlink(missing_ok=True)


def failed_list(folder: Path, shard: tuple[int, int]) -> Path:
    """Where the scenes are listed that are to be done still."""
    return folder / shard_name("failed", shard, ".csv")


def to_json(outcomes: Iterable[SceneOutcome]) -> str:
    """Everything as one document."""
    return _json([_document(outcome) for outcome in outcomes])


def _json(documents: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(str(each["status"]) for each in documents)
    document = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "scenes": len(documents),
        "counts": {status: counts[status] for status in ("done", "unchanged", *MISSING)},
        "results": documents,
        "provenance": {"date": timestamp(), "versions": versions()},
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _table(documents: Sequence[Mapping[str, Any]]) -> str:
    """A row for each scene; figures follow in columns of their own."""
    flat = [_flat(each["figures"]) for each in documents]
    figures = list(dict.fromkeys(name for each in flat for name in each))
    rows = [
        [*(told[name] for name in _COLUMNS), *(found.get(name, "") for name in figures)]
        for told, found in zip(documents, flat, strict=True)
    ]
    return _csv([*_COLUMNS, *figures], rows)


def _results(summary: Path) -> list[dict[str, Any]]:
    """What an earlier summary says of each scene; none where it is missing or damaged."""
    try:
        document = json.loads(summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    known = isinstance(document, dict) and document.get("schema_version") == SCHEMA_VERSION
    return list(document["results"]) if known else []


def to_table(outcomes: Sequence[SceneOutcome]) -> str:
    """The scenes as a table that `comix batch` reads."""
    widths: dict[str, int] = {}
    for outcome in outcomes:
        for column, values in outcome.scene.cells.items():
            widths[column] = max(widths.get(column, 0), len(values))
    header = [column for column, width in widths.items() for _ in range(width)]
    rows = []
    for outcome in outcomes:
        cells = outcome.scene.cells
        padded = [
            value
            for column, width in widths.items()
            for value in (*cells.get(column, ()), *[""] * width)[:width]
        ]
        rows.append([outcome.scene.id, *padded])
    return _csv(["id", *header], rows)


def _document(outcome: SceneOutcome) -> dict[str, Any]:
    scene, record = outcome.scene, outcome.record
    return {
        "id": scene.id,
        "status": outcome.status,
        "command": command_of(scene.job),
        "output": str(files_of(scene.job)[1][0]),
        "seconds": record.seconds if record else None,
        "worker": record.worker if record else "",
        "warnings": record.warnings if record else 0,
        "error": outcome.error,
        "figures": dict(record.figures) if record else {},
    }


def _flat(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures by one name each: `class_pixels: {roof: 7}` as `class_pixels.roof`."""
    found: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            found[name] = value
    return found


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    return text.getvalue()


def shard_name(stem: str, shard: tuple[int, int], suffix: str) -> str:
    """What a file is called that sums up a shard, or all scenes."""
    number, count = shard
    return f"{stem}{suffix}" if count == 1 else f"{stem}-{number}-of-{count}{suffix}"
