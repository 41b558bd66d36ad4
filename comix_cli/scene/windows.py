"""Pixel rectangles, and plans of overlapping windows that cover a scene.

Plain integers only: nothing here knows files, coordinates or tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Window:
    """A pixel rectangle: its first row and column (0-based), its height and width in pixels."""

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.row < 0 or self.col < 0 or self.height < 1 or self.width < 1:
            raise ValueError(f"not a pixel rectangle: {self}")

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices into an array of the whole scene."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def moved(self, rows: int, cols: int) -> Window:
        """The window so many pixels further down and to the right."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)


@dataclass(frozen=True)
class WindowPlan:
    """Overlapping windows of one size that cover a scene; iterates over them row by row.

    Attributes:
        shape: Height and width of the scene.
        window: Height and width of every window; clipped to the scene where that is smaller.
        row_starts: First rows of the windows, strictly ascending.
        col_starts: First columns of the windows, strictly ascending.
    """

    shape: tuple[int, int]
    window: tuple[int, int]
    row_starts: tuple[int, ...]
    col_starts: tuple[int, ...]

    def __iter__(self) -> Iterator[Window]:
        height, width = self.window
        for row in self.row_starts:
            for col in self.col_starts:
                yield Window(row, col, height, width)

    def __len__(self) -> int:
        return len(self.row_starts) * len(self.col_starts)


def axis_starts(size: int, window: int, overlap: int, phase: int = 0) -> tuple[int, ...]:
    """Where windows begin along an axis of `size` pixels.

    Neighbours share at least `overlap` pixels, every pixel is covered, and the first and the last
    window are shifted inward so that they begin and end with the axis. `(0,)` where one window
    covers the axis. All others begin where `start + phase` is a multiple of the stride: two axes
    that are pieces of one long axis have the same windows in what they share, away from their ends.

    Args:
        size: Pixels of the axis.
        window: Pixels of a window.
        overlap: Pixels that neighbours share at least.
        phase: Number of the axis' first pixel on the long axis that it is a piece of.

    Raises:
        ValueError: `size` or `window` below 1, or `overlap` outside 0..window - 1.
    """
    if size < 1 or window < 1 or not 0 <= overlap < window:
        raise ValueError(f"cannot cover {size} pixels by windows of {window} overlapping {overlap}")
    if size <= window:
        return (0,)
    last, stride = size - window, window - overlap
    regular = range(-phase % stride, last, stride)
    return tuple(dict.fromkeys((0, *regular, last)))


def plan_windows(
    shape: tuple[int, int], window: int, overlap: int, phase: tuple[int, int] = (0, 0)
) -> WindowPlan:
    """Plan square windows of side `window` over a scene of `shape` (height, width).

    Where the scene is smaller than the window along an axis, the windows are clipped there.

    Args:
        shape: Height and width of the scene.
        window: Side of the windows.
        overlap: Pixels that neighbours share at least.
        phase: Row and column of the scene's first pixel on the lattice that anchors the windows,
            see `axis_starts`.

    Raises:
        ValueError: As `axis_starts`.
    """
    height, width = shape
    return WindowPlan(
        shape=(height, width),
        window=(min(window, height), min(window, width)),
        row_starts=axis_starts(height, window, overlap, phase[0]),
        col_starts=axis_starts(width, window, overlap, phase[1]),
    )


def tile_windows(shape: tuple[int, int], size: int) -> tuple[Window, ...]:
    """Disjoint tiles of side `size` that cover a scene, row by row; the last ones are clipped.

    Raises:
        ValueError: `size` below 1, or an empty scene.
    """
    height, width = shape
    if size < 1:
        raise ValueError(f"tiles of {size} pixels cover nothing")
    return tuple(
        Window(row, col, min(size, height - row), min(size, width - col))
        for row in range(0, height, size)
        for col in range(0, width, size)
    )
