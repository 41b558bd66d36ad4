"""How often each class occurs in a whole map, and on how much ground."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from comix_cli.errors import RasterError
from comix_cli.mapping.map_file import MapFile
from comix_cli.progress import Progress
from comix_cli.scene.ground_area import PixelAreas
from comix_cli.scene.windows import Window, tile_windows

# A raster with more codes than this is no class map.
MOST_CODES = 1000
_TILE = 2048


@dataclass(frozen=True)
class MapTotals:
    """What a whole map holds; pixels without a class are not counted.

    Attributes:
        pixels: Pixels of each class by its code.
        areas_m2: The ground of each class by its code.
    """

    pixels: Mapping[int, int]
    areas_m2: Mapping[int, float]

    @property
    def pixel_m2(self) -> float:
        """The mean area of a pixel; 0 where no pixel has a class."""
        pixels = sum(self.pixels.values())
        return sum(self.areas_m2.values()) / pixels if pixels else 0.0


def count_map(map_file: MapFile, progress: Progress) -> MapTotals:
    """Count the pixels of every class, window by window.

    Raises:
        RasterError: The map cannot be read, or holds values that are no class codes, or too many.
    """
    pixels: Counter[int] = Counter()
    areas: dict[int, float] = {}
    size = PixelAreas(map_file.grid)
    windows = _windows(map_file, size.tile)
    with progress.task("counting classes", len(windows)) as task:
        for window in windows:
            found, pixel = map_file.count(window), size.of(window)
            pixels.update(found)
            for code, count in found.items():
                areas[code] = areas.get(code, 0.0) + count * pixel
            if len(pixels) > MOST_CODES:
                raise RasterError(
                    f"holds more than {MOST_CODES} different codes",
                    path=map_file.path,
                    remedy="give a classified map",
                )
            task.advance()
    return MapTotals(pixels, areas)


def _windows(map_file: MapFile, height: int) -> list[Window]:
    """Windows no higher than asked; low ones are as wide as the map."""
    rows, columns = map_file.grid.shape
    if height >= _TILE:
        return [*tile_windows((rows, columns), _TILE)]
    return [Window(row, 0, min(height, rows - row), columns) for row in range(0, rows, height)]
