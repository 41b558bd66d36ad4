"""From probabilities to what is written of them: codes, confidence, entropy, scaled bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.legend import NO_CLASS, Legend

# A byte b stands for b / STEPS: 0..250 for 0..1, in steps that are short in decimals (0.004).
STEPS = 250
BYTE_NODATA = 255


def class_codes(
    probabilities: NDArray[np.float32], valid: NDArray[np.bool_], legend: Legend
) -> NDArray[np.integer]:
    """Codes `(rows, W)` of the likeliest class; `NO_CLASS` where the data is not valid."""
    # Class by class: `argmax` over the first axis would copy all probabilities to turn them around.
    codes = np.full(valid.shape, legend.codes[0], legend.dtype)
    largest = probabilities[0].copy()
    for code, share in zip(legend.codes[1:], probabilities[1:], strict=True):
        codes[share > largest] = code
        np.maximum(largest, share, out=largest)
    # Nothing is larger than what is no number.
    codes[~valid | np.isnan(largest)] = NO_CLASS
    return codes


def normalised(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(classes, rows, W)` within 0..1 that sum to one over the classes.

    Blending and rounding leave sums a little off; where there is nothing at all, it stays nothing.
    """
    clipped: NDArray[np.float32] = np.clip(probabilities, 0.0, 1.0, dtype=np.float32)
    # Class by class: NumPy adds in another order where a lot is a single pixel.
    total = clipped[0].copy()
    for share in clipped[1:]:
        total += share
    np.divide(clipped, total, out=clipped, where=total > 0)
    return clipped


def confidence(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest probability `(rows, W)` of normalised `(classes, rows, W)`; 1/classes to 1."""
    largest: NDArray[np.float32] = probabilities.max(axis=0)
    return largest


def entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shannon's entropy `(rows, W)` of normalised `(classes, rows, W)`, as a part of the largest.

    `-sum p log p / log(classes)`: 0 where one class is certain, 1 where all are equally likely,
    0 for a single class.
    """
    classes = len(probabilities)
    total: NDArray[np.float32] = np.zeros(probabilities.shape[1:], np.float32)
    for p in probabilities:
        total -= p * np.log(p, out=np.zeros_like(p), where=p > 0)
    total /= np.log(max(classes, 2), dtype=np.float32)
    np.clip(total, 0.0, 1.0, out=total)
    return total


def stored(
    values: NDArray[np.float32], valid: NDArray[np.bool_], *, as_float: bool
) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Scores as a file keeps them.

    Args:
        values: `(..., rows, W)` in 0..1.
        valid: `(rows, W)`.
        as_float: As they are, NaN where not valid; else bytes of `value * 250`, 255 there.
    """
    if as_float:
        return np.where(valid, values, np.float32(np.nan))
    return np.where(valid, np.rint(values * STEPS), BYTE_NODATA).astype(np.uint8)
