"""Which pixels a geometry takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PixelRule:
    """Which pixels a geometry takes; by default those whose centre lies in it.

    Attributes:
        all_touched: Every pixel that it touches.
        min_coverage: Pixels of which the polygons of a class cover at least this share, above 0
            and at most 1; None where coverage does not matter.
    """

    all_touched: bool = False
    min_coverage: float | None = None


CENTRES = PixelRule()
