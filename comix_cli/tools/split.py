"""From ground truth to files of spatially disjoint sets, and how independent these are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.errors import LabelError
from comix_cli.progress import Progress
from comix_cli.scene.apart import distance
from comix_cli.scene.autocorrelation import image_variogram, label_variogram
from comix_cli.scene.grid import Grid
from comix_cli.scene.labelled_pixels import count_pixels, labelled_windows, pixel_points
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.metric import reprojected
from comix_cli.scene.pieces import Pieces, Strata, measures, merged
from comix_cli.scene.split import Split, divide, divide_folds, pieces_of
from comix_cli.scene.stack import SourceSpec, open_stack
from comix_cli.scene.variogram import Variogram
from comix_cli.tools.split_files import check_outputs, write_split
from comix_cli.tools.split_ground import Ground, read_ground
from comix_cli.tools.split_plan import Plan, SplitOptions, make_plan
from comix_cli.tools.split_report import NamedSet, Result, split_document, warnings_of

# As many points as a GIS shows without waiting.
MOST_POINTS = 300_000


def split(options: SplitOptions, progress: Progress) -> dict[str, Any]:
    """Write one file for each set and a report beside them; the report as one document.

    Raises:
        ComixError: An input cannot be used, the ground truth cannot be split so, or the folder
            cannot be written to.
    """
    options.check()
    check_outputs(options)
    ground = read_ground(options.truth, options.raster, options.src_crs, progress)
    with progress.task("autocorrelation", None):
        variograms = _variograms(options, ground)
    plan = make_plan(options, ground.truth, variograms)
    if options.method == "random":
        splits = _random_splits(options, ground, progress)
    else:
        splits = _spatial_splits(options, plan, ground.truth)
    sets = tuple(_named(options, splits))
    result = Result(
        plan=plan,
        sets=sets,
        splits=tuple(splits),
        distances=tuple(_distances(sets, progress)),
        variograms=variograms,
        pixels=_pixels(options, ground, sets, progress),
    )
    warnings = warnings_of(options, ground, result)
    document = split_document(options, ground, result, warnings)
    write_split(options, ground, sets, document, progress)
    for warning in warnings:
        progress.warn(warning)
    return document


def _variograms(options: SplitOptions, ground: Ground) -> dict[str, Variogram]:
    """What is known of the autocorrelation, by what it is of."""
    rng = np.random.default_rng(options.seed)
    found = {"classes": label_variogram(ground.truth, rng)}
    if options.hsi is not None:
        image = SourceSpec(options.hsi, "hsi", src_crs=options.src_crs)
        with open_stack(image, []) as stack:
            found["image"] = image_variogram(stack, ground.truth.crs, rng)
    return found


def _spatial_splits(options: SplitOptions, plan: Plan, truth: GroundTruth) -> list[Split]:
    rng = np.random.default_rng(options.seed)
    pieces = pieces_of(truth, plan.block, rng)
    if options.folds is not None:
        return list(divide_folds(pieces, options.folds, plan.buffer, rng))
    return [divide(pieces, [share for _, share in options.wanted], plan.buffer, rng)]


def _random_splits(options: SplitOptions, ground: Ground, progress: Progress) -> list[Split]:
    """Sets of random pixels, each class shared out by itself."""
    rng = np.random.default_rng(options.seed)
    points = reprojected(_all_points(ground, progress, rng), ground.truth.crs)
    shares = [share for _, share in options.wanted]
    count = options.folds or len(shares)
    sets = _random_sets(points.codes, [1 / count] * count if options.folds else shares, rng)
    pixels = Pieces(points, np.arange(len(points.codes)))
    if options.folds is None:
        return [_as_split(pixels, sets, count)]
    return [_as_split(pixels, (sets == number).astype(np.int64), 2) for number in range(count)]


def _as_split(pixels: Pieces, sets: NDArray[np.int64], count: int) -> Split:
    strata = Strata.of(pixels.truth)
    parts = tuple(pixels.select(sets == number) for number in range(count))
    if not all(len(part) for part in parts):
        raise LabelError(
            f"{len(pixels)} labelled pixels are too few for {count} sets",
            path=pixels.truth.path,
            remedy="give a raster with finer pixels, or fewer sets",
        )
    return Split(parts, np.zeros(len(strata)), strata)


def _random_sets(
    codes: NDArray[np.int32], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """A set for each pixel, so that each set has its share of each class to a pixel."""
    sets = np.empty(len(codes), np.int64)
    for code in np.unique(codes):
        members = rng.permutation(np.flatnonzero(codes == code))
        edges = np.round(np.cumsum(shares) * len(members)).astype(np.int64)
        sets[members] = np.searchsorted(edges[:-1], np.arange(len(members)), side="right")
    return sets


def _all_points(ground: Ground, progress: Progress, rng: np.random.Generator) -> GroundTruth:
    """Every labelled pixel as a point, or of classes with very many a random part."""
    grid = _grid(ground)
    truth = reprojected(ground.truth, grid.crs)
    most = MOST_POINTS / len(np.unique(truth.codes))
    chances = _chances(truth, grid, most)
    windows = labelled_windows(truth, grid)
    found = []
    with progress.task("drawing pixels", len(windows)) as task:
        for window in windows:
            found.append(pixel_points(truth, grid, window, chances, rng))
            task.advance()
    if not sum(len(each.codes) for each in found):
        raise LabelError("covers no pixel of the raster", path=truth.path)
    if chances.min() < 1:
        progress.warn(f"of classes with more than {most:.0f} pixels only about so many are drawn")
    return merged(found)


def _chances(truth: GroundTruth, grid: Grid, most: float) -> NDArray[np.float64]:
    """How likely a pixel is drawn, by class code, so that no class has more than `most`."""
    pixels = measures(truth.geometries) / abs(grid.transform.determinant)
    return np.minimum(1.0, most / np.maximum(np.bincount(truth.codes, pixels), 1.0))


def _grid(ground: Ground) -> Grid:
    assert ground.grid is not None  # the options have been checked
    return ground.grid


def _named(options: SplitOptions, splits: Sequence[Split]) -> Iterator[NamedSet]:
    """The sets of all splits with their names and shares."""
    for number, each in enumerate(splits, start=1):
        if options.folds is None:
            wanted = options.wanted
        else:
            wanted = (("train", 1 - 1 / options.folds), ("test", 1 / options.folds))
        for (name, share), pieces, held in zip(wanted, each.sets, each.held(), strict=True):
            fold = None if options.folds is None else number
            yield NamedSet(name, fold, share, pieces, held)


def _distances(sets: Sequence[NamedSet], progress: Progress) -> Iterator[Any]:
    pairs = [(a, b) for a, b in combinations(sets, 2) if a.fold == b.fold]
    with progress.task("distances", len(pairs)) as task:
        for one, other in pairs:
            shapes = one.pieces.truth.geometries, other.pieces.truth.geometries
            yield one.label, other.label, distance(*shapes)
            task.advance()


def _pixels(
    options: SplitOptions, ground: Ground, sets: Sequence[NamedSet], progress: Progress
) -> NDArray[np.int64] | None:
    """Pixels of each class in each set, `(sets, classes)`; None where no raster is named for it."""
    if options.like is None:
        return None
    return np.array([_pixels_of(_grid(ground), ground, each, progress) for each in sets])


def _pixels_of(grid: Grid, ground: Ground, one: NamedSet, progress: Progress) -> NDArray[np.int64]:
    truth = reprojected(one.pieces.truth, grid.crs)
    codes = [code for code, _ in ground.truth.classes]
    windows = labelled_windows(truth, grid)
    counts = np.zeros(max(codes) + 1, np.int64)
    with progress.task(f"pixels of {one.label}", len(windows)) as task:
        for window in windows:
            counts += count_pixels(truth, grid, window, max(codes))
            task.advance()
    return counts[codes]
