"""From a scene and its ground truth to a model file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from comix_cli.errors import OutputError, UsageError
from comix_cli.files import MODEL_SUFFIX, check_suffix, check_writable
from comix_cli.learning.baselines import PixelRecipe
from comix_cli.learning.device import check_number_type, choose_device, set_threads
from comix_cli.learning.label_budget import LabelBudget
from comix_cli.learning.loop import seeded
from comix_cli.learning.model_file import InputRecord, ModelCard, save_model
from comix_cli.learning.normalise import fit_normalisation
from comix_cli.learning.recipe import Recipe
from comix_cli.learning.run_log import check_log
from comix_cli.learning.samples import LabelIndex, sample_values
from comix_cli.learning.steps import chips_of_each
from comix_cli.progress import EachOnce, Progress
from comix_cli.scene.checksum import checksum
from comix_cli.scene.labels import Reference
from comix_cli.scene.legend import Legend
from comix_cli.scene.stack import BlockReader, Stack
from comix_cli.tools.fitting import Fitted, Keeping, Lesson, fit_at_once, learn
from comix_cli.tools.inputs import (
    SceneInputs,
    check_alignment,
    input_provenance,
    open_for_training,
    sharp_hsi_as_asked,
)
from comix_cli.tools.model_choice import ModelChoice
from comix_cli.tools.provenance import plain, timestamp, versions
from comix_cli.tools.reference import TruthOptions, open_reference
from comix_cli.tools.training_scene import labelled_scene
from comix_cli.tools.validation import AUTO, Sides, thinned, told_apart
from comix_models.spec import CoMiXSpec
from comix_models.spec_base import Spec

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class TrainOptions:
    """Everything `comix train` can be told.

    Attributes:
        inputs: The scene.
        truth: The ground truth.
        output: The model file to write.
        model: Which model.
        recipe: How to train a network; its seed fixes everything random of other models too.
        pixel_recipe: How to fit a model of single pixels.
        device: `auto`, `cpu`, `cuda`, ...
        threads: CPU threads to compute with; None for all.
        precision: Number type to compute in: `auto`, `float32`, `bfloat16` or `float16`; weights
            are kept in single precision.
        overwrite: Replace an existing model file.
        validation: `auto` to hold blocks of the ground truth out, `none`, or a file of ground
            truth to validate on.
        resume: Go on with an interrupted training of a network, if there is one.
        logs: A folder for logs of the training; None for none.
        labels: How many of the labels that do not judge are trained on.
    """

    inputs: SceneInputs
    truth: TruthOptions
    output: Path
    model: ModelChoice = ModelChoice()
    recipe: Recipe = Recipe()
    pixel_recipe: PixelRecipe = PixelRecipe()
    device: str = "auto"
    threads: int | None = None
    precision: str = "auto"
    overwrite: bool = False
    validation: str = AUTO
    resume: bool = False
    logs: Path | None = None
    labels: LabelBudget = LabelBudget()

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted training can be gone on with."""
        return self.output.with_name(f"{self.output.stem}.checkpoint{MODEL_SUFFIX}")


@dataclass(frozen=True)
class TrainReport:
    """What came of it, for people.

    Attributes:
        output: The model file.
        card: What the model file says of itself.
        parameters: Trainable parameters of a network.
    """

    output: Path
    card: ModelCard
    parameters: int


def train(options: TrainOptions, progress: Progress) -> TrainReport:
    """Train a model on one scene and write the model file.

    Raises:
        ComixError: An input cannot be used, or the output cannot be written.
    """
    _check(options)
    # What the rehearsal has warned of, the work itself meets again.
    told = EachOnce(progress)
    with _computing(options) as fabric:
        inputs = _scene_as_asked(options, fabric, told)
        return _trained(replace(options, inputs=inputs), fabric, told)


