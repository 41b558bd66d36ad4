"""Two ways to a model: networks learn step by step, models of single pixels are fitted at once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from comix_cli.learning.baselines import PixelRecipe, fit_pixels
from comix_cli.learning.checkpoint import Keeper
from comix_cli.learning.holdout import block_side
from comix_cli.learning.loop import fit
from comix_cli.learning.model_file import ModelCard
from comix_cli.learning.pixel_samples import draw_pixels
from comix_cli.learning.recipe import Recipe
from comix_cli.learning.run_log import RunLog, open_log
from comix_cli.learning.samples import ChipSampler, LabelIndex, Labels
from comix_cli.learning.validation import Validator, validation_windows
from comix_cli.progress import Progress
from comix_cli.tools.model_choice import chip_side
from comix_cli.tools.provenance import plain
from comix_cli.tools.validation import Judge, LabelledScene, Sides
from comix_models.build import build_model, count_parameters
from comix_models.spec_base import Spec

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Lesson:
    """What there is to learn from.

    Attributes:
        scene: The scene and its labels.
        sides: Which of them train, and which judge.
        card: What is known of the model before.
        seed: Fixes everything random.
    """

    scene: LabelledScene
    sides: Sides
    card: ModelCard
    seed: int


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    Attributes:
        spec: The model.
        weights: Its weights and buffers by name.
        parameters: Trainable parameters of a network.
        record: How it came about, for the model's provenance.
        validation: What judged it, and how it did; None where nothing was held out.
    """

    spec: Spec
    weights: Mapping[str, Tensor]
    parameters: int
    record: Mapping[str, Any]
    validation: Mapping[str, Any] | None


@dataclass(frozen=True)
class Keeping:
    """What is kept of a training under way.

    Attributes:
        checkpoint: The file from which an interrupted training goes on.
        resume: Whether to go on from it; where it is not there, the training begins.
        logs: A folder for logs; None for none.
        context: What must not have changed for that, besides the network and the recipe.
    """

    checkpoint: Path
    resume: bool = False
    logs: Path | None = None
    context: Mapping[str, Any] = field(default_factory=dict)

    def keeper(self, spec: Spec, recipe: Recipe) -> Keeper:
        """Writes and reads the checkpoint of one network and recipe.

        Raises:
            ModelFileError: The checkpoint is damaged, or of another training.
        """
        # A training may be given more time than it had.
        told = {**plain(recipe), "max_minutes": None}
        everything = {"spec": spec.to_json(), "recipe": told, **plain(self.context)}
        text = json.dumps(everything, sort_keys=True)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        return Keeper(
            self.checkpoint, fingerprint, resumed=self.resume and self.checkpoint.exists()
        )

    def observer(self) -> AbstractContextManager[RunLog | None]:
        """The logs, if any are asked for."""
        return nullcontext() if self.logs is None else open_log(self.logs)


def learn(
    lesson: Lesson, recipe: Recipe, fabric: Fabric, keeping: Keeping, progress: Progress
) -> Fitted:
    """Train a network step by step.

    Raises:
        TrainingError: The loss is no longer a number.
        UsageError: The chips of a step cannot be shared out.
        ModelFileError: The checkpoint to go on from is damaged, or of another training.
    """
    spec, sides = lesson.card.spec, lesson.sides
    network = build_model(spec)
    judge = _judge(network, lesson) if fabric.is_global_zero else None
    chip = chip_side(spec, recipe.chip, lesson.card.window)
    sampler = _sampler(lesson, sides.training, sides.index, chip, recipe.class_power)
    # Several processes would each need a random state of their own in the checkpoint.
    keeper = keeping.keeper(spec, recipe) if fabric.world_size == 1 else None
    pixels = sides.index.class_pixels
    with keeping.observer() if fabric.is_global_zero else nullcontext() as observer:
        result = fit(
            network, sampler, pixels, recipe, fabric, progress, judge,
            keeper=keeper, observer=observer,
        )  # fmt: skip
    record = {
        "recipe": plain(replace(recipe, chip=chip)),
        "steps": len(result.losses),
        "seconds": round(result.seconds, 1),
        "first_loss": result.losses[0],
        "last_loss": float(np.mean(result.losses[-20:])),
        "stopped_early": result.stopped_early,
    }
    parameters = count_parameters(network)
    return Fitted(spec, result.weights, parameters, record, _validation(sides, judge))


def fit_at_once(model: str, lesson: Lesson, recipe: PixelRecipe, progress: Progress) -> Fitted:
    """Fit a model of single pixels to some of them.

    Raises:
        TrainingError: The pixels do not suffice for a grid search.
    """
    scene, sides = lesson.scene, lesson.sides
    start = time.monotonic()
    samples = draw_pixels(
        scene.reader,
        sides.training,
        sides.index,
        lesson.card.normaliser,
        most=recipe.samples_per_class,
        seed=lesson.seed,
        progress=progress,
    )
    block = block_side(scene.reader.grid, scene.buffer)
    found = fit_pixels(model, samples, lesson.card.spec, recipe, block=block, progress=progress)
    seconds = round(time.monotonic() - start, 1)
    judge = _judge(build_model(found.spec), lesson)
    if judge is not None:
        judge(1, found.weights)
    record = {"recipe": plain(recipe), **found.record, "seconds": seconds}
    return Fitted(found.spec, found.weights, 0, record, _validation(sides, judge))


def _sampler(
    lesson: Lesson, labels: Labels, index: LabelIndex, side: int, class_power: float
) -> ChipSampler:
    return ChipSampler(
        lesson.scene.reader,
        labels,
        index,
        lesson.card.normaliser,
        window=side,
        class_power=class_power,
    )


def _judge(network: nn.Module, lesson: Lesson) -> Judge | None:
    """What looks at the labels that are held out; None where none are."""
    sides, grid = lesson.sides, lesson.scene.reader.grid
    if sides.judging is None or sides.judging_index is None:
        return None
    side = lesson.card.window
    sampler = _sampler(lesson, sides.judging, sides.judging_index, side, Recipe().class_power)
    windows = validation_windows(sampler, grid, side, sides.judging_tiles(grid), lesson.seed)
    return Judge(Validator(network, sampler, windows, len(lesson.card.legend)))


def _validation(sides: Sides, judge: Judge | None) -> dict[str, Any] | None:
    """What a model's card says of its validation."""
    if judge is None or sides.record is None:
        return None
    return {**sides.record, "history": judge.history}
