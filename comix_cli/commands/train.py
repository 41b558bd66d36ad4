"""`comix train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from comix_cli.commands.display import how_trained, percent, say
from comix_cli.commands.options import (
    CommonState,
    FiniteRange,
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
from comix_cli.errors import UsageError, counted

if TYPE_CHECKING:
    from comix_cli.learning.label_budget import LabelBudget
    from comix_cli.learning.recipe import Recipe
    from comix_cli.tools.model_choice import ModelChoice
    from comix_cli.tools.train import TrainOptions, TrainReport

# As in comix_models, whose import takes too long for --help.
NETWORKS = ("comix", "unet", "fusion-fcn")
PIXEL_MODELS = ("random-forest", "svm")
PRESETS = ("nano", "tiny", "small", "base", "paper")
# Names of options that are fields of a network's spec.
SPEC_FIELDS = ("spectral_depth", "hsi_blocks", "x_blocks", "cmfex", "fusion", "width")
# Names of options that are fields of the recipe of networks.
RECIPE_FIELDS = (
    "steps", "max_minutes", "chip", "batch_size", "accumulate", "learning_rate", "optimiser",
    "schedule", "label_smoothing", "ema_decay", "patience", "seed",
)  # fmt: skip
# Names of options that are fields of the changes to chips.
AUGMENTATION_FIELDS = ("flips", "band_dropout", "x_dropout", "cutmix")
# Names of options that are fields of the recipe of models of single pixels.
PIXEL_FIELDS = ("samples_per_class", "grid_search", "trees")
# Which models an option is for; one that is not listed here is for all.
MEANT_FOR = {
    **dict.fromkeys(("preset", *SPEC_FIELDS), ("comix",)),
    "width": ("unet", "fusion-fcn"),
    **dict.fromkeys(("window", "precision", "recipe", "resume", "logs"), NETWORKS),
    **dict.fromkeys((*RECIPE_FIELDS, *AUGMENTATION_FIELDS, "consistency"), NETWORKS),
    "seed": NETWORKS + PIXEL_MODELS,
    **dict.fromkeys(PIXEL_FIELDS, PIXEL_MODELS),
    "trees": ("random-forest",),
}

label_options = chain(
    click.option("--label-fraction", type=FiniteRange(0, 1, min_open=True), metavar="SHARE",
                 help="Train on this share of the labelled pixels of each class, one at least, "
                      "drawn at random; those that judge stay.  [default: 1]"),
    click.option("--labels-per-class", type=click.IntRange(min=1), metavar="PIXELS",
                 help="Train on at most so many labelled pixels of each class, likewise."),
)  # fmt: skip

model_options = chain(
    click.option("--model", type=click.Choice(NETWORKS + PIXEL_MODELS), default="comix",
                 show_default=True,
                 help="What to train: CoMiX, or one of the methods that it is compared with."),
    click.option("--window", type=click.IntRange(min=8), metavar="PIXELS",
                 help="Networks: side of the windows that scenes are mapped in.  [default: 128, "
                      "less on a small scene]"),
    click.option("--preset", type=click.Choice(PRESETS), default="small", show_default=True,
                 help="Size of CoMiX."),
    click.option("--spectral-depth", type=click.IntRange(min=1), metavar="D",
                 help="Spectral planes of the HSI branch.  [default: 1]"),
    click.option("--hsi-blocks", type=click.Choice(("3d", "2d", "attention")),
                 help="Ablation: blocks of the HSI branch.  [default: 3d]"),
    click.option("--x-blocks", type=click.Choice(("2d", "attention")),
                 help="Ablation: blocks of the X branch.  [default: 2d]"),
    click.option("--cmfex", type=click.Choice(("both", "spatial", "spectral", "none")),
                 help="Ablation: what the branches exchange.  [default: both]"),
    click.option("--fusion", type=click.Choice(("ffm", "average")),
                 help="Ablation: how the branches are fused.  [default: ffm]"),
    click.option("--width", type=click.IntRange(min=1), metavar="CHANNELS",
                 help="Width of unet at full size, and of the branches of fusion-fcn.  [default: "
                      "16 and 64]"),
    click.option("--samples-per-class", type=click.IntRange(min=1), default=1500,
                 show_default=True, metavar="PIXELS",
                 help="random-forest, svm: pixels of each class that are drawn."),
    click.option("--grid-search", is_flag=True,
                 help="random-forest, svm: choose settings by cross-validation between blocks of "
                      "the scene."),
    click.option("--trees", type=click.IntRange(min=1), default=200, show_default=True,
                 help="Trees of random-forest."),
)  # fmt: skip

recipe_options = chain(
    click.option("--recipe", type=click.Choice(("default", "paper")), default="default",
                 show_default=True,
                 help="How networks are trained, if no option says otherwise: ours, or the paper's "
                      "(Adam, polynomial schedule, nothing else)."),
    click.option("--steps", type=click.IntRange(min=1),
                 help="Optimiser steps.  [default: 200; paper: 400]"),
    click.option("--max-minutes", type=FiniteRange(min=0, min_open=True), metavar="MINUTES",
                 help="Finish the schedule within this time, with fewer steps if need be."),
    click.option("--chip", type=click.IntRange(min=8), metavar="PIXELS",
                 help="Side of the training chips, no more than --window; networks made for one "
                      "size keep theirs.  [default: 64; paper: 128]"),
    click.option("--batch-size", type=click.IntRange(min=1),
                 help="Chips a step, of all processes together.  [default: 4]"),
    click.option("--accumulate", type=click.IntRange(min=1), metavar="PARTS",
                 help="Compute the chips of a step in so many parts.  [default: 1]"),
    click.option("--learning-rate", type=FiniteRange(min=0, min_open=True),
                 help="Peak of the schedule.  [default: 0.004; paper: 0.001]"),
    click.option("--optimiser", "--optimizer", type=click.Choice(("adamw", "adam")),
                 help="[default: adamw; paper: adam]"),
    click.option("--schedule", type=click.Choice(("cosine", "polynomial")),
                 help="How the learning rate falls.  [default: cosine; paper: polynomial]"),
    click.option("--label-smoothing", type=FiniteRange(0, 1, max_open=True), metavar="SHARE",
                 help="Share of the target spread over all classes.  [default: 0.05; paper: 0]"),
    click.option("--ema", "ema_decay", type=FiniteRange(0, 1, max_open=True), metavar="DECAY",
                 help="Decay of the average of the weights that is kept.  [default: 0.98; "
                      "paper: 0, the last weights]"),
    click.option("--patience", type=click.IntRange(min=1), metavar="LOOKS",
                 help="End the training when so many looks of the validation (ten in all) bring "
                      "nothing better, and keep the best weights."),
    click.option("--flips/--no-flips", default=None,
                 help="Mirror and turn chips at random: for models of other scenes, where shadows "
                      "may point elsewhere.  [default: no-flips]"),
    click.option("--band-dropout", type=FiniteRange(0, 1), metavar="SHARE",
                 help="Bands of the HSI that are set to 0, at random.  [default: 0]"),
    click.option("--x-dropout", type=FiniteRange(0, 1), metavar="SHARE",
                 help="Chips whose X is set to 0, at random.  [default: 0]"),
    click.option("--cutmix", type=FiniteRange(0, 1), metavar="SHARE",
                 help="Chips that get a rectangle of another one.  [default: 0]"),
    click.option("--consistency", type=FiniteRange(min=0), metavar="WEIGHT",
                 help="Learn also from pixels without a label, those that judge among them, what "
                      "the averaged network says they are, with this weight.  [default: 0]"),
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
@label_options
@model_options
@recipe_options
@click.option("--resume", is_flag=True,
              help="Go on with a training that was interrupted.")  # fmt: skip
@click.option("--logs", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Write log.csv, learning curves and TensorBoard's events here.")  # fmt: skip
@precision_option
@compute_options
@overwrite_option
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Train a model on one scene and write a model file.

    The HSI comes first, then any number of X rasters (LiDAR, SAR, multispectral); none is fine.

    \b
    comix train hsi.tif lidar.tif --gt labels.shp --field class -o model.safetensors
    comix train hsi.tif lidar.tif --gt labels.shp --model random-forest -o forest.safetensors

    Several GPUs of one machine train together, one process each:

    \b
    torchrun --nproc-per-node 4 -m comix_cli train hsi.tif lidar.tif --gt labels.shp
    """
    from comix_cli.tools.train import train

    options = train_options(values)
    if options.output.name:  # else it is refused
        state.kept = options.checkpoint, "give --resume to go on with it"
    report = train(options, state.display())
    if state.verbosity >= 0 and state.first_process:
        say(_summary(report))


