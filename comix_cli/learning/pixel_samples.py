"""Single labelled pixels of a scene, for models that look at nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comix_cli.learning.samples import TILE, LabelIndex, Labels, tile_columns
from comix_cli.progress import Progress
from comix_cli.scene.stack import Block, BlockReader
from comix_cli.scene.windows import Window

Values = NDArray[np.float32]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class PixelSamples:
    """Labelled pixels, tile by tile.

    Attributes:
        values: Normalised values of HSI and X, `(n, features)`.
        classes: Class indices `(n,)`.
        places: Row and column in the scene, `(n, 2)`.
    """

    values: Values
    classes: Whole
    places: Whole

    def blocks(self, side: int) -> Whole:
        """In which square block of `side` pixels each lies, `(n,)`, numbered from 0."""
        _, numbers = np.unique(self.places // side, axis=0, return_inverse=True)
        return numbers.reshape(-1)


def draw_pixels(
    scene: BlockReader,
    labels: Labels,
    index: LabelIndex,
    normalise: Callable[[Block], tuple[Values, Values]],
    *,
    most: int,
    seed: int,
    progress: Progress,
) -> PixelSamples:
    """Draw up to `most` usable pixels of each class, all of a class equally likely.

    Args:
        scene: Where the raw values come from.
        labels: Where the class indices come from.
        index: The label counts per tile; it holds every class.
        normalise: Turns a raw block into normalised HSI and X.
        most: Pixels of a class.
        seed: Fixes which.
        progress: Told of every tile that is read.
    """
    tiles, classes, numbers = _draw_numbers(index, most, np.random.default_rng(seed))
    wanted, first = np.unique(tiles, return_index=True)
    parts = zip(np.split(classes, first[1:]), np.split(numbers, first[1:]), strict=True)
    found = []
    with progress.task("drawing pixels", len(wanted)) as task:
        for tile, (some, nth) in zip(wanted.tolist(), parts, strict=True):
            window = _tile_window(scene, tile)
            found.append(_read(scene, labels, normalise, window, some, nth))
            task.advance()
    values, places = (np.concatenate(each) for each in zip(*found, strict=True))
    return PixelSamples(values, classes, places)


def _draw_numbers(
    index: LabelIndex, most: int, rng: np.random.Generator
) -> tuple[Whole, Whole, Whole]:
    """Tile, class, and number among the pixels of that class in that tile, of pixels at random."""
    parts = list(_draw_classes(index, most, rng))
    tiles, classes, numbers = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((numbers, classes, tiles))
    return tiles[order], classes[order], numbers[order]


def _draw_classes(
    index: LabelIndex, most: int, rng: np.random.Generator
) -> Iterator[tuple[Whole, Whole, Whole]]:
    for number, pixels in enumerate(index.class_pixels.tolist()):
        own = index.classes == number
        tiles, ends = index.tiles[own], index.counts[own].cumsum()
        drawn = rng.choice(pixels, min(most, pixels), replace=False, shuffle=False)
        which = np.searchsorted(ends, drawn, side="right")
        yield tiles[which], np.full(len(drawn), number), drawn - (ends - index.counts[own])[which]


def _tile_window(scene: BlockReader, tile: int) -> Window:
    row, col = (TILE * part for part in divmod(tile, tile_columns(scene.grid)))
    height, width = scene.grid.shape
    return Window(row, col, min(TILE, height - row), min(TILE, width - col))


def _read(
    scene: BlockReader,
    labels: Labels,
    normalise: Callable[[Block], tuple[Values, Values]],
    window: Window,
    classes: Whole,
    numbers: Whole,
) -> tuple[Values, Whole]:
    """Values and places of the pixels of a tile with these numbers among their classes."""
    block = scene.read(window)
    indices = np.where(block.valid, labels.read(window)[0], -1).ravel()
    pixels = np.concatenate(
        [np.flatnonzero(indices == each)[numbers[classes == each]] for each in np.unique(classes)]
    )
    both = np.concatenate(normalise(block)).reshape(-1, indices.size)
    rows, columns = np.divmod(pixels, window.width)
    places = np.stack([rows + window.row, columns + window.col], axis=1)
    return np.ascontiguousarray(both[:, pixels].T), places
