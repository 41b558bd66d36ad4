"""A whole pair, window by window: memory depends on the window, never on the scene."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comix_cli.files import reserve
from comix_cli.scene.grid import Grid
from comix_cli.scene.windows import Window, tile_windows
from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.pair import Pair
from comix_cli.sharpening.pair_window import PairWindow
from comix_cli.sharpening.sharpener import Sharpener
from comix_cli.sharpening.study import Calibration
from comix_models.degradation import PointSpread

# Side of what is written at once: a block of the file.
CORE = 256
# Coarse pixels around it that are computed and thrown away. What a pixel gets depends on farther
# ones by less than rounding to the HSI's own steps.
MARGIN = 6
# Memory for each fine pixel of a block, in bytes: numbers of each band, and what the network and
# the blur take, measured.
_BYTES_PER_BAND, _BYTES_PER_PIXEL = 6, 3000


def _on_disk(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    with path.open("wb") as stream:
        # Memory that is mapped to a disk without room kills the process.
        reserve(stream, np.dtype(np.float32).itemsize * math.prod(shape))
    return np.memmap(path, np.float32, "r+", shape=shape)


@dataclass(frozen=True)
class Sharpened:
    """A finished part.

    Attributes:
        window: Where it lies in the fine grid.
        data: `(bands, H, W)` in the units of the HSI.
        valid: `(H, W)`.
    """

    window: Window
    data: NDArray[np.float32]
    valid: NDArray[np.bool_]


class Consistency:
    """How much the sharp image, blurred to the HSI's grid again, differs from the HSI.

    Attributes:
        pixels: How many coarse pixels could be compared.
    """

    def __init__(self, bands: int) -> None:
        self.pixels = 0
        self._squares = np.zeros((2, bands))

    def add(self, again: Tensor, hsi: Tensor) -> None:
        """Count some pixels of the blurred image and of the HSI, `(bands, n)` both."""
        self.pixels += hsi.shape[1]
        self._squares[0] += (again - hsi).double().square().sum(1).numpy()
        self._squares[1] += hsi.double().square().sum(1).numpy()

    @property
    def relative_rmse(self) -> float | None:
        """Root mean square difference over root mean square of the HSI; None without pixels."""
        total = self._squares.sum(1)
        return None if total[1] == 0 else float(math.sqrt(total[0] / total[1]))

    @property
    def by_band(self) -> list[float | None]:
        """The same of each band."""
        return [None if s == 0 else math.sqrt(d / s) for d, s in self._squares.T.tolist()]


class CoarseAgain:
    """The sharp image, blurred to the HSI's grid again; filled while windows are computed.

    Attributes:
        sharp: `(bands, h, w)`: on the disk, since it may be larger than memory.
        x: `(channels, h, w)`: the other sensor's image, blurred likewise.
        valid: `(h, w)`: where both can be told.
        consistency: How `sharp` differs from the HSI.

    Args:
        folder: For what is on the disk; None where nobody asks for the images.
        bands: Of the HSI.
        channels: Of the other sensor.
        coarse: The HSI's grid.
    """

    def __init__(self, folder: Path | None, bands: int, channels: int, coarse: Grid) -> None:
        self.consistency = Consistency(bands)
        self._kept = folder is not None
        shape = coarse.shape if self._kept else (0, 0)
        self.valid = np.zeros(shape, np.bool_)
        self.sharp, self.x = (
            _on_disk(folder / f"{name}.bin", (count, *shape))
            if folder is not None
            else np.zeros((count, *shape), np.float32)
            for name, count in (("sharp", bands), ("x", channels))
        )

    def add(
        self, place: Window, counted: Tensor, window: PairWindow, sharp: Tensor, blur: Blur
    ) -> None:
        """Take the coarse pixels of a window that are `counted`, `(h, w)`.

        Args:
            place: Where the coarse pixels of the window lie.
            counted: Which of them to take.
            window: The window.
            sharp: `(bands, H, W)`: its sharp image.
            blur: Its blur.
        """
        again = blur(sharp)[:, counted]
        self.consistency.add(again, window.hsi[:, counted])
        if self._kept:
            rows, cols = np.nonzero(counted.numpy())
            at = (slice(None), rows + place.row, cols + place.col)
            self.sharp[at] = again.numpy()
            self.x[at] = blur(window.x)[:, counted].numpy()
            self.valid[at[1], at[2]] = True


def block_bytes(pair: Pair) -> int:
    """About how much memory a block takes; it grows with the square of the ratio."""
    rows, cols = (
        min(size, CORE + 2 * math.ceil(MARGIN * ratio))
        for size, ratio in zip(pair.fine.shape, pair.placement.ratio, strict=True)
    )
    return rows * cols * (_BYTES_PER_BAND * len(pair.hsi.bands) + _BYTES_PER_PIXEL)


def sharpened(
    pair: Pair,
    sharpener: Sharpener,
    calibration: Calibration,
    spread: PointSpread,
    again: CoarseAgain,
) -> Iterator[Sharpened]:
    """Every block of the fine grid, row by row."""
    for core in tile_windows(pair.fine.shape, CORE):
        data, valid = _block(pair, sharpener, calibration, spread, again, core)
        yield Sharpened(core, data, valid)


def _block(
    pair: Pair,
    sharpener: Sharpener,
    calibration: Calibration,
    spread: PointSpread,
    again: CoarseAgain,
    core: Window,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    outer = _with_margin(core, pair)
    raw = pair.read(outer)
    bands = len(pair.hsi.bands)
    if raw is None:
        return np.zeros((bands, *core.shape), np.float32), np.zeros(core.shape, np.bool_)
    window = calibration(raw)
    blur = Blur(window, spread)
    result = sharpener.sharpen(window, blur)
    _compare(pair, again, window, result, blur, outer, core)
    rows = slice(core.row - outer.row, core.row - outer.row + core.height)
    cols = slice(core.col - outer.col, core.col - outer.col + core.width)
    valid = window.x_valid[rows, cols].numpy() & pair.hsi_valid(core, calibration.shift)
    return result[:, rows, cols].numpy(), valid


def _with_margin(core: Window, pair: Pair) -> Window:
    rows, cols = (math.ceil(MARGIN * ratio) for ratio in pair.placement.ratio)
    top, left = max(0, core.row - rows), max(0, core.col - cols)
    bottom = min(pair.fine.height, core.row + core.height + rows)
    right = min(pair.fine.width, core.col + core.width + cols)
    return Window(top, left, bottom - top, right - left)


def _compare(
    pair: Pair,
    again: CoarseAgain,
    window: PairWindow,
    result: Tensor,
    blur: Blur,
    outer: Window,
    core: Window,
) -> None:
    """Count the coarse pixels whose centres lie in the core: each lies in one."""
    inside = []
    for axis, (start, size, origin) in enumerate(
        ((core.row, core.height, outer.row), (core.col, core.width, outer.col))
    ):
        centres = np.array(window.placement.centres(axis, window.coarse[axis])) + origin
        inside.append(torch.from_numpy((centres >= start) & (centres < start + size)))
    counted = blur.usable & inside[0][:, None] & inside[1]
    place = pair.covering(outer)
    if place is not None and bool(counted.any()):
        again.add(place, counted, window, result, blur)
