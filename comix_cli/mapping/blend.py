"""Overlapping windows become one seamless scene, row by row, in the memory of one strip.

Every window has a weight that is largest in its middle and falls smoothly towards its edges.
Weights are normalised so that at every pixel those of all windows covering it sum to one.
They are separable: a pixel's weight is that of its row times that of its column.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.parts import Part
from comix_cli.scene.windows import Window, WindowPlan


def window_ramp(window: int) -> NDArray[np.float64]:
    """A raised cosine over one window, `(window,)`: sin²(π (i + ½) / window), in (0, 1].

    Symmetric, and strictly positive at the edges, so that a pixel which only one window covers can
    still be normalised.
    """
    positions = (np.arange(window) + 0.5) / window
    return np.sin(np.pi * positions) ** 2


def axis_weights(size: int, starts: Sequence[int], window: int) -> NDArray[np.float32]:
    """The weights of every window along one axis of a scene.

    Args:
        size: Pixels of the scene along the axis.
        starts: First pixel of each window, ascending; together the windows cover the axis.
        window: Pixels of a window along the axis, at most `size`.

    Returns:
        `(len(starts), window)`, strictly positive; at every pixel of the axis the weights of the
        windows that cover it sum to one (to float32 precision, and exactly where it is only one).

    Raises:
        ValueError: A window leaves the axis, or a pixel is not covered.
    """
    ramp = window_ramp(window)
    total = np.zeros(size)
    for start in starts:
        if not 0 <= start <= size - window:
            raise ValueError(f"a window of {window} at {start} leaves an axis of {size} pixels")
        total[start : start + window] += ramp
    if not total.all():
        raise ValueError(f"windows of {window} at {tuple(starts)} do not cover {size} pixels")
    return np.stack([ramp / total[s : s + window] for s in starts]).astype(np.float32)


@dataclass(frozen=True)
class Weights:
    """The weights of the windows of a plan along both axes.

    Attributes:
        rows: `(rows of windows, h)`, see `axis_weights`.
        columns: `(columns of windows, w)`.
    """

    rows: NDArray[np.float32]
    columns: NDArray[np.float32]

    @classmethod
    def of(cls, plan: WindowPlan) -> Weights:
        """The weights of all windows of a plan."""
        (height, width), (rows, columns) = plan.shape, plan.window
        return cls(
            axis_weights(height, plan.row_starts, rows),
            axis_weights(width, plan.col_starts, columns),
        )

    def part(self, part: Part) -> Weights:
        """Those of a part's windows. They sum to one at the pixels that are its own.

        There they are the same windows in the same order as in the whole plan, so that the sums are
        the same bit for bit.
        """
        rows, cols = slice(part.rows.start, part.rows.stop), slice(part.cols.start, part.cols.stop)
        return Weights(self.rows[rows], self.columns[cols])


class Arrays(Protocol):
    """What the blender needs of whoever keeps its arrays, beyond slices and sums of them."""

    def empty(self, shape: tuple[int, ...]) -> Any:
        """Memory for single precision numbers."""

    def constant(self, values: NDArray[np.float32]) -> Any:
        """An array with these values."""

    def multiply(self, one: Any, other: Any, out: Any) -> None:
        """The product, written to `out`."""

    def copy(self, array: Any) -> Any:
        """A copy, contiguous."""


class NumpyArrays:
    """Arrays on the host."""

    def empty(self, shape: tuple[int, ...]) -> Any:
        """Memory for single precision numbers."""
        return np.empty(shape, np.float32)

    def constant(self, values: NDArray[np.float32]) -> Any:
        """The values as they are."""
        return values

    def multiply(self, one: Any, other: Any, out: Any) -> None:
        """The product, written to `out`."""
        np.multiply(one, other, out=out)

    def copy(self, array: Any) -> Any:
        """A copy, contiguous."""
        return array.copy()


class StripBlender:
    """Blends the windows of a plan and lets go of every row that no later window can touch.

    It holds as many rows as a window is high, besides finished rows that nobody has fetched yet.
    The result does not depend on when they are fetched: windows are added in the plan's order.

    Args:
        plan: The windows, row-major.
        channels: Channels of the values to blend.
        arrays: Where values are kept and blended; the host if nothing is said.
        weights: Of the windows of the plan where it is a part of another one; None where they are
            its own.
    """

    def __init__(
        self,
        plan: WindowPlan,
        channels: int,
        arrays: Arrays | None = None,
        weights: Weights | None = None,
    ) -> None:
        self._plan = plan
        self._arrays = kept = arrays or NumpyArrays()
        width, (rows, columns) = plan.shape[1], plan.window
        used = weights or Weights.of(plan)
        self._row_weights = kept.constant(used.rows)
        self._column_weights = kept.constant(used.columns)
        self._strip = kept.empty((channels, rows, width))
        self._strip[:] = 0
        # Two buffers of a window's size, in turn: what the row of windows in work amounts to from
        # the next window's left edge on is a view of one, and the other is free.
        self._buffers = deque(kept.empty((channels, rows, columns)) for _ in range(2))
        self._across = self._buffers[0][:, :, :0]
        self._finished: deque[tuple[int, Any]] = deque()
        self._added = 0

    def add(self, window: Window, values: Any | None) -> None:
        """Blend in the next window of the plan.

        Args:
            window: The window, in the order of the plan.
            values: `(C, h, w)`, of the window's size; None for zeros, which cost nothing.

        Raises:
            ValueError: It is not this window's turn, or the values have another shape.
        """
        row, column = self._next_position()
        if window != self._window_at(row, column):
            expected = self._window_at(row, column)
            raise ValueError(f"expected {expected} as window number {self._added}, not {window}")
        if values is not None:
            self._accumulate(column, values)
        self._added += 1
        self._move_right(row, column)
        if column == len(self._plan.col_starts) - 1:
            self._release(row)

    def finished(self) -> Iterator[tuple[int, Any]]:
        """The rows that are complete and have not been fetched yet, top to bottom.

        Yields:
            The first row and the blended values `(C, rows, W)`, which belong to the caller.
        """
        while self._finished:
            yield self._finished.popleft()

    @property
    def buffered_rows(self) -> int:
        """Rows held in memory: the strip in work, and finished rows not yet fetched."""
        return self._plan.window[0] + sum(len(rows[0]) for _, rows in self._finished)

    def _next_position(self) -> tuple[int, int]:
        if self._added == len(self._plan):
            raise ValueError(f"all {self._added} windows of the plan have been added already")
        return divmod(self._added, len(self._plan.col_starts))

    def _window_at(self, row: int, column: int) -> Window:
        height, width = self._plan.window
        return Window(self._plan.row_starts[row], self._plan.col_starts[column], height, width)

    def _accumulate(self, column: int, values: Any) -> None:
        """Add a window to the row of windows in work."""
        self._buffers.rotate()
        whole = self._buffers[0]
        if values.shape != whole.shape:
            raise ValueError(
                f"expected values of shape {tuple(whole.shape)}, not {tuple(values.shape)}"
            )
        self._arrays.multiply(values, self._column_weights[column], whole)
        whole[:, :, : self._across.shape[2]] += self._across
        self._across = whole

    def _move_right(self, row: int, column: int) -> None:
        """Add the columns that no later window of the row touches to the strip.

        Summing across first and down then takes few additions a pixel, however much windows
        overlap: rounding stays small.
        """
        step = _step(self._plan.col_starts, column, self._plan.shape[1])
        done = self._across[:, :, :step]
        start, count = self._plan.col_starts[column], done.shape[2]
        weighted = self._buffers[1][:, :, :count]
        self._arrays.multiply(done, self._row_weights[row][:, None], weighted)
        self._strip[:, :, start : start + count] += weighted
        self._across = self._across[:, :, step:]

    def _release(self, row: int) -> None:
        """Hand out what the last row of windows finished, and move the rest of the strip up."""
        starts = self._plan.row_starts
        done = _step(starts, row, self._plan.shape[0])
        self._finished.append((starts[row], self._arrays.copy(self._strip[:, :done])))
        kept = self._strip.shape[1] - done
        for channel in self._strip:  # one at a time, because what overlaps has to be copied
            channel[:kept] = self._arrays.copy(channel[done:])
            channel[kept:] = 0


def _step(starts: Sequence[int], number: int, size: int) -> int:
    """Pixels from the start of a window to that of the next one, or to the end of the axis."""
    return (starts[number + 1] if number + 1 < len(starts) else size) - starts[number]
