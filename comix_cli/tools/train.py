"""From a scene and its ground truth to a model file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from comix_cli.errors import LabelError, UsageError, listed
from comix_cli.files import MODEL_SUFFIX, check_suffix, check_writable
from comix_cli.learning.device import check_number_type, choose_device, set_threads
from comix_cli.learning.loop import TrainingResult, fit, seeded
from comix_cli.learning.model_file import InputRecord, ModelCard, save_model
from comix_cli.learning.normalise import fit_normalisation
from comix_cli.learning.recipe import Recipe
from comix_cli.learning.samples import (
    ChipSampler,
    LabelIndex,
    LabelReader,
    Labels,
    MemoryScene,
    index_labels,
    sample_values,
    scene_bytes,
    stack_channels,
)
from comix_cli.learning.validation import Validator, validation_windows
from comix_cli.progress import Progress
from comix_cli.scene.labels import Reference
from comix_cli.scene.legend import Legend
from comix_cli.scene.raster import checksum
from comix_cli.scene.stack import BlockReader, Stack
from comix_cli.tools.inputs import (
    SceneInputs,
    check_alignment,
    input_provenance,
    open_for_training,
)
from comix_cli.tools.provenance import plain, timestamp, versions
from comix_cli.tools.reference import TruthOptions, open_reference, tell_of_left_out
from comix_cli.tools.validation import AUTO, Judge, LabelledScene, Sides, told_apart
from comix_models.build import build_model, count_parameters
from comix_models.spec import PRESETS, CoMiXSpec, preset

# Scenes up to this size are read once and kept; larger ones are read chip by chip.
MEMORY_SCENE_BYTES = 4 << 30
# Beyond that a field holds names or numbers of single objects and not classes.
MOST_CLASSES = 1000
DEFAULT_WINDOW = 128


@dataclass(frozen=True)
class TrainOptions:
    """Everything `comix train` can be told.

    Attributes:
        inputs: The scene.
        truth: The ground truth.
        output: The model file to write.
        preset: The network's size, by name.
        spec_changes: Fields of the network's spec that differ from the preset.
        window: Side of the training chips in pixels; None for 128, less on a smaller scene.
        recipe: How to train.
        device: `auto`, `cpu`, `cuda`, ...
        threads: CPU threads to compute with; None for all.
        precision: Number type to compute in: `auto`, `float32`, `bfloat16` or `float16`; weights
            are kept in single precision.
        overwrite: Replace an existing model file.
        validation: `auto` to hold blocks of the ground truth out, `none`, or a file of ground
            truth to validate on.
    """

    inputs: SceneInputs
    truth: TruthOptions
    output: Path
    preset: str = "tiny"
    spec_changes: Mapping[str, Any] = field(default_factory=dict)
    window: int | None = None
    recipe: Recipe = Recipe()
    device: str = "auto"
    threads: int | None = None
    precision: str = "auto"
    overwrite: bool = False
    validation: str = AUTO


@dataclass(frozen=True)
class TrainReport:
    """What came of it, for people.

    Attributes:
        output: The model file.
        card: What the model file says of itself.
        parameters: Trainable parameters of the network.
        labelled_pixels: Labelled pixels that trained, by class name.
        result: The losses and the time.
    """

    output: Path
    card: ModelCard
    parameters: int
    labelled_pixels: Mapping[str, int]
    result: TrainingResult


def train(options: TrainOptions, progress: Progress) -> TrainReport:
    """Train a network on one scene and write the model file.

    Raises:
        ComixError: An input cannot be used, or the output cannot be written.
    """
    _check_window(options)
    read = (*options.inputs.paths, options.truth.path, options.validation)
    check_writable(options.output, overwrite=options.overwrite, inputs=read)
    check_suffix(options.output, (MODEL_SUFFIX,))
    device = choose_device(options.device)
    number_type = check_number_type(options.precision, device)
    set_threads(options.threads)
    # Fabric takes two seconds and a hundred megabytes, which mistakes should not wait for.
    from comix_cli.learning.processes import launched  # noqa: PLC0415

    with (
        launched(device, number_type) as fabric,
        open_for_training(options.inputs) as stack,
        open_reference(options.truth, stack.grid, progress) as truth,
        seeded(options.recipe.seed),
    ):
        check_alignment(options.inputs, stack, progress)
        scene = _readable_scene(stack, progress)
        legend, index = _find_labels(options.truth, truth, scene, progress)
        labels = LabelReader(truth, stack.grid, legend, options.truth.rule)
        labelled = LabelledScene(scene, labels, index, legend, _coarsest_m(stack))
        card = _describe(options, stack, scene, legend)
        inputs = input_provenance(options.inputs, progress)
        seed = options.recipe.seed
        with told_apart(options.validation, options.truth, labelled, seed, progress) as sides:
            network = build_model(card.spec)
            judge = _judge(network, labelled, sides, card, seed) if fabric.is_global_zero else None
            sampler = _sampler(labelled, sides.training, sides.index, card, options.recipe)
            pixels = sides.index.class_pixels
            result = fit(network, sampler, pixels, options.recipe, fabric, progress, judge)
        validation = _validation(sides, judge)
        provenance = _provenance(options, inputs, truth, _by_name(legend, sides.index), result)
        card = replace(card, training={**provenance, "validation": validation})
        if fabric.is_global_zero:
            save_model(options.output, result.weights, card)
    parameters = count_parameters(network)
    return TrainReport(options.output, card, parameters, _by_name(legend, sides.index), result)


def _sampler(
    scene: LabelledScene, labels: Labels, index: LabelIndex, card: ModelCard, recipe: Recipe
) -> ChipSampler:
    return ChipSampler(
        scene.reader,
        labels,
        index,
        card.normaliser,
        window=card.window,
        class_power=recipe.class_power,
    )


def _judge(
    network: nn.Module, scene: LabelledScene, sides: Sides, card: ModelCard, seed: int
) -> Judge | None:
    """What looks at the labels that are held out; None where none are."""
    if sides.judging is None or sides.judging_index is None:
        return None
    sampler = _sampler(scene, sides.judging, sides.judging_index, card, Recipe())
    grid = scene.reader.grid
    tiles = sides.judging_tiles(grid)
    windows = validation_windows(sampler, grid, card.window, tiles, seed)
    return Judge(Validator(network, sampler, windows, len(card.legend)))


def _validation(sides: Sides, judge: Judge | None) -> dict[str, Any] | None:
    """What a model's card says of its validation."""
    if judge is None or sides.record is None:
        return None
    return {**sides.record, "history": judge.history}