def _check(options: TrainOptions) -> None:
    """Refuse what cannot be, before anything is read.

    Raises:
        OutputError: Something could not be written.
        UsageError: Options that cannot be meant.
    """
    options.model.check(options.inputs.x)
    read = (*options.inputs.paths, options.truth.path, options.validation)
    check_writable(options.output, overwrite=options.overwrite, inputs=read)
    check_suffix(options.output, (MODEL_SUFFIX,))
    if options.logs is not None:
        check_log(options.logs, overwrite=options.overwrite or options.resume, inputs=read)
    _check_checkpoint(options)
    if not options.model.at_once:
        chips_of_each(options.recipe, _processes())


def _scene_as_asked(
    options: TrainOptions, fabric: Fabric | None, progress: Progress
) -> SceneInputs:
    """The scene with a sharp HSI where that is asked for; of several processes one makes it."""
    if fabric is None or not options.inputs.sharpen:
        return _sharpened(options, progress)
    from comix_cli.learning.processes import by_the_first  # noqa: PLC0415  # as in _computing

    return by_the_first(lambda: _sharpened(options, progress), fabric)


def _sharpened(options: TrainOptions, progress: Progress) -> SceneInputs:
    sharp = sharp_hsi_as_asked(options.inputs, progress)
    if sharp is None:
        return options.inputs
    if not sharp.is_there:
        _rehearse(options, progress)
    sharp.make(progress)
    return sharp.scene


def _rehearse(options: TrainOptions, progress: Progress) -> None:
    """Look at all that is read, with the HSI as it is: a mistake should not wait for a sharp one.

    Raises:
        ComixError: Training could not begin.
    """
    with (
        open_for_training(options.inputs) as stack,
        open_reference(options.truth, stack.grid, progress) as truth,
    ):
        scene = labelled_scene(stack, options.truth, truth, progress, to_learn=False)
        _spec(options, stack, scene.legend)
        seed = options.recipe.seed
        with told_apart(options.validation, options.truth, scene, seed, progress):
            pass


def _trained(options: TrainOptions, fabric: Fabric | None, progress: Progress) -> TrainReport:
    """Train on a scene whose HSI is as it was asked for, and write the model file."""
    seed = options.recipe.seed
    with (
        open_for_training(options.inputs) as stack,
        open_reference(options.truth, stack.grid, progress) as truth,
        seeded(seed),
    ):
        check_alignment(options.inputs, stack, progress)
        scene = labelled_scene(stack, options.truth, truth, progress)
        card = _describe(options, stack, scene.reader, scene.legend)
        inputs = input_provenance(options.inputs, progress)
        with told_apart(options.validation, options.truth, scene, seed, progress) as apart:
            sides = thinned(apart, options.labels, scene, seed, progress)
            provenance = _provenance(options, inputs, truth, _by_name(scene.legend, sides.index))
            lesson = Lesson(scene, sides, card, seed)
            keeping = _keeping(options, provenance, card, sides)
            fitted = _fitted(options, lesson, fabric, keeping, progress)
        training = {**provenance, **fitted.record, "validation": fitted.validation}
        card = replace(card, spec=fitted.spec, training=training)
        if fabric is None or fabric.is_global_zero:
            save_model(options.output, fitted.weights, card)
            options.checkpoint.unlink(missing_ok=True)
    return TrainReport(options.output, card, fitted.parameters)


@contextmanager
def _computing(options: TrainOptions) -> Iterator[Fabric | None]:
    """What networks are trained with; None where a model is fitted at once."""
    device = choose_device(options.device)
    number_type = check_number_type(options.precision, device)
    set_threads(options.threads)
    if options.model.at_once:
        yield None
        return
    # Fabric takes two seconds and a hundred megabytes, which mistakes should not wait for.
    from comix_cli.learning.processes import launched  # noqa: PLC0415

    with launched(device, number_type) as fabric:
        yield fabric


def _fitted(
    options: TrainOptions,
    lesson: Lesson,
    fabric: Fabric | None,
    keeping: Keeping,
    progress: Progress,
) -> Fitted:
    """A network step by step, other models at once."""
    if fabric is None:
        return fit_at_once(options.model.model, lesson, options.pixel_recipe, progress)
    return learn(lesson, options.recipe, fabric, keeping, progress)


