"""One huge plan of windows cut into parts that can be computed apart, and fit bit for bit.

A part answers for some pixels, its own, and computes every window of the plan that touches one of
them. Windows that touch pixels of several parts, the halo, are computed by each of those. Plain
integers only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from comix_cli.scene.windows import Window, WindowPlan

# Rows of windows that a strip has of its own at least: its halo costs no more than a twelfth.
LEAST = 12


@dataclass(frozen=True)
class Part:
    """Some windows of a plan, and the pixels that they are computed for.

    Attributes:
        rows: Which rows of windows, by number.
        cols: Which columns of windows.
        own: The pixels that the part answers for. Those of all parts are the scene, each pixel
            once.
        seen: The box around its windows.
    """

    rows: range
    cols: range
    own: Window
    seen: Window

    @property
    def windows(self) -> int:
        """How many windows it computes."""
        return len(self.rows) * len(self.cols)


def whole(plan: WindowPlan) -> Part:
    """All of a plan as one part."""
    return part_of(plan, Window(0, 0, *plan.shape))


def part_of(plan: WindowPlan, own: Window) -> Part:
    """The part that answers for some pixels.

    Raises:
        ValueError: They reach beyond the scene.
    """
    if own.row + own.height > plan.shape[0] or own.col + own.width > plan.shape[1]:
        raise ValueError(f"{own} leaves a scene of shape {plan.shape}")
    height, width = plan.window
    rows = _touching(plan.row_starts, height, own.row, own.row + own.height)
    cols = _touching(plan.col_starts, width, own.col, own.col + own.width)
    row, col = plan.row_starts[rows[0]], plan.col_starts[cols[0]]
    bottom, right = plan.row_starts[rows[-1]] + height, plan.col_starts[cols[-1]] + width
    return Part(rows, cols, own, Window(row, col, bottom - row, right - col))


def sub_plan(plan: WindowPlan, part: Part) -> WindowPlan:
    """The windows of a part, counted from the first pixel that it sees."""
    return WindowPlan(
        shape=part.seen.shape,
        window=plan.window,
        row_starts=tuple(plan.row_starts[number] - part.seen.row for number in part.rows),
        col_starts=tuple(plan.col_starts[number] - part.seen.col for number in part.cols),
    )


def cut(
    plan: WindowPlan, parts: int, *, least: int = LEAST, most_width: int | None = None
) -> tuple[Part, ...]:
    """Cut a plan into about so many parts of about the same size.

    Into strips of the full width first, because files mostly lie in rows; where strips would be too
    flat, or too wide, into blocks. The same every time.

    Args:
        plan: The windows.
        parts: How many are wanted; fewer are made where they would be too small, and more where
            they would be too wide.
        least: Rows of windows that a strip has of its own at least, and columns that a block has,
            times as many as lie on both sides of a cut. So the halo costs no more than one
            `least`th of each axis.
        most_width: Columns of windows that a part computes at most, as far as a single column of
            its own allows; None for any number. Goes before `least`.

    Returns:
        The parts, row by row; a single one where the plan is too small to be cut.

    Raises:
        ValueError: A number below 1.
    """
    if min(parts, least, 1 if most_width is None else most_width) < 1:
        raise ValueError(f"cannot cut into {parts} parts of {least} rows, {most_width} columns")
    down, across = _Axis(plan.row_starts, plan.window[0]), _Axis(plan.col_starts, plan.window[1])
    fewest = 1 if most_width is None else across.pieces_below(most_width)
    strips = min(-(-parts // fewest), down.most_pieces(least))
    blocks = max(fewest, min(round(parts / strips), across.most_pieces(least)))
    return tuple(
        part_of(plan, Window(top, left, bottom - top, right - left))
        for top, bottom in pairwise(down.edges(strips, plan.shape[0]))
        for left, right in pairwise(across.edges(blocks, plan.shape[1]))
    )


def _touching(starts: Sequence[int], window: int, first: int, end: int) -> range:
    """Numbers of the windows that touch the pixels from `first` to `end` of an axis."""
    return range(bisect_right(starts, first - window), bisect_left(starts, end))


@dataclass(frozen=True)
class _Axis:
    """The windows along one axis of a plan."""

    starts: Sequence[int]
    window: int

    @property
    def halo(self) -> int:
        """How many windows lie on both sides of a cut where a window begins, away from the ends."""
        stride = max((after - before for before, after in pairwise(self.starts)), default=1)
        return -(-self.window // stride) - 1

    def most_pieces(self, least: int) -> int:
        """Into how many pieces it can be cut that have enough windows of their own."""
        return max(1, (len(self.starts) - self.halo) // (least * max(1, self.halo)))

    def pieces_below(self, most: int) -> int:
        """Into how many pieces it has to be cut, so that none computes more windows than that."""
        if len(self.starts) <= most:
            return 1
        count, halo = len(self.starts), self.halo
        beyond = max(1, count - halo)
        return min(beyond, -(-beyond // max(1, most - halo)))

    def edges(self, pieces: int, size: int) -> list[int]:
        """Where pieces begin that compute about as many windows each, and the end of the axis.

        All but the first compute their halo besides what begins in them.
        """
        in_all = len(self.starts) + (pieces - 1) * self.halo
        firsts = [i * in_all // pieces - (i - 1) * self.halo for i in range(1, pieces)]
        return [0, *(self.starts[number] for number in firsts), size]
