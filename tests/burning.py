"""Ground truth on pixels, as tests look at it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.pixel_rule import PixelRule
from comix_cli.scene.rasterize import Burnt
from comix_cli.scene.windows import Window


def rasterize(
    truth: GroundTruth,
    grid: Grid,
    window: Window | None = None,
    *,
    all_touched: bool = False,
    codes: Mapping[int, int] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Labels of a window and where classes meet."""
    burnt = truth.burn(grid, window, rule=PixelRule(all_touched), codes=codes)
    return burnt.labels, burnt.overlap


def rivals_of(burnt: Burnt) -> NDArray[np.int32]:
    """`(H, W)` the feature at the bottom of every pixel, -1 where there is none."""
    return np.append(burnt.sources.features, np.int32(-1))[burnt.bottom]