def _check_checkpoint(options: TrainOptions) -> None:
    """Refuse to lose what an interrupted training has reached.

    Raises:
        OutputError: There is a checkpoint, and nothing is said about it.
        UsageError: Several processes cannot go on from one.
    """
    if options.resume and _processes() > 1:
        raise UsageError(
            "--resume: several processes cannot go on from a checkpoint",
            remedy="start it without torchrun, or without --resume",
        )
    if options.checkpoint.exists() and not (options.resume or options.overwrite):
        raise OutputError(
            "is of a training that was interrupted",
            path=options.checkpoint,
            remedy="give --resume to go on with it, or --overwrite to begin anew",
        )


def _processes() -> int:
    """How many processes torchrun has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _keeping(
    options: TrainOptions, provenance: Mapping[str, Any], card: ModelCard, sides: Sides
) -> Keeping:
    known = ("versions", "ground_truth", "label_budget", "labelled_pixels")
    told = {key: provenance[key] for key in known}
    context = {
        **told,
        "inputs": [each["checksum"] for each in provenance["inputs"]],
        "card": {key: value for key, value in card.to_json().items() if key != "training"},
        "rule": options.truth.rule,
        "validation": sides.record,
        "precision": options.precision,
        "threads": options.threads,
    }
    return Keeping(options.checkpoint, options.resume, options.logs, context)


def _by_name(legend: Legend, index: LabelIndex) -> dict[str, int]:
    return dict(zip(legend.names, index.class_pixels.tolist(), strict=True))


def _describe(options: TrainOptions, stack: Stack, scene: BlockReader, legend: Legend) -> ModelCard:
    hsi_values, x_values = sample_values(scene, options.recipe.seed)
    hsi, x = _input_records(options.inputs, stack, hsi_values, x_values)
    spec = _spec(options, stack, legend)
    return ModelCard(
        spec=spec,
        hsi=hsi,
        x=x,
        legend=legend,
        window=options.model.window_for(spec, stack.grid.shape),
        gsd_m=stack.grid.gsd_m,
    )


def _spec(options: TrainOptions, stack: Stack, legend: Legend) -> Spec:
    bands, *x_groups = stack.channels
    return options.model.spec(bands, tuple(x_groups), len(legend))


def _input_records(
    inputs: SceneInputs,
    stack: Stack,
    hsi_values: np.ndarray,
    x_values: np.ndarray,
) -> tuple[InputRecord, tuple[InputRecord, ...]]:
    infos = (stack.hsi_info, *stack.x_info)
    surface = inputs.surface()
    used = (stack.hsi_bands, *stack.x_bands)
    edges = np.cumsum([len(bands) for bands in stack.x_bands])[:-1]
    values = (hsi_values, *(np.split(x_values, edges) if stack.x_bands else ()))
    records = []
    for i, (info, bands, sample) in enumerate(zip(infos, used, values, strict=True)):
        records.append(
            InputRecord(
                name=Path(info.path).name,
                role="hsi" if i == 0 else "continuous",
                count=info.count,
                bands=bands,
                dropped=(stack.dropped, *stack.x_dropped)[i],
                wavelengths_nm=tuple(info.bands.wavelengths_nm[b - 1] for b in bands),
                fwhm_nm=tuple(info.bands.fwhm_nm[b - 1] for b in bands),
                resampling=inputs.resampling_of(i),
                normalisation=fit_normalisation(sample),
                above_ground=i - 1 == surface,
                sharpened=i == 0 and info.sharpened,
            )
        )
    return records[0], tuple(records[1:])


def _provenance(
    options: TrainOptions,
    inputs: list[dict[str, Any]],
    truth: Reference,
    labelled_pixels: Mapping[str, int],
) -> dict[str, Any]:
    known = {
        "date": timestamp(),
        "versions": versions(),
        "inputs": inputs,
        "ground_truth": {
            "path": truth.path,
            "checksum": checksum(truth.path),
            "field": truth.field,
        },
        "label_budget": plain(options.labels),
        "labelled_pixels": dict(labelled_pixels),
    }
    if options.model.model == CoMiXSpec.model:
        known["preset"] = options.model.preset
    return known
