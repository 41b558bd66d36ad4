"""From a map and ground truth to an accuracy report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from comix_cli.accuracy.bootstrap import Contributions
from comix_cli.accuracy.confusion import confusion_matrix
from comix_cli.accuracy.report import Clustered, report_document, to_csv_text, to_json_text
from comix_cli.errors import RasterError, ThresholdError, UsageError
from comix_cli.files import write_atomic_text
from comix_cli.mapping.map_file import MapFile, open_map
from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import GroundTruth, read_ground_truth
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.raster import checksum
from comix_cli.scene.rasterize import rasterize, rasterize_features
from comix_cli.scene.windows import Window
from comix_cli.tools.class_names import read_class_map, reference_codes
from comix_cli.tools.inputs import TruthOptions, listed, tell_of_truth
from comix_cli.tools.provenance import timestamp, versions

TILE = 1024
# Of the bootstrap behind the intervals.
REPLICATES = 1000
SEED = 0
# Ground truth that reaches over more tiles is counted by area where the map has no pixels.
MOST_TILES = 20_000
# A raster with more codes than this is no class map.
MOST_CODES = 1000
REPORT_SUFFIXES = (".json", ".csv")
# The tag in which `classify` leaves the field that the model was trained on.
FIELD_TAG = "COMIX_FIELD"
# The checksum of the ground truth that the model was trained on.
TRUTH_TAG = "COMIX_TRUTH"
# What stands for classes that the map does not know, downwards; beyond every code of a map.
UNMAPPED = 2**31 - 1


@dataclass(frozen=True)
class EvaluateOptions:
    """Everything `comix evaluate` can be told.

    Attributes:
        map_path: Path or GDAL name of the map; any program may have made it.
        truth: The ground truth. Without a field, the one that the map's model was trained on.
        src_crs: The CRS of a map that carries none.
        class_map: A CSV of what the map calls the classes of the ground truth.
    """

    map_path: str
    truth: TruthOptions
    src_crs: str | None = None
    class_map: Path | None = None


def evaluate(options: EvaluateOptions, progress: Progress) -> dict[str, Any]:
    """Compare a map with ground truth; the report as one document (see `accuracy/report.py`).

    Raises:
        ComixError: An input cannot be used, or the two have no class in common.
    """
    renamed = read_class_map(options.class_map) if options.class_map else None
    with open_map(options.map_path, src_crs=options.src_crs) as map_file:
        truth = _read_truth(options.truth, map_file, progress)
        truth_sum = checksum(truth.path)  # once: the file may be large
        known = reference_codes(truth, map_file, renamed)
        comparison = _Comparison(map_file, truth, known, all_touched=options.truth.all_touched)
        comparison.run(progress)
        if truth_sum and truth_sum == map_file.tags.get(TRUTH_TAG):
            _warn_about_reuse(truth, progress)
    _warn_about_unmapped(truth, comparison, progress)
    codes, matrix = comparison.result()
    return report_document(
        matrix,
        [(code, comparison.name(code)) for code in codes],
        comparison.excluded,
        Clustered.of(comparison.contributions(), REPLICATES, SEED),
        provenance=_provenance(options, truth, truth_sum, comparison),
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
        raise UsageError(
            f"-o {path}: a report is written as {' or '.join(REPORT_SUFFIXES)}",
            remedy="give a file name that ends so",
        )


def check_threshold(document: Mapping[str, Any], least: float | None) -> None:
    """Refuse a map that is worse than what is asked for.

    Args:
        document: The report.
        least: The least overall accuracy, 0 to 1; None for any.

    Raises:
        ThresholdError: The overall accuracy is lower, or there is none.
    """
    if least is None:
        return
    found = document["overall_accuracy"]
    if found is None or found < least:
        reached = "undefined" if found is None else f"{100 * found:.2f} %"
        raise ThresholdError(
            f"overall accuracy is {reached}, and --min-oa wants {100 * least:.10g} %"
        )


def _read_truth(options: TruthOptions, map_file: MapFile, progress: Progress) -> GroundTruth:
    field = options.field or map_file.tags.get(FIELD_TAG) or None
    truth = read_ground_truth(
        options.path, field, map_file.grid, gt_crs=options.crs, layer=options.layer
    )
    tell_of_truth(truth, progress)
    return truth


class _Comparison:
    """Counts pixels tile by tile: those compared into a matrix, those left out by cause.

    Attributes:
        excluded: Reference pixels left out: where the map has no data, outside the map, in polygons
            of different classes, of a class that the map does not know.
        unmapped: Of the last, how many by the ground truth's class names.
        outside_estimated: Whether `outside` follows from areas and not from pixels.
    """

    def __init__(
        self, map_file: MapFile, truth: GroundTruth, known: Mapping[int, int], *, all_touched: bool
    ) -> None:
        self._map, self._truth, self._all_touched = map_file, truth, all_touched
        strangers = [code for code, _ in truth.classes if code not in known]
        names = dict(truth.classes)
        self._burnt = {**known, **{code: UNMAPPED - i for i, code in enumerate(strangers)}}
        self._strangers = {UNMAPPED - i: names[code] for i, code in enumerate(strangers)}
        self.unmapped = dict.fromkeys((names[code] for code in strangers), 0)
        self._names = {entry.code: entry.name for entry in map_file.legend or ()}
        self._codes = sorted(self._names or known.values())
        self._matrix = np.zeros((len(self._codes), len(self._codes)), np.int64)
        # Feature, reference code, predicted code and pixels, in columns, tile by tile.
        self._by_feature = [np.empty((4, 0), np.int64)]
        self.excluded = dict.fromkeys(("nodata", "outside", "overlap", "unmapped_class"), 0)
        self.outside_estimated = False

    def name(self, code: int) -> str:
        """What the map calls a code; the code itself where it has no name."""
        return self._names.get(code, str(code))

    def result(self) -> tuple[list[int], NDArray[np.int64]]:
        """The codes, ascending, and the counts `[reference, predicted]` in that order."""
        order = np.argsort(self._codes)
        return [self._codes[i] for i in order], self._matrix[np.ix_(order, order)]

    def contributions(self) -> Contributions:
        """What each feature of the ground truth adds to the matrix of `result`."""
        codes = np.array(self.result()[0], np.int64)
        features, reference, predicted, pixels = np.hstack(self._by_feature)
        return Contributions(
            cluster=np.unique(features, return_inverse=True)[1].reshape(-1),
            reference=np.searchsorted(codes, reference),
            predicted=np.searchsorted(codes, predicted),
            pixels=pixels,
            classes=len(codes),
        )

    def run(self, progress: Progress) -> None:
        """Go through every tile that holds ground truth, inside the map and beyond it."""
        ranges = _tile_ranges(self._truth, self._map.grid)
        sides = ranges[:, 2:] - ranges[:, :2] + 1
        if sides.prod(axis=1).sum() > MOST_TILES:
            self.outside_estimated = True
            self.excluded["outside"] = _pixels_outside(self._truth, self._map.grid)
            ranges = _clipped(ranges, self._map.grid)
        tiles = sorted({tile for each in ranges.tolist() for tile in _tiles(*each)})
        with progress.task("comparing", len(tiles)) as task:
            for row, col in tiles:
                self._compare(row * TILE, col * TILE)
                task.advance()

    def _compare(self, row: int, col: int) -> None:
        """One tile, whose first pixel may lie outside the map."""
        grid = self._map.grid
        corner = grid.transform * Affine.translation(col, row)
        tile = replace(grid, transform=corner, width=TILE, height=TILE)
        reference, overlap = rasterize(
            self._truth, tile, all_touched=self._all_touched, codes=self._burnt
        )
        inside, window = _inside(row, col, grid)
        labelled = (reference != NO_CLASS) | overlap
        if not self.outside_estimated:
            self.excluded["outside"] += int(labelled.sum() - labelled[inside].sum())
        self.excluded["overlap"] += int(overlap[inside].sum())
        if window is not None and labelled[inside].any():
            features = rasterize_features(
                self._truth, tile, all_touched=self._all_touched, codes=self._burnt
            )
            self._count(reference[inside], self._map.read(window), features[inside])

    def _count(
        self,
        reference: NDArray[np.int32],
        predicted: NDArray[np.int32],
        features: NDArray[np.int32],
    ) -> None:
        unmapped = reference > UNMAPPED - len(self._strangers)
        compared = (reference != NO_CLASS) & ~unmapped
        for code, count in zip(*np.unique(reference[unmapped], return_counts=True), strict=True):
            self.unmapped[self._strangers[int(code)]] += int(count)
        nodata = compared & (predicted == NO_CLASS)
        self.excluded["unmapped_class"] += int(unmapped.sum())
        self.excluded["nodata"] += int(nodata.sum())
        kept = compared & ~nodata
        self._make_room(np.unique(predicted[kept]))
        self._matrix += confusion_matrix(reference[kept], predicted[kept], self._codes)
        self._remember(features[kept], reference[kept], predicted[kept])

    def _remember(
        self,
        features: NDArray[np.int32],
        reference: NDArray[np.int32],
        predicted: NDArray[np.int32],
    ) -> None:
        """How often each pair of codes occurs in each feature."""
        codes, n = np.sort(self._codes), len(self._codes)
        # One number for the three of them: NumPy finds what is unique of numbers much faster.
        keys = features.astype(np.int64) * n + np.searchsorted(codes, reference)
        keys = keys * n + np.searchsorted(codes, predicted)
        found, pixels = np.unique(keys, return_counts=True)
        pairs, feature = found % (n * n), found // (n * n)
        self._by_feature.append(np.stack([feature, codes[pairs // n], codes[pairs % n], pixels]))

    def _make_room(self, predicted: NDArray[np.int32]) -> None:
        """A code that the map does not name is an error like any other, so it needs its place."""
        new = np.setdiff1d(predicted, self._codes).tolist()
        if len(self._codes) + len(new) > MOST_CODES:
            raise RasterError(
                f"holds more than {MOST_CODES} different codes",
                path=self._map.path,
                remedy="give a classified map",
            )
        self._codes += new
        self._matrix = np.pad(self._matrix, (0, len(new)))


def _warn_about_unmapped(truth: GroundTruth, comparison: _Comparison, progress: Progress) -> None:
    """Name the classes that the map lacks, where pixels of them are left out."""
    lost = {name: count for name, count in comparison.unmapped.items() if count}
    if lost:
        compared = int(comparison.result()[1].sum())
        share = sum(lost.values()) / (sum(lost.values()) + compared)
        progress.warn(
            f"{truth.path}: the map has no class {listed(list(lost))}: {sum(lost.values())} pixels "
            f"({100 * share:.0f} %) are left out; is '{truth.field}' the right field?"
        )


def _warn_about_reuse(truth: GroundTruth, progress: Progress) -> None:
    """Ground truth that a model has learnt from says nothing of how good its map is."""
    progress.warn(
        f"{truth.path}: the model was trained on this very file, so accuracy on it tells "
        "nothing of other places; compare with polygons that training has not seen"
    )


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


def _tile_ranges(truth: GroundTruth, grid: Grid) -> NDArray[np.int64]:
    """First row, first column, last row and last column of the tiles under each geometry's box."""
    left, bottom, right, top = shapely.bounds(truth.geometries).T
    corners = [~grid.transform * (x, y) for x in (left, right) for y in (bottom, top)]
    columns, rows = (np.stack(axis) // TILE for axis in zip(*corners, strict=True))
    edges = (rows.min(axis=0), columns.min(axis=0), rows.max(axis=0), columns.max(axis=0))
    return np.stack(edges, axis=1).astype(np.int64)


def _clipped(ranges: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
    """The tiles of each range that hold pixels of the grid; ranges without any are left out."""
    last = [(grid.height - 1) // TILE, (grid.width - 1) // TILE]
    clipped = np.hstack([np.maximum(ranges[:, :2], 0), np.minimum(ranges[:, 2:], last)])
    found: NDArray[np.int64] = clipped[(clipped[:, :2] <= clipped[:, 2:]).all(axis=1)]
    return found


def _tiles(top: int, left: int, bottom: int, right: int) -> Iterator[tuple[int, int]]:
    return product(range(top, bottom + 1), range(left, right + 1))


def _pixels_outside(truth: GroundTruth, grid: Grid) -> int:
    """How many pixels the ground truth would cover beyond the grid, by area."""
    beyond = shapely.difference(truth.geometries, shapely.box(*grid.bounds))
    return round(float(shapely.area(beyond).sum()) / abs(grid.transform.determinant))


def _provenance(
    options: EvaluateOptions, truth: GroundTruth, truth_sum: str | None, comparison: _Comparison
) -> dict[str, Any]:
    return {
        "date": timestamp(),
        "versions": versions(),
        "map": {"path": options.map_path, "checksum": checksum(options.map_path)},
        "ground_truth": {
            "path": truth.path,
            "checksum": truth_sum,
            "field": truth.field,
            "features": len(np.unique(truth.features)),
            "repaired": truth.repaired,
            "features_outside": truth.outside,
            "features_without_class": truth.dropped_null,
            "unmapped_classes": comparison.unmapped,
            "outside_estimated_by_area": comparison.outside_estimated,
        },
    }
