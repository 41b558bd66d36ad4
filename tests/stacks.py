"""Sources and stacks as tests write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comix_cli.scene.stack import Block, GridOptions, SourceSpec, Stack, open_stack
from comix_cli.scene.windows import Window

DEFAULT = GridOptions()


def hsi(path: Path, **options: Any) -> SourceSpec:
    """A raster as the HSI."""
    return SourceSpec(str(path), "hsi", **options)


def lidar(path: Path, **options: Any) -> SourceSpec:
    """A raster as a continuous X."""
    return SourceSpec(str(path), "continuous", **options)


def whole(stack: Stack) -> Window:
    """The window that is all of a stack's grid."""
    return Window(0, 0, stack.grid.height, stack.grid.width)


def read_all(first: SourceSpec, *others: SourceSpec, grid: GridOptions = DEFAULT) -> Block:
    """All of a scene."""
    with open_stack(first, others, grid) as stack:
        return stack.read(whole(stack))
