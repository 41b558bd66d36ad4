"""How often each class occurs in a whole map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from comix_cli.mapping.map_file import MapFile
from comix_cli.progress import Progress
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.windows import tile_windows

# Pixels of a map that are read at once, on a side.
_TILE = 2048
# Codes up to here are counted by their place in a table.
_FEW = 1 << 16


@dataclass(frozen=True)
class MapTotals:
    """What a whole map holds.

    Attributes:
        pixels: Pixels of each class by its code; those without a class are not counted.
        area_m2: The area of all of them; in degrees, a pixel's area is that of the middle of some
            thousand rows.
    """

    pixels: Mapping[int, int]
    area_m2: float


def count_map(map_file: MapFile, progress: Progress) -> MapTotals:
    """Count the pixels of every class, window by window.

    Raises:
        RasterError: The map cannot be read, or holds values that are no class codes.
    """
    pixels: Counter[int] = Counter()
    area = 0.0
    windows = tile_windows(map_file.grid.shape, _TILE)
    with progress.task("counting classes", len(windows)) as task:
        for window in windows:
            codes = map_file.read(window)
            largest = int(codes.max())
            if largest < _FEW:
                counts = np.bincount(codes.ravel(), minlength=largest + 1)
                found, times = np.flatnonzero(counts), counts[counts > 0]
            else:
                found, times = np.unique(codes, return_counts=True)
            here = dict(zip(found.tolist(), times.tolist(), strict=True))
            here.pop(NO_CLASS, None)
            pixels.update(here)
            area += sum(here.values()) * map_file.grid.part(window).gsd_m ** 2
            task.advance()
    return MapTotals(pixels, area)
