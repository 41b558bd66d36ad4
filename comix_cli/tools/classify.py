"""From a scene and a model to a classified map."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.mapping.budget import Budget
from comix_cli.mapping.feed import WindowFeed
from comix_cli.mapping.predict import predict_rows
from comix_cli.mapping.rehearsal import seconds_per_window
from comix_cli.mapping.threads import in_background
from comix_cli.mapping.writer import FIELD_TAG, TRUTH_TAG
from comix_cli.progress import Progress, Silent
from comix_cli.scene.empty_bands import empty_bands
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.raster import checksum, open_raster
from comix_cli.scene.windows import Window, WindowPlan
from comix_cli.tools.classify_job import ClassifyOptions, Job, prepared
from comix_cli.tools.inputs import check_alignment, input_provenance
from comix_cli.tools.outputs import Outputs, open_outputs
from comix_cli.tools.provenance import on_the_side, plain, timestamp, versions

if TYPE_CHECKING:
    from comix_cli.scene.area import Area
    from comix_cli.tools.sharp_hsi import SharpHsi

__all__ = ["ClassifyOptions", "ClassifyReport", "Forecast", "classify", "forecast"]


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


@dataclass(frozen=True)
class Forecast:
    """What a run would do and take.

    Attributes:
        grid: The grid of the map.
        plan: The windows.
        budget: How many windows are in work at once, and the memory that takes.
        limit: Bytes that the process may take.
        windows: How many windows touch the mask, or all.
        seconds: About how long computing takes, empty windows counted as full ones.
        device: What computes.
        sharp: What would be sharpened before, or is taken as it has been kept; None where nothing
            is. Its time is not counted.
    """

    grid: Grid
    plan: WindowPlan
    budget: Budget
    limit: int
    windows: int
    seconds: float
    device: str
    sharp: SharpHsi | None = None


def classify(options: ClassifyOptions, progress: Progress) -> ClassifyReport:
    """Classify one scene and write the map.

    Raises:
        ComixError: An input cannot be used, or an output cannot be written.
    """
    with prepared(options, progress) as job:
        check_alignment(job.inputs, job.stack, progress)
        with (
            on_the_side(lambda cancelled: _tags(options, job, cancelled)) as tags,
            open_outputs(
                options.outputs, job.stack.grid, job.card.legend, tags, progress
            ) as outputs,
        ):
            outside = _map(job, outputs, progress)
        return _report(options, job, outputs, outside, progress)


def forecast(options: ClassifyOptions, progress: Progress) -> Forecast:
    """What `classify` would do and take, without doing it.

    Raises:
        ComixError: As `classify`.
    """
    with prepared(options, progress, dry=True) as job:
        bands, *channels = job.stack.channels
        each = seconds_per_window(
            job.predictors, bands, sum(channels), job.size[0], job.budget.pace
        )
        area = job.area
        wanted = len(job.plan) if area is None else sum(map(area.touches, job.plan))
        return Forecast(
            job.stack.grid,
            job.plan,
            job.budget,
            job.limit,
            wanted,
            wanted * each,
            ", ".join(str(predictor.device) for predictor in job.predictors),
            job.sharp,
        )


def _map(job: Job, outputs: Outputs, progress: Progress) -> int:
    """Read, predict, blend and write, all at the same time; valid pixels outside the area."""
    outside = 0
    feed = WindowFeed(
        job.stack,
        job.card.normaliser,
        job.plan,
        job.size,
        carry=job.budget.carry,
        region=job.area,
    )
    with (
        # Closed, so that nobody still reads rasters that an error has closed.
        closing(predict_rows(feed, job.predictors, job.plan, job.budget.pace, progress)) as rows,
        in_background(outputs.write_rows, 1) as write,
    ):
        for row, probabilities, valid in rows:
            inside = _inside(job.area, row, valid)
            outside += int(valid.sum() - inside.sum())
            write(row, probabilities, inside)
    return outside


def _inside(area: Area | None, row: int, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where rows are valid and in the area, `(rows, W)`."""
    if area is None:
        return valid
    height, width = valid.shape
    return valid & area.inside(Window(row, 0, height, width))


def _report(
    options: ClassifyOptions, job: Job, outputs: Outputs, outside: int, progress: Progress
) -> ClassifyReport:
    target, counts = options.outputs.map, outputs.counts
    if not counts[1:].any():
        where = " and inside the mask" if options.mask else ""
        advice = _who_is_empty(job) or "check nodata with 'comix info'"
        progress.warn(
            f"{target}: the map is empty, because no pixel has valid data in every band of every "
            f"input{where}; {advice}"
        )
    pixels = {entry.name: int(counts[entry.code]) for entry in job.card.legend}
    without_data = int(counts[NO_CLASS]) - outside
    return ClassifyReport(target, job.stack.grid, len(job.plan), pixels, without_data, outside)


def _who_is_empty(job: Job) -> str:
    """The bands that hold no valid pixel at all, and their files."""
    stack = job.stack
    infos, used = (stack.hsi_info, *stack.x_info), (stack.hsi_bands, *stack.x_bands)
    found = []
    for info, bands in zip(infos, used, strict=True):
        with open_raster(info.path) as dataset:
            empty = empty_bands(dataset, info.path, bands)
        if empty:
            numbers = ", ".join(map(str, empty))
            found.append(f"{info.path} has no valid pixel in band {numbers}")
    return "; ".join(found)


def _tags(options: ClassifyOptions, job: Job, cancelled: Callable[[], bool]) -> dict[str, str]:
    """What the TIFF says of how it was made."""
    truth = job.card.training.get("ground_truth", {})
    windows = {"size": job.plan.window, "count": len(job.plan)}
    return {
        "TIFFTAG_SOFTWARE": f"comix {versions()['comix']}",
        "COMIX_VERSION": versions()["comix"],
        "COMIX_DATE": timestamp(),
        "COMIX_INPUTS": json.dumps(_inputs(options, job, cancelled)),
        "COMIX_MODEL": json.dumps(
            {"path": str(options.model), "checksum": checksum(options.model)}
        ),
        FIELD_TAG: str(truth.get("field", "")),
        TRUTH_TAG: str(truth.get("checksum", "")),
        "COMIX_OPTIONS": json.dumps(plain(options) | {"windows": plain(windows)}),
        "COMIX_VERSIONS": json.dumps(versions()),
    }


def _inputs(
    options: ClassifyOptions, job: Job, cancelled: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Everything that decides on pixels, with checksums."""
    found = input_provenance(job.inputs, Silent(), cancelled)
    if options.mask is not None:
        mask = checksum(options.mask, cancelled)
        found.append({"path": options.mask, "checksum": mask, "role": "mask"})
    return found
