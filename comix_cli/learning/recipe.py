"""How a network is trained, as values: recipes, schedules, optimisers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import torch
from torch import nn

from comix_cli.errors import UsageError
from comix_cli.learning.augment import Augmentation
from comix_cli.learning.consistency import Consistency

Optimiser = Literal["adamw", "adam"]
Schedule = Literal["cosine", "polynomial"]
# Of the polynomial schedule; the exponent that segmentation networks usually have.
POWER: Final = 0.9
# The share of the peak learning rate at which warming up begins.
_COLD = 0.04


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        steps: Optimiser steps.
        max_minutes: Wall-clock budget, None for none. The schedule runs to its end within it.
        chip: Side of the square chips in pixels; less where the windows of the map are smaller.
        batch_size: Chips a step, of all processes together; each process counts alike, however many
            labels its chips hold.
        accumulate: In how many parts each process computes its chips of a step; more parts take
            less memory, and batch normalisation sees fewer chips at once.
        optimiser: `adamw` decays weights apart from the gradient (Loshchilov and Hutter 2019),
            `adam` as a part of it.
        learning_rate: Peak of the schedule.
        schedule: How the rate falls after its peak: half a `cosine`, or `polynomial` with `POWER`.
        weight_decay: Weight decay; not applied to biases and norms.
        warmup: Share of the schedule that rises linearly to the peak.
        clip_norm: Largest norm of the gradient; None for any.
        label_smoothing: Share of the target spread over all classes.
        class_power: Chips are drawn by class with probability pixels ** power.
        weight_power: A class weighs pixels ** -power in the loss; 0 weighs all pixels alike.
        ema_decay: Decay of the moving average of the weights that is kept in the end; 0 keeps the
            last weights.
        patience: Looks of the validation without a better overall accuracy after which the training
            ends, with the best weights; None to go on.
        augmentation: Random changes to the chips.
        consistency: How much is learned from pixels without a label.
        seed: Fixes everything random.
    """

    steps: int = 200
    max_minutes: float | None = None
    chip: int = 64
    batch_size: int = 4
    accumulate: int = 1
    optimiser: Optimiser = "adamw"
    learning_rate: float = 4e-3
    schedule: Schedule = "cosine"
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float | None = 1.0
    label_smoothing: float = 0.05
    class_power: float = 0.5
    weight_power: float = 0.25
    ema_decay: float = 0.98
    patience: int | None = None
    augmentation: Augmentation = Augmentation()
    consistency: Consistency = Consistency()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("optimiser", Optimiser), ("schedule", Schedule)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name}: {getattr(self, name)!r} is none of {get_args(allowed)}")


# METHOD: Adam, plain cross-entropy, weight decay 0.01, a polynomial schedule, chips of 128 x 128 as
# they lie in the scene; 1e-3 is its rate for Berlin. Warm-up and power are those of CMX, which it
# builds on.
PAPER: Final = Recipe(
    steps=400,
    chip=128,
    optimiser="adam",
    learning_rate=1e-3,
    schedule="polynomial",
    warmup=0.02,
    clip_norm=None,
    label_smoothing=0.0,
    class_power=1.0,
    weight_power=0.0,
    ema_decay=0.0,
    augmentation=Augmentation(gain=0.0, band_gain=0.0),
)
RECIPES: Final = {"default": Recipe(), "paper": PAPER}


def recipe(name: str, **changes: Any) -> Recipe:
    """A named recipe with single fields changed; changes that are None are left out.

    Raises:
        UsageError: There is no such recipe.
    """
    if name not in RECIPES:
        raise UsageError(
            f"--recipe {name}: there is no such recipe", remedy=f"name one of {', '.join(RECIPES)}"
        )
    return replace(RECIPES[name], **{k: v for k, v in changes.items() if v is not None})


def rate(done: float, recipe: Recipe) -> float:
    """The learning rate when a share `done` of the training is over.

    Linear from 4 % of the peak up to it over the warm-up, then down to 0 at `done` = 1.
    """
    if done < recipe.warmup:
        return recipe.learning_rate * (_COLD + (1 - _COLD) * done / recipe.warmup)
    left = min(1.0, (done - recipe.warmup) / max(1e-9, 1 - recipe.warmup))
    if recipe.schedule == "polynomial":
        return float(recipe.learning_rate * (1 - left) ** POWER)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * left))


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser; weight decay spares biases, norms and other vectors."""
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1],
         "weight_decay": recipe.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]  # fmt: skip
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.learning_rate)


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of every group of parameters."""
    for group in optimiser.param_groups:
        group["lr"] = value
