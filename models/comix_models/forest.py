"""A random forest as tensors: all trees in one table of nodes, walked level by level.

Breiman: "Random Forests", Machine Learning 45, 2001, doi:10.1023/A:1010933404324. It is fitted
elsewhere; here it is stored and asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.nn import functional

from comix_models.pixelwise import PixelModel
from comix_models.spec_base import Spec, check_count, check_counts

# Places in trees that are looked at together, or values; measured to be as fast as more.
_PLACES: Final = 1 << 18


@dataclass(frozen=True)
class ForestSpec(Spec):
    """The size of a random forest.

    Attributes:
        depths: Decisions on the longest way down each tree, the deepest tree first.
        nodes: Nodes of all trees, leaves included.
        leaves: Leaves of all trees.
    """

    model: ClassVar[str] = "random-forest"
    pixelwise: ClassVar[bool] = True

    depths: tuple[int, ...]
    nodes: int
    leaves: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "depths", 0)
        check_count(self, "nodes", max(1, len(self.depths)))
        check_count(self, "leaves", 1)
        if not self.depths or list(self.depths) != sorted(self.depths, reverse=True):
            raise ValueError("depths: there are none, or the deepest tree is not the first")

    def size(self, parameters: int) -> str:  # noqa: ARG002 - a forest has none
        """Trees and nodes."""
        return f"{len(self.depths)} trees, {self.nodes} nodes"


class Forest(PixelModel):
    """Logits are the logarithms of the mean shares of the classes in the leaves.

    So softmax gives the shares themselves, which are what the forest calls probabilities.

    Buffers, with trees in the order of ``spec.depths``:
        roots: Node where each tree begins ``(trees,)``.
        feature: Which of a pixel's values a node looks at ``(nodes,)``; any in a leaf.
        threshold: Values above go right ``(nodes,)``; infinite in a leaf.
        left: Node to the left ``(nodes,)``, that to the right being the next one; in a leaf itself,
            so that who has arrived stays.
        leaf: Number of each leaf ``(nodes,)``; any in other nodes.
        shares: Share of each class ``(leaves, classes)``.

    Args:
        spec: Its size.
    """

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    leaf: Tensor
    shares: Tensor

    def __init__(self, spec: ForestSpec) -> None:
        super().__init__(spec, _PLACES // max(len(spec.depths), spec.features))
        # How many trees go at least so deep, for each level.
        self.trees_at = [
            sum(depth > level for depth in spec.depths) for level in range(spec.depths[0])
        ]
        for name in ("feature", "left", "leaf"):
            self.register_buffer(name, torch.zeros(spec.nodes, dtype=torch.int32))
        self.register_buffer("roots", torch.zeros(len(spec.depths), dtype=torch.int32))
        self.register_buffer("threshold", torch.full((spec.nodes,), torch.inf))
        self.register_buffer("shares", torch.ones(spec.leaves, spec.classes))

    def logits(self, values: Tensor) -> Tensor:
        """From the values of pixels ``(n, features)`` to logits ``(n, classes)``."""
        leaves = self.leaf.index_select(0, self._walk(values).flatten()).view(-1, len(values))
        shares = functional.embedding_bag(leaves.T.contiguous(), self.shares, mode="mean")
        return shares.log()

    def _walk(self, values: Tensor) -> Tensor:
        """Where in each tree every pixel arrives, ``(trees, n)``."""
        pixels, features = values.shape
        numbers = values.flatten()
        begin = features * torch.arange(pixels, dtype=torch.int32, device=values.device)
        places = self.roots[:, None].repeat(1, pixels)
        for trees in self.trees_at:
            here = places[:trees].flatten()
            looked_at = self.feature.index_select(0, here).view(trees, pixels) + begin
            value = numbers.index_select(0, looked_at.flatten())
            right = value > self.threshold.index_select(0, here)
            places[:trees] = (self.left.index_select(0, here) + right).view(trees, pixels)
        return places
