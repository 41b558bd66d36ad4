"""A sample that was drawn from a map by strata, as `comix sample` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from comix_cli.errors import LabelError
from comix_cli.scene.grid import Grid
from comix_cli.scene.vector import Words, read_frame, reproject, source_crs
from comix_cli.scene.windows import Window

_WORDS = Words("sample", layer="--layer", crs="--gt-crs")
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
        outside: Points that lie beyond the map.
    """

    path: str
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    strata: NDArray[np.int64]
    names: tuple[str, ...]
    stratum_pixels: NDArray[np.int64]
    outside: int

    def within(self, window: Window) -> NDArray[np.int32]:
        """`(H, W)`: the number of the point drawn there, from 0; -1 elsewhere."""
        drawn = np.full(window.shape, -1, np.int32)
        rows, cols = self.rows - window.row, self.cols - window.col
        inside = (rows >= 0) & (rows < window.height) & (cols >= 0) & (cols < window.width)
        here = np.flatnonzero(inside)
        drawn[rows[here], cols[here]] = here
        return drawn


def read_design(path: str, grid: Grid, *, layer: str | None = None) -> SampleDesign:
    """Read a stratified sample of points.

    Args:
        path: A vector file of points with the columns `stratum` and `stratum_pixels`.
        grid: The map's grid.
        layer: The layer of a file with several.

    Raises:
        LabelError: Missing, no points, columns that are missing or contradict each other, or no
            point on the map.
    """
    frame = read_frame(path, layer, _WORDS)
    _check_columns(path, frame)
    shapes = np.asarray(frame.geometry.array, dtype=object)
    crs, _ = source_crs(path, frame, None, grid, _WORDS)
    placed = reproject(shapes, crs, grid.crs)
    to_pixels = ~grid.transform
    cols, rows = to_pixels * (shapely.get_x(placed), shapely.get_y(placed))
    inside = (rows >= 0) & (rows < grid.height) & (cols >= 0) & (cols < grid.width)
    if not inside.any():
        raise LabelError("no point of the sample lies on the map", path=path, remedy=_REMEDY)
    names, strata = np.unique(frame["stratum"].to_numpy(np.int64), return_inverse=True)
    sizes = frame["stratum_pixels"].to_numpy(np.int64)
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
    )


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
