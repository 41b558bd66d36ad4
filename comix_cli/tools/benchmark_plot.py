"""Accuracy against the share of the labels: a picture, and the numbers in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comix_cli.accuracy.comparison_table import Cell
from comix_cli.files import atomic_path
from comix_cli.tools.benchmark_table import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("method", "label_fraction", "overall_accuracy", "standard_deviation", "runs")
# Okabe and Ito (2008), which every kind of colour vision tells apart; then the same, dashed.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")
_MARKERS = "osD^vP*X"
# Shares that lie further apart are drawn on a logarithmic axis.
_WIDE = 20
# Names beside the ends of lines are so far apart, as a share of the axis.
_LINE = 0.05

Points = list[tuple[float, Cell]]


def accuracies(methods: Sequence[Summary]) -> dict[str, Points]:
    """For each method the share of the labels and the overall accuracy, by ascending share."""
    found: dict[str, Points] = {}
    for method in methods:
        cell = method.overall_accuracy
        points = found.setdefault(method.name, [])
        if cell is not None:
            points.append((method.fraction, cell))
    return {name: sorted(points, key=lambda p: p[0]) for name, points in found.items() if points}


def to_csv(methods: Sequence[Summary]) -> str:
    """The points of the picture, one in each row; accuracies are shares."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, points in accuracies(methods).items():
        for fraction, cell in points:
            spread = "" if cell.deviation is None else cell.deviation
            writer.writerow([name, fraction, cell.mean, spread, cell.runs])
    return text.getvalue()


def draw(methods: Sequence[Summary], path: Path) -> None:
    """A line for each method, with bars of one standard deviation.

    Raises:
        OutputError: The picture cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  # half a second to import

    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    lines = accuracies(methods)
    for number, points in enumerate(lines.values()):
        shares = [100 * fraction for fraction, _ in points]
        axes.errorbar(
            shares,
            [100 * cell.mean for _, cell in points],
            yerr=[100 * (cell.deviation or 0.0) for _, cell in points],
            color=_colour(number),
            linestyle=_STYLES[number // len(_COLOURS) % len(_STYLES)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=5,
            linewidth=1.6,
            elinewidth=1,
            capsize=3,
        )
    _scale(axes, sorted({100 * fraction for points in lines.values() for fraction, _ in points}))
    _name_lines(axes, lines)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _scale(axes: Axes, shares: Sequence[float]) -> None:
    """Ticks where there are points, and nothing that says no more than they do."""
    if shares[-1] / shares[0] >= _WIDE:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(shares, [f"{share:g}" for share in shares])
    axes.set(xlabel="share of the labels that train (%)", ylabel="overall accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")


def _name_lines(axes: Axes, lines: dict[str, Points]) -> None:
    """Write names beside the ends of lines, where they do not lie on each other."""
    low, high = axes.get_ylim()
    ends = {name: (100 * points[-1][1].mean - low) / (high - low) for name, points in lines.items()}
    names = list(lines)
    for name, place in apart(ends, _LINE).items():
        axes.text(
            1.015, place, name, color=_colour(names.index(name)), va="center",
            transform=axes.transAxes, parse_math=False,
        )  # fmt: skip


def apart(places: dict[str, float], gap: float) -> dict[str, float]:
    """Heights moved upwards and downwards together until neighbours are `gap` apart.

    Args:
        places: Where each name would be.
        gap: The least distance.
    """
    groups: list[tuple[list[str], float]] = []
    for name in sorted(places, key=lambda each: places[each]):
        members, middle = [name], places[name]
        # What would overlap the group below becomes a part of it, around their common middle.
        while groups and middle - gap * (len(members) - 1) / 2 < _top(groups[-1], gap) + gap:
            below, other = groups.pop()
            count = len(below) + len(members)
            middle = (other * len(below) + middle * len(members)) / count
            members = [*below, *members]
        groups.append((members, middle))
    return {
        name: middle + gap * (k - (len(members) - 1) / 2)
        for members, middle in groups
        for k, name in enumerate(members)
    }


def _top(group: tuple[list[str], float], gap: float) -> float:
    return group[1] + gap * (len(group[0]) - 1) / 2
