"""Whether a scene is cut into parts, into which, and where they are kept until there is a map."""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from comix_cli.files import make_folder, write_atomic_text
from comix_cli.progress import Progress
from comix_cli.scene.raster import inspect_raster
from comix_cli.scene.stack import GridOptions
from comix_cli.tools.batch_jobs import asked_mark, files_of
from comix_cli.tools.batch_orders import Order, Parts, Signatures
from comix_cli.tools.classify_job import ClassifyOptions
from comix_cli.tools.classify_parts import plan_parts
from comix_cli.tools.loaded_model import LoadedModel

# A part with fewer windows is not worth a task of its own.
LEAST_WINDOWS = 64
# Its halo, one row of windows mostly, costs no more than a sixth. It is worth that where workers
# would wait otherwise.
LEAST_ROWS = 6
# What is lost where a worker dies, and what a part takes in memory, have an end.
MOST_WINDOWS = 4096
# As many windows of 128 pixels have as many pixels, about.
HUGE_PIXELS = 30_000_000
# In a folder of parts: how they were cut.
_CUT = "cut.txt"


def in_parts(
    order: Order,
    job: ClassifyOptions,
    progress: Progress,
    loaded: LoadedModel,
    signatures: Signatures,
) -> Parts | None:
    """How a scene is cut; None where it is done as a whole.

    Args:
        order: What is asked for.
        job: The same, as this worker does it.
        progress: Who watches.
        loaded: The model.
        signatures: What the files that are read look like.

    Raises:
        ComixError: The scene could not be classified.
    """
    folder = _folder_of_parts(order, signatures)
    # A scene that was cut before is cut alike: what has been done of it fits nothing else.
    rule = _rule_before(folder) or _rule(order)
    if rule["parts"] == 1 and (order.exactly or not _may_be_huge(job)):
        return None
    found = plan_parts(job, progress, **rule, loaded=loaded)
    if len(found.parts) == 1:
        progress.info("is done as a whole: it is too small to be cut")
        return None
    make_folder(folder)
    write_atomic_text(folder / _CUT, json.dumps(rule))
    return Parts(found, folder, signatures)


def _rule(order: Order) -> dict[str, Any]:
    """How a scene is to be cut, as arguments of `plan_parts`."""
    if order.exactly:
        return {"parts": order.parts, "least_windows": 1, "least_rows": 1}
    return {
        "parts": order.parts,
        "least_windows": LEAST_WINDOWS,
        "most_windows": MOST_WINDOWS,
        "least_rows": LEAST_ROWS,
    }


def _rule_before(folder: Path) -> dict[str, Any] | None:
    try:
        rule = json.loads((folder / _CUT).read_text())
    except (OSError, ValueError):
        return None
    return rule if isinstance(rule, dict) else None


def _may_be_huge(job: ClassifyOptions) -> bool:
    """Whether a scene may have so many windows that it should be cut even for one worker.

    It is opened twice then, which costs little beside it, and much beside a small one.
    """
    if job.inputs.grid != GridOptions():
        return True
    grids = (inspect_raster(path, src_crs=job.inputs.src_crs).grid for path in job.inputs.rasters)
    return max(grid.width * grid.height for grid in grids) > HUGE_PIXELS


def _folder_of_parts(order: Order, signatures: Signatures) -> Path:
    """Beside the map. Its name tells what it was made from, so another scene's parts never mix."""
    _, written = files_of(order.job)
    told = [asked_mark(order.job), order.model, [*signatures.values()]]
    mark = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    return written[0].with_name(f"{_start_of_parts(written[0])}{mark}")


def _start_of_parts(target: Path) -> str:
    return f".{target.stem}.comix-parts-"


def remove_parts(job: ClassifyOptions) -> None:
    """Remove the parts of a map that is there now, and those that have never become one."""
    target = job.outputs.map
    for folder in target.parent.glob(f"{glob.escape(_start_of_parts(target))}*"):
        shutil.rmtree(folder, ignore_errors=True)
