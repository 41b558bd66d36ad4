"""`comix classify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from comix_cli.commands.display import say
from comix_cli.commands.options import (
    CommonState,
    ProjectCommand,
    common_options,
    compute_options,
    overwrite_option,
    scene_inputs,
    scene_options,
)
from comix_cli.errors import ModelFileError

DEFAULT_MODEL = Path("model.safetensors")


def _model(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path:  # noqa: ARG001
    """The model that is named, else the one in this folder."""
    if value is not None:
        return value
    if not DEFAULT_MODEL.is_file():
        raise ModelFileError(
            f"no model is named and there is no {DEFAULT_MODEL} in this folder",
            remedy="train one with 'comix train', or name one with -m or in comix.toml",
        )
    return DEFAULT_MODEL


def _creation_options(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, separator, option = value.partition("=")
        if not separator:
            raise click.BadParameter(f"'{value}' is not KEY=VALUE", ctx=ctx, param=param)
        pairs[key.upper()] = option
    return pairs


@click.command("classify", cls=ProjectCommand, short_help="Classify a scene into a map.")
@scene_options
@click.option("-m", "--model", type=click.Path(path_type=Path), callback=_model,
              help="The model file.  [default: model.safetensors]")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="The map to write (GeoTIFF).")  # fmt: skip
@click.option("--window", type=click.IntRange(min=8), metavar="PIXELS",
              help="Side of the windows.  [default: as in training]")  # fmt: skip
@click.option("--overlap", type=click.IntRange(min=0), metavar="PIXELS",
              help="What neighbours share.  [default: a third of the window]")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), default=4, show_default=True,
              help="Windows that the network sees at once.")  # fmt: skip
@click.option("--co", "creation_options", multiple=True, metavar="KEY=VALUE",
              callback=_creation_options, help="GDAL creation option of the map.")  # fmt: skip
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
    from comix_cli.tools.classify import ClassifyOptions, classify

    report = classify(ClassifyOptions(inputs=scene_inputs(values), **values), state.display())
    if state.verbosity >= 0:
        grid = report.grid
        say(
            f"{report.output}: {grid.width} x {grid.height} pixels of {grid.gsd_m:g} m, "
            f"{report.windows} windows, {report.nodata_pixels} pixels without data"
        )
