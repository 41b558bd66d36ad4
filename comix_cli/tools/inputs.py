"""The rasters and the ground truth that a command is given, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from comix_cli.errors import InputError, RasterError, UsageError, counted
from comix_cli.learning.model_file import InputRecord, ModelCard
from comix_cli.progress import Progress, Silent
from comix_cli.scene.checksum import checksum
from comix_cli.scene.raster import RasterInfo
from comix_cli.scene.stack import GridOptions, SourceSpec, Stack, open_stack
from comix_cli.tools.alignment import offset
from comix_cli.tools.band_match import match_bands

if TYPE_CHECKING:
    from comix_cli.tools.sharp_hsi import SharpHsi

# The X that a terrain model is subtracted from.
SURFACE = "dsm"


@dataclass(frozen=True)
class SceneInputs:
    """One scene: the HSI, the other sensors, and how they come onto one grid.

    Attributes:
        hsi: Path or GDAL name of the hyperspectral image.
        x: Paths or GDAL names of the other sensors' rasters, in the order the model knows them.
        resampling: Resampling by input: `hsi`, `x` (every X), `x1`, `x2`, ... or a name for one X.
        src_crs: The CRS of rasters that carry none.
        grid: Overrides of the common grid.
        x_names: A name for each X, empty where it has none; () where none has one.
        dtm: A digital terrain model (DTM). It is subtracted from every band of the X named `dsm`,
            or of the only X, which makes heights above ground of it.
        sharpen: Bring the HSI to the pixels of the first optical X before anything else.
        sharpened_from: The HSI that `hsi` was made of by that.
    """

    hsi: str
    x: tuple[str, ...] = ()
    resampling: Mapping[str, str] = field(default_factory=dict)
    src_crs: str | None = None
    grid: GridOptions = GridOptions()
    x_names: tuple[str, ...] = ()
    dtm: str | None = None
    sharpen: bool = False
    sharpened_from: str | None = None

    @property
    def rasters(self) -> tuple[str, ...]:
        """What a model sees: the HSI, then each X."""
        return (self.hsi, *self.x)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every raster that is read: the HSI, each X, the terrain model."""
        return self.rasters if self.dtm is None else (*self.rasters, self.dtm)

    def resampling_of(self, position: int) -> str | None:
        """The resampling asked for input `position` (0 is the HSI), None where left to its role."""
        if position == 0:
            return self.resampling.get("hsi")
        name = self.x_names[position - 1] if self.x_names else ""
        asked = (self.resampling.get(key) for key in (name, f"x{position}", "x"))
        return next((method for method in asked if method is not None), None)

    def surface(self, default: int | None = None) -> int | None:
        """Which X the terrain model is subtracted from, 0 for the first; None without one.

        Args:
            default: What to take where there are several and none is named `dsm`.

        Raises:
            UsageError: It cannot be told which.
        """
        if self.dtm is None:
            return None
        if SURFACE in self.x_names:
            return self.x_names.index(SURFACE)
        if len(self.x) == 1:
            return 0
        if default is not None and default < len(self.x):
            return default
        raise UsageError(
            f"--dtm {self.dtm}: which of the {len(self.x)} X rasters is the surface model?",
            remedy=f"name it: --x {SURFACE}=FILE",
        )

    def check(self) -> None:
        """Refuse names that cannot be told apart, and resampling for inputs that are not there.

        Raises:
            UsageError: A name is taken, or a key names no input.
        """
        if self.dtm is not None and self.dtm in self.rasters:
            raise UsageError(
                f"--dtm {self.dtm}: is the HSI or an X itself",
                remedy="give the heights of the bare ground",
            )
        fixed = {"hsi", "x", *(f"x{i + 1}" for i in range(len(self.x)))}
        names = [name for name in self.x_names if name]
        for name in names:
            if name in fixed or names.count(name) > 1:
                raise UsageError(
                    f"--x {name}=...: the name is taken", remedy="give every X a name of its own"
                )
        known = fixed.union(names)
        for key in self.resampling:
            if key not in known:
                raise UsageError(
                    f"--resampling {key}=...: there is no such input",
                    remedy=f"name one of {', '.join(sorted(known))}",
                )


def sharp_hsi_as_asked(inputs: SceneInputs, progress: Progress) -> SharpHsi | None:
    """Which pair is to be sharpened; None where nothing is. See `plan_sharp_hsi`."""
    if not inputs.sharpen or inputs.sharpened_from is not None:
        return None
    from comix_cli.tools.sharp_hsi import plan_sharp_hsi  # noqa: PLC0415  # slow, and rarely asked

    return plan_sharp_hsi(inputs, progress)


@contextmanager
def open_for_training(inputs: SceneInputs) -> Iterator[Stack]:
    """The stack with every good band of every raster.

    Raises:
        InputError: A raster cannot be used, or the rasters share no ground.
        UsageError: The options cannot be meant.
    """
    inputs.check()
    surface = inputs.surface()
    sources = [
        replace(_source(inputs, i), minus=_terrain(inputs) if i - 1 == surface else None)
        for i in range(len(inputs.rasters))
    ]
    with _open(sources, inputs) as stack:
        yield stack


