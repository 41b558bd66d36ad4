"""The confusion matrix and the accuracy figures that follow from it.

`matrix[reference, predicted]` counts pixels: rows are the reference, columns the map. Every figure
is equal to scikit-learn's to the last bit, because the order of operations is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]


def confusion_matrix(
    reference: NDArray[np.integer], predicted: NDArray[np.integer], codes: Sequence[int]
) -> Matrix:
    """Count how often each class of the reference met each class of the map.

    Matrices of parts of a map add up to that of the whole.

    Args:
        reference: Codes of any shape.
        predicted: Codes of the same shape.
        codes: The classes in the matrix's order, without repeats.

    Returns:
        `(n, n)` counts `[reference, predicted]`; pixels where either code is not in `codes` are
        left out.

    Raises:
        ValueError: The shapes differ, or a code is repeated.
    """
    if reference.shape != predicted.shape:
        raise ValueError(f"reference {reference.shape} and predicted {predicted.shape} differ")
    if len(set(codes)) != len(codes):
        raise ValueError(f"a code is repeated in {tuple(codes)}")
    n = len(codes)
    rows, columns = _positions(reference, codes), _positions(predicted, codes)
    known = (rows < n) & (columns < n)
    counts = np.bincount(rows[known] * n + columns[known], minlength=n * n)
    return counts.astype(np.int64).reshape(n, n)


def _positions(values: NDArray[np.integer], codes: Sequence[int]) -> NDArray[np.int64]:
    """The place of every value in `codes`, flat; `len(codes)` where it is not among them."""
    ordered = np.argsort(np.asarray(codes, np.int64), kind="stable")
    ascending = np.asarray(codes, np.int64)[ordered]
    flat = values.ravel().astype(np.int64)
    if not len(codes):
        return np.zeros(flat.shape, np.int64)
    nearest = np.searchsorted(ascending, flat).clip(max=len(codes) - 1)
    return np.where(ascending[nearest] == flat, ordered[nearest], len(codes))


@dataclass(frozen=True)
class Accuracy:
    """How well a map agrees with the reference. All figures lie in 0..1, kappa in -1..1.

    A figure is None where it is undefined: a division by zero pixels.

    Attributes:
        overall_accuracy: Share of the pixels on which both agree.
        average_accuracy: Mean producer's accuracy of the classes that occur in the reference.
        kappa: Cohen's kappa, (p_o - p_e) / (1 - p_e) with the agreement p_o and the agreement p_e
            that chance would give (Cohen 1960).
        producers_accuracy: Per class, the share of its reference pixels that the map got right
            (recall).
        users_accuracy: Per class, the share of its map pixels that are right (precision).
        f1: Per class, the harmonic mean of both.
        iou: Per class, intersection over union (Jaccard index).
    """

    overall_accuracy: float | None
    average_accuracy: float | None
    kappa: float | None
    producers_accuracy: tuple[float | None, ...]
    users_accuracy: tuple[float | None, ...]
    f1: tuple[float | None, ...]
    iou: tuple[float | None, ...]

    @classmethod
    def from_matrix(cls, matrix: Matrix) -> Accuracy:
        """The figures of a matrix `(n, n)` of counts `[reference, predicted]`.

        Raises:
            ValueError: The matrix is not square, or holds negative counts.
        """
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or (matrix < 0).any():
            raise ValueError(f"not a confusion matrix: {matrix}")
        correct = np.diagonal(matrix)
        reference, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
        recalls = _ratios(correct, reference)
        return cls(
            overall_accuracy=_ratios(correct.sum(keepdims=True), matrix.sum(keepdims=True)[0])[0],
            average_accuracy=_mean(recalls),
            kappa=cohens_kappa(matrix),
            producers_accuracy=recalls,
            users_accuracy=_ratios(correct, predicted),
            f1=_ratios(2.0 * correct, reference.astype(np.float64) + predicted),
            iou=_ratios(correct, reference + predicted - correct),
        )


def quantity_and_allocation(
    matrix: NDArray[np.number],
) -> tuple[float | None, float | None]:
    """The two parts of the disagreement, as shares of all (Pontius and Millones 2011).

    Quantity: how far the class totals of reference and map differ. Allocation: what is left, that
    is, right totals in wrong places.
    """
    counts = matrix.astype(np.float64)
    total = counts.sum()
    if total == 0:
        return None, None
    quantity = np.abs(counts.sum(axis=0) - counts.sum(axis=1)).sum() / 2
    wrong = total - np.trace(counts)
    return float(quantity / total), float((wrong - quantity) / total)


def mean_of_classes(
    values: Sequence[float | None], weights: Sequence[int] | None = None
) -> float | None:
    """Mean of what is defined, of all classes alike or weighted by their reference pixels."""
    defined = [(v, 1 if weights is None else weights[i]) for i, v in enumerate(values)
               if v is not None]  # fmt: skip
    total = sum(weight for _, weight in defined)
    return sum(value * weight for value, weight in defined) / total if total else None


def _ratios(
    numerators: NDArray[np.number], denominators: NDArray[np.number]
) -> tuple[float | None, ...]:
    """Quotients; None where a denominator is zero."""
    pairs = zip(numerators.astype(np.float64), denominators.astype(np.float64), strict=True)
    return tuple(float(n / d) if d else None for n, d in pairs)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    # np.mean adds in another order than sum(), and the last bit depends on it.
    return float(np.mean(defined)) if defined else None


def cohens_kappa(matrix: NDArray[np.number]) -> float | None:
    """Cohen's kappa as one minus observed over expected disagreement, of counts or shares.

    Classes that occur neither in the reference nor in the map are dropped first: they change
    nothing but the order of summation.
    """
    occurs = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    counts = matrix[np.ix_(occurs, occurs)].astype(np.float64)
    total = counts.sum()
    if total == 0:
        return None
    expected = np.outer(counts.sum(axis=0), counts.sum(axis=1)) / total
    disagreement = 1.0 - np.eye(len(counts))
    chance = (disagreement * expected).sum()
    if chance == 0:
        return None
    return float(1 - (disagreement * counts).sum() / chance)
