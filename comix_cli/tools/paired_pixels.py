"""The pixels behind accuracy reports, counted again by which of two maps is right there.

A report holds no pixels. The maps and the ground truth that it names are opened again, found by
their checksums, and each map's own figures have to come out as its report has them: only then are
the pixels of two maps those that the reports are about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comix_cli.accuracy.mcnemar import PairedCounts
from comix_cli.errors import ComixError, InputError
from comix_cli.mapping.map_file import MapFile, open_map, read_map
from comix_cli.progress import Progress, Silent
from comix_cli.scene.checksum import checksum
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import Reference
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.windows import Window
from comix_cli.tools.class_names import reference_codes
from comix_cli.tools.map_totals import count_map
from comix_cli.tools.reference import TruthOptions, open_reference
from comix_cli.tools.reference_tiles import ReferenceTile, ReferenceTiles
from comix_cli.tools.report_file import FileRecord, Report, TruthRecord
from comix_cli.tools.sample_design import SampleDesign, read_design

Pair = tuple[Report, Report]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class _Place:
    """Where the files of a report lie now, and the grid of its map."""

    report: Report
    map_path: str
    grid: Grid
    truth_path: str
    truth: TruthRecord
    design_path: str | None


@dataclass(frozen=True)
class _Seen:
    """A map on the labelled pixels of a tile, `(n,)`: where it can be compared, and is right."""

    compared: Flags
    right: Flags


def paired_counts(pairs: Sequence[Pair], progress: Progress) -> list[PairedCounts | str]:
    """For each pair of reports the pixels of both, or the reason why they cannot be counted.

    The ground truth is gone through once for all maps that share it and lie on one grid.
    """
    places, problems = _places(pairs, progress)
    found = [_obstacle(pair, places, problems) for pair in pairs]
    counts: dict[int, PairedCounts | str] = {k: why for k, why in enumerate(found) if why}
    while left := [k for k in range(len(pairs)) if k not in counts]:
        like = places[pairs[left[0]][0].path]
        together = [k for k in left if _is_like(places[pairs[k][0].path], like)]
        outcomes = _count([pairs[k] for k in together], places, progress)
        counts.update(zip(together, outcomes, strict=True))
    return [counts[k] for k in range(len(pairs))]


def _places(pairs: Sequence[Pair], progress: Progress) -> tuple[dict[str, _Place], dict[str, str]]:
    """By the path of each report: where its files are; or why they cannot be used."""
    reports = {report.path: report for pair in pairs for report in pair}
    finder, places, problems = _Finder(), dict[str, _Place](), dict[str, str]()
    with progress.task("checksums", len(reports)) as task:
        for path, report in reports.items():
            try:
                places[path] = _place(report, finder)
            except ComixError as error:
                problems[path] = _reason(error)
            task.advance()
    return places, problems


def _place(report: Report, finder: _Finder) -> _Place:
    if report.map is None or report.truth is None:
        raise InputError("does not say which map and ground truth it is of", path=report.path)
    map_path = finder.find(report.map, report.path)
    truth_path = finder.find(report.truth.file, report.path)
    design_path = None if report.design is None else finder.find(report.design, report.path)
    grid = read_map(map_path, src_crs=report.src_crs).grid
    return _Place(report, map_path, grid, truth_path, report.truth, design_path)


class _Finder:
    """Finds the files that reports name; sums up each of them once."""

    def __init__(self) -> None:
        self._sums: dict[str, str | None] = {}

    def find(self, record: FileRecord, report: str) -> str:
        """The path of a file that a report names; see `FileRecord.candidates`.

        Raises:
            InputError: It is not there, or has other content than then.
        """
        if record.checksum is None:  # GDAL's name of what is no local file
            return record.path
        there = [str(path) for path in record.candidates(report) if path.is_file()]
        for path in there:
            if self._sum(path) == record.checksum:
                return path
        if there:
            raise InputError(f"has changed since {report} was written", path=record.path)
        raise InputError(f"is not there, and {report} is about it", path=record.path)

    def _sum(self, path: str) -> str | None:
        if path not in self._sums:
            self._sums[path] = checksum(path)
        return self._sums[path]


def _reason(error: ComixError) -> str:
    """An error without its remedy, which speaks of options that are not there now."""
    return error.cause if error.path is None else f"{error.path}: {error.cause}"


def _obstacle(pair: Pair, places: Mapping[str, _Place], problems: Mapping[str, str]) -> str | None:
    """Why two reports cannot be about the same pixels; None where they may be."""
    for report in pair:
        if report.path in problems:
            return problems[report.path]
    first, second = (places[report.path] for report in pair)
    between = f"{first.report.path} and {second.report.path}"
    if not _same_truth(first, second):
        return f"{between} are not of the same ground truth, field, rule and sample"
    if not first.grid.same_as(second.grid):
        return f"the maps of {between} are not on the same grid"
    return None


def _same_truth(one: _Place, other: _Place) -> bool:
    """Whether the content of the ground truth and what is read of it are the same."""
    return (
        _same_file(one.truth.file, other.truth.file)
        and one.truth.agrees_with(other.truth)
        and _same_file(one.report.design, other.report.design)
    )


def _same_file(one: FileRecord | None, other: FileRecord | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.checksum is None:
        return one == other
    return one.checksum == other.checksum


def _is_like(one: _Place, other: _Place) -> bool:
    return _same_truth(one, other) and one.grid.same_as(other.grid)


def _count(
    pairs: Sequence[Pair], places: Mapping[str, _Place], progress: Progress
) -> Sequence[PairedCounts | str]:
    """Count pairs whose maps share their ground truth and their grid."""
    paths = dict.fromkeys(report.path for pair in pairs for report in pair)
    walk = _Walk({path: places[path] for path in paths}, [(a.path, b.path) for a, b in pairs])
    try:
        walk.run(progress)
    except ComixError as error:
        return [_reason(error)] * len(pairs)
    return walk.result()


class _Walk:
    """One walk over the ground truth of several maps."""

    def __init__(self, sides: Mapping[str, _Place], pairs: Sequence[tuple[str, str]]) -> None:
        self._sides, self._pairs = sides, pairs
        self._tallies = [_Tally() for _ in pairs]
        # Pixels and right pixels of each map alone.
        self._alone = {path: np.zeros(2, np.int64) for path in sides}

    def run(self, progress: Progress) -> None:
        """Go through every tile that holds ground truth.

        Raises:
            ComixError: A file cannot be read.
        """
        any_side = next(iter(self._sides.values()))
        with ExitStack() as stack:
            maps = {
                path: stack.enter_context(open_map(side.map_path, src_crs=side.report.src_crs))
                for path, side in self._sides.items()
            }
            options = _truth_options(any_side)
            # What there is to say of the ground truth has been said when the reports were made.
            reference = stack.enter_context(open_reference(options, any_side.grid, Silent()))
            known = {
                path: reference_codes(
                    reference,
                    map_file,
                    count_map(map_file, progress).pixels,
                    self._sides[path].report.class_map,
                )
                for path, map_file in maps.items()
            }
            design = _design(any_side)
            wrong = {path: design is not None or m.legend is None for path, m in maps.items()}
            numbers, codes = _common_codes(reference, known, wrong)
            tiles = ReferenceTiles(reference, any_side.grid, numbers, options.rule, beyond=False)
            for tile in tiles.walk(progress):
                self._add(tile.window, *_labels(tile, design), maps, codes)

    def result(self) -> list[PairedCounts | str]:
        """The counts of each pair, or why they are not those of the reports."""
        strange = {path: self._strangeness(path) for path in self._sides}
        return [
            strange[one] or strange[other] or tally.counts() or _nothing_shared(one, other)
            for (one, other), tally in zip(self._pairs, self._tallies, strict=True)
        ]

    def _add(
        self,
        window: Window,
        labels: NDArray[np.int32],
        clusters: NDArray[np.int32],
        maps: Mapping[str, MapFile],
        codes: Mapping[str, NDArray[np.int32]],
    ) -> None:
        labelled = labels != NO_CLASS
        if not labelled.any():
            return
        labels, clusters = labels[labelled], clusters[labelled]
        seen = {}
        for path, map_file in maps.items():
            wanted = codes[path][labels]
            predicted = map_file.read(window)[labelled]
            compared = (predicted != NO_CLASS) & (wanted != NO_CLASS)
            seen[path] = _Seen(compared, compared & (predicted == wanted))
            self._alone[path] += compared.sum(), seen[path].right.sum()
        for (one, other), tally in zip(self._pairs, self._tallies, strict=True):
            tally.add(clusters, seen[one], seen[other])

    def _strangeness(self, path: str) -> str | None:
        report = self._sides[path].report
        pixels, right = self._alone[path].tolist()
        if (pixels, right) == (report.run.pixels, report.right):
            return None
        return (
            f"{path} cannot be counted again from its map and ground truth: it has {report.right} "
            f"of {report.run.pixels} pixels right, and {right} of {pixels} are found; was it made "
            "by an older comix?"
        )


def _nothing_shared(one: str, other: str) -> str:
    return f"no reference pixel is classified by both maps of {one} and {other}"


def _labels(
    tile: ReferenceTile, design: SampleDesign | None
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Numbers of classes and of clusters `(H, W)`; of a sample each pixel is a cluster."""
    if design is None:
        return tile.burnt.labels, tile.burnt.clusters
    drawn = design.within(tile.window)
    return np.where(drawn >= 0, tile.burnt.labels, np.int32(NO_CLASS)), drawn


