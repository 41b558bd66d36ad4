"""From a scene and a model to a classified map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from comix_cli.mapping.budget import Budget
from comix_cli.mapping.rehearsal import seconds_per_window
from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid
from comix_cli.scene.windows import WindowPlan
from comix_cli.tools.classify_job import ClassifyOptions, prepared
from comix_cli.tools.classify_steps import ClassifyReport, finished_outputs, map_rows, report
from comix_cli.tools.inputs import check_alignment

if TYPE_CHECKING:
    from comix_cli.tools.loaded_model import LoadedModel
    from comix_cli.tools.sharp_hsi import SharpHsi

__all__ = ["ClassifyOptions", "ClassifyReport", "Forecast", "classify", "forecast"]


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


def classify(
    options: ClassifyOptions, progress: Progress, *, loaded: LoadedModel | None = None
) -> ClassifyReport:
    """Classify one scene and write the map.

    Args:
        options: What is asked for.
        progress: Who watches.
        loaded: The model, where it has been loaded before as the options say; None loads it.

    Raises:
        ComixError: An input cannot be used, or an output cannot be written.
    """
    with prepared(options, progress, loaded=loaded) as job:
        scene = job.scene
        check_alignment(scene.inputs, scene.stack, progress)
        with finished_outputs(options, scene, progress) as outputs:
            outside = map_rows(job, outputs, progress)
        return report(options, scene, outputs, outside, progress)


def forecast(
    options: ClassifyOptions, progress: Progress, *, loaded: LoadedModel | None = None
) -> Forecast:
    """What `classify` would do and take, without doing it.

    Raises:
        ComixError: As `classify`.
    """
    with prepared(options, progress, dry=True, loaded=loaded) as job:
        scene, area = job.scene, job.scene.area
        bands, *channels = scene.stack.channels
        each = seconds_per_window(
            job.predictors, bands, sum(channels), scene.size[0], job.budget.pace
        )
        wanted = len(scene.plan) if area is None else sum(map(area.touches, scene.plan))
        return Forecast(
            scene.stack.grid,
            scene.plan,
            job.budget,
            job.limit,
            wanted,
            wanted * each,
            ", ".join(str(predictor.device) for predictor in job.predictors),
            scene.sharp,
        )
