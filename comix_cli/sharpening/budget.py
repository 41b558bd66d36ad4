"""How long to learn: a number of steps, or minutes, whichever ends first."""

from __future__ import annotations

import time
from dataclasses import dataclass

from comix_cli.errors import UsageError


@dataclass(frozen=True)
class Budget:
    """An end of the learning.

    Attributes:
        steps: Steps at most.
        minutes: Wall-clock minutes at most; None for no limit. With a limit two runs of one seed
            may differ.

    Raises:
        UsageError: Neither is above 0.
    """

    steps: int = 300
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.minutes is not None and not self.minutes > 0):
            raise UsageError("learning needs at least one step and some time")

    def start(self) -> Clock:
        """Begin to count."""
        return Clock(self)


class Clock:
    """Counts steps and time."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._steps, self._start = budget, 0, time.monotonic()
        self._shown = 0.0

    @property
    def share_done(self) -> float:
        """From 0 to 1, by steps or by the clock, whichever is further on."""
        by_steps = self._steps / self._budget.steps
        if self._budget.minutes is None:
            return by_steps
        return max(by_steps, (time.monotonic() - self._start) / (60 * self._budget.minutes))

    def step(self) -> float:
        """Count a step; by how much the share has grown since the last."""
        before, self._steps = self._shown, self._steps + 1
        self._shown = min(1.0, self.share_done)
        return self._shown - before
