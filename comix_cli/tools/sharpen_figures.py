"""Drawings of what the sensors do: the point spread, and which wavelengths X sees."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.tools.html_pictures import data_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _QUIET, _BLUE = "#1a1a1a", "#777777", "#1f5a86"
# More fine pixels than this along a coarse one are not drawn one by one.
_MOST_LINES = 20
# Nanometres beside the outermost bands.
_MARGIN_NM = 20.0


def spread_picture(document: Mapping[str, Any]) -> str:
    """What a pixel of the HSI sees, over that pixel and those of X, as a data URI."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # half a second to import

    ratio = (document["ratio"]["across"], document["ratio"]["down"])
    outline, shift = spread_outline(document)
    figure = Figure(figsize=(3.9, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.fill(*(outline + shift).T, facecolor=_BLUE, alpha=0.18)
    axes.plot(*(outline + shift).T, color=_BLUE, label="what it sees (FWHM)")
    across, down = (side / 2 for side in ratio)
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]) * (across, down)
    axes.plot(*square.T, color=_INK, linewidth=1.6, label="pixel of the HSI")
    axes.plot(0, 0, "+", color=_INK, markersize=9)
    axes.plot(*shift, ".", color=_BLUE, markersize=8)
    reach = 1.1 * max(across, down, *np.abs(outline + shift).max(0))
    axes.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal",
             xlabel="pixels of X, across", ylabel="pixels of X, down")  # fmt: skip
    _pixel_lines(axes, ratio, reach)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2, frameon=False,
                fontsize=8, handlelength=1.4, columnspacing=1.2)  # fmt: skip
    return _svg_uri(figure)


def spread_outline(document: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ellipse of half the maximum around (0, 0), and where it really lies.

    Returns:
        `(points, 2)` and `(2,)`, both (across, down) in pixels of X.
    """
    spread, pixel = document["point_spread"], document["pixel_size"]
    size = np.array([pixel["width"], pixel["height"]])
    turn = np.linspace(0, 2 * math.pi, 181)
    long, short = (length / 2 * f(turn)
                   for length, f in zip(spread["fwhm"], (np.cos, np.sin), strict=True))  # fmt: skip
    angle = math.radians(spread["direction_degrees"])
    # The direction counts anticlockwise from east, and rows count downwards.
    across = long * math.cos(angle) - short * math.sin(angle)
    down = -(long * math.sin(angle) + short * math.cos(angle))
    shift = np.array([spread["shift_across"], spread["shift_down"]]) / size
    return np.stack([across, down], 1) / size, shift


def _pixel_lines(axes: Axes, ratio: tuple[float, float], reach: float) -> None:
    """The pixels of X, as they would lie if one began in the corner of the HSI's."""
    if max(ratio) <= _MOST_LINES:
        for side, line in zip(ratio, (axes.axvline, axes.axhline), strict=True):
            first = math.ceil(-reach + side / 2) - side / 2
            for place in np.arange(first, reach, 1.0):
                line(place, color="0.88", linewidth=0.7, zorder=0)
    axes.spines[:].set_color("0.7")


def response_picture(channels: Sequence[Mapping[str, Any]]) -> str:
    """How much each band of the HSI takes part in each band of X, as a data URI."""
    from matplotlib import colormaps  # noqa: PLC0415  # half a second to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    order = sorted(channels, key=lambda channel: float(channel["centre_nm"]))
    for place, channel in zip(np.linspace(0.08, 0.92, len(order)), order, strict=True):
        response, colour = channel["response"], colormaps["turbo"](place)
        nm, found = response["wavelengths_nm"], response["found"]
        axes.plot(nm, response["expected"], "--", color=colour, linewidth=1)
        axes.plot(nm, found, ".-", color=colour, linewidth=1.8, markersize=4)
        highest = np.maximum(found, response["expected"])
        peak = int(highest.argmax())
        axes.annotate(str(channel["band"]), (nm[peak], highest[peak]), (0, 4), color=colour,
                      textcoords="offset points", ha="center", fontweight="bold")  # fmt: skip
    seen = [nm for channel in channels for nm in channel["response"]["wavelengths_nm"]]
    axes.plot([], [], ".-", color=_QUIET, label="found in the pair")
    axes.plot([], [], "--", color=_QUIET, linewidth=1, label="expected from wavelengths")
    axes.set(xlabel="wavelength (nm)", ylabel="weight of the HSI's band",
             xlim=(min(seen) - _MARGIN_NM, max(seen) + _MARGIN_NM))  # fmt: skip
    axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return _svg_uri(figure)


def _svg_uri(figure: Figure) -> str:
    """The same bytes for the same figure: no time, and no numbers drawn at random."""
    from matplotlib import rc_context  # noqa: PLC0415  # as above

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "comix"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return data_uri(stream.getvalue(), "image/svg+xml")
