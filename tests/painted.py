"""A scene without values whose labels are an array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from memory_scene import UTM
from numpy.typing import NDArray

from comix_cli.scene.grid import Grid
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import Window


@dataclass(frozen=True)
class Painted:
    """Class indices and validity as arrays, on pixels of 1 m."""

    indices: NDArray[np.int64]
    valid: NDArray[np.bool_]

    @property
    def grid(self) -> Grid:
        height, width = self.indices.shape
        return Grid(UTM, Affine(1, 0, 500_000, 0, -1, 5_800_000), width, height)

    @property
    def whole(self) -> Window:
        return Window(0, 0, *self.indices.shape)

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        return self.valid[window.slices]

    def read(self, window: Window) -> Block:
        nothing = np.zeros((0, *window.shape), np.float32)
        return Block(nothing, nothing, self.read_valid(window))


@dataclass(frozen=True)
class LabelsOf:
    """Its labels, of which overlaps are said to have lost some in every window."""

    scene: Painted
    lost: int = 0

    def read(self, window: Window) -> tuple[NDArray[np.int64], int]:
        return self.scene.indices[window.slices], self.lost
