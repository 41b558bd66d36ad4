"""Random changes to a training chip that leave its labels true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from comix_cli.learning.samples import Chip

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Augmentation:
    """How chips are changed; all zero and `flips` off means not at all.

    Attributes:
        flips: Mirror and turn by quarter turns. Off by default, because an image does have sides:
            shadows and leaning walls point one way, and a radar looks from one. Networks read
            edges by that, and what they learn in a scene holds all over it.
        gain: Standard deviation of one factor for a whole modality (illumination, calibration).
        band_gain: Standard deviation of a factor for every channel by itself.
        noise: Standard deviation of noise added to every value, in normalised units.
        band_dropout: Probability that a band of the HSI is set to 0, each by itself.
        x_dropout: Probability that all of X is set to 0, so that a network does not rely on it.
        cutmix: Probability that a rectangle of a chip is replaced by that of another chip of the
            batch, its labels included (Yun et al. 2019).
    """

    flips: bool = False
    gain: float = 0.1
    band_gain: float = 0.02
    noise: float = 0.0
    band_dropout: float = 0.0
    x_dropout: float = 0.0
    cutmix: float = 0.0

    def turned(self, chip: Chip, rng: np.random.Generator) -> Chip:
        """The chip, mirrored and turned at random where that is wanted."""
        if not self.flips:
            return chip
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        return Chip(
            _turn(chip.hsi, turns, mirror),
            _turn(chip.x, turns, mirror),
            _turn(chip.labels, turns, mirror),
        )

    def __call__(self, chip: Chip, rng: np.random.Generator) -> Chip:
        """A copy of the chip with other values at the same places."""
        hsi, x = self._radiometry(chip.hsi, rng), self._radiometry(chip.x, rng)
        # Where nothing is dropped nothing is drawn: a seed stays what it was.
        if self.band_dropout:
            hsi *= rng.random((len(hsi), 1, 1)) >= self.band_dropout
        if self.x_dropout and rng.random() < self.x_dropout:
            x = np.zeros_like(x)
        return Chip(hsi, x, chip.labels)

    def mixed(self, chips: Sequence[Chip], rng: np.random.Generator) -> list[Chip]:
        """A batch of chips, some of them with a rectangle of another one."""
        if not self.cutmix or len(chips) < 2:
            return list(chips)
        return [
            _with_rectangle(chip, chips[i - 1], rng) if rng.random() < self.cutmix else chip
            for i, chip in enumerate(chips)
        ]

    def _radiometry(
        self, values: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        channels = values.shape[0]
        common = 1.0 + self.gain * rng.standard_normal()
        own = 1.0 + self.band_gain * rng.standard_normal((channels, 1, 1))
        changed = values * (common * own).astype(np.float32)
        if self.noise:
            changed += self.noise * rng.standard_normal(values.shape, dtype=np.float32)
        return changed


def _with_rectangle(chip: Chip, other: Chip, rng: np.random.Generator) -> Chip:
    """A copy of a chip with a rectangle of another one, of a uniformly random share of its area."""
    height, width = chip.labels.shape
    side = np.sqrt(rng.random())
    tall, wide = max(1, round(side * height)), max(1, round(side * width))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    place = (..., slice(top, top + tall), slice(left, left + wide))
    hsi, x, labels = chip.hsi.copy(), chip.x.copy(), chip.labels.copy()
    hsi[place], x[place], labels[place] = other.hsi[place], other.x[place], other.labels[place]
    return Chip(hsi, x, labels)


def _turn(array: NDArray[Scalar], turns: int, mirror: bool) -> NDArray[Scalar]:
    turned = np.rot90(array, turns, axes=(-2, -1))
    return turned[..., ::-1] if mirror else turned
