"""Everything that a classification needs, opened, checked and planned before it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import torch

from comix_cli.errors import UsageError
from comix_cli.learning.device import free_on, set_threads
from comix_cli.learning.model_file import ModelCard
from comix_cli.mapping.budget import MB, Budget, batch_on_gpu, fit, plan_costs
from comix_cli.mapping.predictor import Predictor
from comix_cli.progress import EachOnce, Progress
from comix_cli.scene.cache import cache_bytes
from comix_cli.scene.grid import Grid
from comix_cli.scene.parts import Part, sub_plan, whole
from comix_cli.scene.raster import raster_files
from comix_cli.scene.stack import Stack
from comix_cli.scene.windows import Window, WindowPlan, plan_windows
from comix_cli.tools.inputs import SceneInputs, open_for_model, sharp_hsi_as_asked
from comix_cli.tools.loaded_model import LoadedModel, load
from comix_cli.tools.machine import resident_bytes, share_of_memory
from comix_cli.tools.output_files import OutputOptions
from comix_cli.tools.outputs import bytes_per_row

if TYPE_CHECKING:
    from comix_cli.scene.area import Area
    from comix_cli.tools.sharp_hsi import SharpHsi

# Pixels this much larger or smaller than in training make a texture model guess.
GSD_TOLERANCE = 0.25
# What a network as one graph takes besides: bytes.
GRAPH = 64 * MB
# Pixels in the middle of the scene whose values are looked at, and the share of them that may lie
# beyond what training has seen.
CENTRE = 64
MOST_BEYOND = 0.8


@dataclass(frozen=True)
class ClassifyOptions:
    """Everything `comix classify` can be told.

    Attributes:
        inputs: The scene.
        model: The model file.
        outputs: What to write.
        mask: A vector file of the area to classify; None for all of the scene.
        mask_layer: The layer of a file with several.
        window: Side of the windows in pixels; None for the size that the model was trained on.
        overlap: Pixels that neighbouring windows share at least; None for a third of the window.
        batch_size: Windows that a GPU computes at once; None for as many as its memory suggests. A
            CPU computes each alone.
        device: `auto`, `cpu`, `cuda` (every GPU there is), `cuda:1`, ...
        threads: CPU threads to compute with; None for all.
        precision: Number type to compute in: `auto`, `float32`, `bfloat16` or `float16`.
        compile: Let torch compile the network first.
        ram: Megabytes that the process may take; None for most of what is free.
    """

    inputs: SceneInputs
    model: Path
    outputs: OutputOptions
    mask: str | None = None
    mask_layer: str | None = None
    window: int | None = None
    overlap: int | None = None
    batch_size: int | None = None
    device: str = "auto"
    threads: int | None = None
    precision: str = "auto"
    compile: bool = False
    ram: int | None = None


@dataclass(frozen=True)
class OpenScene:
    """A scene whose rasters are open, and the model that is going to map it.

    Attributes:
        stack: The open rasters.
        model: The model.
        plan: The windows.
        size: Height and width of the windows as the network sees them.
        area: The part of the scene that is wanted; None for all of it.
        inputs: The scene, its HSI sharpened where that was asked for and done.
        sharp: What is to be sharpened; None where nothing is.
    """

    stack: Stack
    model: LoadedModel
    plan: WindowPlan
    size: tuple[int, int]
    area: Area | None
    inputs: SceneInputs
    sharp: SharpHsi | None = None

    @property
    def card(self) -> ModelCard:
        """What the model says of itself."""
        return self.model.card


@dataclass(frozen=True)
class Job:
    """A classification that is ready to begin.

    Attributes:
        scene: What is classified.
        part: The pixels that are wanted, and the windows that they take.
        predictors: The network, prepared for inference, once on each device.
        limit: Bytes that the process may take.
        budget: How many windows are in work at once, and the memory that takes.
    """

    scene: OpenScene
    part: Part
    predictors: tuple[Predictor, ...]
    limit: int
    budget: Budget


@contextmanager
def prepared(
    options: ClassifyOptions,
    progress: Progress,
    *,
    dry: bool = False,
    loaded: LoadedModel | None = None,
) -> Iterator[Job]:
    """Open the inputs, load the model, plan windows and memory.

    Args:
        options: What is asked for.
        progress: Who watches.
        dry: Nothing is going to be done, so an HSI that is still to be sharpened is taken as it is.
        loaded: The model, where it has been loaded before as the options say; None loads it.

    Raises:
        ComixError: An input cannot be used, an output could not be written, or the memory allowed
            does not suffice.
    """

    def check(scene: OpenScene) -> None:
        spare_sharp(options, scene)
        budget_of(options, scene, whole(scene.plan))

    check_outputs(options)
    with (
        opened(options, progress, check, dry=dry, loaded=loaded) as scene,
        ready(options, scene, whole(scene.plan)) as job,
    ):
        yield job


@contextmanager
def opened(
    options: ClassifyOptions,
    progress: Progress,
    check: Callable[[OpenScene], object],
    *,
    dry: bool = False,
    loaded: LoadedModel | None = None,
) -> Iterator[OpenScene]:
    """Open the inputs, load the model, plan windows.

    Args:
        options: What is asked for; its outputs play no part.
        progress: Who watches.
        check: Is shown the scene before anything long begins, to raise what is wrong with it.
        dry: As for `prepared`.
        loaded: As for `prepared`.

    Raises:
        ComixError: An input cannot be used.
    """
    set_threads(options.threads)
    model = loaded or load(options.model, options.device, options.precision)
    # What has been said of the HSI as it is would be said of the sharp one again.
    told = EachOnce(progress)
    sharp = sharp_hsi_as_asked(options.inputs, told)
    inputs = options.inputs
    if sharp is not None:
        if not (sharp.is_there or dry):
            # A mistake should not wait for the sharpening.
            with _laid_out(options, inputs, model, told, sharp) as scene:
                check(scene)
            sharp.make(told)
        inputs = sharp.scene if sharp.is_there else inputs
    with _laid_out(options, inputs, model, told, sharp) as scene:
        check(scene)
        yield scene


@contextmanager
def ready(options: ClassifyOptions, scene: OpenScene, part: Part) -> Iterator[Job]:
    """All that it takes to compute a part of a scene.

    Raises:
        UsageError: The memory allowed does not suffice.
    """
    budget, limit = budget_of(options, scene, part)
    bands, *channels = scene.stack.channels
    predictors = scene.model.predictors(
        bands, sum(channels), scene.size[0], compiled=options.compile
    )
    with rasterio.Env(GDAL_CACHEMAX=budget.cache):
        yield Job(scene, part, predictors, limit, budget)


def check_outputs(options: ClassifyOptions) -> None:
    """Refuse outputs that could not be written.

    Raises:
        OutputError: One cannot be written, or is an input.
        UsageError: They cannot be meant.
    """
    read = [*options.inputs.paths, str(options.model)]
    # A VRT is one file, and what it shows of others is read as well.
    read += [name for path in options.inputs.paths for name in raster_files(path)]
    options.outputs.check(read if options.mask is None else [*read, options.mask])


def spare_sharp(options: ClassifyOptions, scene: OpenScene) -> None:
    """Refuse outputs that would replace the sharp HSI that is kept for a scene.

    Raises:
        OutputError: One would.
    """
    if scene.sharp is not None:
        options.outputs.check([str(scene.sharp.kept)])


@contextmanager
def _laid_out(
    options: ClassifyOptions,
    inputs: SceneInputs,
    model: LoadedModel,
    progress: Progress,
    sharp: SharpHsi | None,
) -> Iterator[OpenScene]:
    """A scene, its windows planned.

    Raises:
        ComixError: It cannot be done.
    """
    card = model.card
    with open_for_model(inputs, card, progress) as stack:
        _warn_about_scale(stack.grid, card, progress)
        _warn_about_values(stack, card, progress)
        area = _area(options, stack.grid, progress)
        side = card.window if options.window is None else options.window
        plan = _plan(options, card, side, stack.grid)
        yield OpenScene(stack, model, plan, (side, side), area, inputs, sharp)


def _warn_about_values(stack: Stack, card: ModelCard, progress: Progress) -> None:
    """Reflectance in 0..1 and reflectance x 10 000 look alike to everybody but the network."""
    height, width = (min(CENTRE, side) for side in stack.grid.shape)
    row, col = (stack.grid.height - height) // 2, (stack.grid.width - width) // 2
    block = stack.read(Window(row, col, height, width))
    if not block.valid.any():
        return
    hsi, _ = card.normaliser(block)
    values = hsi[:, block.valid]
    if ((values == 0) | (values == 1)).mean() > MOST_BEYOND:
        low, high = np.percentile(block.hsi[:, block.valid], (1, 99))
        known = card.hsi.normalisation
        progress.warn(
            f"{stack.hsi_info.path}: its values, about {low:.4g} to {high:.4g}, are not those of "
            f"training, {min(known.low):.4g} to {max(known.high):.4g}; are they in another unit?"
        )


def _area(options: ClassifyOptions, grid: Grid, progress: Progress) -> Area | None:
    if options.mask is None:
        return None
    # What reads vectors takes eighty megabytes, which most runs can do without.
    from comix_cli.scene.area import read_area  # noqa: PLC0415

    area = read_area(options.mask, grid, layer=options.mask_layer)
    for warning in area.warnings:
        progress.warn(warning)
    return area


def _limit(ram: int | None) -> int:
    if ram is not None:
        return ram * MB
    return resident_bytes() + share_of_memory(1)


def budget_of(options: ClassifyOptions, scene: OpenScene, part: Part) -> tuple[Budget, int]:
    """What a part of a scene takes, and the bytes that it may take.

    Raises:
        UsageError: The memory allowed does not suffice.
    """
    stack, side, classes = scene.stack, scene.size[0], len(scene.card.legend)
    plan = sub_plan(scene.plan, part)
    bands, *others = stack.channels
    channels = sum(stack.channels)
    forward = scene.model.forward_bytes(bands, sum(others), side, compiled=options.compile)
    limit, devices = _limit(options.ram), scene.model.devices
    on_cpu = devices[0].type == "cpu"
    costs = plan_costs(
        plan,
        scene.size,
        channels=channels,
        bands_read=stack.bands_read,
        classes=classes,
        row_bytes=bytes_per_row(options.outputs, stack.grid.part(part.own), scene.card.legend),
        base=resident_bytes() + (GRAPH if on_cpu else 0),
        forward=forward if on_cpu else 0,
        cache=cache_bytes(stack, plan.window[0], plan.shape[1]),
        on_gpu=not on_cpu,
    )
    if on_cpu:
        return fit(costs, torch.get_num_threads(), 1, limit), limit
    free = min(free_on(device) for device in devices)
    batch = options.batch_size or batch_on_gpu(
        free,
        forward,
        plan,
        scene.size,
        channels=channels,
        classes=classes,
        devices=len(devices),
    )
    return fit(costs, len(devices), batch, limit), limit


def _plan(options: ClassifyOptions, card: ModelCard, window: int, grid: Grid) -> WindowPlan:
    if card.spec.window is not None and window != card.spec.window:
        raise UsageError(
            f"--window {window}: this model is fixed to windows of {card.spec.window} pixels",
            remedy="leave --window out",
        )
    # Windows of a model of single pixels agree without overlapping.
    usual = 0 if card.spec.pixelwise else window // 3
    overlap = usual if options.overlap is None else options.overlap
    if not 0 <= overlap < window:
        raise UsageError(
            f"--overlap {overlap}: must lie between 0 and {window - 1}, below the window"
        )
    # Anchored to the CRS, so that maps of overlapping pieces of a scene agree.
    return plan_windows(grid.shape, window, overlap, grid.lattice_position)


def _warn_about_scale(grid: Grid, card: ModelCard, progress: Progress) -> None:
    ratio = grid.gsd_m / card.gsd_m
    if abs(ratio - 1) > GSD_TOLERANCE:
        progress.warn(
            f"the common grid has pixels of {grid.gsd_m:g} m, the model was trained on "
            f"{card.gsd_m:g} m; --res can change that"
        )
