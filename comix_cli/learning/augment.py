"""Random changes to a training chip that leave its labels true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from comix_cli.learning.samples import Chip

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Augmentation:
    """How strongly chips are changed; all zero and `flips` off means not at all.

    Attributes:
        flips: Mirror and turn by quarter turns: a scene seen from above has no preferred side.
        gain: Standard deviation of one factor for a whole modality (illumination, calibration).
        band_gain: Standard deviation of a factor for every channel by itself.
        noise: Standard deviation of noise added to every value, in normalised units.
    """

    flips: bool = True
    gain: float = 0.1
    band_gain: float = 0.02
    noise: float = 0.0

    def __call__(self, chip: Chip, rng: np.random.Generator) -> Chip:
        """A changed copy of the chip."""
        hsi, x, labels = chip.hsi, chip.x, chip.labels
        if self.flips:
            turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
            hsi, x = _turn(hsi, turns, mirror), _turn(x, turns, mirror)
            labels = _turn(labels, turns, mirror)
        return Chip(self._radiometry(hsi, rng), self._radiometry(x, rng), labels)

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


def _turn(array: NDArray[Scalar], turns: int, mirror: bool) -> NDArray[Scalar]:
    turned = np.rot90(array, turns, axes=(-2, -1))
    return turned[..., ::-1] if mirror else turned
