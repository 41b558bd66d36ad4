"""The rasters and the ground truth that a command is given, as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from comix_cli.errors import RasterError, UsageError
from comix_cli.learning.model_file import ModelCard
from comix_cli.progress import Progress
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.raster import checksum, inspect_raster
from comix_cli.scene.stack import GridOptions, SourceSpec, Stack, open_stack


@dataclass(frozen=True)
class SceneInputs:
    """One scene: the HSI, the other sensors, and how they come onto one grid.

    Attributes:
        hsi: Path or GDAL name of the hyperspectral image.
        x: Paths or GDAL names of the other sensors' rasters, in the order the model knows them.
        resampling: Resampling by input: `hsi`, `x` (every X), or `x1`, `x2`, ... for one of them.
        src_crs: The CRS of rasters that carry none.
        grid: Overrides of the common grid.
    """

    hsi: str
    x: tuple[str, ...] = ()
    resampling: Mapping[str, str] = field(default_factory=dict)
    src_crs: str | None = None
    grid: GridOptions = GridOptions()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every raster, the HSI first."""
        return (self.hsi, *self.x)

    def resampling_of(self, position: int) -> str | None:
        """The resampling asked for input `position` (0 is the HSI), None where left to its role."""
        if position == 0:
            return self.resampling.get("hsi")
        return self.resampling.get(f"x{position}", self.resampling.get("x"))

    def check_resampling(self) -> None:
        """Refuse resampling for inputs that are not there.

        Raises:
            UsageError: A key names no input.
        """
        known = {"hsi", "x", *(f"x{i + 1}" for i in range(len(self.x)))}
        for key in self.resampling:
            if key not in known:
                raise UsageError(
                    f"--resampling {key}=...: there is no such input",
                    remedy=f"name one of {', '.join(sorted(known))}",
                )


@dataclass(frozen=True)
class TruthOptions:
    """The vector ground truth.

    Attributes:
        path: The file.
        field: The attribute that holds the class; None to find it.
        layer: The layer of a file with several.
        crs: The CRS of a file that carries none; None assumes the raster's.
        all_touched: Use every pixel that a polygon touches, not only those whose centre it covers.
    """

    path: str
    field: str | None = None
    layer: str | None = None
    crs: str | None = None
    all_touched: bool = False


@contextmanager
def open_for_training(inputs: SceneInputs) -> Iterator[Stack]:
    """The stack with every good band of every raster."""
    inputs.check_resampling()
    sources = [
        SourceSpec(
            path=path,
            role="hsi" if i == 0 else "continuous",
            resampling=inputs.resampling_of(i),
            src_crs=inputs.src_crs,
        )
        for i, path in enumerate(inputs.paths)
    ]
    with open_stack(sources[0], sources[1:], inputs.grid) as stack:
        yield stack


@contextmanager
def open_for_model(inputs: SceneInputs, card: ModelCard) -> Iterator[Stack]:
    """The stack with exactly the bands that the model knows.

    Raises:
        RasterError: Number of rasters or of bands is not what the model was trained with.
    """
    inputs.check_resampling()
    records = (card.hsi, *card.x)
    _check_counts(inputs, card)
    sources = [
        SourceSpec(
            path=path,
            role="hsi" if i == 0 else "continuous",
            resampling=inputs.resampling_of(i) or record.resampling,
            src_crs=inputs.src_crs,
            bands=record.bands,
        )
        for i, (path, record) in enumerate(zip(inputs.paths, records, strict=True))
    ]
    with open_stack(sources[0], sources[1:], inputs.grid) as stack:
        yield stack


def _check_counts(inputs: SceneInputs, card: ModelCard) -> None:
    records = (card.hsi, *card.x)
    if len(inputs.paths) != len(records):
        raise RasterError(
            f"the model was trained with {_described(records)}, but {len(inputs.paths)} "
            f"raster(s) are given: {', '.join(inputs.paths)}",
            remedy="give the HSI first, then each X in the order of the training",
        )
    for path, record in zip(inputs.paths, records, strict=True):
        count = inspect_raster(path, src_crs=inputs.src_crs).count
        if count != record.count:
            raise RasterError(
                f"has {count} bands, but the model was trained on {record.count} bands "
                f"({record.name})",
                path=path,
                remedy="give the rasters as in training, the HSI first, or train a new model",
            )


def _described(records: Sequence[Any]) -> str:
    return f"{len(records)} raster(s): " + ", ".join(f"{r.name} ({r.count} bands)" for r in records)


def input_provenance(inputs: SceneInputs, progress: Progress) -> list[dict[str, Any]]:
    """Path and checksum of every raster, for the record."""
    with progress.task("checksums", len(inputs.paths)) as task:
        found = []
        for path in inputs.paths:
            found.append({"path": path, "checksum": checksum(path)})
            task.advance()
    return found


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


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a message, cut where there are too many to read."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
