"""A sample that was drawn from a map by strata, as `comix sample` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from comix_cli.errors import LabelError
from comix_cli.scene.grid import Grid
from comix_cli.scene.vector import Words, read_frame, reproject, source_crs
from comix_cli.scene.windows import Window
from comix_cli.tools.sample_file import LAYER

_WORDS = Words("sample", layer=None, crs="--gt-crs", usual_layer=LAYER)
_REMEDY = "give the file that 'comix sample' wrote, with all of its columns"


@dataclass(frozen=True)
class SampleDesign:
    """Which pixels of a map were drawn, and what each of them stands for.

    Attributes:
        path: The file.
        rows: Row of each pixel in the map, `(n,)`.
        cols: Its column, `(n,)`.
        strata: Number of its stratum, from 0, `(n,)`.
        names: What each stratum is called, `(strata,)`.
        stratum_pixels: Pixels of each stratum in the whole map, `(strata,)`.
        missing: Points that the file says were drawn and that it does not hold.
        outside: Points that lie beyond the map.
        warnings: What the user should know, one line each.
    """

    path: str
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    strata: NDArray[np.int64]
    names: tuple[str, ...]
    stratum_pixels: NDArray[np.int64]
    outside: int
    missing: int
    warnings: tuple[str, ...] = ()

    def within(self, window: Window) -> NDArray[np.int32]:
        """`(H, W)`: the number of the point drawn there, from 0; -1 elsewhere."""
        drawn = np.full(window.shape, -1, np.int32)
        rows, cols = self.rows - window.row, self.cols - window.col
        inside = (rows >= 0) & (rows < window.height) & (cols >= 0) & (cols < window.width)
        here = np.flatnonzero(inside)
        drawn[rows[here], cols[here]] = here
        return drawn


def read_design(
    path: str, grid: Grid, *, layer: str | None = None, crs: str | None = None
) -> SampleDesign:
    """Read a stratified sample of points.

    Args:
        path: A vector file of points with the columns `stratum` and `stratum_pixels`.
        grid: The map's grid.
        layer: The layer of a file with several; None for the one that 'comix sample' writes.
        crs: The CRS of a file that carries none; None assumes the grid's, with a warning.

    Raises:
        LabelError: Missing, no points, columns that are missing or contradict each other, two
            points in one pixel, or no point on the map.
        UsageError: `crs` is no CRS.
    """
    frame = read_frame(path, layer, _WORDS)
    _check_columns(path, frame)
    shapes = np.asarray(frame.geometry.array, dtype=object)
    source, warnings = source_crs(path, frame, crs, grid, _WORDS)
    placed = reproject(shapes, source, grid.crs)
    to_pixels = ~grid.transform
    cols, rows = to_pixels * (shapely.get_x(placed), shapely.get_y(placed))
    inside = (rows >= 0) & (rows < grid.height) & (cols >= 0) & (cols < grid.width)
    if not inside.any():
        raise LabelError(
            "no point of the sample lies on the map",
            path=path,
            remedy="check that it was drawn from this map, and its CRS (--gt-crs)",
        )
    _check_apart(path, frame, np.floor(rows), np.floor(cols), inside)
    names, strata = np.unique(_whole_numbers(path, frame, "stratum"), return_inverse=True)
    sizes = _whole_numbers(path, frame, "stratum_pixels")
    largest = np.zeros(len(names), np.int64)
    np.maximum.at(largest, strata, sizes)
    if (largest[strata] != sizes).any() or (sizes <= 0).any():
        raise LabelError(
            "'stratum_pixels' does not have one value above 0 for each stratum",
            path=path,
            remedy=_REMEDY,
        )
    return SampleDesign(
        path=path,
        rows=np.floor(rows[inside]).astype(np.int64),
        cols=np.floor(cols[inside]).astype(np.int64),
        strata=strata[inside],
        names=_names(frame, strata, names.tolist()),
        stratum_pixels=largest,
        outside=int((~inside).sum()),
        missing=_missing(frame, strata),
        warnings=warnings,
    )


def _missing(frame: Any, strata: NDArray[np.int64]) -> int:
    """How many points of the strata have been removed since they were drawn."""
    if "stratum_samples" not in frame.columns:
        return 0
    drawn = frame.groupby(strata)["stratum_samples"].max().fillna(0).sum()
    return max(0, int(drawn) - len(frame))


def _names(frame: Any, strata: NDArray[np.int64], numbers: list[int]) -> tuple[str, ...]:
    """The column `stratum_name` where there is one, else the numbers."""
    if "stratum_name" not in frame.columns:
        return tuple(f"stratum {number}" for number in numbers)
    named = frame["stratum_name"].astype(str).to_numpy()
    return tuple(str(named[np.argmax(strata == k)]) for k in range(len(numbers)))


def _check_columns(path: str, frame: Any) -> None:
    missing = [name for name in ("stratum", "stratum_pixels") if name not in frame.columns]
    if missing:
        raise LabelError(f"has no column '{missing[0]}'", path=path, remedy=_REMEDY)
    if (frame.geometry.geom_type != "Point").any():
        raise LabelError("holds something else than points", path=path, remedy=_REMEDY)
    for name in ("stratum", "stratum_pixels"):
        if frame[name].isna().any():
            raise LabelError(f"column '{name}' has empty rows", path=path, remedy=_REMEDY)


def _whole_numbers(path: str, frame: Any, name: str) -> NDArray[np.int64]:
    """A column of whole numbers, which may be written as text."""
    # By way of text, as dates and truth values would become numbers, too.
    numbers = pd.to_numeric(frame[name].astype(str), errors="coerce").to_numpy(np.float64)
    odd = np.flatnonzero(~np.isfinite(numbers) | (numbers != np.floor(numbers)))
    if len(odd):
        raise LabelError(
            f"column '{name}' holds '{frame[name].iloc[odd[0]]}', which is no whole number",
            path=path,
            remedy=_REMEDY,
        )
    whole: NDArray[np.int64] = numbers.astype(np.int64)
    return whole


def _check_apart(
    path: str,
    frame: Any,
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> None:
    """Refuse points that share a pixel: a sample without replacement has none."""
    places = pd.DataFrame({"row": rows, "col": cols})[inside]
    shared = places[places.duplicated(keep=False)]
    if shared.empty:
        return
    row, col = shared.iloc[0]
    together = shared.index[(shared == shared.iloc[0]).all(axis=1)]
    known = "sample_id" in frame.columns
    names = [str(frame["sample_id"].iloc[i] if known else i + 1) for i in together]
    raise LabelError(
        f"the points {' and '.join(names[:2])} ({'sample_id' if known else 'counted from 1'}) lie "
        f"in one pixel of the map (row {row:.0f}, column {col:.0f})",
        path=path,
        remedy="leave one out, and give the map that the sample was drawn from",
    )
