"""The parts of a training step: chips, gradients, the average of the weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from comix_cli.errors import UsageError
from comix_cli.learning.consistency import Teacher, consistency_loss
from comix_cli.learning.recipe import Recipe
from comix_cli.learning.samples import IGNORE_INDEX, Chip

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Sampler(Protocol):
    """Where chips come from: a `ChipSampler`, or anything that answers like one."""

    def draw(self, rng: np.random.Generator) -> Chip:
        """One chip at random."""


def chips_of_each(recipe: Recipe, processes: int) -> int:
    """How many chips a process computes at once.

    Raises:
        UsageError: The chips of a step cannot be shared out.
    """
    parts = processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise UsageError(
            f"--batch-size {recipe.batch_size}: cannot be shared out among "
            f"{processes} processes in {recipe.accumulate} parts each",
            remedy=f"give a multiple of {parts}",
        )
    return recipe.batch_size // parts


class Parts:
    """Draws this process' chips of every step, in parts that are computed one after the other."""

    def __init__(self, sampler: Sampler, recipe: Recipe, fabric: Fabric) -> None:
        self._sampler, self._recipe = sampler, recipe
        self._chips = chips_of_each(recipe, fabric.world_size)
        rank = fabric.global_rank
        self._rng = np.random.default_rng([recipe.seed, rank] if rank else recipe.seed)
        self._reading = threading.Lock()
        # Before the chips that come next are drawn.
        self._state: Any = self._rng.bit_generator.state

    @property
    def random_state(self) -> Any:
        """What the chips of the next step depend on, as plain values."""
        return self._state

    @random_state.setter
    def random_state(self, state: Any) -> None:
        self._rng.bit_generator.state = state
        self._state = state

    def paused(self) -> AbstractContextManager[Any]:
        """Nothing is drawn meanwhile: rasters may be read by one thread at a time only."""
        return self._reading

    @contextmanager
    def drawn_ahead(self) -> Iterator[Callable[[], list[Batch]]]:
        """The chips of one step after the other; those of the next are drawn meanwhile."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="comix-chips")
        coming = [pool.submit(self._draw)]

        def draw() -> list[Batch]:
            drawn = coming.pop().result()
            self._state = self._rng.bit_generator.state
            coming.append(pool.submit(self._draw))
            return drawn

        try:
            yield draw
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _draw(self) -> list[Batch]:
        with self._reading:
            return [
                draw_batch(self._sampler, self._recipe, self._chips, self._rng)
                for _ in range(self._recipe.accumulate)
            ]


@dataclass(frozen=True)
class Batch:
    """Chips that are computed at once, stacked along a new first axis.

    Attributes:
        changed: What the network learns from.
        plain: The same chips with the values of the scene, for a teacher; None where there is none.
    """

    changed: Chip
    plain: Chip | None


def draw_batch(sampler: Sampler, recipe: Recipe, size: int, rng: np.random.Generator) -> Batch:
    """A batch of chips at random."""
    change = recipe.augmentation
    chips, own = [], []
    for _ in range(size):
        chips.append(change.turned(sampler.draw(rng), rng))
        # A stream of each chip's own: it does not depend on how a step is cut into parts.
        own.append(np.random.default_rng(rng.integers(2**63)))
    chips = change.mixed(chips, rng)
    changed = [change(chip, stream) for chip, stream in zip(chips, own, strict=True)]
    return Batch(_stacked(changed), _stacked(chips) if recipe.consistency.weight else None)


def _stacked(chips: Sequence[Chip]) -> Chip:
    return Chip(
        hsi=np.stack([chip.hsi for chip in chips]),
        x=np.stack([chip.x for chip in chips]),
        labels=np.stack([chip.labels for chip in chips]),
    )


class Step:
    """One step of the optimiser after the other; a step returns the loss of all processes."""

    def __init__(
        self,
        fabric: Fabric,
        network: Any,
        optimiser: Any,
        weights: Tensor,
        recipe: Recipe,
        teacher: Teacher | None = None,
    ) -> None:
        self._fabric, self._network, self._optimiser = fabric, network, optimiser
        self._weights, self._recipe, self._teacher = weights, recipe, teacher

    def __call__(self, parts: list[Batch], unlabelled: float = 0.0) -> float:
        """Compute the parts of a step one after the other, then change the weights.

        Args:
            parts: The chips of each.
            unlabelled: Weight of the pixels without a label, for which the teacher is asked.
        """
        shares, rest = self._shares(parts), _unlabelled_shares(parts)
        total = self._weights.new_zeros(())
        self._optimiser.zero_grad(set_to_none=True)
        for i, part in enumerate(parts):
            waits = i < len(parts) - 1
            with self._fabric.no_backward_sync(self._network, enabled=waits):
                labelled, guessed = self._losses(part, unlabelled)
                loss = labelled * shares[i] + guessed * (unlabelled * rest[i])
                self._fabric.backward(loss)
            total = total + loss.detach()
        if self._recipe.clip_norm is not None:
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

    def _losses(self, part: Batch, unlabelled: float) -> tuple[Tensor, Tensor]:
        """Mean losses of the pixels with a label, and of those without one."""
        hsi, x, labels = self._brought(part.changed)
        logits = self._network(hsi, x).float()
        labelled = F.cross_entropy(
            logits,
            labels,
            weight=self._weights,
            ignore_index=IGNORE_INDEX,
            label_smoothing=self._recipe.label_smoothing,
        )
        if self._teacher is None or part.plain is None or unlabelled == 0:
            return labelled, labelled.new_zeros(())
        plain_hsi, plain_x, _ = self._brought(part.plain)
        with self._fabric.autocast():
            guessed = self._teacher.labels(plain_hsi, plain_x, labels)
        return labelled, consistency_loss(logits, guessed, labels)

    def _brought(self, chip: Chip) -> tuple[Tensor, Tensor | None, Tensor]:
        """HSI, X if there is any, and labels, where the network computes."""
        hsi, x, labels = (
            self._fabric.to_device(torch.from_numpy(array))
            for array in (chip.hsi, chip.x, chip.labels)
        )
        return hsi, x if x.shape[1] else None, labels

    def _shares(self, parts: list[Batch]) -> list[float]:
        """How much the mean loss of each part counts: as much as its labelled pixels weigh."""
        if len(parts) == 1:
            return [1.0]
        weights = self._weights.cpu().numpy()
        labels = [part.changed.labels for part in parts]
        sums = [float(weights[each[each != IGNORE_INDEX]].sum()) for each in labels]
        # Where nothing is labelled the loss is no number, which is told of elsewhere.
        return [each / (sum(sums) or 1.0) for each in sums]


def _unlabelled_shares(parts: list[Batch]) -> list[float]:
    """How much of the pixels without a label each part has."""
    counts = [int(np.count_nonzero(part.changed.labels == IGNORE_INDEX)) for part in parts]
    return [each / (sum(counts) or 1) for each in counts]


class MovingAverage:
    """Exponential moving average of a network's weights that forgets the first steps faster.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), or a short training would keep
    mostly what the network began with. Statistics of normalisations are averaged as well; whole
    numbers are those of the last update.

    Args:
        network: The network; its first update is taken as it is.
        decay: The largest decay; 0 for the weights as they are.

    Attributes:
        updates: How often it was updated.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self.updates = 0
        self._average: dict[str, Tensor] = {}

    def restore(self, average: Mapping[str, Tensor], updates: int) -> None:
        """Go on with the average of an earlier run."""
        here = self._network.state_dict()
        self._average = {name: tensor.to(here[name].device) for name, tensor in average.items()}
        self.updates = updates

    @torch.no_grad()
    def update(self) -> None:
        """Take the network as it is now into the average."""
        current = self._network.state_dict()
        floats = [name for name, tensor in current.items() if tensor.is_floating_point()]
        if self.updates == 0 or self._decay == 0:
            self._average = {name: tensor.clone() for name, tensor in current.items()}
        else:
            kept = min(self._decay, (1 + self.updates) / (10 + self.updates))
            averages = [self._average[name] for name in floats]
            # All tensors at once, and the number of updates on the host: a GPU is never waited for.
            torch._foreach_mul_(averages, kept)
            shares = torch._foreach_mul([current[name] for name in floats], 1 - kept)
            torch._foreach_add_(averages, shares)
            for name in current.keys() - set(floats):
                self._average[name].copy_(current[name])
        self.updates += 1

    def state(self) -> dict[str, Tensor]:
        """The averaged weights and buffers by name."""
        return self._average


def class_weights(pixels: np.ndarray, power: float) -> torch.Tensor:
    """Loss weights `(classes,)` proportional to pixels ** -power, with a mean of 1 over pixels."""
    counts = np.asarray(pixels, np.float64)
    raw = np.where(counts > 0, np.maximum(counts, 1.0) ** -power, 0.0)
    mean = (raw * counts).sum() / counts.sum()
    return torch.as_tensor(raw / mean, dtype=torch.float32)
