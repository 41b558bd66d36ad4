"""Per-channel scaling of raw values to [0, 1] from the statistics of the training scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.stack import Block

DEFAULT_PERCENTILES = (1.0, 99.0)
# The reciprocal of anything much smaller overflows in float32.
SMALLEST_RANGE = 1e-30


@dataclass(frozen=True)
class Normalisation:
    """The value that becomes 0 and the value that becomes 1, for every channel.

    Attributes:
        low: Raw values (file units after scale and offset) that become 0.
        high: Raw values that become 1; greater than `low`.
        method: How they were found, for the record.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    method: str

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high):
            raise ValueError(f"{len(self.low)} low values but {len(self.high)} high values")
        if any(not low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("every low value must be below its high value")

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw `(C, H, W)` values as float32 in [0, 1]; what lies beyond is clipped."""
        low = np.asarray(self.low, np.float32)[:, None, None]
        scale = 1.0 / (np.asarray(self.high, np.float32)[:, None, None] - low)
        scaled = values - low
        scaled *= scale
        return np.clip(scaled, 0.0, 1.0, out=scaled)

    def to_json(self) -> dict[str, Any]:
        """The record as plain lists and numbers."""
        return {"low": list(self.low), "high": list(self.high), "method": self.method}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Normalisation:
        """The inverse of `to_json`."""
        low, high = (tuple(float(v) for v in document[key]) for key in ("low", "high"))
        return cls(low, high, str(document["method"]))


def fit_normalisation(
    samples: NDArray[np.float32], percentiles: tuple[float, float] = DEFAULT_PERCENTILES
) -> Normalisation:
    """Robust limits of each channel from `(C, n)` samples of valid pixels, n at least 1.

    A channel that is constant gets limits one unit apart, so that it becomes 0 and stays harmless.
    """
    low, high = np.percentile(samples.astype(np.float64), percentiles, axis=1)
    # Limits must differ after rounding to float32 as well; what differs by less is constant.
    noise = np.maximum(np.maximum(np.abs(low), np.abs(high)) * 1e-5, SMALLEST_RANGE)
    constant = high - low <= noise
    high = np.where(constant, low + np.maximum(noise, 1.0), high)
    method = f"percentiles {percentiles[0]:g} and {percentiles[1]:g}"
    return Normalisation(tuple(low.tolist()), tuple(high.tolist()), method)


@dataclass(frozen=True)
class BlockNormaliser:
    """Turns a raw block into a network's inputs.

    Attributes:
        hsi: The scaling of the HSI's bands.
        x: The scaling of the channels of all X rasters, one after the other.
    """

    hsi: Normalisation
    x: Normalisation

    def __call__(self, block: Block) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """HSI `(bands, H, W)` and X `(channels, H, W)` in [0, 1]; 0 where invalid."""
        hsi, x = self.hsi.apply(block.hsi), self.x.apply(block.x)
        if not block.valid.all():
            hsi[:, ~block.valid] = 0.0
            x[:, ~block.valid] = 0.0
        return hsi, x


def joined(parts: Sequence[Normalisation]) -> Normalisation:
    """The scaling of several rasters' channels, one after the other."""
    low = tuple(value for part in parts for value in part.low)
    high = tuple(value for part in parts for value in part.high)
    return Normalisation(low, high, "; ".join(dict.fromkeys(part.method for part in parts)))
