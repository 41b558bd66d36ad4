"""What a classification leaves behind: the map and what goes with it, all at once or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.files import (
    output_errors,
    partial_folder,
    publish_all,
    settle,
)
from comix_cli.mapping.cog import check_creation_options
from comix_cli.mapping.quicklook import write_quicklook
from comix_cli.mapping.row_file import RowFile
from comix_cli.mapping.score_file import ScoreWriter, open_score_rows, score_dtype
from comix_cli.mapping.scores import class_codes, confidence, entropy, normalised
from comix_cli.mapping.sieve import pixels_of_area
from comix_cli.mapping.writer import (
    MapWriter,
    Published,
    open_map_rows,
    stale_files,
)
from comix_cli.progress import Progress, Task
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend
from comix_cli.scene.windows import Window
from comix_cli.tools.output_files import OutputOptions

if TYPE_CHECKING:
    from comix_cli.learning.model_file import ModelCard

Scores = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class _ScoreOutput:
    """One file of scores being written."""

    target: Path
    writer: ScoreWriter
    compute: Scores


class Outputs:
    """Takes the finished rows of a scene.

    Attributes:
        counts: Pixels of each code, those taken by the sieve moved; complete when the block of
            `open_outputs` has ended.
    """

    def __init__(self, target: Path, writer: MapWriter, scores: Iterable[_ScoreOutput]) -> None:
        self._target = target
        self._map = writer
        self._scores = tuple(scores)
        self.counts: NDArray[np.int64] = writer.counts

    def write_rows(
        self, row: int, probabilities: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> None:
        """Write finished rows.

        Args:
            row: The first row.
            probabilities: `(classes, rows, W)`, in the legend's order.
            valid: `(rows, W)`, False for nodata.

        Raises:
            OutputError: The disk is full, or fails.
        """
        with output_errors(self._target):
            self._map.write_rows(row, class_codes(probabilities, valid, self._map.legend))
        if not self._scores:
            return
        shares = normalised(probabilities)
        for score in self._scores:
            with output_errors(score.target):
                score.writer.write_rows(row, score.compute(shares), valid)

    @property
    def files(self) -> dict[str, tuple[Path, RowFile]]:
        """Targets and their files of rows by what they hold: `map`, and the scores asked for."""
        scores = {each.writer.content: (each.target, each.writer.rows) for each in self._scores}
        return {"map": (self._target, self._map.rows), **scores}

    def write_stored(self, content: str, place: Window, values: NDArray[Any]) -> None:
        """Write a block `(bands, h, w)` of one of the files as it is stored; nothing is counted.

        Raises:
            OutputError: The disk is full, or fails.
        """
        target, rows = self.files[content]
        with output_errors(target):
            rows.write_block(place.row, place.col, values)

    def add_counts(self, counts: Sequence[int]) -> None:
        """Count the pixels of a part of the map that came as it is stored.

        Args:
            counts: Pixels of each code, from 0 on, as `counts`.
        """
        self.counts += np.asarray(counts, np.int64)


@contextmanager
def open_outputs(
    options: OutputOptions,
    grid: Grid,
    legend: Legend,
    tags: Callable[[], Mapping[str, str]],
    progress: Progress,
    *,
    card: ModelCard | None = None,
) -> Iterator[Outputs]:
    """Write all outputs: together, the map last, when the block ends well, or none of them.

    Args:
        options: What to write.
        grid: Where it lies.
        legend: The classes.
        tags: Asked for provenance, written as TIFF metadata, after the last row.
        progress: Told of what follows the last row.
        card: What the model says of itself; a STAC item needs it.

    Yields:
        What takes the rows; every row must have been written at the end.

    Raises:
        OutputError: An output exists, cannot be written, or the disk is full.
        UsageError: GDAL refuses a creation option, or `min_area` is no area.
    """
    options.check(())
    with ExitStack() as stack:
        folders = _partial_folders(options, stack)
        check_creation_options(
            folders[options.map], options.creation_options, _kinds(options, legend)
        )
        writer, scores = _open_rows(options, grid, legend, folders, stack)
        yield Outputs(options.map, writer, scores)
        finished = _finish(options, writer, scores, tags(), card, folders, progress)
        publish_all(finished, stale_files(finished))


@contextmanager
def open_stored(options: OutputOptions, grid: Grid, legend: Legend) -> Iterator[Outputs]:
    """As `open_outputs` of map and scores, but what appears are the bare rows as they are stored.

    Raises:
        OutputError: A file cannot be written, or the disk is full.
    """
    with ExitStack() as stack:
        outputs = Outputs(
            options.map,
            *_open_rows(options, grid, legend, _partial_folders(options, stack), stack),
        )
        yield outputs
        for target, rows in outputs.files.values():
            with output_errors(target):
                rows.flush()
                settle(rows.path)
        publish_all([(rows.path, target) for target, rows in outputs.files.values()])


def check_creation(options: OutputOptions, legend: Legend) -> None:
    """Refuse GDAL creation options that cannot be meant, before long work begins.

    Raises:
        OutputError: The map's folder cannot be written to.
        UsageError: GDAL refuses one.
    """
    with partial_folder(options.map) as folder:
        check_creation_options(folder, options.creation_options, _kinds(options, legend))


def bytes_per_row(options: OutputOptions, grid: Grid, legend: Legend) -> int:
    """What the outputs hold in memory, at most, for each row that is handed over at once."""
    of_map = 8 + 4  # what counting makes of a code; the code and the largest probability
    if not _kinds(options, legend)[1:]:
        return grid.width * of_map
    widest = len(legend) if options.probabilities is not None else 1
    shares = 4 * len(legend) + 4
    return grid.width * (of_map + shares + widest * 4 * 4)


def _partial_folders(options: OutputOptions, stack: ExitStack) -> dict[Path, Path]:
    """A hidden folder beside each output, to be renamed from."""
    return {target: stack.enter_context(partial_folder(target)) for target in options.paths()}


def _open_rows(
    options: OutputOptions,
    grid: Grid,
    legend: Legend,
    folders: Mapping[Path, Path],
    stack: ExitStack,
) -> tuple[MapWriter, list[_ScoreOutput]]:
    """What takes the rows of the map, and of each file of scores."""
    with output_errors(options.map):
        writer = stack.enter_context(open_map_rows(folders[options.map], grid, legend))
    return writer, [*_open_scores(options, grid, legend, folders, stack)]


def _asked_scores(
    options: OutputOptions, legend: Legend
) -> list[tuple[Path, str, tuple[str, ...], Scores]]:
    """Of each file of scores: path, content, names of the bands, how they come about."""
    kinds: tuple[tuple[Path | None, str, tuple[str, ...], Scores], ...] = (
        (options.probabilities, "probabilities", legend.names, lambda shares: shares),
        (options.confidence, "confidence", ("confidence",), confidence),
        (options.entropy, "entropy", ("entropy",), entropy),
    )
    return [
        (path, content, names, compute)
        for path, content, names, compute in kinds
        if path is not None
    ]


def _kinds(options: OutputOptions, legend: Legend) -> list[tuple[str, int]]:
    """Data type and number of bands of every GeoTIFF, the map first."""
    dtype = score_dtype(as_float=options.float_scores)
    asked = _asked_scores(options, legend)
    return [(legend.dtype, 1), *((dtype, len(names)) for _, _, names, _ in asked)]


def _open_scores(
    options: OutputOptions,
    grid: Grid,
    legend: Legend,
    folders: Mapping[Path, Path],
    stack: ExitStack,
) -> Iterator[_ScoreOutput]:
    for target, content, names, compute in _asked_scores(options, legend):
        with output_errors(target):
            rows = open_score_rows(
                folders[target], grid, content, names, as_float=options.float_scores
            )
            yield _ScoreOutput(target, stack.enter_context(rows), compute)


def _finish(
    options: OutputOptions,
    writer: MapWriter,
    scores: list[_ScoreOutput],
    tags: Mapping[str, str],
    card: ModelCard | None,
    folders: Mapping[Path, Path],
    progress: Progress,
) -> Published:
    """From rows to finished files, and where each belongs; the map is the last of them."""
    with progress.task("writing", len(folders) + 1) as task:
        with output_errors(options.map):
            finished = _finish_map(options, writer, tags)
        task.advance(2)
        before: Published = []
        for score in scores:
            with output_errors(score.target):
                place = score.target.resolve()
                before += score.writer.finish(place, tags, options.creation_options)
            task.advance()
        before += _draw(options, writer, finished[-1][0], folders, task)
        finished = [*before, *finished]
        if card is not None and options.stac is not None:
            items = _describe(options, writer, tags, card, finished, folders, progress)
            finished = [*items, *finished]
            task.advance(2)
    return finished


def _finish_map(options: OutputOptions, writer: MapWriter, tags: Mapping[str, str]) -> Published:
    writer.flush()
    if options.min_area is not None:
        writer.sieve(pixels_of_area(options.min_area, writer.grid))
    return writer.finish(options.map.resolve(), tags, options.creation_options)


def _draw(
    options: OutputOptions,
    writer: MapWriter,
    finished_map: Path,
    folders: Mapping[Path, Path],
    task: Task,
) -> Published:
    """Polygons and picture of the finished map."""
    drawn: Published = []
    if options.polygons is not None:
        # What reads and writes vectors takes eighty megabytes, which most runs can do without.
        from comix_cli.mapping.polygons import STRIP_PIXELS, write_polygons  # noqa: PLC0415

        drawn.append(_place(options.polygons, folders))
        strips = writer.strips(STRIP_PIXELS)
        write_polygons(drawn[-1][0], strips, writer.grid, writer.legend, options.polygons)
        task.advance()
    if options.quicklook is not None:
        drawn.append(_place(options.quicklook, folders))
        with output_errors(options.quicklook):
            write_quicklook(finished_map, drawn[-1][0], title=options.map.stem)
        task.advance()
    return drawn


def _describe(
    options: OutputOptions,
    writer: MapWriter,
    tags: Mapping[str, str],
    card: ModelCard,
    finished: Published,
    folders: Mapping[Path, Path],
    progress: Progress,
) -> Published:
    """The STAC items of a finished map and of its model."""
    from comix_cli.tools.stac_item import MadeMap, write_items  # noqa: PLC0415  # rarely asked for

    assert options.stac is not None
    assert options.model_item is not None
    counts = writer.counts.tolist()
    made = MadeMap(options, writer.grid, writer.legend, counts, tags, card, finished)
    places = [_place(target, folders) for target in (options.stac, options.model_item)]
    with output_errors(options.stac):
        write_items(made, places[0][0], places[1][0], progress)
    return places


def _place(target: Path, folders: Mapping[Path, Path]) -> tuple[Path, Path]:
    return folders[target] / target.name, target.resolve()
