"""The training loop: chips in, weights out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from comix_cli.errors import TrainingError
from comix_cli.learning.augment import Augmentation
from comix_cli.learning.samples import IGNORE_INDEX, Chip
from comix_cli.progress import Progress


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        steps: Optimiser steps.
        max_minutes: Wall-clock budget, None for none. The schedule runs to its end within it.
        batch_size: Chips a step.
        learning_rate: Peak of the schedule.
        weight_decay: Decoupled weight decay (AdamW); not applied to biases and norms.
        warmup: Share of the schedule that rises linearly to the peak.
        clip_norm: Largest norm of the gradient.
        label_smoothing: Share of the target spread over all classes.
        class_power: Chips are drawn by class with probability pixels ** power.
        weight_power: A class weighs pixels ** -power in the loss; 0 weighs all pixels alike.
        ema_decay: Decay of the moving average of the weights that is kept in the end.
        augmentation: Random changes to the chips.
        seed: Fixes everything random.
    """

    steps: int = 400
    max_minutes: float | None = None
    batch_size: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float = 1.0
    label_smoothing: float = 0.05
    class_power: float = 0.5
    weight_power: float = 0.25
    ema_decay: float = 0.98
    augmentation: Augmentation = Augmentation()
    seed: int = 0


class Sampler(Protocol):
    """Where chips come from: a `ChipSampler`, or anything that answers like one."""

    def draw(self, rng: np.random.Generator) -> Chip:
        """One chip at random."""


@dataclass(frozen=True)
class TrainingResult:
    """What came of it.

    Attributes:
        weights: The averaged weights.
        losses: Mean loss of every step.
        seconds: Wall-clock time of the loop.
    """

    weights: dict[str, torch.Tensor]
    losses: tuple[float, ...]
    seconds: float


def schedule(done: float, warmup: float) -> float:
    """Share of the peak learning rate when a share `done` of the training is over.

    Linear from 4 % up to 1 over `warmup`, then half a cosine down to 0 at `done` = 1.
    """
    if done < warmup:
        return 0.04 + 0.96 * done / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / max(1e-9, 1 - warmup))))


def class_weights(pixels: np.ndarray, power: float) -> torch.Tensor:
    """Loss weights `(classes,)` proportional to pixels ** -power, with a mean of 1 over pixels."""
    counts = np.asarray(pixels, np.float64)
    raw = np.where(counts > 0, np.maximum(counts, 1.0) ** -power, 0.0)
    mean = (raw * counts).sum() / counts.sum()
    return torch.as_tensor(raw / mean, dtype=torch.float32)


def fit(
    network: nn.Module,
    sampler: Sampler,
    class_pixels: np.ndarray,
    recipe: Recipe,
    device: torch.device,
    progress: Progress,
) -> TrainingResult:
    """Train a network on chips.

    Raises:
        TrainingError: The loss is no longer a number.
    """
    rng = np.random.default_rng(recipe.seed)
    network = network.to(device).train()
    optimiser = make_optimiser(network, recipe)
    average = AveragedModel(network, avg_fn=moving_average(recipe.ema_decay), use_buffers=True)
    weights = class_weights(class_pixels, recipe.weight_power).to(device)
    clock = _Clock(recipe)
    losses: list[float] = []
    with progress.task("training", recipe.steps) as task:
        while (done := clock.done(len(losses))) < 1:
            set_learning_rate(optimiser, recipe.learning_rate * schedule(done, recipe.warmup))
            batch = draw_batch(sampler, recipe, rng)
            losses.append(_step(network, optimiser, batch, weights, recipe, device))
            _refuse_nan(losses)
            average.update_parameters(network)
            task.advance(clock.steps_worth(len(losses)), status=f"loss {_recent(losses):.3f}")
    state = {k: v.detach().clone() for k, v in average.module.state_dict().items()}
    return TrainingResult(state, tuple(losses), clock.seconds)


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average that forgets the first steps faster.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), or a short training would keep
    mostly what the network began with.
    """

    def update(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        n = int(updates)
        kept = min(decay, (1 + n) / (10 + n))
        return average * kept + current * (1 - kept)

    return update


class _Clock:
    """Knows how much of the training is over, by steps and by the wall clock."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._start = time.monotonic()
        self._shown = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def done(self, steps: int) -> float:
        """Share in [0, 1] of the training that is over; at least one step is always made."""
        by_steps = steps / self._recipe.steps
        if self._recipe.max_minutes is None or steps == 0:
            return by_steps
        # The step to come takes time as well: without it the budget would be overrun by a step.
        spent = self.seconds * (1 + 1 / steps)
        return max(by_steps, spent / (60 * self._recipe.max_minutes))

    def steps_worth(self, steps: int) -> float:
        """How far the bar moves on: the budget may end the training before the steps do."""
        now = min(1.0, self.done(steps)) * self._recipe.steps
        moved, self._shown = now - self._shown, now
        return moved


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; weight decay spares biases, norms and other vectors."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    spared = [p for p in network.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
    )


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group of parameters."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def draw_batch(sampler: Sampler, recipe: Recipe, rng: np.random.Generator) -> Chip:
    """A batch of augmented chips, stacked along a new first axis."""
    chips = [recipe.augmentation(sampler.draw(rng), rng) for _ in range(recipe.batch_size)]
    return Chip(
        hsi=np.stack([chip.hsi for chip in chips]),
        x=np.stack([chip.x for chip in chips]),
        labels=np.stack([chip.labels for chip in chips]),
    )


def _step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Chip,
    weights: torch.Tensor,
    recipe: Recipe,
    device: torch.device,
) -> float:
    hsi, x, labels = (
        torch.from_numpy(array).to(device) for array in (batch.hsi, batch.x, batch.labels)
    )
    logits = network(hsi, x if x.shape[1] else None)
    loss = F.cross_entropy(
        logits,
        labels,
        weight=weights,
        ignore_index=IGNORE_INDEX,
        label_smoothing=recipe.label_smoothing,
    )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
    optimiser.step()
    return float(loss.detach())


def _recent(losses: list[float], count: int = 20) -> float:
    tail = losses[-count:]
    return sum(tail) / len(tail)


def _refuse_nan(losses: list[float]) -> None:
    if not math.isfinite(losses[-1]):
        raise TrainingError(
            f"the loss became {losses[-1]} at step {len(losses)}",
            remedy="lower --learning-rate, or look for extreme values in the inputs",
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make everything that torch draws inside depend on the seed alone, and undo that outside."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
