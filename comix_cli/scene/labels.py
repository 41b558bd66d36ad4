"""Vector ground truth as it arrives: any CRS or none, invalid geometries, classes of any type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.errors import LabelError
from comix_cli.scene.class_field import choose_field, class_codes
from comix_cli.scene.grid import Grid
from comix_cli.scene.vector import (
    Words,
    misses,
    read_frame,
    reproject,
    source_crs,
    touching,
    valid_parts,
)

_WORDS = Words("ground truth", layer="--layer", crs="--gt-crs")


@dataclass(frozen=True)
class GroundTruth:
    """Labelled geometries on the ground of a grid.

    Attributes:
        path: The file.
        field: The attribute that holds the class.
        crs: The CRS of the geometries here, which is the grid's.
        classes: `(code, name)` of every class in the file, ascending by code, whether or not a
            geometry of it lies on the grid.
        geometries: Single-part shapely geometries, on the grid and beyond it, `(n,)`.
        codes: Their class codes, `(n,)` int32, above 0.
        features: Which feature of the file (0-based) each of them is a part of, `(n,)` int64.
        repaired: Features whose geometry was invalid and has been repaired.
        dropped_null: Features without geometry or without class (null, empty, 0 or negative).
        outside: Features that miss the grid wholly.
        warnings: What the user should know, one line each.
        integer_field: True where codes are the field's own numbers.
        source_crs: The CRS of the file, or the one assumed for it.
    """

    path: str
    field: str
    crs: CRS
    classes: tuple[tuple[int, str], ...]
    geometries: NDArray[Any]
    codes: NDArray[np.int32]
    features: NDArray[np.int64]
    repaired: int
    dropped_null: int
    outside: int
    warnings: tuple[str, ...]
    integer_field: bool
    source_crs: CRS

    @cached_property
    def tree(self) -> shapely.STRtree:
        """A spatial index over `geometries`, built when first asked for."""
        return shapely.STRtree(self.geometries)


def read_ground_truth(
    path: str | Path,
    field: str | None,
    grid: Grid,
    *,
    gt_crs: str | None = None,
    layer: str | None = None,
) -> GroundTruth:
    """Read vector ground truth and bring it into the CRS of a grid.

    Args:
        path: Any vector file that GDAL reads.
        field: The attribute that holds the class. None takes the only attribute, or else one that
            is called class, label or the like. Whole numbers are codes themselves; text is
            stripped, sorted naturally and numbered from 1.
        grid: The grid that the labels are for.
        gt_crs: The CRS of a file that carries none; None assumes the grid's, with a warning.
        layer: The layer of a file with several.

    Raises:
        LabelError: Missing, not a vector, no such layer or field, no usable class, or nothing
            that touches the grid.
        UsageError: `gt_crs` is no CRS.
    """
    name = str(path)
    frame = read_frame(name, layer, _WORDS)
    chosen = choose_field(name, [str(c) for c in frame.columns if c != frame.geometry.name], field)
    coded = class_codes(name, chosen, frame[chosen])
    crs, warnings = source_crs(name, frame, gt_crs, grid, _WORDS)
    shapes = shapely.force_2d(np.asarray(frame.geometry.array, dtype=object))
    usable = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes)) & (coded.codes > 0)
    if not usable.any():
        raise LabelError(f"no feature has both a geometry and a class in '{chosen}'", path=name)
    numbers = np.flatnonzero(usable)
    invalid = ~np.asarray(shapely.is_valid(shapes[usable]))
    repaired, part_of = valid_parts(shapes[usable])
    parts = reproject(repaired, crs, grid.crs)
    here = touching(parts, grid)
    if not here.any():
        raise misses(name, parts, grid, _WORDS)
    placed = np.isfinite(shapely.bounds(parts)).all(axis=1)
    features = numbers[part_of[placed]]
    return GroundTruth(
        path=name,
        field=chosen,
        crs=grid.crs,
        classes=coded.classes,
        geometries=parts[placed],
        codes=coded.codes[features],
        features=features,
        repaired=int(invalid.sum()),
        dropped_null=len(shapes) - len(numbers),
        outside=len(numbers) - len(np.unique(part_of[here])),
        warnings=warnings,
        integer_field=coded.integer_field,
        source_crs=crs,
    )