def _truth_options(side: _Place) -> TruthOptions:
    truth = side.truth
    return TruthOptions(
        path=side.truth_path,
        field=truth.field or None,
        layer=truth.layer,
        crs=truth.crs,
        rule=truth.rule,
    )


def _design(side: _Place) -> SampleDesign | None:
    path, truth = side.design_path, _truth_options(side)
    if path is None:
        return None
    crs = truth.crs if path == truth.path else None
    return read_design(path, side.grid, layer=truth.layer_of(path), crs=crs)


def _common_codes(
    reference: Reference, known: Mapping[str, Mapping[int, int]], wrong: Mapping[str, bool]
) -> tuple[dict[int, int], dict[str, NDArray[np.int32]]]:
    """One number for each set of classes that no map tells apart, and each map's code for it.

    Args:
        reference: The ground truth.
        known: By map its code for each code of the ground truth that it knows.
        wrong: By map whether it is wrong where it lacks the class: of a sample, or without names.

    Returns:
        The number of each code of the ground truth, from 1; and for each map a table from numbers
        to its own codes. Where it lacks the class, 0: not compared; a negative number: wrong.
    """
    of_class = {
        code: tuple(
            codes.get(code, -code if wrong[path] else NO_CLASS) for path, codes in known.items()
        )
        for code, _ in reference.classes
    }
    distinct = list(dict.fromkeys(of_class.values()))
    numbers = {code: distinct.index(codes) + 1 for code, codes in of_class.items()}
    tables = np.array([(NO_CLASS,) * len(known), *distinct], np.int32).T
    return numbers, dict(zip(known, tables, strict=True))


class _Tally:
    """Pixels by cluster, and by which of two maps is right."""

    def __init__(self) -> None:
        self._counts = np.zeros(0, np.int64)

    def add(self, clusters: NDArray[np.int32], first: _Seen, second: _Seen) -> None:
        """Count the pixels of a tile on which both maps can be compared."""
        shared = first.compared & second.compared
        # In the order of the fields of `PairedCounts`.
        outcome = 2 * ~first.right[shared] + ~second.right[shared]
        keys = 4 * clusters[shared].astype(np.int64) + outcome
        size = max(len(self._counts), 4 * int(clusters[shared].max(initial=-1)) + 4)
        self._counts = np.pad(self._counts, (0, size - len(self._counts)))
        self._counts += np.bincount(keys, minlength=size)

    def counts(self) -> PairedCounts | None:
        """The pixels so far; None where there are none."""
        return PairedCounts(*self._counts.reshape(-1, 4).T) if self._counts.any() else None
