"""What scikit-learn has fitted, as the tensors of `comix_models`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comix_models.forest import ForestSpec
from comix_models.spec_base import Spec
from comix_models.svm import SvmSpec


def forest_tensors(forest: Any, spec: Spec) -> tuple[Spec, dict[str, Tensor]]:
    """A fitted `RandomForestClassifier` as the buffers of a `Forest`.

    Args:
        forest: Fitted on classes 0, 1, ..., every one of them.
        spec: What the model takes and tells apart.
    """
    trees = sorted((_Tree(each.tree_) for each in forest.estimators_), key=lambda t: -t.depth)
    begin = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    leaf = np.concatenate([tree.is_leaf for tree in trees])
    weights = {
        "roots": begin[:-1],
        "feature": _joined([tree.feature for tree in trees]),
        "threshold": _joined([tree.threshold for tree in trees]),
        "left": _joined([tree.left + first for tree, first in zip(trees, begin, strict=False)]),
        "leaf": np.where(leaf, leaf.cumsum() - 1, 0),
        "shares": _joined([tree.shares for tree in trees]),
    }
    found = ForestSpec(
        spec.hsi_bands,
        spec.x_channels,
        spec.classes,
        depths=tuple(tree.depth for tree in trees),
        nodes=len(leaf),
        leaves=int(leaf.sum()),
    )
    return found, {name: _tensor(array) for name, array in weights.items()}


class _Tree:
    """The nodes of one tree, level by level, so that the two below a node are neighbours.

    Args:
        tree: scikit-learn's arrays, in which a node that leads nowhere is a leaf.
    """

    def __init__(self, tree: Any) -> None:
        levels = _levels(tree.children_left, tree.children_right)
        order = np.concatenate(levels)
        number = np.empty(len(order), np.int64)
        number[order] = np.arange(len(order))
        self.depth = len(levels) - 1
        self.is_leaf = tree.children_left[order] < 0
        self.feature = np.where(self.is_leaf, 0, tree.feature[order])
        self.threshold = np.where(self.is_leaf, np.inf, rounded_down(tree.threshold[order]))
        # An index of -1 reads something that is not used.
        self.left = np.where(self.is_leaf, np.arange(len(order)), number[tree.children_left[order]])
        counts = tree.value[order, 0][self.is_leaf]
        self.shares = counts / counts.sum(axis=1, keepdims=True)


def _levels(left: NDArray[np.int64], right: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Nodes of each level from the root on."""
    levels = [np.zeros(1, np.int64)]
    while (inner := levels[-1][left[levels[-1]] >= 0]).size:
        levels.append(np.stack([left[inner], right[inner]], axis=1).ravel())
    return levels


def rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Thresholds in single precision, above which the same values of single precision lie."""
    rounded = thresholds.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > thresholds, below, rounded)


def svm_tensors(pipeline: Any, spec: Spec) -> tuple[Spec, dict[str, Tensor]]:
    """A fitted pipeline of `StandardScaler` and `SVC` as the buffers of an `Svm`.

    Args:
        pipeline: Fitted on classes 0, 1, ..., every one of them.
        spec: What the model takes and tells apart.
    """
    scaler, machine = (step for _, step in pipeline.steps)
    # With two classes scikit-learn turns LIBSVM's decision round.
    sign = -1 if spec.classes == 2 else 1
    weights = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "vectors": machine.support_vectors_,
        "weights": sign * machine.dual_coef_,
        "offsets": sign * machine.intercept_,
        "gamma": np.array(machine.gamma),
    }
    support = tuple(machine.n_support_.tolist())
    found = SvmSpec(spec.hsi_bands, spec.x_channels, spec.classes, support=support)
    return found, {name: _tensor(array) for name, array in weights.items()}


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays)


def _tensor(array: NDArray[Any]) -> Tensor:
    """Whole numbers as 32 bits, others in single precision."""
    whole = np.issubdtype(array.dtype, np.integer)
    return torch.from_numpy(array.astype(np.int32 if whole else np.float32))
