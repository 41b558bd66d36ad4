"""A support vector machine with radial basis functions, as tensors.

One machine for each pair of classes, as in LIBSVM (Chang, Lin: "LIBSVM: A library for support
vector machines", ACM TIST 2(3), 2011, doi:10.1145/1961189.1961199). It is fitted elsewhere; here it
is stored and asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from comix_models.pixelwise import PixelModel
from comix_models.spec_base import Spec, check_counts

# Kernel values, or values of pixels, that are in memory together.
_VALUES: Final = 1 << 22


@dataclass(frozen=True)
class SvmSpec(Spec):
    """The size of a support vector machine.

    Attributes:
        support: Support vectors of each class.
    """

    model: ClassVar[str] = "svm"
    pixelwise: ClassVar[bool] = True

    support: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "support", 0)
        if len(self.support) != self.classes or not any(self.support):
            raise ValueError(f"support: {self.support!r} is not one number for each class")

    def size(self, parameters: int) -> str:  # noqa: ARG002 - it has none
        """Support vectors."""
        return f"{sum(self.support)} support vectors"


class Svm(PixelModel):
    """Logits are votes: a class has one from every pair that it wins.

    A third of a vote at most is for how clearly the pairs were won, so that between classes of as
    many votes that decides (scikit-learn's ``decision_function`` of shape ``ovr``, and its
    ``predict`` with ``break_ties``). They are no probabilities.

    Buffers:
        mean: What is taken off the values ``(features,)``.
        scale: What they are divided by then ``(features,)``.
        vectors: Support vectors of such values ``(vectors, features)``, class by class.
        weights: Weight of each in the pairs with the other classes ``(classes - 1, vectors)``.
        offsets: What is added to the decision between each class, and each class after it
            ``(pairs,)``.
        gamma: The kernel is ``exp(-gamma |a - b|^2)``.

    Args:
        spec: Its size.
    """

    mean: Tensor
    scale: Tensor
    vectors: Tensor
    weights: Tensor
    offsets: Tensor
    gamma: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, spec: SvmSpec) -> None:
        total = sum(spec.support)
        super().__init__(spec, _VALUES // max(total, spec.features))
        self.support = list(spec.support)
        self.register_buffer("mean", torch.zeros(spec.features))
        self.register_buffer("scale", torch.ones(spec.features))
        self.register_buffer("vectors", torch.zeros(total, spec.features))
        self.register_buffer("weights", torch.zeros(spec.classes - 1, total))
        self.register_buffer("offsets", torch.zeros(spec.classes * (spec.classes - 1) // 2))
        self.register_buffer("gamma", torch.ones(()))
        every = torch.eye(spec.classes)
        first, second = torch.triu_indices(spec.classes, spec.classes, 1)
        # Which class of each pair is which, one-hot; known from the number of classes.
        self.register_buffer("first", every[first], persistent=False)
        self.register_buffer("second", every[second], persistent=False)

    def logits(self, values: Tensor) -> Tensor:
        """From the values of pixels ``(n, features)`` to logits ``(n, classes)``."""
        decisions = self._decisions((values - self.mean) / self.scale)
        first, second = self.first.to(values.dtype), self.second.to(values.dtype)
        won = (decisions >= 0).to(values.dtype)  # a draw is the first class's
        votes = won @ first + (1 - won) @ second
        clearness = decisions @ (first - second)
        return votes + clearness / (3 * (clearness.abs() + 1))

    def _decisions(self, values: Tensor) -> Tensor:
        """By how much the first class of each pair wins against the second ``(n, pairs)``."""
        vectors = zip(
            torch.split(self._kernel(values), self.support, dim=1),
            torch.split(self.weights, self.support, dim=1),
            strict=True,
        )
        # Each class's vectors speak against every other class, in the order of those.
        spoken = torch.stack([kernel @ weights.T for kernel, weights in vectors], dim=1)
        first, second = self.first.argmax(dim=1), self.second.argmax(dim=1)
        return spoken[:, first, second - 1] + spoken[:, second, first] + self.offsets

    def _kernel(self, values: Tensor) -> Tensor:
        """Likeness of pixels and support vectors ``(n, vectors)``."""
        squares = values.square().sum(dim=1, keepdim=True) + self.vectors.square().sum(dim=1)
        distances = torch.addmm(squares, values, self.vectors.T, alpha=-2)
        return distances.clamp_(min=0).mul_(-self.gamma).exp_()
