"""The pictures of the HTML report: where the map is wrong, and the confusion matrix in colours.

Names stay text that the browser sets, so that every script is written as its readers expect.
"""

from __future__ import annotations

import base64
import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comix_cli.accuracy.agreement import AgreementPicture, Level
from comix_cli.mapping.quicklook import round_length

Color = tuple[int, int, int]

# Blue is right and brown is wrong for every kind of colour vision; the worse the darker, on grey
# paper too.
LEVEL_COLORS: Mapping[Level, Color] = {
    Level.NO_REFERENCE: (255, 255, 255),
    Level.RIGHT: (176, 218, 242),
    Level.MOSTLY_RIGHT: (112, 168, 208),
    Level.MOSTLY_WRONG: (180, 84, 16),
    Level.WRONG: (84, 14, 0),
}
LEVEL_NAMES: Mapping[Level, str] = {
    Level.RIGHT: "right",
    Level.MOSTLY_RIGHT: "more right than wrong",
    Level.MOSTLY_WRONG: "half or more wrong",
    Level.WRONG: "wrong",
    Level.NO_REFERENCE: "no reference",
}
# Dots along the longer side of the error map, at least.
_DOTS = 1000
# Width over height of a picture lies between these; beyond, it would be a line.
_NARROWEST, _WIDEST = 0.125, 8.0
# Of the confusion matrix: shares 0, 0.5 and 1 of a row.
_RAMP: tuple[Color, ...] = ((255, 255, 255), (107, 174, 214), (8, 48, 107))
_DARK = 0.5  # share from which white ink is easier to read
_SIDE, _LARGEST_CELL, _SMALLEST_CELL = 520.0, 64.0, 11.0
_MOST_WITH_COUNTS = 15
_LEAST_FONT, _LARGEST_FONT = 7.0, 13.0
_LABEL_CHARS = 24
_TITLE = 110.0  # room for the title of an axis
_WIDTH_PER_CHAR = 0.6  # of a letter or digit, in font sizes


@dataclass(frozen=True)
class ErrorMap:
    """Where the map is right and wrong, as a picture that needs no other file.

    Attributes:
        uri: The picture as a PNG in a data URI.
        aspect: Width over height on the page.
        legend: Colour and meaning of what occurs.
        scale: Length of the scale bar as a share of the picture's width, and what it stands for.
        place: Where the picture lies, in words; empty where nobody knows.
        pixels_per_cell: Pixels of the map along one side of a cell.
    """

    uri: str
    aspect: float
    legend: tuple[tuple[str, str], ...]
    scale: tuple[float, str]
    place: str
    pixels_per_cell: int


def error_map(picture: AgreementPicture) -> ErrorMap:
    """The picture of an agreement, with its legend and a scale."""
    marks = picture.marks()
    height, width = marks.shape
    size_m = picture.size_m
    aspect = width / height if size_m is None else size_m[0] / size_m[1]
    always = {Level.RIGHT, Level.WRONG, Level.NO_REFERENCE}
    shown = always.union(Level(int(level)) for level in np.unique(marks))
    return ErrorMap(
        uri=png_uri(_colored(marks)),
        aspect=min(max(aspect, _NARROWEST), _WIDEST),
        legend=tuple((_css(LEVEL_COLORS[k]), LEVEL_NAMES[k]) for k in LEVEL_NAMES if k in shown),
        scale=_scale(picture),
        place=_place(picture),
        pixels_per_cell=picture.pixels_per_cell,
    )


