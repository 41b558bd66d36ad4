"""The training loop: chips in, weights out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from comix_cli.errors import TrainingError
from comix_cli.learning.checkpoint import Keeper, Snapshot
from comix_cli.learning.consistency import Teacher
from comix_cli.learning.pace import Clock, Looks
from comix_cli.learning.recipe import Recipe, make_optimiser, rate, set_learning_rate
from comix_cli.learning.steps import Batch, MovingAverage, Parts, Sampler, Step, class_weights
from comix_cli.progress import Progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Judge(Protocol):
    """Looks at the averaged weights from time to time."""

    history: list[dict[str, Any]]

    def __call__(self, step: int, weights: Mapping[str, Tensor]) -> float | None:
        """The overall accuracy in 0..1 on what does not train; None where there is none."""


class Observer(Protocol):
    """Is told of every step."""

    def step(self, number: int, loss: float, rate: float, seconds: float) -> None:
        """A step is over; `rate` is its learning rate, `seconds` since the beginning."""

    def look(self, number: int, figures: Mapping[str, Any]) -> None:
        """Validation has looked at the weights."""


@dataclass(frozen=True)
class TrainingResult:
    """What came of it.

    Attributes:
        weights: The averaged weights: the last ones, or the best where patience has ended.
        losses: Mean loss of every step.
        seconds: Wall-clock time of the loop without looks of the validation, of all runs together
            where it was resumed.
        stopped_early: Whether patience has ended it.
    """

    weights: dict[str, torch.Tensor]
    losses: tuple[float, ...]
    seconds: float
    stopped_early: bool = False


def fit(
    network: nn.Module,
    sampler: Sampler,
    class_pixels: np.ndarray,
    recipe: Recipe,
    fabric: Fabric,
    progress: Progress,
    judge: Judge | None = None,
    *,
    keeper: Keeper | None = None,
    observer: Observer | None = None,
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
        keeper: Writes checkpoints, and may hold the one to go on from. On a CPU what follows is bit
            for bit what would have followed without a break.
        observer: Told of every step and look.

    Raises:
        TrainingError: The loss is no longer a number.
        UsageError: The chips of a step cannot be shared out.
    """
    run = Run(network, sampler, class_pixels, recipe, fabric, judge, observer)
    if keeper is not None and keeper.found is not None:
        run.restore(keeper.found)
    with progress.task("training", recipe.steps) as task, run.parts.drawn_ahead() as draw:
        task.advance(run.clock.steps_worth(run.steps))
        while (done := _agreed(run.done(), fabric)) < 1:
            run.step(draw(), done)
            task.advance(run.clock.steps_worth(run.steps), status=run.status())
            if keeper is not None and keeper.is_due():
                keeper.keep(run.snapshot())
        run.finish()
    return run.result()


class Run:
    """A training under way: what a step changes, and what a checkpoint holds."""

    def __init__(
        self,
        network: nn.Module,
        sampler: Sampler,
        class_pixels: np.ndarray,
        recipe: Recipe,
        fabric: Fabric,
        judge: Judge | None,
        observer: Observer | None,
    ) -> None:
        self._network, self._recipe = network.train(), recipe
        self._judge, self._observer = judge, observer
        self.parts = Parts(sampler, recipe, fabric)
        self._optimiser = make_optimiser(network, recipe)
        weights = class_weights(class_pixels, recipe.weight_power)
        prepared, optimiser = fabric.setup(network, self._optimiser)
        # Made where the network has been brought to.
        self._average = MovingAverage(network, recipe.ema_decay)
        unlabelled = recipe.consistency
        self._teacher = Teacher(network, unlabelled.confidence) if unlabelled.weight else None
        self._step = Step(
            fabric, prepared, optimiser, fabric.to_device(weights), recipe, self._teacher
        )
        self._looks = Looks(recipe.patience)
        self._losses: list[float] = []
        self.clock = Clock(recipe)

    @property
    def steps(self) -> int:
        """Steps so far."""
        return len(self._losses)

    def done(self) -> float:
        """Share of the training that is over."""
        return 1.0 if self._looks.patience_is_over else self.clock.done(self.steps)

    def step(self, chips: list[Batch], done: float) -> None:
        """One step, and a look where one is due."""
        speed = rate(done, self._recipe)
        set_learning_rate(self._optimiser, speed)
        unlabelled = self._recipe.consistency.weight_at(done)
        if self._teacher is not None and unlabelled:
            self._teacher.take(self._average.state())
        self._losses.append(self._step(chips, unlabelled))
        _refuse_nan(self._losses)
        self._average.update()
        if self._observer is not None:
            self._observer.step(self.steps, self._losses[-1], speed, self.clock.seconds)
        if self._judge is not None and self._looks.is_due(self.clock.done(self.steps)):
            self._look(self._judge)

    def finish(self) -> None:
        """Look once more where the last look was not at the end."""
        if self._judge is not None and not self._looks.at_the_end(self.steps):
            self._look(self._judge)

    def _look(self, judge: Judge) -> None:
        with self.clock.look(), self.parts.paused():
            found = judge(self.steps, self._average.state())
        self._looks.remember(self.steps, found, self._average.state())
        if self._observer is not None:
            self._observer.look(self.steps, judge.history[-1])

    def status(self) -> str:
        """What the progress bar says."""
        speed = self._recipe.batch_size * self.steps / max(self.clock.learning, 1e-9)
        found = self._looks.last
        said = "" if found is None else f" validation {100 * found:.1f} %"
        return f"loss {_recent(self._losses):.3f} {speed:.1f} chips/s{said}"

    def result(self) -> TrainingResult:
        """What came of it."""
        early = self._looks.patience_is_over
        weights = self._looks.best if early and self._looks.best else self._average.state()
        return TrainingResult(weights, tuple(self._losses), self.clock.learning, early)

    def snapshot(self) -> Snapshot:
        """Where the training stands now, between two steps."""
        tensors = {
            **_named("network", self._network.state_dict()),
            **_named("average", self._average.state()),
            **_named("best", self._looks.best or {}),
            **{
                f"moment/{number}/{name}": value
                for number, state in self._optimiser.state_dict()["state"].items()
                for name, value in state.items()
            },
            "random/torch": torch.get_rng_state(),
        }
        facts = {
            "losses": self._losses,
            "seconds": self.clock.seconds,
            "looking": self.clock.looking,
            "updates": self._average.updates,
            "looks": self._looks.to_json(),
            "history": [] if self._judge is None else self._judge.history,
            "sampler": self.parts.random_state,
        }
        return Snapshot(tensors, facts)

    def restore(self, found: Snapshot) -> None:
        """Go on from where another run stood."""
        facts = found.facts
        self._network.load_state_dict(found.part("network"))
        self._average.restore(found.part("average"), int(facts["updates"]))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in found.part("moment").items():
            number, key = name.split("/", 1)
            moments.setdefault(int(number), {})[key] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})
        torch.set_rng_state(found.tensors["random/torch"])
        self._looks.restore(facts["looks"], found.part("best"))
        self._losses = [float(loss) for loss in facts["losses"]]
        self.clock.go_on_from(float(facts["seconds"]), float(facts.get("looking", 0)))
        self.parts.random_state = facts["sampler"]
        if self._judge is not None:
            self._judge.history[:] = facts["history"]


def _named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}


def _agreed(done: float, fabric: Fabric) -> float:
    """What the first process says: by its own clock another one might make one step more."""
    return done if fabric.world_size == 1 else float(fabric.broadcast(done))


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
