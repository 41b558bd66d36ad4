"""From a scene and a model to a classified map."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from comix_cli.errors import UsageError
from comix_cli.files import check_writable
from comix_cli.learning.device import choose_device, set_threads
from comix_cli.learning.model_file import ModelCard, load_model
from comix_cli.mapping.predict import Predictor, class_codes, predict_rows
from comix_cli.mapping.writer import open_map_writer
from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.raster import checksum
from comix_cli.scene.windows import WindowPlan, plan_windows
from comix_cli.tools.inputs import SceneInputs, input_provenance, open_for_model
from comix_cli.tools.provenance import plain, timestamp, versions

# Pixels this much larger or smaller than in training make a texture model guess.
GSD_TOLERANCE = 0.25


@dataclass(frozen=True)
class ClassifyOptions:
    """Everything `comix classify` can be told.

    Attributes:
        inputs: The scene.
        model: The model file.
        output: The map to write.
        window: Side of the windows in pixels; None for the size that the model was trained on.
        overlap: Pixels that neighbouring windows share at least; None for a third of the window.
        batch_size: Windows that the network sees at once.
        device: `auto`, `cpu`, `cuda`, ...
        threads: CPU threads to compute with; None for all.
        creation_options: GDAL creation options of the map, such as `COMPRESS=ZSTD`.
        overwrite: Replace an existing map.
    """

    inputs: SceneInputs
    model: Path
    output: Path
    window: int | None = None
    overlap: int | None = None
    batch_size: int = 4
    device: str = "auto"
    threads: int | None = None
    creation_options: dict[str, str] = field(default_factory=dict)
    overwrite: bool = False


@dataclass(frozen=True)
class ClassifyReport:
    """What came of it, for people.

    Attributes:
        output: The map.
        grid: The grid of the map.
        windows: How many windows were predicted.
        class_pixels: Pixels of each class, by name.
        nodata_pixels: Pixels without valid data in every input.
    """

    output: Path
    grid: Grid
    windows: int
    class_pixels: dict[str, int]
    nodata_pixels: int


def classify(options: ClassifyOptions, progress: Progress) -> ClassifyReport:
    """Classify one scene and write the map.

    Raises:
        ComixError: An input cannot be used, or the output cannot be written.
    """
    read = (*options.inputs.paths, str(options.model))
    check_writable(options.output, overwrite=options.overwrite, inputs=read)
    device = choose_device(options.device)
    set_threads(options.threads)
    network, card = load_model(options.model, device)
    with open_for_model(options.inputs, card) as stack:
        _warn_about_scale(stack.grid, card, progress)
        plan = _plan(options, card, stack.grid)
        size = card.window if options.window is None else options.window
        predictor = Predictor(network, card.normaliser, len(card.legend), (size, size), device)
        tags = _tags(options, card, plan, progress)
        with open_map_writer(
            options.output,
            stack.grid,
            card.legend,
            tags=tags,
            overwrite=options.overwrite,
            creation_options=options.creation_options,
        ) as writer:
            for row, probabilities, valid in predict_rows(
                stack, predictor, plan, options.batch_size, progress
            ):
                writer.write_rows(row, class_codes(probabilities, valid, card.legend))
    if not writer.counts[1:].any():
        progress.warn(
            f"{options.output}: the map is empty, because no pixel has valid data in every band of "
            "every input; check nodata with 'comix info'"
        )
    pixels = {entry.name: int(writer.counts[entry.code]) for entry in card.legend}
    nodata = int(writer.counts[NO_CLASS])
    return ClassifyReport(options.output, stack.grid, len(plan), pixels, nodata)


def _plan(options: ClassifyOptions, card: ModelCard, grid: Grid) -> WindowPlan:
    window = card.window if options.window is None else options.window
    if card.spec.window is not None and window != card.spec.window:
        raise UsageError(
            f"--window {window}: this model is fixed to windows of {card.spec.window} pixels",
            remedy="leave --window out",
        )
    overlap = window // 3 if options.overlap is None else options.overlap
    if not 0 <= overlap < window:
        raise UsageError(
            f"--overlap {overlap}: must lie between 0 and {window - 1}, below the window"
        )
    return plan_windows(grid.shape, window, overlap)


def _warn_about_scale(grid: Grid, card: ModelCard, progress: Progress) -> None:
    ratio = grid.gsd_m / card.gsd_m
    if abs(ratio - 1) > GSD_TOLERANCE:
        progress.warn(
            f"the common grid has pixels of {grid.gsd_m:g} m, the model was trained on "
            f"{card.gsd_m:g} m; --res can change that"
        )


def _tags(
    options: ClassifyOptions, card: ModelCard, plan: WindowPlan, progress: Progress
) -> dict[str, str]:
    """What the TIFF says of how it was made."""
    truth = card.training.get("ground_truth", {})
    return {
        "TIFFTAG_SOFTWARE": f"comix {versions()['comix']}",
        "COMIX_VERSION": versions()["comix"],
        "COMIX_DATE": timestamp(),
        "COMIX_INPUTS": json.dumps(input_provenance(options.inputs, progress)),
        "COMIX_MODEL": json.dumps(
            {"path": str(options.model), "checksum": checksum(options.model)}
        ),
        "COMIX_FIELD": str(truth.get("field", "")),
        "COMIX_OPTIONS": json.dumps(plain(options) | {"windows": plain(plan)}),
        "COMIX_VERSIONS": json.dumps(versions()),
    }