@contextmanager
def open_for_model(
    inputs: SceneInputs, card: ModelCard, progress: Progress | None = None
) -> Iterator[Stack]:
    """The stack with exactly the bands that the model knows.

    Bands of another sensor are resampled to the model's, and the user is told; see `match_bands`.

    Raises:
        RasterError: Number of rasters or their bands are not what the model was trained with, or
            heights are above ground only here or only there.
    """
    inputs.check()
    records = (card.hsi, *card.x)
    _check_number(inputs, records)
    surface = _surface_for_model(inputs, card)
    sources = []
    for i, record in enumerate(records):
        source = _source(inputs, i, record.resampling)
        matched = match_bands(source, record, progress or Silent())
        sources.append(replace(matched, minus=_terrain(inputs) if i - 1 == surface else None))
    with _open(sources, inputs) as stack:
        _check_sharpness(inputs, stack.hsi_info, card.hsi, progress or Silent())
        yield stack


def _open(sources: Sequence[SourceSpec], inputs: SceneInputs) -> AbstractContextManager[Stack]:
    return open_stack(sources[0], sources[1:], replace(inputs.grid, like_crs=inputs.src_crs))


def _source(inputs: SceneInputs, position: int, resampling: str | None = None) -> SourceSpec:
    """Input `position` (0 is the HSI); `resampling` is what it has where none is asked for."""
    return SourceSpec(
        path=inputs.rasters[position],
        role="hsi" if position == 0 else "continuous",
        resampling=inputs.resampling_of(position) or resampling,
        src_crs=inputs.src_crs,
    )


def _terrain(inputs: SceneInputs) -> SourceSpec | None:
    if inputs.dtm is None:
        return None
    return SourceSpec(inputs.dtm, "continuous", src_crs=inputs.src_crs, bands=(1,))


def _surface_for_model(inputs: SceneInputs, card: ModelCard) -> int | None:
    """Which X becomes a height above ground, as the model knows it.

    Raises:
        RasterError: The model knows it otherwise.
    """
    known = next((i for i, record in enumerate(card.x) if record.above_ground), None)
    surface = inputs.surface(known)
    if known is not None and surface != known:
        raise RasterError(
            f"the model was trained on heights above ground, made of {card.x[known].name} and a "
            "terrain model",
            path=inputs.x[known],
            remedy="give the terrain model of this scene with --dtm",
        )
    if known is None and surface is not None:
        raise RasterError(
            f"the model was trained without a terrain model (on {card.x[surface].name} as it is)",
            path=inputs.dtm,
            remedy="leave --dtm out, or train a new model with it",
        )
    return surface


def _check_number(inputs: SceneInputs, records: Sequence[InputRecord]) -> None:
    if len(inputs.rasters) != len(records):
        raise RasterError(
            f"the model was trained with {_described(records)}, and this is "
            f"{counted(len(inputs.rasters), 'raster')}: {', '.join(inputs.rasters)}",
            remedy="give the HSI first, then each X in the order of the training",
        )


def _check_sharpness(
    inputs: SceneInputs, hsi: RasterInfo, record: InputRecord, progress: Progress
) -> None:
    """A coarse HSI under a fine grid looks quite unlike a sharpened one.

    Raises:
        RasterError: The model was trained on a sharpened HSI, and this one is none and will not be.
        UsageError: It was not, and this one is to be sharpened.
    """
    if record.sharpened and not (hsi.sharpened or inputs.sharpen):
        raise RasterError(
            "the model was trained on a sharpened HSI, and this one is not",
            path=hsi.path,
            remedy="add --sharpen",
        )
    if inputs.sharpen and not record.sharpened:
        # Minutes of work for a worse map. Who has reasons sharpens first, and is warned.
        raise UsageError(
            "--sharpen: the model was trained on an HSI that was not sharpened",
            remedy="leave --sharpen out, or train a model with it",
        )
    if hsi.sharpened and not record.sharpened:
        progress.warn(
            f"{hsi.path} is a sharpened HSI, and the model was trained on one that was not: expect "
            "mistakes, or train with --sharpen"
        )


def _described(records: Sequence[InputRecord]) -> str:
    named = ", ".join(f"{record.name} ({counted(record.count, 'band')})" for record in records)
    return f"{counted(len(records), 'raster')}: {named}"


def check_alignment(inputs: SceneInputs, stack: Stack, progress: Progress) -> None:
    """Warn where an X seems to lie more than a pixel of the coarser raster away from the HSI.

    Edges of the two are compared in a few patches; nothing is said where they give no clear answer.
    """
    for position, info in enumerate(stack.x_info):
        try:
            found = offset(stack, position, inputs.src_crs)
        except InputError:  # the work itself meets it as well, and says so where it belongs
            continue
        if found is not None and found.misplaced:
            progress.warn(
                f"{info.path} seems to lie {found.label} of {stack.hsi_info.path}, "
                f"{found.coarse_pixels:.1f} pixels of {found.coarse_m:g} m; check where both are "
                "placed"
            )


def input_provenance(
    inputs: SceneInputs, progress: Progress, cancelled: Callable[[], bool] = lambda: False
) -> list[dict[str, Any]]:
    """Path and checksum of every raster, for the record; the terrain model is marked as one."""
    with progress.task("checksums", len(inputs.paths)) as task:
        found: list[dict[str, Any]] = []
        for path in inputs.paths:
            found.append({"path": path, "checksum": checksum(path, cancelled)})
            task.advance()
    if inputs.dtm is not None:
        found[-1]["role"] = "dtm"
    if inputs.sharpened_from is not None:
        found[0]["sharpened_from"] = inputs.sharpened_from
    return found
