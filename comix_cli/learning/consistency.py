"""Learning from pixels without a label: what the averaged network is sure of, the other learns.

A mean teacher (Tarvainen and Valpola 2017, arXiv:1703.01780) with hard pseudo-labels above a
confidence (FixMatch: Sohn et al. 2020, arXiv:2001.07685). The teacher sees the chips as they are
and the network sees them changed, so that it learns to disregard the changes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from comix_cli.learning.samples import IGNORE_INDEX


@dataclass(frozen=True)
class Consistency:
    """How much is learned from pixels without a label.

    Attributes:
        weight: Weight of their loss beside that of the labelled pixels; 0 for none of it.
        begin: Share of the training before which the teacher is not asked.
        rise: Share of the training over which the weight then rises to its full value.
        confidence: Least probability of a class for it to count as one.
    """

    weight: float = 0.0
    begin: float = 0.3
    rise: float = 0.2
    confidence: float = 0.6

    def weight_at(self, done: float) -> float:
        """The weight when a share `done` of the training is over."""
        return self.weight * min(1.0, max(0.0, (done - self.begin) / self.rise))


class Teacher:
    """A copy of the network, with averaged weights, that is never trained itself.

    Args:
        network: The network that learns.
        confidence: Least probability of a class for it to count as one.
    """

    def __init__(self, network: nn.Module, confidence: float) -> None:
        self._network = copy.deepcopy(network).eval().requires_grad_(False)
        self._confidence = confidence

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Know what these weights know."""
        self._network.load_state_dict(weights)

    @torch.no_grad()
    def labels(self, hsi: Tensor, x: Tensor | None, known: Tensor) -> Tensor:
        """`(B, H, W)`: the class of pixels without a label, `IGNORE_INDEX` where it is not sure.

        Args:
            hsi: `(B, bands, H, W)`, as the scene is.
            x: `(B, channels, H, W)`, as the scene is; None without X.
            known: `(B, H, W)` labels; what has one is left to them.
        """
        logits: Tensor = self._network(hsi, x)
        sure, classes = logits.float().softmax(dim=1).max(dim=1)
        # Pixels without data are 0 in every band; nothing is to be learned from them.
        asked = (known == IGNORE_INDEX) & (sure >= self._confidence) & (hsi != 0).any(dim=1)
        return classes.masked_fill(~asked, IGNORE_INDEX)


def consistency_loss(logits: Tensor, guessed: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of what was guessed, as a mean over all pixels without a label.

    Args:
        logits: `(B, classes, H, W)` of the changed chips.
        guessed: `(B, H, W)` of `Teacher.labels`; pixels that it was not sure of add nothing.
        known: `(B, H, W)` labels.
    """
    total = F.cross_entropy(logits, guessed, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (known == IGNORE_INDEX).sum().clamp(min=1)
