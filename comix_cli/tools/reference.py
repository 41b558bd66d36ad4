"""Ground truth as it comes: vectors, or a raster of classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from comix_cli.errors import LabelError, RasterError, UsageError
from comix_cli.mapping.map_file import open_map
from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid, crs_label
from comix_cli.scene.labels import GroundTruth, Reference, read_ground_truth
from comix_cli.scene.pixel_rule import CENTRES, PixelRule
from comix_cli.scene.raster import open_raster
from comix_cli.scene.vector import is_raster_file
from comix_cli.tools.label_raster import LabelRaster, read_label_raster

_MEANT = "give ground truth as vectors, or as a raster of one band of class codes"


@dataclass(frozen=True)
class TruthOptions:
    """The vector ground truth.

    Attributes:
        path: The file.
        field: The attribute that holds the class; None to find it.
        layer: The layer of a file with several.
        crs: The CRS of a file that carries none; None assumes the raster's.
        rule: Which pixels a geometry takes.
    """

    path: str
    field: str | None = None
    layer: str | None = None
    crs: str | None = None
    rule: PixelRule = CENTRES

    def layer_of(self, path: str) -> str | None:
        """The layer to read of a file that may be the ground truth itself."""
        return self.layer if path == self.path else None


@contextmanager
def open_reference(
    options: TruthOptions, grid: Grid, progress: Progress, *, field: str | None = None
) -> Iterator[Reference]:
    """Ground truth on the ground of a grid, and a word on what reading it has changed.

    Args:
        options: The file and how to read it.
        grid: Where it is wanted.
        progress: Told of what is left out.
        field: The attribute that holds the class, where the options do not say.

    Raises:
        LabelError: As `read_ground_truth`; a raster without any class or beside the grid.
        RasterError: A raster that holds no classes.
        UsageError: An option that a raster of classes has no use for.
    """
    if options.layer is None and is_raster_file(options.path):
        with _open_raster(options, grid, progress) as raster:
            yield raster
    else:
        yield _read_vector(options, grid, progress, field)


def _read_vector(
    options: TruthOptions, grid: Grid, progress: Progress, field: str | None
) -> GroundTruth:
    truth = read_ground_truth(
        options.path, options.field or field, grid, gt_crs=options.crs, layer=options.layer
    )
    if options.rule.min_coverage is not None and truth.kind != "polygons":
        held = "mixed geometries" if truth.kind == "mixed" else truth.kind
        raise LabelError(
            f"--min-coverage is about polygons, and this holds {held}",
            path=truth.path,
            remedy="leave it out",
        )
    tell_of_truth(truth, progress)
    return truth


@contextmanager
def _open_raster(options: TruthOptions, grid: Grid, progress: Progress) -> Iterator[LabelRaster]:
    for given, name in (
        (options.field is not None, "--field"),
        (options.rule.all_touched, "--all-touched"),
        (options.rule.min_coverage is not None, "--min-coverage"),
    ):
        if given:
            raise UsageError(
                f"{name} is about vectors, and {options.path} is a raster of classes",
                remedy="leave it out",
            )
    assumed = options.crs or _own_or(grid, options.path, progress)
    with ExitStack() as stack:
        try:
            raster = stack.enter_context(open_map(options.path, src_crs=assumed))
            labels = read_label_raster(options.path, raster, grid, progress)
        except RasterError as error:
            raise LabelError(error.cause, path=options.path, remedy=_MEANT) from error
        yield labels


def _own_or(grid: Grid, path: str, progress: Progress) -> str | None:
    """The CRS to assume: the grid's, with a warning, where the file carries none."""
    with open_raster(path) as dataset:
        if dataset.crs is not None:
            return None
    assumed = crs_label(grid.crs)
    progress.warn(
        f"{path}: has no CRS; the raster's ({assumed}) is assumed; give another with --gt-crs"
    )
    return str(grid.crs.to_wkt())


def tell_of_truth(truth: GroundTruth, progress: Progress) -> None:
    """What reading the ground truth has changed or left out."""
    for warning in truth.warnings:
        progress.warn(warning)
    if truth.repaired:
        progress.warn(f"{truth.path}: {truth.repaired} invalid geometries were repaired")
    tell_of_left_out(truth.path, truth.outside, "features lie outside the raster", progress)
    unusable = "features have no class or no geometry"
    tell_of_left_out(truth.path, truth.dropped_null, unusable, progress)


def tell_of_left_out(path: str, count: int, what: str, progress: Progress) -> None:
    """How much of the ground truth is not used and why; nothing where all of it is."""
    if count:
        progress.info(f"{path}: {count} {what} and are left out")
