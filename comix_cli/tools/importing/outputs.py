"""The files of an import: all at once or none."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from comix_cli import __version__
from comix_cli.accuracy.report_text import to_json_text
from comix_cli.files import (
    check_writable,
    make_folder,
    output_errors,
    partial_folder,
    publish_all,
    sidecar,
)
from comix_cli.mapping.writer import VERSION_TAG, Published, check_map_writable, stale_files
from comix_cli.progress import Progress
from comix_cli.tools.importing.finding import Files
from comix_cli.tools.importing.label_sets import legend_of
from comix_cli.tools.importing.parts import Image, LabelSet
from comix_cli.tools.importing.pixels import STRIP
from comix_cli.tools.importing.records import Dataset
from comix_cli.tools.importing.writing import write_image, write_labels

REPORT = "import.json"


def check_outputs(output: Path, files: Files, *, overwrite: bool) -> None:
    """Refuse files that could not be written, before long work begins.

    Where the folder is yet to be made, the nearest one above it has to be writable.

    Raises:
        OutputError: A file exists already or is an input, or the folder cannot be written to.
    """
    folder = output
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    overwrite = overwrite or folder != output
    for name in (*(f"{found.part.name}.tif" for found in files.images), REPORT):
        check_writable(folder / name, overwrite=overwrite, inputs=files.paths)
    for found in files.labels:
        target = folder / f"{found.part.name}.tif"
        check_map_writable(target, overwrite=overwrite, inputs=tuple(files.paths))


def write_outputs(
    dataset: Dataset,
    output: Path,
    images: Sequence[Image],
    sets: Sequence[LabelSet],
    document: dict[str, Any],
    progress: Progress,
) -> None:
    """Write images, label sets and the document.

    Files of an older import into the same folder that this one does not replace are removed.

    Raises:
        OutputError: The disk is full, or fails.
        InputError: A source cannot be read.
    """
    make_folder(output)
    report = output / REPORT
    tags = {
        "COMIX_DATASET": dataset.title,
        "COMIX_CITATION": dataset.citation,
        VERSION_TAG: __version__,
    }
    legend = legend_of(dataset)
    finished: Published = []
    heights = [image.pixels.height for image in images] + [one.pixels.height for one in sets]
    strips = sum(math.ceil(height / STRIP) for height in heights)
    with partial_folder(report) as folder, output_errors(report):
        with progress.task("writing", strips) as task:
            for image in images:
                path, target = folder / image.file, output / image.file
                write_image(image, path, target, tags, task.advance)
                if sidecar(path).exists():  # what GeoTIFF cannot hold, such as a rare CRS
                    finished.append((sidecar(path), sidecar(target)))
                finished.append((path, target))
            for one in sets:
                target = output / one.file
                finished += write_labels(one, legend, folder, target, tags, task.advance)
        (folder / REPORT).write_text(to_json_text(document), encoding="utf-8")
        finished.append((folder / REPORT, report))
        publish_all(finished, stale=[*stale_files(finished), *_outdated(report, finished)])


def _outdated(report: Path, finished: Published) -> list[Path]:
    """What an older import into the same folder tells of and this one does not replace."""
    kept = {target for _, target in finished}
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads(report.read_text(encoding="utf-8"))
        if document["kind"] == "import":
            named = [*document["images"], *document["sets"]]
            older = [report.with_name(Path(each["file"]).name) for each in named]
            return [path for path in older if path not in kept]
    return []
