"""The report of `comix sharpen` as one HTML page that explains its figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comix_cli.errors import as_ranges, metres
from comix_cli.scene.grid import ground_size_m
from comix_cli.tools.html_report import environment, file_name
from comix_cli.tools.sharpen_document import SHIFTED
from comix_cli.tools.sharpen_figures import response_picture, spread_picture
from comix_cli.tools.sharpen_pictures import CUT_SIDE, Side
from comix_cli.tools.sharpen_words import (
    CONSISTENCY,
    METHODS,
    NO_REFERENCE_FIGURES,
    REFERENCE_FIGURES,
    Figure,
)

_TEMPLATE = "sharpen.html.j2"
_UNITS = {"metre": "m", "degree": "°"}


def render(document: Mapping[str, Any], sides: Sequence[Side]) -> str:
    """The page; the same document and pictures give the same text."""
    unit = document["point_spread"]["unit"]
    template = environment().get_template(_TEMPLATE)
    return template.render(
        told=document,
        title=f"Sharpening of {file_name(document['inputs']['hsi'])}",
        method=METHODS[document["method"]],
        scenes=[_Scene.of(side) for side in sides],
        spread_picture=spread_picture(document),
        response_picture=response_picture(document["channels"]),
        tables=list(_tables(document)),
        consistency=CONSISTENCY,
        noisy=as_ranges(document["consistency"]["unexplained_bands"]),
        unit=_UNITS.get(unit, unit),
        shift=[round(part, 2) + 0.0 for part in _shift(document)],  # nothing is -0.00
        shifted=math.hypot(*_shift(document)) > SHIFTED,
        settings=list(_settings(document["options"])),
    )


def _settings(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Options that decide on the result or on how it is stored, as they were given."""
    if options["method"] == "mossfuse":
        minutes = options["budget"]["minutes"]
        most = "" if minutes is None else f", {minutes:g} minutes at most"
        yield "Learning", f"{options['budget']['steps']} steps{most}"
    yield "Seed", str(options["seed"])
    for name, key in (("HSI", "hsi_wavelengths"), ("X", "x_wavelengths")):
        yield f"Wavelengths of {name}", options[key] or "those of its file"
    if options["src_crs"]:
        yield "CRS that was assumed", options["src_crs"]
    pairs = [f"{key}={value}" for key, value in options["creation_options"].items()]
    if pairs:
        yield "Creation options", " ".join(pairs)


@dataclass(frozen=True)
class _Scene:
    """Pictures, and what is said below them."""

    side: Side
    size: str
    enlarged: bool

    @classmethod
    def of(cls, side: Side) -> _Scene:
        size = " × ".join(metres(length) for length in ground_size_m(side.grid))
        return cls(side, size, max(side.grid.shape) <= CUT_SIDE)


@dataclass(frozen=True)
class _Row:
    figure: Figure
    value: float | None


def _tables(document: Mapping[str, Any]) -> Iterator[tuple[str, list[_Row]]]:
    """Figures of quality under their headings, where there are any."""
    for title, key, figures in (
        ("Compared with the reference", "reference", REFERENCE_FIGURES),
        ("Without a reference", "no_reference", NO_REFERENCE_FIGURES),
    ):
        found = document[key]
        if found is not None:
            yield title, [_Row(figure, found[figure.key]) for figure in figures]
    differs = document["consistency"][CONSISTENCY.key]
    percent = None if differs is None else 100 * differs
    yield "Blurred to the pixels of the HSI", [_Row(CONSISTENCY, percent)]


def _shift(document: Mapping[str, Any]) -> tuple[float, float]:
    """How far the HSI lies off its place, across and down, in its own pixels."""
    spread, pixel, ratio = (document[key] for key in ("point_spread", "pixel_size", "ratio"))
    return (
        spread["shift_across"] / (pixel["width"] * ratio["across"]),
        spread["shift_down"] / (pixel["height"] * ratio["down"]),
    )
