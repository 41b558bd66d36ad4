"""A scene as the network's inputs, window by window, each pixel read as rarely as memory allows.

Overlapping windows share most of their pixels. What a window shares with its left neighbour is
copied from there, and what it shares with the windows above from a carried strip of rows; only the
rest is read and normalised. None of it changes a value: windows are the same however they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.padding import pad_block
from comix_cli.scene.stack import Block, BlockReader
from comix_cli.scene.windows import Window, WindowPlan

Normaliser = Callable[[Block], tuple[NDArray[np.float32], NDArray[np.float32]]]


class Region(Protocol):
    """The part of a scene that is wanted."""

    def touches(self, window: Window) -> bool:
        """False only where no pixel of the window is wanted."""


@dataclass(frozen=True)
class Prepared:
    """One window as the network sees it.

    Attributes:
        window: Its place in the scene.
        inputs: Normalised HSI and X, of the network's size, and where they are valid, of the
            window's size; None where no pixel is valid or wanted, and nothing is to be predicted.
    """

    window: Window
    inputs: Block | None


class WindowFeed:
    """Iterates over the windows of a plan, prepared for the network.

    Args:
        scene: What is read.
        normalise: Turns raw values into the network's inputs, pixel by pixel.
        plan: The windows.
        size: Height and width that the network sees; smaller windows are mirrored to it.
        carry: Keep the rows that a row of windows shares with the next one. They take as many bytes
            as `carry_bytes` says, and save reading them again.
        region: Windows that do not touch it are never read; None wants everything.
        origin: Row and column in the scene of the first pixel of the plan, where it is a part.
    """

    def __init__(
        self,
        scene: BlockReader,
        normalise: Normaliser,
        plan: WindowPlan,
        size: tuple[int, int],
        *,
        carry: bool = True,
        region: Region | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        self._scene, self._normalise, self._plan = scene, normalise, plan
        self._size, self._region, self._origin = size, region, origin
        self._strip = _CarriedRows(plan) if carry else None

    def __iter__(self) -> Iterator[Prepared]:
        """The windows in the order of the plan."""
        left: _Normalised | None = None
        for number, window in enumerate(self._plan):
            row = number // len(self._plan.col_starts)
            if window.col == 0:
                left = None
            if self._region is not None and not self._region.touches(self._placed(window)):
                left = None
                yield Prepared(window, None)
                continue
            left = self._read(row, window, left)
            yield Prepared(window, self._finish(left.block))

    def _read(self, row: int, window: Window, left: _Normalised | None) -> _Normalised:
        """The window, with as much of it as possible taken from what has been read before."""
        shared = 0 if left is None else left.window.col + left.window.width - window.col
        fresh = Window(window.row, window.col + shared, window.height, window.width - shared)
        above = None if self._strip is None else self._strip.fetch(row, fresh)
        known = 0 if above is None else above.valid.shape[0]
        rest = Window(fresh.row + known, fresh.col, fresh.height - known, fresh.width)
        read = self._read_normalised(rest)
        block = _assembled(window, None if left is None else left.block, shared, above, read)
        if self._strip is not None:
            self._strip.store(row, fresh, block, shared)
        return _Normalised(window, block)

    def _read_normalised(self, window: Window) -> Block:
        raw = self._scene.read(self._placed(window))
        hsi, x = self._normalise(raw)
        return Block(hsi, x, raw.valid)

    def _placed(self, window: Window) -> Window:
        """A window of the plan in the scene."""
        return window.moved(*self._origin)

    def _finish(self, block: Block) -> Block | None:
        if not block.valid.any():
            return None
        padded = pad_block(block, self._size)
        return Block(padded.hsi, padded.x, block.valid)


@dataclass(frozen=True)
class _Normalised:
    window: Window
    block: Block


def _assembled(
    window: Window, left: Block | None, shared: int, above: Block | None, read: Block
) -> Block:
    """One block from its left columns, and from the upper and lower part of the others."""
    if left is None and above is None:
        return read
    known = window.height - read.valid.shape[0]
    whole = _empty(read, window.shape)
    _paste(whole, read, slice(known, None), slice(shared, None))
    if above is not None:
        _paste(whole, above, slice(known), slice(shared, None))
    if left is not None:
        columns = slice(window.width - shared, None)
        _paste(whole, _part(left, slice(None), columns), slice(None), slice(shared))
    return whole


def _empty(like: Block, shape: tuple[int, int]) -> Block:
    """Memory for a block of another size with the same channels."""
    return Block(
        np.empty((like.hsi.shape[0], *shape), np.float32),
        np.empty((like.x.shape[0], *shape), np.float32),
        np.empty(shape, np.bool_),
    )


def _part(block: Block, rows: slice, columns: slice) -> Block:
    """Some rows and columns of a block, as views."""
    return Block(block.hsi[:, rows, columns], block.x[:, rows, columns], block.valid[rows, columns])


def _paste(whole: Block, part: Block, rows: slice, columns: slice) -> None:
    """Copy a block into some rows and columns of a larger one."""
    whole.hsi[:, rows, columns] = part.hsi
    whole.x[:, rows, columns] = part.x
    whole.valid[rows, columns] = part.valid


def carried_rows(plan: WindowPlan) -> int:
    """How many rows one row of windows shares with the next, where they lie regularly."""
    steps = [below - above for above, below in pairwise(plan.row_starts)]
    return plan.window[0] - max(steps) if steps else 0


def carry_bytes(plan: WindowPlan, channels: int) -> int:
    """What a feed keeps of the rows above, in bytes."""
    return carried_rows(plan) * plan.shape[1] * (channels * 4 + 1)


class _CarriedRows:
    """The last rows of one row of windows, which are the first of the next.

    Rows of windows that lie closer together than the others, at the ends of a scene, are read anew.
    """

    def __init__(self, plan: WindowPlan) -> None:
        self._plan, self._rows = plan, carried_rows(plan)
        self._kept: Block | None = None
        self._row_of = np.full(plan.shape[1], -1)

    def fetch(self, row: int, fresh: Window) -> Block | None:
        """The first rows of `fresh`; None where they are not known."""
        columns = fresh.slices[1]
        if self._kept is None or not self._follows(row) or (self._row_of[columns] != row - 1).any():
            return None
        return _part(self._kept, slice(None), columns)

    def store(self, row: int, fresh: Window, block: Block, shared: int) -> None:
        """Keep the last rows of a block's columns from `shared` on, which `fresh` covers."""
        if self._rows == 0:
            return
        if self._kept is None:
            self._kept = _empty(block, (self._rows, self._plan.shape[1]))
        columns, rows = fresh.slices[1], slice(fresh.height - self._rows, None)
        _paste(self._kept, _part(block, rows, slice(shared, None)), slice(None), columns)
        self._row_of[columns] = row

    def _follows(self, row: int) -> bool:
        """Whether a row of windows begins where the kept rows of the one before begin."""
        starts = self._plan.row_starts
        return row > 0 and starts[row] - starts[row - 1] == self._plan.window[0] - self._rows
