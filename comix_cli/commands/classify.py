"""`comix classify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comix_cli.commands.display import say
from comix_cli.commands.options import (
    CommonState,
    ProjectCommand,
    common_options,
    compute_options,
    overwrite_option,
    precision_option,
    scene_inputs,
    scene_options,
)
from comix_cli.commands.output_options import output_options, output_settings
from comix_cli.errors import ModelFileError, UsageError

if TYPE_CHECKING:
    from comix_cli.tools.classify import ClassifyReport, Forecast
    from comix_cli.tools.classify_job import ClassifyOptions
    from comix_cli.tools.sharp_hsi import SharpHsi

DEFAULT_MODEL = Path("model.safetensors")
MB = 1_000_000


def _model(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path:  # noqa: ARG001
    """The model that is named, else the one in this folder."""
    if value == Path():  # which is what becomes of an empty text
        raise ModelFileError(
            "the name of the model is empty, or '.'",
            remedy="name a file with -m; if a shell variable holds the name, is it set?",
        )
    if value is not None and value.is_dir():
        raise ModelFileError("is a folder", path=value, remedy="name a model in it")
    if value is not None:
        return value
    if not DEFAULT_MODEL.is_file():
        raise ModelFileError(
            f"no model is named and there is no {DEFAULT_MODEL} in this folder",
            remedy="train one with 'comix train', or name one with -m or in comix.toml",
        )
    return DEFAULT_MODEL


@click.command("classify", cls=ProjectCommand, short_help="Classify a scene into a map.")
@scene_options
@click.option("-m", "--model", type=click.Path(path_type=Path), callback=_model,
              help="The model file.  [default: model.safetensors]")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="The map to write (GeoTIFF).")  # fmt: skip
@output_options
@click.option("--window", type=click.IntRange(min=8), metavar="PIXELS",
              help="Side of the windows.  [default: as in training]")  # fmt: skip
@click.option("--overlap", type=click.IntRange(min=0), metavar="PIXELS",
              help="What neighbours share.  [default: a third of the window]")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1),
              help="Windows that a GPU computes at once; a CPU takes one per thread.  "
                   "[default: what its memory suggests]")  # fmt: skip
@click.option("--ram", type=click.IntRange(min=1), metavar="MB",
              help="Memory to keep within.  [default: most of what is free]")  # fmt: skip
@precision_option
@click.option("--compile", is_flag=True,
              help="Let torch compile the network; needs a minute and a C++ compiler.")  # fmt: skip
@click.option("--dry-run", is_flag=True,
              help="Print grid, windows, memory and time, and write nothing.")  # fmt: skip
@compute_options
@overwrite_option
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Classify a scene with a trained model and write a GeoTIFF map.

    Give the rasters in the order of the training: the HSI first, then each X.

    \b
    comix classify hsi.tif lidar.tif -o map.tif
    """
    from comix_cli.tools.classify import classify, forecast

    dry_run = values.pop("dry_run")
    options = classify_options(values)
    if dry_run:
        _print_forecast(forecast(options, state.display()))
        return
    report = classify(options, state.display())
    if state.verbosity >= 0:
        _say_what_came(report)


def classify_options(values: dict[str, Any]) -> ClassifyOptions:
    """The options of a classification as a value.

    Raises:
        UsageError: They contradict each other.
    """
    from comix_cli.tools.classify_job import ClassifyOptions

    if values["mask_layer"] is not None and values["mask"] is None:
        raise UsageError("--mask-layer: there is no --mask", remedy="give one, or leave it out")
    return ClassifyOptions(inputs=scene_inputs(values), outputs=output_settings(values), **values)


def _say_what_came(report: ClassifyReport) -> None:
    from comix_cli.scene.grid import crs_label

    grid = report.grid
    masked = f", {report.outside_pixels} outside the mask" if report.outside_pixels else ""
    say(
        f"{report.output}: {grid.width} x {grid.height} pixels of {grid.gsd_m:g} m in "
        f"{crs_label(grid.crs)}, {report.windows} windows, {report.nodata_pixels} pixels without "
        f"data{masked}"
    )


def _print_forecast(found: Forecast) -> None:
    """What would be done, as lines of a name and what it stands for."""
    from comix_cli.scene.grid import crs_label, extent_label

    grid, plan, pace = found.grid, found.plan, found.budget.pace
    height, width = plan.window
    masked = f", {found.windows} of them in the mask" if found.windows < len(plan) else ""
    lines = {} if found.sharp is None else {"HSI": _sharpening(found.sharp)}
    lines |= {
        "grid": f"{grid.width} x {grid.height} pixels of {grid.gsd_m:g} m, {crs_label(grid.crs)}",
        "extent": extent_label(grid.bounds),
        "windows": f"{len(plan)} of {width} x {height} pixels{masked}",
        "computing": f"{pace.workers * pace.batch} windows at once on {found.device}",
        "memory": f"about {_mb(found.budget.total)} MB of {_mb(found.limit)} MB allowed",
        "time": f"about {_duration(found.seconds)}, where every window holds data",
    }
    for name, text in lines.items():
        click.echo(f"{name:<10} {text}")


def _sharpening(sharp: SharpHsi) -> str:
    pair = f"{sharp.given.hsi} with {sharp.x}"
    if sharp.is_there:
        return f"sharpened before: {pair}, kept in {sharp.kept}"
    return f"to be sharpened first: {pair}; the time below is without that"


def _mb(size: int) -> int:
    return round(size / MB)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"
