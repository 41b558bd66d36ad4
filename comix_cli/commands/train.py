"""`comix train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comix_cli.commands.display import percent, say
from comix_cli.commands.options import (
    CommonState,
    ProjectCommand,
    chain,
    common_options,
    compute_options,
    ground_truth,
    overwrite_option,
    precision_option,
    scene_inputs,
    scene_options,
    truth_options,
)
from comix_cli.errors import counted

if TYPE_CHECKING:
    from comix_cli.tools.train import TrainReport

PRESETS = ("nano", "tiny", "small", "base", "paper")
# Names of options that are fields of the network's spec.
SPEC_FIELDS = ("spectral_depth", "hsi_blocks", "cmfex", "fusion")
# Names of options that are fields of the recipe.
RECIPE_FIELDS = ("steps", "max_minutes", "batch_size", "accumulate", "learning_rate", "seed")

network_options = chain(
    click.option("--preset", type=click.Choice(PRESETS), default="tiny", show_default=True,
                 help="Size of the network."),
    click.option("--window", type=click.IntRange(min=8), metavar="PIXELS",
                 help="Side of the training chips.  [default: 128, less on a small scene]"),
    click.option("--spectral-depth", type=click.IntRange(min=1), metavar="D",
                 help="Spectral planes of the HSI branch.  [default: 1]"),
    click.option("--hsi-blocks", type=click.Choice(("3d", "2d")),
                 help="Ablation: blocks of the HSI branch.  [default: 3d]"),
    click.option("--cmfex", type=click.Choice(("both", "spatial", "spectral", "none")),
                 help="Ablation: what the branches exchange.  [default: both]"),
    click.option("--fusion", type=click.Choice(("ffm", "average")),
                 help="Ablation: how the branches are fused.  [default: ffm]"),
)  # fmt: skip

recipe_options = chain(
    click.option("--steps", type=click.IntRange(min=1), default=400, show_default=True,
                 help="Optimiser steps."),
    click.option("--max-minutes", type=click.FloatRange(min=0, min_open=True), metavar="MINUTES",
                 help="Finish the schedule within this time, with fewer steps if need be."),
    click.option("--batch-size", type=click.IntRange(min=1), default=4, show_default=True,
                 help="Chips a step, of all processes together."),
    click.option("--accumulate", type=click.IntRange(min=1), default=1, show_default=True,
                 metavar="PARTS", help="Compute the chips of a step in so many parts."),
    click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), default=2e-3,
                 show_default=True, help="Peak of the schedule."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
                 help="Fixes everything random."),
)  # fmt: skip


@click.command("train", cls=ProjectCommand, short_help="Train a model on a labelled scene.")
@scene_options
@truth_options("to learn from")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="model.safetensors",
              show_default=True, help="The model file to write.")  # fmt: skip
@click.option("--validation", default="auto", show_default=True, metavar="auto|none|FILE",
              help="Ground truth that judges and does not train: auto holds some blocks of --gt "
                   "out, with a buffer around them.")  # fmt: skip
@network_options
@recipe_options
@precision_option
@compute_options
@overwrite_option
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Train CoMiX on one scene and write a model file.

    The HSI comes first, then any number of X rasters (LiDAR, SAR, multispectral); none is fine.

    \b
    comix train hsi.tif lidar.tif --gt labels.shp --field class -o model.safetensors

    Several GPUs of one machine train together, one process each:

    \b
    torchrun --nproc-per-node 4 -m comix_cli train hsi.tif lidar.tif --gt labels.shp
    """
    from comix_cli.learning.recipe import Recipe
    from comix_cli.tools.train import TrainOptions, train

    changes = {name: values.pop(name) for name in SPEC_FIELDS}
    options = TrainOptions(
        inputs=scene_inputs(values),
        truth=ground_truth(values),
        spec_changes={name: value for name, value in changes.items() if value is not None},
        recipe=Recipe(**{name: values.pop(name) for name in RECIPE_FIELDS}),
        **values,
    )
    report = train(options, state.display())
    if state.verbosity >= 0 and state.first_process:
        say(_summary(report))


def _summary(report: TrainReport) -> str:
    result = report.result
    kind = "HSI alone" if not report.card.x else f"HSI and {len(report.card.x)} X raster(s)"
    return (
        f"{report.output}: {kind}, {len(report.card.legend)} classes, "
        f"{report.parameters / 1e6:.2f} M parameters, {len(result.losses)} steps in "
        f"{result.seconds / 60:.1f} min, loss {result.losses[0]:.3f} -> "
        f"{report.card.training['last_loss']:.3f}{_validated(report.card.training['validation'])}"
    )


def _validated(found: Mapping[str, Any] | None) -> str:
    """How good the last weights were on ground that did not train."""
    if found is None:
        return ""
    last = found["history"][-1]
    where = found.get("file") or f"{counted(found['blocks'], 'block')} held out"
    return (
        f"; validation: {percent(last['overall_accuracy'])} % of {last['pixels']} pixels ({where})"
    )
