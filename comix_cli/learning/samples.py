"""Where the labelled pixels are, and chips of the scene around them.

A chip is a window's arrays as one training sample: the normalised HSI and X, and a label per pixel.
Nothing here grows with the scene but the counts of labels in the tiles that hold any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from comix_cli.errors import RasterError
from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import Reference
from comix_cli.scene.legend import Legend
from comix_cli.scene.padding import pad_block
from comix_cli.scene.pixel_rule import CENTRES, PixelRule
from comix_cli.scene.stack import Block, BlockReader, Stack
from comix_cli.scene.windows import Window, tile_windows

IGNORE_INDEX = -1
TILE = 32  # pixels; chips are placed around tiles that hold labels


@dataclass(frozen=True)
class Chip:
    """One training sample.

    Attributes:
        hsi: `(bands, H, W)` float32 in [0, 1]; 0 where invalid.
        x: `(channels, H, W)` float32 in [0, 1]; 0 where invalid; no channels without X.
        labels: `(H, W)` int64 class indices, `IGNORE_INDEX` where unlabelled or invalid.
    """

    hsi: NDArray[np.float32]
    x: NDArray[np.float32]
    labels: NDArray[np.int64]


class MemoryScene:
    """A whole scene read once, for training on scenes that fit into memory."""

    def __init__(self, stack: Stack, progress: Progress) -> None:
        self.grid = stack.grid
        height, width = stack.grid.shape
        bands, channels = stack_channels(stack)
        self._whole = Block(
            hsi=np.zeros((bands, height, width), np.float32),
            x=np.zeros((channels, height, width), np.float32),
            valid=np.zeros((height, width), np.bool_),
        )
        tiles = tile_windows((height, width), 8 * TILE)
        with progress.task("reading the scene", len(tiles)) as task:
            for window in tiles:
                self._store(window, stack.read(window))
                task.advance()

    def _store(self, window: Window, block: Block) -> None:
        rows, columns = window.slices
        self._whole.hsi[:, rows, columns] = block.hsi
        self._whole.x[:, rows, columns] = block.x
        self._whole.valid[rows, columns] = block.valid

    def read(self, window: Window) -> Block:
        """The window's raw values, as views."""
        rows, columns = window.slices
        whole = self._whole
        return Block(
            hsi=whole.hsi[:, rows, columns],
            x=whole.x[:, rows, columns],
            valid=whole.valid[rows, columns],
        )

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)`: True where every input is valid."""
        return self._whole.valid[window.slices]


def stack_channels(stack: Stack) -> tuple[int, int]:
    """How many HSI bands and how many X channels a stack delivers."""
    return len(stack.hsi_bands), sum(len(bands) for bands in stack.x_bands)


def scene_bytes(stack: Stack) -> int:
    """The bytes that a `MemoryScene` of this stack would hold."""
    height, width = stack.grid.shape
    return height * width * (4 * sum(stack_channels(stack)) + 1)


@dataclass(frozen=True)
class LabelIndex:
    """Where the usable labelled pixels are: how many of each class every tile of the scene holds.

    Only pairs of tile and class that occur are kept, so that neither a large scene nor a long
    legend costs memory by itself.

    Attributes:
        tiles: Number of the tile, row by row, `(n,)` int64, ascending.
        classes: Class index, `(n,)` int64.
        counts: Usable labelled pixels of that class in that tile, `(n,)` int64, above 0.
        class_pixels: Usable labelled pixels of every class, `(classes,)` int64.
        overlap: Pixels that polygons of different classes share; they are left out.
        invalid: Labelled pixels without valid data; they are left out.
    """

    tiles: NDArray[np.int64]
    classes: NDArray[np.int64]
    counts: NDArray[np.int64]
    class_pixels: NDArray[np.int64]
    overlap: int
    invalid: int

    def only(self, kept: Sequence[int]) -> LabelIndex:
        """The index of some of the classes, numbered anew."""
        numbers = np.full(len(self.class_pixels), -1, np.int64)
        numbers[list(kept)] = np.arange(len(kept))
        some = numbers[self.classes] >= 0
        return replace(
            self,
            tiles=self.tiles[some],
            classes=numbers[self.classes[some]],
            counts=self.counts[some],
            class_pixels=self.class_pixels[list(kept)],
        )


class Labels(Protocol):
    """Class indices of windows, such as a `LabelReader`'s."""

    def read(self, window: Window) -> tuple[NDArray[np.int64], int]:
        """`(H, W)` class indices with `IGNORE_INDEX` elsewhere, and pixels lost to overlaps."""


class LabelReader:
    """Class indices of the ground truth; classes that the legend lacks count as unlabelled.

    Channel i of the network is class i of the legend.
    """

    def __init__(
        self, truth: Reference, grid: Grid, legend: Legend, rule: PixelRule = CENTRES
    ) -> None:
        self._truth, self._grid, self._rule = truth, grid, rule
        # Classes that the legend lacks are burnt as well: what they dispute stays disputed.
        self._codes = {code: i + 1 for i, (code, _) in enumerate(truth.classes)}
        # Text has other codes in every file; its names say which class is meant.
        by_name = {entry.name: i for i, entry in enumerate(legend)}
        by_both = {(entry.code, entry.name): i for i, entry in enumerate(legend)}
        wanted = [by_both.get(pair, by_name.get(pair[1], IGNORE_INDEX)) for pair in truth.classes]
        self._indices = np.array([IGNORE_INDEX, *wanted], np.int64)

    def read(self, window: Window) -> tuple[NDArray[np.int64], int]:
        """`(H, W)` class indices with `IGNORE_INDEX` elsewhere, and the pixels lost to overlaps."""
        burnt = self._truth.burn(self._grid, window, rule=self._rule, codes=self._codes)
        return self._indices[burnt.labels], int(burnt.overlap.sum())


class MemoryLabels:
    """The labels of a whole scene, burnt once: chips read the same polygons again and again.

    What overlaps lost is told by the labels that they come from.

    Args:
        labels: Class indices, less than 32768 of them.
        shape: Rows and columns of the scene.
    """

    def __init__(self, labels: Labels, shape: tuple[int, int]) -> None:
        self._whole = np.full(shape, IGNORE_INDEX, np.int16)
        for window in tile_windows(shape, 16 * TILE):
            self._whole[window.slices] = labels.read(window)[0]

    def read(self, window: Window) -> tuple[NDArray[np.int64], int]:
        """`(H, W)` class indices with `IGNORE_INDEX` elsewhere, and no lost pixels."""
        return self._whole[window.slices].astype(np.int64), 0


@dataclass(frozen=True)
class UsableLabels:
    """The usable labels of one part of a scene.

    Attributes:
        window: Which part.
        indices: `(H, W)` class indices, `IGNORE_INDEX` where unlabelled or without valid data.
        overlap: Pixels that polygons of different classes share.
        invalid: Labelled pixels without valid data.
    """

    window: Window
    indices: NDArray[np.int64]
    overlap: int
    invalid: int


def usable_labels(
    labels: Labels, scene: BlockReader, what: str, progress: Progress
) -> Iterator[UsableLabels]:
    """The usable labels of the whole scene, part by part; `what` is what progress is told."""
    chunks = tile_windows(scene.grid.shape, 16 * TILE)
    with progress.task(what, len(chunks)) as task:
        for chunk in chunks:
            indices, lost = labels.read(chunk)
            labelled = indices != IGNORE_INDEX
            # Validity of a scene that is not in memory is read from its files.
            usable = labelled & scene.read_valid(chunk) if labelled.any() else labelled
            kept = np.where(usable, indices, IGNORE_INDEX)
            yield UsableLabels(chunk, kept, lost, int(labelled.sum() - usable.sum()))
            task.advance()


def index_labels(
    labels: Labels, scene: BlockReader, classes: int, progress: Progress
) -> LabelIndex:
    """Count the usable labelled pixels of the whole scene, tile by tile."""
    keys, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    overlap = invalid = 0
    columns = tile_columns(scene.grid)
    for chunk in usable_labels(labels, scene, "indexing labels", progress):
        overlap += chunk.overlap
        invalid += chunk.invalid
        rows, cols = np.nonzero(chunk.indices != IGNORE_INDEX)
        tile = (rows + chunk.window.row) // TILE * columns + (cols + chunk.window.col) // TILE
        found = np.unique(tile * classes + chunk.indices[rows, cols], return_counts=True)
        keys.append(found[0])
        counts.append(found[1])
    return _label_index(np.concatenate(keys), np.concatenate(counts), classes, overlap, invalid)


def tile_columns(grid: Grid) -> int:
    """How many tiles stand side by side."""
    return -(-grid.width // TILE)


def _label_index(
    keys: NDArray[np.int64], counts: NDArray[np.int64], classes: int, overlap: int, invalid: int
) -> LabelIndex:
    order = np.argsort(keys)
    tiles, indices = np.divmod(keys[order], classes)
    pixels = np.zeros(classes, np.int64)
    np.add.at(pixels, indices, counts[order])
    return LabelIndex(tiles, indices, counts[order], pixels, overlap, invalid)


class ChipSampler:
    """Draws chips around labelled pixels: a class, a tile that holds it, a place for the window.

    Args:
        scene: Where the raw values come from.
        labels: Where the class indices come from.
        index: The label counts per tile.
        normalise: Turns a raw block into normalised HSI and X.
        window: Side of the square chips, in pixels. Scenes that are smaller are padded by
            reflection; padded pixels carry no label.
        class_power: Classes are drawn with probability proportional to pixels ** power: 1 as they
            are, 0 all alike.
    """

    def __init__(
        self,
        scene: BlockReader,
        labels: Labels,
        index: LabelIndex,
        normalise: Callable[[Block], tuple[NDArray[np.float32], NDArray[np.float32]]],
        *,
        window: int,
        class_power: float,
    ) -> None:
        self._scene, self._labels, self._normalise = scene, labels, normalise
        self._window = window
        self._tile_columns = tile_columns(scene.grid)
        self._places = [
            (index.tiles[own], index.counts[own].cumsum())
            for own in (index.classes == c for c in range(len(index.class_pixels)))
        ]
        pixels = index.class_pixels.astype(np.float64)
        powered = np.where(pixels > 0, np.maximum(pixels, 1) ** class_power, 0.0)
        self._class_probabilities = powered / powered.sum()

    def draw(self, rng: np.random.Generator) -> Chip:
        """One chip at random, around a pixel of a class at random; it always holds that pixel."""
        chosen = int(rng.choice(len(self._class_probabilities), p=self._class_probabilities))
        row, col = self._draw_pixel(chosen, rng)
        height, width = self._scene.grid.shape
        top, tall = _place(row, height, self._window, rng)
        left, wide = _place(col, width, self._window, rng)
        return self.read(Window(top, left, tall, wide))

    def _draw_pixel(self, chosen: int, rng: np.random.Generator) -> tuple[int, int]:
        """Row and column of a usable pixel of a class, all of them equally likely."""
        tiles, cumulative = self._places[chosen]
        nth = int(np.searchsorted(cumulative, rng.integers(cumulative[-1]), side="right"))
        row, col = (TILE * int(part) for part in divmod(int(tiles[nth]), self._tile_columns))
        height, width = self._scene.grid.shape
        tile = Window(row, col, min(TILE, height - row), min(TILE, width - col))
        usable = (self._labels.read(tile)[0] == chosen) & self._scene.read_valid(tile)
        pixel = rng.choice(np.flatnonzero(usable))
        return row + int(pixel) // tile.width, col + int(pixel) % tile.width

    def read(self, window: Window) -> Chip:
        """The chip at a window, padded to the chip size where the scene is smaller."""
        indices, _ = self._labels.read(window)
        block = self._scene.read(window)
        size = (self._window, self._window)
        labels = np.full(size, IGNORE_INDEX, np.int64)
        labels[: window.height, : window.width] = np.where(block.valid, indices, IGNORE_INDEX)
        hsi, x = self._normalise(pad_block(block, size))
        return Chip(hsi, x, labels)


def _place(pixel: int, size: int, window: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start and length, along one axis, of a window at random that holds the pixel."""
    if size <= window:
        return 0, size
    start = int(rng.integers(pixel - window + 1, pixel + 1))
    return min(max(start, 0), size - window), window


def sample_values(
    scene: BlockReader, seed: int, *, windows: int = 64, pixels: int = 1024
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values of valid pixels spread over the scene: HSI `(bands, n)` and X `(channels, n)`.

    Raises:
        RasterError: No pixel of the common grid is valid in every input.
    """
    rng = np.random.default_rng(seed)
    tiles = tile_windows(scene.grid.shape, 2 * TILE)
    chosen = rng.permutation(len(tiles))
    hsi, x = [], []
    for i in chosen:
        block = scene.read(tiles[i])
        rows, columns = np.nonzero(block.valid)
        if rows.size:
            kept = rng.permutation(rows.size)[:pixels]
            hsi.append(block.hsi[:, rows[kept], columns[kept]])
            x.append(block.x[:, rows[kept], columns[kept]])
        if len(hsi) == windows:
            break
    if not hsi:
        raise RasterError(
            "no pixel of the common grid has valid data in every input",
            remedy="check nodata values and bad bands with 'comix info'",
        )
    return np.concatenate(hsi, axis=1), np.concatenate(x, axis=1)
