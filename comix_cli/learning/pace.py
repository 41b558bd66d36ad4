"""How much of a training is over, when validation looks, and when patience ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from torch import Tensor

from comix_cli.learning.recipe import Recipe

# How often validation looks at a training.
LOOKS: Final = 10


class Looks:
    """When validation looks, each time when another tenth is over, and what it has found."""

    def __init__(self, patience: int | None) -> None:
        self._patience, self._made, self._last_step = patience, 0, 0
        self._scores: list[float] = []
        self.best: dict[str, Tensor] | None = None

    @property
    def last(self) -> float | None:
        """What the last look found."""
        return self._scores[-1] if self._scores else None

    @property
    def patience_is_over(self) -> bool:
        """Whether the last looks have found nothing better."""
        if self._patience is None or not self._scores:
            return False
        since = len(self._scores) - 1 - self._scores.index(max(self._scores))
        return since >= self._patience

    def is_due(self, done: float) -> bool:
        """Whether to look now, with so much of the training over."""
        reached = min(LOOKS, int(done * LOOKS + 1e-9))
        due, self._made = reached > self._made, max(self._made, reached)
        return due

    def at_the_end(self, step: int) -> bool:
        """Whether the last look was at that step."""
        return self._last_step == step

    def remember(self, step: int, score: float | None, weights: Mapping[str, Tensor]) -> None:
        """Take what a look has found; the best weights are kept where patience is asked for."""
        self._last_step = step
        if score is None:
            return
        if self._patience is not None and score > max(self._scores, default=-1.0):
            self.best = {name: tensor.clone() for name, tensor in weights.items()}
        self._scores.append(score)

    def to_json(self) -> dict[str, Any]:
        """All of it but the best weights, as plain values."""
        return {"made": self._made, "last_step": self._last_step, "scores": self._scores}

    def restore(self, found: Mapping[str, Any], best: dict[str, Tensor]) -> None:
        """The inverse of `to_json`."""
        self._made, self._last_step = int(found["made"]), int(found["last_step"])
        self._scores = [float(score) for score in found["scores"]]
        self.best = best or None


class Clock:
    """Knows how much of the training is over, by steps and by the wall clock.

    Attributes:
        looking: Seconds that looks of the validation have taken.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._start = time.monotonic()
        self._shown = 0.0
        self._reserved = 0.0
        self.looking = 0.0

    def go_on_from(self, seconds: float, looking: float) -> None:
        """Count what an earlier run has taken, and what of that its looks have."""
        self._start = time.monotonic() - seconds
        self.looking = looking

    @contextmanager
    def look(self) -> Iterator[None]:
        """What is done once more after the last step, and has to fit into the budget too."""
        before = self.seconds
        yield
        taken = self.seconds - before
        self._reserved = max(self._reserved, taken)
        self.looking += taken

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the beginning."""
        return time.monotonic() - self._start

    @property
    def learning(self) -> float:
        """Wall-clock seconds without looks of the validation."""
        return self.seconds - self.looking

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
