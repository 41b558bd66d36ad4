"""From a map and ground truth to an accuracy report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from comix_cli.accuracy.confusion import confusion_matrix
from comix_cli.accuracy.report import report_document, to_csv_text, to_json_text
from comix_cli.errors import LabelError, UsageError
from comix_cli.files import write_atomic_text
from comix_cli.mapping.map_file import MapFile, open_map
from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import GroundTruth, read_ground_truth
from comix_cli.scene.legend import NO_CLASS, Legend
from comix_cli.scene.raster import checksum
from comix_cli.scene.rasterize import rasterize
from comix_cli.scene.windows import Window, tile_windows
from comix_cli.tools.inputs import TruthOptions
from comix_cli.tools.provenance import timestamp, versions

TILE = 1024
REPORT_SUFFIXES = (".json", ".csv")
# The tag in which `classify` leaves the field that the model was trained on.
FIELD_TAG = "COMIX_FIELD"


@dataclass(frozen=True)
class EvaluateOptions:
    """Everything `comix evaluate` can be told.

    Attributes:
        map_path: The map; any program may have made it.
        truth: The ground truth. Without a field, the one that the map's model was trained on.
    """

    map_path: Path
    truth: TruthOptions


def evaluate(options: EvaluateOptions, progress: Progress) -> dict[str, Any]:
    """Compare a map with ground truth; the report as one document (see `accuracy/report.py`).

    Raises:
        ComixError: An input cannot be used, or the two have no class in common.
    """
    with open_map(options.map_path) as map_file:
        truth = _read_truth(options.truth, map_file, progress)
        classes = _classes(map_file, truth, progress)
        comparison = _Comparison(map_file, truth, classes, options.truth.all_touched)
        comparison.run(progress)
    return report_document(
        comparison.matrix,
        [(entry.code, entry.name) for entry in classes],
        comparison.excluded,
        provenance=_provenance(options, truth),
    )


def write_report(document: dict[str, Any], path: Path) -> None:
    """Write a report as JSON or CSV, by the file's suffix.

    Raises:
        OutputError: The file cannot be written.
    """
    as_text = to_csv_text if path.suffix.lower() == ".csv" else to_json_text
    write_atomic_text(path, as_text(document))


def check_report_path(path: Path) -> None:
    """Refuse a report format that does not exist.

    Raises:
        UsageError: The suffix is neither .json nor .csv.
    """
    if path.suffix.lower() not in REPORT_SUFFIXES:
        raise UsageError(f"{path}: a report is written as {' or '.join(REPORT_SUFFIXES)}")


def _read_truth(options: TruthOptions, map_file: MapFile, progress: Progress) -> GroundTruth:
    field = options.field or map_file.tags.get(FIELD_TAG) or None
    truth = read_ground_truth(
        options.path, field, map_file.grid, gt_crs=options.crs, layer=options.layer
    )
    for warning in truth.warnings:
        progress.warn(warning)
    return truth


def _classes(map_file: MapFile, truth: GroundTruth, progress: Progress) -> Legend:
    """The classes of the report: the map's own, else every code that map or reference has.

    Raises:
        LabelError: Names cannot be matched, because the map has none, or have nothing in common.
    """
    if map_file.legend is None:
        if not truth.integer_field:
            raise LabelError(
                f"field '{truth.field}' holds names, but the map {map_file.path} has none",
                path=truth.path,
                remedy="give a field of integer codes with --field, or a map with class names",
            )
        codes = found_codes(map_file, progress) | {code for code, _ in truth.classes}
        return Legend.from_names((code, str(code)) for code in codes)
    if not reference_codes(truth, map_file.legend):
        raise LabelError(
            f"its classes ({', '.join(name for _, name in truth.classes)}) and the map's "
            f"({', '.join(_labels(map_file.legend, truth))}) have nothing in common",
            path=truth.path,
            remedy="name another field with --field",
        )
    return map_file.legend


def _labels(legend: Legend, truth: GroundTruth) -> tuple[str, ...]:
    return tuple(str(code) for code in legend.codes) if truth.integer_field else legend.names


def reference_codes(truth: GroundTruth, legend: Legend) -> dict[int, int]:
    """The map's code for each code of the ground truth that the map knows.

    Integer fields are compared with the map's codes, string fields with its names.
    """
    if truth.integer_field:
        return {code: code for code, _ in truth.classes if code in legend.codes}
    by_name = {entry.name: entry.code for entry in legend}
    return {code: by_name[name] for code, name in truth.classes if name in by_name}


def found_codes(map_file: MapFile, progress: Progress) -> set[int]:
    """Every class code that occurs in a map."""
    found: set[int] = set()
    tiles = tile_windows(map_file.grid.shape, TILE)
    with progress.task("reading the map", len(tiles)) as task:
        for tile in tiles:
            found |= set(np.unique(map_file.read(tile)).tolist())
            task.advance()
    return found - {NO_CLASS}


class _Comparison:
    """Counts pixels tile by tile: those compared into a matrix, those left out by cause.

    Attributes:
        matrix: `(n, n)` counts `[reference, predicted]`.
        excluded: Reference pixels left out: where the map has no data, outside the map, in polygons
            of different classes, of a class that the map does not know.
    """

    def __init__(
        self, map_file: MapFile, truth: GroundTruth, legend: Legend, all_touched: bool
    ) -> None:
        self._map, self._truth, self._all_touched = map_file, truth, all_touched
        self._legend = legend
        known = reference_codes(truth, legend)
        # Classes that the map does not know get a code beyond all of the map's.
        self._unmapped = max(legend.codes) + 1
        self._codes = {code: known.get(code, self._unmapped) for code, _ in truth.classes}
        self.matrix = np.zeros((len(legend), len(legend)), np.int64)
        self.excluded = dict.fromkeys(("nodata", "outside", "overlap", "unmapped_class"), 0)

    def run(self, progress: Progress) -> None:
        """Go through every tile that holds ground truth, inside the map and beyond it."""
        tiles = list(_tiles_with_truth(self._truth, self._map.grid))
        with progress.task("comparing", len(tiles)) as task:
            for tile in tiles:
                self._compare(*tile)
                task.advance()

    def _compare(self, row: int, col: int) -> None:
        """One tile, whose first pixel may lie outside the map."""
        grid = self._map.grid
        tile = replace(
            grid,
            transform=grid.transform * Affine.translation(col, row),
            width=TILE,
            height=TILE,
        )
        reference, overlap = rasterize(
            self._truth, tile, all_touched=self._all_touched, codes=self._codes
        )
        inside, window = _inside(row, col, grid)
        labelled = (reference != NO_CLASS) | overlap
        self.excluded["outside"] += int(labelled.sum() - labelled[inside].sum())
        self.excluded["overlap"] += int(overlap[inside].sum())
        if window is not None and labelled[inside].any():
            self._count(reference[inside], self._map.read(window))

    def _count(self, reference: NDArray[np.int32], predicted: NDArray[np.int32]) -> None:
        unmapped = reference == self._unmapped
        compared = (reference != NO_CLASS) & ~unmapped
        nodata = compared & (predicted == NO_CLASS)
        self.excluded["unmapped_class"] += int(unmapped.sum())
        self.excluded["nodata"] += int(nodata.sum())
        kept = compared & ~nodata
        self.matrix += confusion_matrix(reference[kept], predicted[kept], self._legend.codes)


def _inside(row: int, col: int, grid: Grid) -> tuple[tuple[slice, slice], Window | None]:
    """The part of a tile that lies inside a grid, as slices of the tile and as a window."""
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + TILE, grid.height), min(col + TILE, grid.width)
    if top >= bottom or left >= right:
        return (slice(0), slice(0)), None
    return (
        (slice(top - row, bottom - row), slice(left - col, right - col)),
        Window(top, left, bottom - top, right - left),
    )


def _tiles_with_truth(truth: GroundTruth, grid: Grid) -> Iterator[tuple[int, int]]:
    """First row and column of every tile that some geometry's box touches, in reading order."""
    inverse = ~grid.transform
    found: set[tuple[int, int]] = set()
    for left, bottom, right, top in shapely.bounds(truth.geometries):
        corners = [inverse * (x, y) for x in (left, right) for y in (bottom, top)]
        columns, rows = zip(*corners, strict=True)
        for i in range(math.floor(min(rows) / TILE), math.floor(max(rows) / TILE) + 1):
            for j in range(math.floor(min(columns) / TILE), math.floor(max(columns) / TILE) + 1):
                found.add((i, j))
    for i, j in sorted(found):
        yield i * TILE, j * TILE


def _provenance(options: EvaluateOptions, truth: GroundTruth) -> dict[str, Any]:
    return {
        "date": timestamp(),
        "versions": versions(),
        "map": {"path": str(options.map_path), "checksum": checksum(options.map_path)},
        "ground_truth": {
            "path": truth.path,
            "checksum": checksum(truth.path),
            "field": truth.field,
            "features": len(np.unique(truth.features)),
            "repaired": truth.repaired,
            "features_outside": truth.outside,
            "features_without_class": truth.dropped_null,
        },
    }