def train_options(values: dict[str, Any]) -> TrainOptions:
    """The options of training as a value, in the click context that they were parsed in.

    Raises:
        UsageError: They contradict each other, or are for another model.
    """
    from comix_cli.learning.baselines import PixelRecipe
    from comix_cli.tools.train import TrainOptions

    _refuse_what_is_not_meant_for(values["model"])
    pixel_recipe = {name: values.pop(name) for name in PIXEL_FIELDS}
    return TrainOptions(
        inputs=scene_inputs(values),
        truth=ground_truth(values),
        model=_model_choice(values),
        pixel_recipe=PixelRecipe(**pixel_recipe, seed=values["seed"]),
        recipe=_recipe(values),
        labels=_label_budget(values),
        **values,
    )


def _label_budget(values: dict[str, Any]) -> LabelBudget:
    """The options of labels as a value; takes them out of `values`."""
    from comix_cli.learning.label_budget import LabelBudget

    fraction, per_class = values.pop("label_fraction"), values.pop("labels_per_class")
    if fraction is not None and per_class is not None:
        raise UsageError(
            "--label-fraction and --labels-per-class contradict each other", remedy="leave one out"
        )
    return LabelBudget(1.0 if fraction is None else fraction, per_class)


def _recipe(values: dict[str, Any]) -> Recipe:
    """The options of recipes as a value; takes them out of `values`."""
    from comix_cli.learning.recipe import recipe

    changes = {name: values.pop(name) for name in RECIPE_FIELDS}
    named = recipe(values.pop("recipe"), **changes)
    augmentation = {name: values.pop(name) for name in AUGMENTATION_FIELDS}
    given = {name: value for name, value in augmentation.items() if value is not None}
    named = replace(named, augmentation=replace(named.augmentation, **given))
    weight = values.pop("consistency")
    if weight is None:
        return named
    if weight and named.ema_decay == 0:
        raise UsageError(
            "--consistency: the averaged network teaches, and nothing is averaged",
            remedy="give --ema, for example 0.98",
        )
    return replace(named, consistency=replace(named.consistency, weight=weight))


