"""Vector ground truth as it arrives: any CRS or none, invalid geometries, classes of any type."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.errors import LabelError
from comix_cli.progress import Progress
from comix_cli.scene.class_field import choose_field, class_codes
from comix_cli.scene.grid import Grid
from comix_cli.scene.one_by_one import overlaps, without_pixel
from comix_cli.scene.pixel_rule import CENTRES, PixelRule
from comix_cli.scene.rasterize import Burnt, burn
from comix_cli.scene.vector import (
    POLYGONAL,
    Words,
    misses,
    read_frame,
    reproject,
    source_crs,
    touching,
    valid_parts,
)
from comix_cli.scene.windows import Window

_WORDS = Words("ground truth", layer="--layer", crs="--gt-crs")
RASTER = "raster"
_KINDS = {
    "polygons": POLYGONAL,
    "points": (shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT),
    "lines": (
        shapely.GeometryType.LINESTRING,
        shapely.GeometryType.LINEARRING,
        shapely.GeometryType.MULTILINESTRING,
    ),
}


class Reference(Protocol):
    """Ground truth of any kind, on pixels.

    Attributes:
        path: The file.
        field: The attribute that holds the class; of a raster '' (it has but one).
        classes: `(code, name)` of every class, ascending by code.
        integer_field: True where codes are the file's own numbers.
        kind: `polygons`, `lines`, `points`, `mixed`, or `raster`.
        source_crs: The CRS of the file, or the one assumed for it.
    """

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def field(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> tuple[tuple[int, str], ...]: ...  # noqa: D102
    @property
    def integer_field(self) -> bool: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def source_crs(self) -> CRS: ...  # noqa: D102

    def burn(
        self,
        grid: Grid,
        window: Window | None = None,
        *,
        rule: PixelRule = CENTRES,
        codes: Mapping[int, int] | None = None,
    ) -> Burnt:
        """What a window of a grid holds; see `scene/rasterize.py: burn`."""
        ...

    def boxes(self, grid: Grid) -> NDArray[np.float64]:
        """Left, bottom, right, top of its parts, in the CRS of a grid, `(n, 4)`."""
        ...

    def described(self) -> dict[str, Any]:
        """What became of its features, for the record."""
        ...

    def class_of_feature(self) -> dict[int, str]:
        """The name of the class of each feature; empty where there are no features."""
        ...

    def overlaps(
        self,
        grid: Grid,
        window: Window,
        disputed: NDArray[np.bool_],
        *,
        rule: PixelRule,
        codes: Mapping[int, int],
    ) -> Mapping[tuple[int, int], int]:
        """The disputed pixels that pairs of features share; see `scene/one_by_one.py: overlaps`."""
        ...

    def without_pixel(self, grid: Grid, seen: Collection[int], rule: PixelRule) -> int:
        """Features that take no pixel of a grid; see `scene/one_by_one.py: without_pixel`."""
        ...

    def pixels_beyond(self, grid: Grid, progress: Progress) -> tuple[int, bool]:
        """How many pixels of a grid it would cover beyond its extent, and whether exactly so."""
        ...


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

    @cached_property
    def kind(self) -> str:
        """What the geometries are: `polygons`, `lines`, `points`, or `mixed`."""
        kinds = shapely.get_type_id(self.geometries)
        for name, ids in _KINDS.items():
            if np.isin(kinds, ids).all():
                return name
        return "mixed"

    def burn(
        self,
        grid: Grid,
        window: Window | None = None,
        *,
        rule: PixelRule = CENTRES,
        codes: Mapping[int, int] | None = None,
    ) -> Burnt:
        """What a window of a grid holds; see `scene/rasterize.py: burn`."""
        return burn(self, grid, window, rule=rule, codes=codes)

    def boxes(self, grid: Grid) -> NDArray[np.float64]:  # noqa: ARG002 - the CRS is the grid's
        """Left, bottom, right, top of every geometry, `(n, 4)`."""
        return np.asarray(shapely.bounds(self.geometries), np.float64)

    def described(self) -> dict[str, Any]:
        """What became of its features, for the record."""
        return {
            "features": len(np.unique(self.features)),
            "repaired": self.repaired,
            "features_outside": self.outside,
            "features_without_class": self.dropped_null,
        }

    def class_of_feature(self) -> dict[int, str]:
        """The name of the class of each feature."""
        names = dict(self.classes)
        pairs = zip(self.features.tolist(), self.codes.tolist(), strict=True)
        return {feature: names[code] for feature, code in pairs}

    def overlaps(
        self,
        grid: Grid,
        window: Window,
        disputed: NDArray[np.bool_],
        *,
        rule: PixelRule,
        codes: Mapping[int, int],
    ) -> Mapping[tuple[int, int], int]:
        """The disputed pixels that pairs of features share; see `scene/one_by_one.py: overlaps`."""
        return overlaps(self, grid, window, disputed, rule=rule, codes=codes)

    def without_pixel(self, grid: Grid, seen: Collection[int], rule: PixelRule) -> int:
        """Features that take no pixel of a grid; see `scene/one_by_one.py: without_pixel`."""
        return without_pixel(self, grid, seen, rule)

    def pixels_beyond(
        self,
        grid: Grid,
        progress: Progress,  # noqa: ARG002 - it takes no time
    ) -> tuple[int, bool]:
        """About how many pixels of a grid it would cover beyond its extent; never exactly.

        By the area of polygons, by the length of lines, and one for each point.
        """
        beyond = shapely.difference(self.geometries, shapely.box(*grid.bounds))
        kinds, pixel = shapely.get_dimensions(self.geometries), abs(grid.transform.determinant)
        area = shapely.area(beyond[kinds == 2]).sum() / pixel
        length = shapely.length(beyond[kinds == 1]).sum() / math.sqrt(pixel)
        points = np.count_nonzero(~shapely.is_empty(beyond[kinds == 0]))
        return round(float(area + length)) + int(points), False


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
