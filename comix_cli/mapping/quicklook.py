"""A picture of a map to look at: colours, legend, scale bar."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from comix_cli.files import atomic_path
from comix_cli.mapping.map_file import open_map
from comix_cli.scene.grid import Grid, ground_size_m
from comix_cli.scene.legend import MAX_CODE, NO_CLASS, ClassEntry, Legend, default_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.text import Text

MAX_PIXELS = 1_250_000  # about what the drawn map has
_DPI = 150
_MAP_INCHES = 7.5  # the longer side of the map
_NARROWEST = 0.2  # shorter over longer side; beyond that a map would be a line
_WIDE = 1.6  # width over height beyond which the legend goes below the map
_COLUMN_INCHES = 2.4
_LINE_INCHES = 0.25
_LEGEND_CHARS = 26
# A legend with more lines than this helps nobody.
_MAX_ENTRIES = 40
_INK, _QUIET, _NO_CLASS_COLOR = "#222222", "#666666", (236, 236, 232)


def save_quicklook(
    map_path: Path | str,
    png_path: Path | str,
    *,
    title: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Draw a class map with its legend and a scale bar as a PNG.

    Large maps are drawn from their overviews, coarser by majority. Only classes that occur are in
    the legend. An older picture is replaced.

    Args:
        map_path: A class map of any program.
        png_path: The picture.
        title: What stands above it; None for nothing.
        max_pixels: Pixels of the map that are drawn at most.

    Raises:
        RasterError: The map cannot be used.
        OutputError: The picture cannot be written.
    """
    with atomic_path(png_path) as partial:
        write_quicklook(map_path, partial, title=title, max_pixels=max_pixels)


def write_quicklook(
    map_path: Path | str,
    png_path: Path,
    *,
    title: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """As `save_quicklook`, straight to a temporary file."""
    with open_map(map_path) as map_file:
        codes, grid, legend = map_file.read_small(max_pixels), map_file.grid, map_file.legend
    figure = draw_map(codes, grid, legend, title)
    with warnings.catch_warnings():
        # A letter that the font lacks becomes a box; the picture is still worth having.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(png_path, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.25)


def draw_map(
    codes: NDArray[np.int32], grid: Grid, legend: Legend | None, title: str | None = None
) -> Figure:
    """A class map as a matplotlib figure.

    Args:
        codes: `(h, w)`, covering the grid; any resolution. 0 is drawn as a pale grey.
        grid: Where it lies.
        legend: Names and colours; codes that it lacks get names and colours of our choosing.
        title: What stands above it.
    """
    # Imported here because it takes longer than most of what the command line does without it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    size = map_inches(grid)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xticks=(), yticks=())
    axes.spines[:].set(edgecolor=_QUIET, linewidth=0.6)
    entries = occurring(codes, legend)
    axes.imshow(colored(codes, entries), aspect="auto", interpolation="nearest")
    if title:
        heading = axes.annotate(
            title, (0, 1), (0, 9), xycoords="axes fraction", textcoords="offset points"
        )
        heading.set(fontsize=13, fontweight="bold", color=_INK, parse_math=False)
    _draw_scale_bar(axes, grid, size)
    _draw_legend(axes, entries, size, has_gaps=bool((codes == NO_CLASS).any()))
    return figure


def occurring(codes: NDArray[np.int32], legend: Legend | None) -> tuple[ClassEntry, ...]:
    """The classes that occur among `codes`, named by their codes where the legend lacks them."""
    known = {entry.code: entry for entry in legend or ()}
    present = [int(code) for code in np.unique(codes) if NO_CLASS < code <= MAX_CODE]
    return tuple(
        known.get(code, ClassEntry(code, f"class {code}", default_color(index)))
        for index, code in enumerate(present)
    )


def colored(codes: NDArray[np.int32], entries: Sequence[ClassEntry]) -> NDArray[np.uint8]:
    """The picture `(h, w, 3)` of class codes `(h, w)`."""
    table = np.empty((MAX_CODE + 1, 3), np.uint8)
    table[:] = _NO_CLASS_COLOR
    for entry in entries:
        table[entry.code] = entry.color
    picture: NDArray[np.uint8] = table[np.where(codes <= MAX_CODE, codes, NO_CLASS)]
    return picture


def round_length(most: float) -> float:
    """The largest of ..., 0.5, 1, 2, 5, 10, 20, 50, ... that is at most `most` (> 0)."""
    power: float = 10.0 ** math.floor(math.log10(most))
    return max((step * power for step in (1, 2, 5) if step * power <= most), default=power)


def map_inches(grid: Grid) -> tuple[float, float]:
    """Width and height of the drawn map: true to the ground unless that would make it a line."""
    width, height = ground_size_m(grid)
    longest = max(width, height)
    across, down = (_MAP_INCHES * max(side / longest, _NARROWEST) for side in (width, height))
    return across, down


def _draw_scale_bar(axes: Axes, grid: Grid, size: tuple[float, float]) -> None:
    """A bar of a round length below the map's left edge, about a fifth of 7.5 inches long."""
    width = ground_size_m(grid)[0]
    length = round_length(width * min(1.0, 0.25 * _MAP_INCHES / size[0]))
    below = -0.16 / size[1]
    axes.plot(
        (0, length / width),
        (below, below),
        transform=axes.transAxes,
        color=_INK,
        linewidth=3,
        solid_capstyle="butt",
        clip_on=False,
    )
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    text = axes.annotate(
        label,
        (length / width, below),
        (6, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        va="center",
    )
    text.set(fontsize=9, color=_INK, parse_math=False)


def _draw_legend(
    axes: Axes, entries: Sequence[ClassEntry], size: tuple[float, float], *, has_gaps: bool
) -> None:
    shown = entries[:_MAX_ENTRIES]
    handles = [_swatch(entry.color) for entry in shown]
    labels = [textwrap.fill(entry.name, _LEGEND_CHARS) or f"class {entry.code}" for entry in shown]
    if len(entries) > len(shown):
        handles.append(_swatch(None))
        labels.append(f"and {len(entries) - len(shown)} more")
    if has_gaps:
        handles.append(_swatch(_NO_CLASS_COLOR))
        labels.append("no data")
    beside = size[0] <= _WIDE * size[1]
    legend = axes.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(1 + 0.2 / size[0], 1) if beside else (0, -0.36 / size[1]),
        ncols=_columns(labels, size, beside=beside),
        frameon=False,
        borderaxespad=0,
        borderpad=0,
        fontsize=9,
        handlelength=1.4,
        handleheight=1.1,
        labelspacing=0.55,
    )
    _plain(legend.get_texts())


def _swatch(color: tuple[int, int, int] | None) -> Patch:
    """A legend's patch of colour; None for an empty place."""
    from matplotlib.patches import Patch  # noqa: PLC0415 (as in draw_map)

    if color is None:
        return Patch(facecolor="none", edgecolor="none")
    red, green, blue = (channel / 255 for channel in color)
    return Patch(facecolor=(red, green, blue), edgecolor=_QUIET, linewidth=0.4)


def _columns(labels: Sequence[str], size: tuple[float, float], *, beside: bool) -> int:
    """As many columns as keep a legend beside the map no taller, or one below no wider, than it."""
    if not beside:
        return min(len(labels), max(1, int(size[0] / _COLUMN_INCHES)))
    lines = sum(label.count("\n") + 1 for label in labels)
    return max(1, math.ceil(lines * _LINE_INCHES / max(size[1], 4.0)))


def _plain(texts: Sequence[Text]) -> None:
    """Class names are text: a dollar sign in one begins no formula."""
    for text in texts:
        text.set(color=_INK, parse_math=False)