def _refuse_what_is_not_meant_for(model: str) -> None:
    """Refuse options of other models; those of comix.toml are defaults, and wait for theirs."""
    context = click.get_current_context()
    for name, models in MEANT_FOR.items():
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and model not in models:
            option = name.replace("_", "-")
            whose = " and ".join(filter(None, (", ".join(models[:-1]), models[-1])))
            raise UsageError(
                f"--{option} is not for --model {model}, but for {whose}",
                remedy=f"leave --{option} out",
            )


def _model_choice(values: dict[str, Any]) -> ModelChoice:
    """The options of models as a value; takes them out of `values`."""
    from comix_cli.tools.model_choice import ModelChoice

    model = values.pop("model")
    fields = {name: values.pop(name) for name in SPEC_FIELDS}
    changes = {
        name: value
        for name, value in fields.items()
        if value is not None and model in MEANT_FOR[name]
    }
    return ModelChoice(model, values.pop("preset"), changes, values.pop("window"))


def _summary(report: TrainReport) -> str:
    card = report.card
    kind = "HSI alone" if not card.x else f"HSI and {len(card.x)} X raster(s)"
    return (
        f"{report.output}: {kind}, {len(card.legend)} classes, {card.spec.model} of "
        f"{card.spec.size(report.parameters)}, {how_trained(card.training)}"
        f"{_validated(card.training['validation'])}"
    )


def _validated(found: Mapping[str, Any] | None) -> str:
    """How good the last weights were on ground that did not train."""
    if found is None:
        return ""
    last = found["history"][-1]
    where = found.get("file") or f"{counted(found['blocks'], 'block')} held out"
    share = percent(last["overall_accuracy"])
    return f"; validation: {share} % of {last['pixels']} pixels ({where})"
