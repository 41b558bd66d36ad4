"""Which raster, and which bands of it, leave labelled pixels without data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from comix_cli.learning.samples import IGNORE_INDEX, TILE, Labels
from comix_cli.scene.raster import RasterInfo, open_raster
from comix_cli.scene.reader import band_reader
from comix_cli.scene.stack import BlockReader, Stack
from comix_cli.scene.windows import Window, tile_windows

# The cause shows in a few places, and each band is read there by itself.
_SIDE = 2 * TILE
_PLACES = 16
_NAMED_BANDS = 6


@dataclass(frozen=True)
class _Place:
    """A window, and where it has labels but no data, `(H, W)`."""

    window: Window
    lost: NDArray[np.bool_]


def why_without_data(stack: Stack, labels: Labels, scene: BlockReader) -> str | None:
    """What labelled pixels lack where they lack data, as a clause that names file, bands, window.

    Args:
        stack: The rasters.
        labels: The labels.
        scene: What tells which pixels are valid, such as the stack itself.

    Returns:
        None where no band by itself explains it.
    """
    places = list(islice(_places(labels, scene), _PLACES))
    infos = (stack.hsi_info, *stack.x_info)
    found = [
        (_lost_by_band(info, bands, stack, places), info, bands)
        for info, bands in zip(infos, (stack.hsi_bands, *stack.x_bands), strict=True)
    ]
    counts, info, bands = max(found, key=lambda each: int(each[0].max()))
    if not places or counts.max() == 0:
        return None
    window = places[0].window
    guilty = [band for band, n in zip(bands, counts, strict=True) if n == counts.max()]
    return (
        f"{info.path} has none there in {_named(guilty, info)}, for instance in the window of "
        f"{window.height} x {window.width} pixels at row {window.row}, column {window.col}"
    )


def _places(labels: Labels, scene: BlockReader) -> Iterator[_Place]:
    for window in tile_windows(scene.grid.shape, _SIDE):
        labelled = labels.read(window)[0] != IGNORE_INDEX
        if labelled.any():
            lost = labelled & ~scene.read_valid(window)
            if lost.any():
                yield _Place(window, lost)


def _lost_by_band(
    info: RasterInfo, bands: Sequence[int], stack: Stack, places: Sequence[_Place]
) -> NDArray[np.int64]:
    """How many of the pixels have no data in each band, `(bands,)`."""
    counts = np.zeros(len(bands), np.int64)
    with open_raster(info.path) as dataset:
        for i, band in enumerate(bands):
            reader = band_reader(dataset, info, stack.grid, (band,), "nearest")
            for place in places:
                counts[i] += np.count_nonzero(place.lost & ~reader.read_valid(place.window))
            reader.close()
    return counts


def _named(bands: Sequence[int], info: RasterInfo) -> str:
    if len(bands) == info.count:
        return "any band" if len(bands) > 1 else "its only band"
    if len(bands) == 1:
        return f"band {bands[0]}"
    if len(bands) > _NAMED_BANDS:
        return f"{len(bands)} of its {info.count} bands"
    return f"bands {', '.join(map(str, bands))}"
