"""The training loop: chips in, weights out."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from comix_cli.errors import TrainingError, UsageError
from comix_cli.learning.augment import Augmentation
from comix_cli.learning.samples import IGNORE_INDEX, Chip
from comix_cli.progress import Progress

# How often validation looks at a training.
LOOKS = 10

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        steps: Optimiser steps.
        max_minutes: Wall-clock budget, None for none. The schedule runs to its end within it.
        batch_size: Chips a step, of all processes together; each process counts alike, however many
            labels its chips hold.
        accumulate: In how many parts each process computes its chips of a step; more parts take
            less memory, and batch normalisation sees fewer chips at once.
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
    accumulate: int = 1
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


class Judge(Protocol):
    """Looks at the averaged weights from time to time."""

    def __call__(self, step: int, weights: Mapping[str, Tensor]) -> str:
        """What it has to say, in a few words, for the progress bar."""


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
    fabric: Fabric,
    progress: Progress,
    judge: Judge | None = None,
) -> TrainingResult:
    """Train a network on chips, together with the other processes where there are several.

    Args:
        network: The network.
        sampler: Where chips come from.
        class_pixels: Labelled pixels of each class.
        recipe: How to train.
        fabric: What brings processes and devices together.
        progress: Told of every step.
        judge: Looks at the weights `LOOKS` times, the last time at the end.

    Raises:
        TrainingError: The loss is no longer a number.
        UsageError: The chips of a step cannot be shared out.
    """
    parts = _Parts(sampler, recipe, fabric)
    network = network.train()
    optimiser = make_optimiser(network, recipe)
    weights = class_weights(class_pixels, recipe.weight_power)
    prepared, prepared_optimiser = fabric.setup(network, optimiser)
    step = _Step(fabric, prepared, prepared_optimiser, fabric.to_device(weights), recipe)
    # Made where the network has been brought to.
    average = MovingAverage(network, recipe.ema_decay)
    clock = _Clock(recipe)
    losses: list[float] = []
    looks, said = _Looks(), ""
    with progress.task("training", recipe.steps) as task, parts.drawn_ahead() as draw:
        while (done := _agreed(clock.done(len(losses)), fabric)) < 1:
            set_learning_rate(optimiser, recipe.learning_rate * schedule(done, recipe.warmup))
            losses.append(step(draw()))
            _refuse_nan(losses)
            average.update()
            if judge is not None and looks.is_due(clock.done(len(losses))):
                with parts.paused(), clock.kept_free_at_the_end():
                    said = judge(len(losses), average.state())
            status = f"loss {_recent(losses):.3f} {said}".rstrip()
            task.advance(clock.steps_worth(len(losses)), status=status)
        if judge is not None and not looks.at_the_end:
            with parts.paused():
                judge(len(losses), average.state())
    return TrainingResult(average.state(), tuple(losses), clock.seconds)


def _agreed(done: float, fabric: Fabric) -> float:
    """What the first process says: by its own clock another one might make one step more."""
    return done if fabric.world_size == 1 else float(fabric.broadcast(done))


class MovingAverage:
    """Exponential moving average of a network's weights that forgets the first steps faster.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), or a short training would keep
    mostly what the network began with. Statistics of normalisations are averaged as well; whole
    numbers are those of the last update.

    Args:
        network: The network; its first update is taken as it is.
        decay: The largest decay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay, self._updates = network, decay, 0
        self._average: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self) -> None:
        """Take the network as it is now into the average."""
        current = self._network.state_dict()
        floats = [name for name, tensor in current.items() if tensor.is_floating_point()]
        if self._updates == 0:
            self._average = {name: tensor.clone() for name, tensor in current.items()}
        else:
            kept = min(self._decay, (1 + self._updates) / (10 + self._updates))
            averages = [self._average[name] for name in floats]
            # All tensors at once, and the number of updates on the host: a GPU is never waited for.
            torch._foreach_mul_(averages, kept)
            shares = torch._foreach_mul([current[name] for name in floats], 1 - kept)
            torch._foreach_add_(averages, shares)
            for name in current.keys() - set(floats):
                self._average[name].copy_(current[name])
        self._updates += 1

    def state(self) -> dict[str, Tensor]:
        """The averaged weights and buffers by name."""
        return self._average


class _Looks:
    """When the weights are looked at: each time when another tenth of the training is over."""

    def __init__(self) -> None:
        self._made = 0

    def is_due(self, done: float) -> bool:
        """Whether to look now, with so much of the training over."""
        due = min(LOOKS, int(done * LOOKS + 1e-9)) > self._made
        if due:
            self._made = min(LOOKS, int(done * LOOKS + 1e-9))
        return due

    @property
    def at_the_end(self) -> bool:
        """Whether the last look was at the very end."""
        return self._made == LOOKS