def _coarsest_m(stack: Stack) -> float:
    return max(info.grid.gsd_m for info in (stack.hsi_info, *stack.x_info))


def _readable_scene(stack: Stack, progress: Progress) -> BlockReader:
    infos = (stack.hsi_info, *stack.x_info)
    for info, dropped in zip(infos, (stack.dropped, *stack.x_dropped), strict=True):
        for band, reason in dropped.items():
            progress.info(f"{info.path}: band {band} is not used ({reason})")
    if scene_bytes(stack) <= memory_for_a_scene():
        return MemoryScene(stack, progress)
    return stack


def memory_for_a_scene() -> int:
    """How many bytes a scene may take in memory: at most half of what is free."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(MEMORY_SCENE_BYTES, free // 2)


def _find_labels(
    options: TruthOptions, truth: Reference, scene: BlockReader, progress: Progress
) -> tuple[Legend, LabelIndex]:
    """The classes that the scene really holds, and where their pixels are."""
    if len(truth.classes) > MOST_CLASSES:
        raise LabelError(
            f"field '{truth.field}' has {len(truth.classes)} values, too many for classes"
            if truth.field
            else f"holds {len(truth.classes)} values, too many for classes",
            path=truth.path,
            remedy="name another field with --field, or give another file",
        )
    everything = Legend.from_names(truth.classes)
    labels = LabelReader(truth, scene.grid, everything, options.rule)
    index = index_labels(labels, scene, len(everything), progress)
    kept = np.flatnonzero(index.class_pixels).tolist()
    if not kept:
        raise LabelError(
            "no labelled pixel lies on valid data",
            path=truth.path,
            remedy="check the CRS of the ground truth (--gt-crs) and nodata in the rasters",
        )
    legend = everything.only(kept)
    if len(kept) == 1:
        raise LabelError(
            f"only one class ('{legend.names[0]}') has labelled pixels in the scene",
            path=truth.path,
            remedy="label at least two classes, or name another field with --field",
        )
    _tell_what_is_left_out(everything, legend, index, truth, progress)
    return legend, index.only(kept)


def _tell_what_is_left_out(
    everything: Legend, legend: Legend, index: LabelIndex, truth: Reference, progress: Progress
) -> None:
    absent = [name for name in everything.names if name not in legend.names]
    if absent:
        progress.warn(f"{truth.path}: no usable pixel, so left out: {listed(absent)}")
    disputed = "pixels lie in polygons of different classes"
    tell_of_left_out(truth.path, index.overlap, disputed, progress)
    tell_of_left_out(truth.path, index.invalid, "labelled pixels have no valid data", progress)


def _by_name(legend: Legend, index: LabelIndex) -> dict[str, int]:
    return dict(zip(legend.names, index.class_pixels.tolist(), strict=True))


def _describe(options: TrainOptions, stack: Stack, scene: BlockReader, legend: Legend) -> ModelCard:
    hsi_values, x_values = sample_values(scene, options.recipe.seed)
    hsi, x = _input_records(options.inputs, stack, hsi_values, x_values)
    spec = _spec(options, stack, len(legend))
    return ModelCard(
        spec=spec,
        hsi=hsi,
        x=x,
        legend=legend,
        window=_window(options.window, spec, stack.grid.shape),
        gsd_m=stack.grid.gsd_m,
    )


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
            )
        )
    return records[0], tuple(records[1:])


def _spec(options: TrainOptions, stack: Stack, classes: int) -> CoMiXSpec:
    bands, channels = stack_channels(stack)
    try:
        return preset(
            options.preset,
            hsi_bands=bands,
            x_channels=channels,
            classes=classes,
            **options.spec_changes,
        )
    except ValueError as error:
        raise UsageError(f"this network cannot be built: {error}") from error


def _check_window(options: TrainOptions) -> None:
    """Refuse a window that the network cannot have, before anything is read.

    Raises:
        UsageError: The preset is fixed to another window.
    """
    fixed = options.spec_changes.get("window", PRESETS.get(options.preset, {}).get("window"))
    if fixed is not None and options.window not in (None, fixed):
        raise UsageError(
            f"--window {options.window}: this preset is fixed to windows of {fixed} pixels",
            remedy="leave --window out, or use another preset",
        )


def _window(wanted: int | None, spec: CoMiXSpec, shape: tuple[int, int]) -> int:
    """The chip size: what the network is fixed to, what is asked for, or what suits the scene."""
    if spec.window is not None:
        return spec.window
    if wanted is not None:
        return wanted
    longest = max(shape)
    return min(DEFAULT_WINDOW, -(-longest // 16) * 16)


def _provenance(
    options: TrainOptions,
    inputs: list[dict[str, Any]],
    truth: Reference,
    labelled_pixels: Mapping[str, int],
    result: TrainingResult,
) -> dict[str, Any]:
    return {
        "date": timestamp(),
        "versions": versions(),
        "inputs": inputs,
        "ground_truth": {
            "path": truth.path,
            "checksum": checksum(truth.path),
            "field": truth.field,
        },
        "labelled_pixels": dict(labelled_pixels),
        "preset": options.preset,
        "recipe": plain(options.recipe),
        "steps": len(result.losses),
        "seconds": round(result.seconds, 1),
        "first_loss": result.losses[0],
        "last_loss": float(np.mean(result.losses[-20:])),
    }
