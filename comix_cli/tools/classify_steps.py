"""The steps of a classification: those of a whole scene, and those of a scene in parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.errors import CrewError
from comix_cli.mapping.blend import Weights
from comix_cli.mapping.feed import Prepared, WindowFeed
from comix_cli.mapping.predict import Row, predict_rows
from comix_cli.mapping.threads import in_background
from comix_cli.mapping.writer import FIELD_TAG, TRUTH_TAG
from comix_cli.progress import Progress, Silent
from comix_cli.scene.checksum import checksum
from comix_cli.scene.empty_bands import empty_bands
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.parts import Part, sub_plan
from comix_cli.scene.raster import open_raster
from comix_cli.scene.windows import Window
from comix_cli.tools.classify_job import ClassifyOptions, Job, OpenScene
from comix_cli.tools.inputs import input_provenance
from comix_cli.tools.outputs import Outputs, open_outputs
from comix_cli.tools.provenance import on_the_side, plain, timestamp, versions


@dataclass(frozen=True)
class ClassifyReport:
    """What came of it, for people.

    Attributes:
        output: The map.
        grid: The grid of the map.
        windows: How many windows the plan has.
        class_pixels: Pixels of each class, by name.
        nodata_pixels: Pixels without valid data in every input.
        outside_pixels: Pixels with valid data that lie outside the mask.
    """

    output: Path
    grid: Grid
    windows: int
    class_pixels: dict[str, int]
    nodata_pixels: int
    outside_pixels: int


def never() -> bool:
    """Nobody has lost interest."""
    return False


@contextmanager
def finished_outputs(
    options: ClassifyOptions, scene: OpenScene, progress: Progress
) -> Iterator[Outputs]:
    """The outputs of a scene, see `open_outputs`; what made them is found out meanwhile.

    Raises:
        OutputError: An output cannot be written.
    """
    with (
        on_the_side(lambda cancelled: _tags(options, scene, cancelled)) as tags,
        open_outputs(
            options.outputs,
            scene.stack.grid,
            scene.card.legend,
            tags,
            progress,
            card=scene.card,
        ) as outputs,
    ):
        yield outputs


def map_rows(
    job: Job, outputs: Outputs, progress: Progress, cancelled: Callable[[], bool] = never
) -> int:
    """Read, predict, blend and write the pixels of a job's part, all at the same time.

    Args:
        job: What is to be done.
        outputs: Take the part's own rows, the first one as row 0.
        progress: Told of every window.
        cancelled: Asked before every window whether the result is still wanted.

    Returns:
        How many of the part's own pixels are valid and lie outside the area.

    Raises:
        ComixError: An input cannot be read, or an output cannot be written.
        CrewError: The result is not wanted any more.
    """
    outside = 0
    with (
        # Closed, so that nobody still reads rasters that an error has closed.
        closing(_own_rows(job, progress, cancelled)) as rows,
        in_background(outputs.write_rows, 1) as write,
    ):
        for row, probabilities, valid in rows:
            place = Window(job.part.own.row + row, job.part.own.col, *valid.shape)
            inside = _inside(job, place, valid)
            outside += int(valid.sum() - inside.sum())
            write(row, probabilities, inside)
    return outside


def _own_rows(
    job: Job, progress: Progress, cancelled: Callable[[], bool]
) -> Generator[Row, None, None]:
    """The rows of a part's own pixels, counted from its own first one."""
    scene, part = job.scene, job.part
    plan, pace = sub_plan(scene.plan, part), job.budget.pace
    feed = WindowFeed(
        scene.stack,
        scene.card.normaliser,
        plan,
        scene.size,
        carry=job.budget.carry,
        region=scene.area,
        origin=(part.seen.row, part.seen.col),
    )
    weights = Weights.of(scene.plan).part(part)
    wanted = _while_wanted(feed, cancelled)
    with closing(predict_rows(wanted, job.predictors, plan, pace, progress, weights)) as rows:
        for found in rows:
            yield from _cropped(part, *found)


def _while_wanted(feed: WindowFeed, cancelled: Callable[[], bool]) -> Iterator[Prepared]:
    for prepared in feed:
        if cancelled():
            raise CrewError("nobody wants the result any more")
        yield prepared


def _cropped(
    part: Part, row: int, probabilities: NDArray[np.float32], valid: NDArray[np.bool_]
) -> Iterator[Row]:
    """What is a part's own of some rows that it has seen, if anything."""
    first = part.seen.row + row - part.own.row
    top, bottom = max(0, -first), min(len(valid), part.own.height - first)
    left = part.own.col - part.seen.col
    if top < bottom:
        own = slice(top, bottom), slice(left, left + part.own.width)
        yield first + top, probabilities[:, *own], valid[own]


def _inside(job: Job, place: Window, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where pixels are valid and in the area, `(rows, W)`."""
    area = job.scene.area
    return valid if area is None else valid & area.inside(place)


def report(
    options: ClassifyOptions,
    scene: OpenScene,
    outputs: Outputs,
    outside: int,
    progress: Progress,
) -> ClassifyReport:
    """What came of it; a map without any class is warned of."""
    target, counts = options.outputs.map, outputs.counts
    if not counts[1:].any():
        where = " and inside the mask" if options.mask else ""
        advice = _who_is_empty(scene) or "check nodata with 'comix info'"
        progress.warn(
            f"{target}: the map is empty, because no pixel has valid data in every band of every "
            f"input{where}; {advice}"
        )
    pixels = {entry.name: int(counts[entry.code]) for entry in scene.card.legend}
    without_data = int(counts[NO_CLASS]) - outside
    return ClassifyReport(target, scene.stack.grid, len(scene.plan), pixels, without_data, outside)


def _who_is_empty(scene: OpenScene) -> str:
    """The bands that hold no valid pixel at all, and their files."""
    stack = scene.stack
    infos, used = (stack.hsi_info, *stack.x_info), (stack.hsi_bands, *stack.x_bands)
    found = []
    for info, bands in zip(infos, used, strict=True):
        with open_raster(info.path) as dataset:
            empty = empty_bands(dataset, info.path, bands)
        if empty:
            numbers = ", ".join(map(str, empty))
            found.append(f"{info.path} has no valid pixel in band {numbers}")
    return "; ".join(found)


def _tags(
    options: ClassifyOptions, scene: OpenScene, cancelled: Callable[[], bool]
) -> dict[str, str]:
    """What the TIFF says of how it was made."""
    truth = scene.card.training.get("ground_truth", {})
    windows = {"size": scene.plan.window, "count": len(scene.plan)}
    model = {"path": str(options.model), "checksum": scene.model.checksum}
    return {
        "TIFFTAG_SOFTWARE": f"comix {versions()['comix']}",
        "COMIX_VERSION": versions()["comix"],
        "COMIX_DATE": timestamp(),
        "COMIX_INPUTS": json.dumps(_inputs(options, scene, cancelled)),
        "COMIX_MODEL": json.dumps(model),
        FIELD_TAG: str(truth.get("field", "")),
        TRUTH_TAG: str(truth.get("checksum", "")),
        "COMIX_OPTIONS": json.dumps(plain(options) | {"windows": plain(windows)}),
        "COMIX_VERSIONS": json.dumps(versions()),
    }


def _inputs(
    options: ClassifyOptions, scene: OpenScene, cancelled: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Everything that decides on pixels, with checksums."""
    found = input_provenance(scene.inputs, Silent(), cancelled)
    if options.mask is not None:
        mask = checksum(options.mask, cancelled)
        found.append({"path": options.mask, "checksum": mask, "role": "mask"})
    return found