def _colored(marks: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    table = np.array([LEVEL_COLORS[level] for level in Level], np.uint8)
    dots = max(1, _DOTS // max(marks.shape))
    colored: np.ndarray[Any, np.dtype[np.uint8]] = table[
        marks.repeat(dots, axis=0).repeat(dots, axis=1)
    ]
    return colored


def png_uri(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Colours `(h, w, 3)` as a PNG in a data URI."""
    from matplotlib.image import imsave  # noqa: PLC0415 (takes longer than the rest of a report)

    stream = io.BytesIO()
    imsave(stream, pixels, format="png")
    return data_uri(stream.getvalue(), "image/png")


def data_uri(content: bytes, kind: str) -> str:
    """A file inside a page; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _scale(picture: AgreementPicture) -> tuple[float, str]:
    """A bar of a round length, about a quarter of the width long."""
    if picture.size_m is None:
        width: float = picture.right.shape[1] * picture.pixels_per_cell
        length = max(1.0, round_length(width / 4))
        return min(1.0, length / width), "1 pixel" if length == 1 else f"{length:.0f} pixels"
    width = picture.size_m[0]
    length = round_length(width / 4)
    return length / width, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"


def _place(picture: AgreementPicture) -> str:
    """The bounds in the CRS, as a clause."""
    if picture.bounds is None:
        return ""
    left, bottom, right, top = (f"{value:.10g}" for value in picture.bounds)
    where = f"x from {left} to {right}, y from {bottom} to {top}"
    return f"{where} ({picture.crs})" if picture.crs else where


@dataclass(frozen=True)
class Label:
    """A class at the edge of the matrix: its name, what fits of it, and where it goes."""

    name: str
    short: str
    at: float


@dataclass(frozen=True)
class Cell:
    """A cell of the matrix: its corner, colours, and its count where there is room for it."""

    x: float
    y: float
    fill: str
    ink: str
    text: str


@dataclass(frozen=True)
class MatrixPicture:
    """A confusion matrix as a drawing: rows are the reference, columns the map.

    Attributes:
        width: Of the whole drawing, in CSS pixels.
        height: Of the whole drawing.
        left: Where the cells begin.
        top: Where the cells begin.
        side: One side of a cell.
        font: Size of the names.
        count_font: Size of the counts; 0 where there is no room for them.
        rows: Names beside the rows; `at` is the middle of a row.
        columns: Names above the columns.
        cells: All cells, row by row.
        ramp: Colours of the shares 0, 0.25, 0.5, 0.75 and 1.
    """

    width: float
    height: float
    left: float
    top: float
    side: float
    font: float
    count_font: float
    rows: tuple[Label, ...]
    columns: tuple[Label, ...]
    cells: tuple[Cell, ...]
    ramp: tuple[str, ...]


def matrix_picture(matrix: Mapping[str, Any]) -> MatrixPicture:
    """Draw the `confusion_matrix` of a report, coloured by the share of each row."""
    names, counts = matrix["names"], np.asarray(matrix["counts"], np.int64)
    n = len(names)
    side = min(_LARGEST_CELL, max(_SMALLEST_CELL, _SIDE / max(n, 1)))
    font = min(_LARGEST_FONT, max(_LEAST_FONT, 0.75 * side))
    shorts = [shortened(str(name), _LABEL_CHARS) for name in names]
    # Room for the names, and for the title of the axis beyond them.
    room = max((columns_of(text) for text in shorts), default=0) * _WIDTH_PER_CHAR * font
    edge = round(room + 2 * _LARGEST_FONT + 10)
    labels = list(zip(names, shorts, strict=True))
    count_font = _count_font(counts, side)
    return MatrixPicture(
        width=round(edge + max(n * side, _TITLE) + 2, 1),
        height=round(edge + max(n * side, _TITLE) + 2, 1),
        left=edge,
        top=edge,
        side=round(side, 2),
        font=round(font, 1),
        count_font=round(count_font, 1),
        rows=_labels(labels, edge, side),
        columns=_labels(labels, edge, side),
        cells=tuple(_cells(counts, edge, side, with_counts=count_font > 0)),
        ramp=tuple(_css(_ramp(share)) for share in (0, 0.25, 0.5, 0.75, 1)),
    )


def _count_font(counts: np.ndarray[Any, np.dtype[np.int64]], side: float) -> float:
    """The size in which the longest count fits into a cell; 0 where nobody could read it."""
    if not counts.size or len(counts) > _MOST_WITH_COUNTS:
        return 0.0
    digits = len(str(counts.max()))
    font = min(_LARGEST_FONT, 0.9 * side / (_WIDTH_PER_CHAR * digits))
    return font if font >= _LEAST_FONT else 0.0


def _labels(labels: Sequence[tuple[str, str]], edge: float, side: float) -> tuple[Label, ...]:
    return tuple(
        Label(str(name), short, round(edge + (i + 0.5) * side, 2))
        for i, (name, short) in enumerate(labels)
    )


def _cells(
    counts: np.ndarray[Any, np.dtype[np.int64]], edge: float, side: float, *, with_counts: bool
) -> list[Cell]:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return [
        Cell(
            x=round(edge + col * side, 2),
            y=round(edge + row * side, 2),
            fill=_css(_ramp(float(shares[row, col]))),
            ink="#fff" if shares[row, col] > _DARK else "#1a1a1a",
            text=str(count) if with_counts else "",
        )
        for (row, col), count in np.ndenumerate(counts)
    ]


def _ramp(share: float) -> Color:
    """The colour of a share in [0, 1]."""
    places = np.linspace(0, 1, len(_RAMP))
    bands = zip(*_RAMP, strict=True)
    red, green, blue = (round(float(np.interp(share, places, band))) for band in bands)
    return red, green, blue


def _css(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def shortened(text: str, most: int) -> str:
    """A text of at most `most` columns, cut with an ellipsis; wide letters take two."""
    if columns_of(text) <= most:
        return text
    kept = ""
    for letter in text:
        if columns_of(kept + letter) >= most:
            break
        kept += letter
    return f"{kept.rstrip()}…"


def columns_of(text: str) -> int:
    """How many columns a text takes where Chinese, Japanese and Korean letters take two."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return wide + sum(not unicodedata.combining(letter) for letter in text) if text else 0
