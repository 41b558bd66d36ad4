"""Where the pixels of a coarse image lie among those of a fine one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Placement:
    """Two grids whose rows and columns run alike.

    Fine pixel `j` has its centre at `j + 0.5`. The centre of coarse pixel `i` lies at
    `offset + (i + 0.5) * ratio`, in fine pixels. Neither the ratio nor the offset has to be whole.

    Attributes:
        ratio: Fine pixels along one coarse pixel, down the rows and along the columns; at least 1.
        offset: Where the edge of the first coarse pixel lies, in fine rows and columns.

    Raises:
        ValueError: A ratio below 1: the coarse image would be the finer one.
    """

    ratio: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not all(math.isfinite(ratio) and ratio >= 1 for ratio in self.ratio):
            raise ValueError(f"a ratio of {self.ratio} makes nothing finer")

    def centres(self, axis: int, count: int, first: int = 0) -> list[float]:
        """Centres of coarse pixels `first`, ... in fine pixels, along rows (0) or columns (1)."""
        ratio, offset = self.ratio[axis], self.offset[axis]
        return [offset + (first + i + 0.5) * ratio for i in range(count)]

    def part(self, fine: tuple[int, int], coarse: tuple[int, int]) -> Placement:
        """The same for windows that begin at a fine and at a coarse (row, column)."""
        origins = zip(self.offset, self.ratio, fine, coarse, strict=True)
        rows, cols = (offset + c * ratio - f for offset, ratio, f, c in origins)
        return replace(self, offset=(rows, cols))