class _Clock:
    """Knows how much of the training is over, by steps and by the wall clock."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._start = time.monotonic()
        self._shown = 0.0
        self._reserved = 0.0

    @contextmanager
    def kept_free_at_the_end(self) -> Iterator[None]:
        """What is done once more after the last step, and has to fit into the budget too."""
        before = self.seconds
        yield
        self._reserved = max(self._reserved, self.seconds - before)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def done(self, steps: int) -> float:
        """Share in [0, 1] of the training that is over; at least one step is always made."""
        by_steps = steps / self._recipe.steps
        if self._recipe.max_minutes is None or steps == 0:
            return by_steps
        # The step to come takes time as well: without it the budget would be overrun by a step.
        spent = self.seconds * (1 + 1 / steps) + self._reserved
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


class _Parts:
    """Draws this process' chips of every step, in parts that are computed one after the other."""

    def __init__(self, sampler: Sampler, recipe: Recipe, fabric: Fabric) -> None:
        parts = fabric.world_size * recipe.accumulate
        if recipe.batch_size % parts:
            raise UsageError(
                f"--batch-size {recipe.batch_size}: cannot be shared out among "
                f"{fabric.world_size} processes in {recipe.accumulate} parts each",
                remedy=f"give a multiple of {parts}",
            )
        self._sampler, self._recipe = sampler, recipe
        self._chips = recipe.batch_size // parts
        rank = fabric.global_rank
        self._rng = np.random.default_rng([recipe.seed, rank] if rank else recipe.seed)
        self._reading = threading.Lock()

    def paused(self) -> AbstractContextManager[Any]:
        """Nothing is drawn meanwhile: rasters may be read by one thread at a time only."""
        return self._reading

    @contextmanager
    def drawn_ahead(self) -> Iterator[Callable[[], list[Chip]]]:
        """The chips of one step after the other; those of the next are drawn meanwhile."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="comix-chips")
        coming = [pool.submit(self._draw)]

        def draw() -> list[Chip]:
            drawn = coming.pop().result()
            coming.append(pool.submit(self._draw))
            return drawn

        try:
            yield draw
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _draw(self) -> list[Chip]:
        with self._reading:
            return [
                draw_batch(self._sampler, self._recipe, self._chips, self._rng)
                for _ in range(self._recipe.accumulate)
            ]


def draw_batch(sampler: Sampler, recipe: Recipe, size: int, rng: np.random.Generator) -> Chip:
    """A batch of augmented chips, stacked along a new first axis."""
    chips = [recipe.augmentation(sampler.draw(rng), rng) for _ in range(size)]
    return Chip(
        hsi=np.stack([chip.hsi for chip in chips]),
        x=np.stack([chip.x for chip in chips]),
        labels=np.stack([chip.labels for chip in chips]),
    )


class _Step:
    """One step of the optimiser after the other; a step returns the loss of all processes."""

    def __init__(
        self, fabric: Fabric, network: Any, optimiser: Any, weights: Tensor, recipe: Recipe
    ) -> None:
        self._fabric, self._network, self._optimiser = fabric, network, optimiser
        self._weights, self._recipe = weights, recipe

    def __call__(self, parts: list[Chip]) -> float:
        """Compute the parts of a step one after the other, then change the weights."""
        shares = self._shares(parts)
        total = self._weights.new_zeros(())
        self._optimiser.zero_grad(set_to_none=True)
        for i, (part, share) in enumerate(zip(parts, shares, strict=True)):
            waits = i < len(parts) - 1
            with self._fabric.no_backward_sync(self._network, enabled=waits):
                loss = self._loss(part) * share
                self._fabric.backward(loss)
            total = total + loss.detach()
        # What is not a number is told of by the loss, with what to do about it.
        self._fabric.clip_gradients(
            self._network,
            self._optimiser,
            max_norm=self._recipe.clip_norm,
            error_if_nonfinite=False,
        )
        self._optimiser.step()
        if self._fabric.world_size > 1:
            torch.distributed.all_reduce(total, torch.distributed.ReduceOp.SUM)
        return float(total) / self._fabric.world_size

    def _loss(self, part: Chip) -> Tensor:
        hsi, x, labels = (
            self._fabric.to_device(torch.from_numpy(array))
            for array in (part.hsi, part.x, part.labels)
        )
        logits = self._network(hsi, x if x.shape[1] else None)
        return F.cross_entropy(
            logits.float(),
            labels,
            weight=self._weights,
            ignore_index=IGNORE_INDEX,
            label_smoothing=self._recipe.label_smoothing,
        )

    def _shares(self, parts: list[Chip]) -> list[float]:
        """How much the mean loss of each part counts: as much as its labelled pixels weigh."""
        if len(parts) == 1:
            return [1.0]
        weights = self._weights.cpu().numpy()
        sums = [float(weights[p.labels[p.labels != IGNORE_INDEX]].sum()) for p in parts]
        # Where nothing is labelled the loss is no number, which is told of elsewhere.
        return [each / (sum(sums) or 1.0) for each in sums]


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
    # Only of the device in use: the others would be woken up for nothing.
    in_use: Callable[[], bool] = torch.cuda.is_initialized
    gpus = [torch.cuda.current_device()] if in_use() else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield
