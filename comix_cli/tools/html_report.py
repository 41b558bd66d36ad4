"""The accuracy report as one HTML file to read, to print and to hand in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from jinja2 import Environment, PackageLoader, StrictUndefined

from comix_cli.accuracy.agreement import AgreementPicture
from comix_cli.accuracy.estimate import Z_95
from comix_cli.accuracy.report import CAUSES
from comix_cli.errors import counted
from comix_cli.files import write_atomic_text
from comix_cli.tools.html_pictures import error_map, matrix_picture

DASH = "–"
_THIN = "\u202f"  # a narrow space that no line breaks at, between groups of three digits
_TEMPLATE = "report.html.j2"
# Columns of the confusion matrix that are easily read, and what they take of a page of paper; the
# sizes are those of report.css, in millimetres.
_COLUMNS = 12
_PAPER_MM, _DIGIT_MM, _PADDING_MM = 135.0, 1.5, 2.5
_SQUARE_METRES = 10_000.0  # of a hectare
_BY_ERRORS = f"{Z_95} standard errors"
# What a cluster of the bootstrap is, where it is one pixel or was drawn by itself.
_SINGLE = ("points", "samples")


def write_html(document: Mapping[str, Any], agreement: AgreementPicture | None, path: Path) -> None:
    """Write an accuracy report as one HTML file that needs no other file and no network.

    Args:
        document: The report (version 3, see `accuracy/report.schema.json`).
        agreement: Where the map is right and wrong; None for a report without that picture.
        path: The file; an older one is replaced.

    Raises:
        OutputError: It cannot be written.
    """
    text = render_html(document, agreement)
    # A path whose bytes are no UTF-8 arrives with lone surrogates, which no file can hold.
    write_atomic_text(path, text.encode("utf-8", "replace").decode("utf-8"))


def render_html(document: Mapping[str, Any], agreement: AgreementPicture | None) -> str:
    """The report as HTML text; the same document gives the same text."""
    area = document["area_weighted"]
    matrix = document["confusion_matrix"]
    truth = document["provenance"]["ground_truth"]
    template = environment().get_template(_TEMPLATE)
    return template.render(
        report=document,
        truth=truth,
        map_name=file_name(document["provenance"]["map"]["path"]),
        matrix=matrix_picture(matrix),
        column_blocks=column_blocks(matrix["counts"]),
        error_map=None if agreement is None else error_map(agreement),
        how_counted=how_counted(document["intervals"]),
        rule=pixel_rule(truth),
        left_out=CAUSES,
        area=area,
        **({} if area is None else _of_area(area, document["intervals"]["unit"])),
    )


def _of_area(area: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """What the template needs besides the area-weighted figures themselves."""
    return {
        "decimals": hectare_decimals(area["map_area_m2"]),
        "by_errors": area["intervals"] == _BY_ERRORS,
        "how_weighted": how_weighted(area, unit),
    }


@cache
def environment() -> Environment:
    """The templates of all reports, and what they may use.

    Names and paths are text of strangers: everything that is filled in is escaped.
    """
    found = Environment(
        loader=PackageLoader("comix_cli", "tools"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (percent, interval, decimal, whole, hectares, area_interval, day, file_name)
    found.filters.update({each.__name__: each for each in filters})
    found.tests["defined_figure"] = _defined
    return found


def _defined(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def percent(value: float | None) -> str:
    """A share in [0, 1] as a percentage without its sign; a dash where it is undefined."""
    return f"{100 * value:.2f}" if _defined(value) else DASH


def interval(pair: Sequence[float] | None, *, share: bool = True) -> str:
    """An interval of shares as percentages, or of other numbers as they are."""
    if pair is None:
        return DASH
    shown = percent if share else decimal
    return f"{shown(pair[0])} to {shown(pair[1])}"


def decimal(value: float | None) -> str:
    """A number to four digits; a dash where it is undefined."""
    return f"{value:.4f}" if _defined(value) else DASH


def whole(value: int | None) -> str:
    """A count in groups of three digits; a dash where it is undefined."""
    return DASH if value is None else f"{value:,}".replace(",", _THIN)


def hectares(square_metres: float | None, decimals: int) -> str:
    """An area in hectares; a dash where it is undefined."""
    if not _defined(square_metres):
        return DASH
    return f"{square_metres / _SQUARE_METRES:,.{decimals}f}".replace(",", _THIN)


def hectare_decimals(largest_m2: float | None) -> int:
    """Decimals that show the largest area, in hectares, to five digits or more; at most six."""
    if not _defined(largest_m2) or largest_m2 <= 0:
        return 2
    return min(6, max(0, 4 - math.floor(math.log10(largest_m2 / _SQUARE_METRES))))


def area_interval(estimate: Mapping[str, Any], decimals: int, *, by_errors: bool) -> str:
    """What follows an estimated area: half of its interval, or both ends if the halves differ."""
    pair, error = estimate["interval_95"], estimate["standard_error"]
    if pair is None:
        return DASH
    if by_errors and error is not None:
        return f"± {hectares(Z_95 * error, decimals)}"
    return f"{hectares(pair[0], decimals)} to {hectares(pair[1], decimals)}"


def day(stamp: str) -> str:
    """An ISO 8601 time in UTC as people write it."""
    return stamp.replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")


def column_blocks(counts: Sequence[Sequence[int]]) -> list[range]:
    """Columns of a matrix in blocks of about the same size, each of which fits on paper."""
    digits = len(whole(max((max(row) for row in counts), default=0)))
    most = min(_COLUMNS, int(_PAPER_MM / (_DIGIT_MM * digits + _PADDING_MM)))
    blocks = max(1, -(-len(counts) // most))
    edges = [len(counts) * i // blocks for i in range(blocks + 1)]
    return [range(first, end) for first, end in pairwise(edges)]


def how_counted(intervals: Mapping[str, Any]) -> str:
    """How the intervals of the counted figures came about, and what they take as the sample."""
    unit, clusters = intervals["unit"], intervals["clusters"]
    one = "block" if unit.startswith("blocks") else unit.removesuffix("s")
    if clusters < 2:
        return (
            f"There are no intervals: they need two {unit} or more with compared pixels, and there "
            f"{'is' if clusters == 1 else 'are'} {counted(clusters, one)}."
        )
    drawn = (
        f"The {100 * intervals['level']:g} % intervals come from a bootstrap: of the "
        f"{whole(clusters)} {unit} as many were drawn with replacement, "
        f"{whole(intervals['replicates'])} times, every figure was computed anew, and the middle "
        f"{100 * intervals['level']:g} % of what came out is the interval (seed "
        f"{intervals['seed']})."
    )
    if unit in _SINGLE:
        return f"{drawn} Each {one} is taken to be independent of the others."
    return (
        f"{drawn} Pixels of one {one} resemble each other and are not independent, so whole "
        f"{one}s were drawn and never single pixels."
    )


def how_weighted(area: Mapping[str, Any], unit: str) -> str:
    """How the area-weighted figures came about, and what they presume."""
    strata = (
        "the classes of the map are the strata"
        if area["strata"] == "map classes"
        else "the strata are those of the sample design"
    )
    text = (
        f"Estimators of {area['estimator']}; {strata}. Each stratum counts for the area that it "
        "has in the map, however many reference pixels lie in it. The figures hold for the whole "
        "map as far as the reference was drawn at random within each stratum."
    )
    if area["intervals"] != _BY_ERRORS:
        return f"{text} Intervals: {area['intervals']}, as of the counted figures."
    text = f"{text} Intervals are the estimate ± {_BY_ERRORS}"
    if unit in _SINGLE:
        return f"{text}."
    return (
        f"{text}, which take every pixel to be independent; neighbouring pixels are not, so the "
        "true intervals are wider."
    )


def pixel_rule(truth: Mapping[str, Any]) -> str:
    """Which pixels a feature of the reference claims."""
    if truth["kind"] == "raster":
        return "pixels of the reference raster that have a class"
    if truth["all_touched"]:
        return "every pixel that a feature touches"
    if truth["min_coverage"] is not None:
        return f"pixels that a polygon covers to at least {100 * truth['min_coverage']:g} %"
    if truth["kind"] == "points":
        return "the pixel that a point lies in"
    return "pixels whose centre a feature covers"


def file_name(path: str) -> str:
    """The last part of a path or GDAL name; all of it where there is no such part."""
    return path.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or path
