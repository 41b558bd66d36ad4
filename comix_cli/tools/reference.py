"""Ground truth as it comes: vectors, or a raster of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from comix_cli.errors import LabelError, UsageError
from comix_cli.mapping.map_file import MapFile, open_map
from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid, bounds_in, crs_label, extent_label
from comix_cli.scene.labels import RASTER, GroundTruth, Reference, read_ground_truth
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.pixel_rule import CENTRES, PixelRule
from comix_cli.scene.raster import open_raster
from comix_cli.scene.rasterize import Burnt
from comix_cli.scene.vector import is_raster_file
from comix_cli.scene.windows import Window, tile_windows
from comix_cli.tools.inputs import TruthOptions, tell_of_truth

# Pixels of a label raster that are read at once, on a side.
_TILE = 2048


@dataclass(frozen=True)
class LabelRaster:
    """A raster of classes as ground truth, brought onto other grids by nearest neighbour.

    Attributes:
        path: The file.
        classes: `(code, name)` of every class that occurs, ascending by code.
        integer_field: True where the raster has no names, so that its codes are what is compared.
        raster: The open raster.
        field: Empty; a raster has but one.
        kind: `raster`.
    """

    path: str
    classes: tuple[tuple[int, str], ...]
    integer_field: bool
    raster: MapFile
    field: str = ""
    kind: str = RASTER

    def burn(
        self,
        grid: Grid,
        window: Window | None = None,
        *,
        rule: PixelRule = CENTRES,  # noqa: ARG002 - a raster has pixels of its own
        codes: Mapping[int, int] | None = None,
    ) -> Burnt:
        """The raster's classes on a window of a grid; all of it is feature 0."""
        place = grid if window is None else grid.part(window)
        labels = self.raster.read_onto(place)
        if codes is not None:
            labels = _replaced(labels, codes)
        features = np.where(labels == NO_CLASS, np.int32(-1), np.int32(0))
        return Burnt(labels, np.zeros(labels.shape, np.bool_), features, features)

    def boxes(self, grid: Grid) -> NDArray[np.float64]:
        """The extent of the raster in the CRS of a grid, `(1, 4)`."""
        return np.array([bounds_in(self.raster.grid, grid.crs)])

    def described(self) -> dict[str, Any]:
        """A raster has no features."""
        return dict.fromkeys(
            ("features", "repaired", "features_outside", "features_without_class"), 0
        )

    def class_of_feature(self) -> dict[int, str]:
        """A raster has no features."""
        return {}

    def pixels_beyond(self, grid: Grid) -> int:
        """How many pixels of a grid the raster covers beyond it, labelled or not."""
        beyond = shapely.difference(shapely.box(*self.boxes(grid)[0]), shapely.box(*grid.bounds))
        return round(float(shapely.area(beyond)) / abs(grid.transform.determinant))


def _replaced(labels: NDArray[np.int32], codes: Mapping[int, int]) -> NDArray[np.int32]:
    """Other codes for some, no class for the rest."""
    known, place = np.unique(labels, return_inverse=True)
    wanted = np.array([codes.get(int(code), NO_CLASS) for code in known], np.int32)
    return wanted[place].reshape(labels.shape)


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
        raise LabelError(
            f"--min-coverage is about polygons, and this holds {truth.kind} geometries"
            if truth.kind == "mixed"
            else f"--min-coverage is about polygons, and this holds {truth.kind}",
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
    with open_map(options.path, src_crs=assumed) as raster:
        _check_place(raster, grid)
        classes = _classes_of(raster, progress)
        yield LabelRaster(options.path, classes, raster.legend is None, raster)


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


def _check_place(raster: MapFile, grid: Grid) -> None:
    there = bounds_in(raster.grid, grid.crs)
    if not shapely.box(*there).intersects(shapely.box(*grid.bounds)):
        raise LabelError(
            f"the ground truth misses the raster in {crs_label(grid.crs)}: it covers "
            f"{extent_label(there)}; the raster covers {extent_label(grid.bounds)}",
            path=raster.path,
            remedy="check its CRS (--gt-crs)",
        )


def _classes_of(raster: MapFile, progress: Progress) -> tuple[tuple[int, str], ...]:
    """Code and name of every class that occurs."""
    found: set[int] = set()
    windows = tile_windows(raster.grid.shape, _TILE)
    with progress.task("reading labels", len(windows)) as task:
        for window in windows:
            found.update(np.unique(raster.read(window)).tolist())
            task.advance()
    found.discard(NO_CLASS)
    if not found:
        raise LabelError(
            "holds no class: every pixel is 0 or nodata",
            path=raster.path,
            remedy="give a raster of class codes above 0",
        )
    names = {entry.code: entry.name for entry in raster.legend or ()}
    return tuple((code, names.get(code, str(code))) for code in sorted(found))
