"""Which labels train and which judge, and what they say of a network while it trains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from comix_cli.accuracy.confusion import Accuracy
from comix_cli.errors import LabelError
from comix_cli.learning.holdout import Holdout, LabelsApart, SomeLabels, hold_out, let_go
from comix_cli.learning.label_budget import LabelBudget, draw_labels
from comix_cli.learning.samples import (
    TILE,
    LabelIndex,
    LabelReader,
    Labels,
    index_labels,
    tile_columns,
    usable_labels,
)
from comix_cli.learning.validation import Validator
from comix_cli.progress import Progress
from comix_cli.scene.checksum import checksum
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import Reference
from comix_cli.scene.legend import Legend
from comix_cli.scene.pixel_rule import CENTRES, PixelRule
from comix_cli.scene.stack import BlockReader
from comix_cli.scene.vector import is_raster_file
from comix_cli.scene.windows import Window
from comix_cli.tools.reference import TruthOptions, open_reference

# What `--validation` may say instead of a file.
AUTO, NONE = "auto", "none"
# Held blocks stay so many pixels of the coarsest raster away from what trains.
COARSE_PIXELS_APART = 2


@dataclass(frozen=True)
class Sides:
    """The labels of a scene, some to train on and some to judge by.

    Attributes:
        training: The labels that train.
        index: Where they are.
        judging: The labels that judge; None where there are none.
        judging_index: Where those are.
        record: How they were told apart, for the model's provenance; None without validation.
    """

    training: Labels
    index: LabelIndex
    judging: Labels | None = None
    judging_index: LabelIndex | None = None
    record: Mapping[str, Any] | None = None

    def judging_tiles(self, grid: Grid) -> list[Window]:
        """The tiles that hold labels to judge by."""
        if self.judging_index is None:
            return []
        places = np.unique(self.judging_index.tiles)
        rows, columns = np.divmod(places, tile_columns(grid))
        return [
            Window(row, col, min(TILE, grid.height - row), min(TILE, grid.width - col))
            for row, col in zip((rows * TILE).tolist(), (columns * TILE).tolist(), strict=True)
        ]


@dataclass(frozen=True)
class LabelledScene:
    """A scene and all of its labels.

    Attributes:
        reader: The rasters on the common grid.
        labels: All labels of the ground truth.
        index: Where they are.
        legend: The classes.
        coarsest_m: Pixel size of the coarsest raster in metres.
    """

    reader: BlockReader
    labels: Labels
    index: LabelIndex
    legend: Legend
    coarsest_m: float

    @property
    def buffer(self) -> int:
        """Pixels that lie between what trains and what judges."""
        return math.ceil(COARSE_PIXELS_APART * self.coarsest_m / self.reader.grid.gsd_m)


@contextmanager
def told_apart(
    wanted: str, truth: TruthOptions, scene: LabelledScene, seed: int, progress: Progress
) -> Iterator[Sides]:
    """Decide which labels judge.

    Args:
        wanted: `auto` to hold blocks of the ground truth out, `none`, or a file of ground truth.
        truth: How the ground truth is read, and such a file too.
        scene: The scene and all labels.
        seed: Decides between what is equally good.
        progress: Told where there is nothing to validate on.

    Raises:
        ComixError: The file cannot be used.
    """
    if wanted == NONE:
        yield Sides(scene.labels, scene.index)
    elif wanted == AUTO:
        yield _held_out(scene, seed, progress)
    else:
        with _open_other(wanted, truth, scene.reader.grid, progress) as reference:
            yield _of_file(wanted, reference, truth.rule, scene, progress)


def _open_other(
    path: str, truth: TruthOptions, grid: Grid, progress: Progress
) -> AbstractContextManager[Reference]:
    """Another file, of which the field is known but not the layer; a raster has no options."""
    rule = CENTRES if is_raster_file(path) else truth.rule
    options = replace(truth, path=path, layer=None, field=None, rule=rule)
    return open_reference(options, grid, progress, field=truth.field)


def _of_file(
    path: str, reference: Reference, rule: PixelRule, scene: LabelledScene, progress: Progress
) -> Sides:
    """Labels of a file, but for the pixels that train as well."""
    reader = LabelReader(reference, scene.reader.grid, scene.legend, rule)
    apart = LabelsApart(reader, scene.labels)
    found = index_labels(apart, scene.reader, len(scene.legend), progress)
    if not found.class_pixels.any():
        cause = "of a class that is trained" if not apart.shared else "that does not train as well"
        raise LabelError(
            f"holds no labelled pixel {cause}",
            path=path,
            remedy="give validation ground of the same classes elsewhere, or --validation none",
        )
    if apart.shared:
        progress.warn(f"{path}: {apart.shared} pixels train as well, so they do not judge")
    return Sides(
        scene.labels, scene.index, apart, found, {"file": path, "checksum": checksum(path)}
    )


def _held_out(scene: LabelledScene, seed: int, progress: Progress) -> Sides:
    """Blocks of the ground truth held out, so that every class keeps something to train on."""
    grid, index, classes = scene.reader.grid, scene.index, len(scene.legend)
    holdout = hold_out(index, grid, scene.buffer, seed)
    while holdout is not None:
        training = SomeLabels(scene.labels, holdout, judging=False)
        left = index_labels(training, scene.reader, classes, progress)
        lacking = np.flatnonzero((left.class_pixels == 0) & (index.class_pixels > 0))
        if not lacking.size:
            judging = SomeLabels(scene.labels, holdout, judging=True)
            found = index_labels(judging, scene.reader, classes, progress)
            return Sides(training, left, judging, found, _record(holdout, grid))
        holdout = let_go(holdout, index, grid, lacking)
    progress.info("too little ground truth to hold some out, so nothing is validated on")
    return Sides(scene.labels, index)


def thinned(
    sides: Sides, budget: LabelBudget, scene: LabelledScene, seed: int, progress: Progress
) -> Sides:
    """The same, with as many labels to train on as the budget has; all that judge stay.

    Args:
        sides: The labels.
        budget: How many train.
        scene: The scene.
        seed: Fixes which.
        progress: Told of every part of the scene.
    """
    if budget.is_everything:
        return sides
    chunks = usable_labels(sides.training, scene.reader, "drawing labels", progress)
    few = draw_labels(sides.training, chunks, sides.index, budget, seed)
    index = index_labels(few, scene.reader, len(scene.legend), progress)
    return replace(sides, training=few, index=index)


def _record(holdout: Holdout, grid: Grid) -> dict[str, Any]:
    return {
        "blocks": len(holdout.held),
        "block_m": round(holdout.block * grid.gsd_m, 3),
        "buffer_m": round(holdout.buffer * grid.gsd_m, 3),
    }


@dataclass
class Judge:
    """Looks at the averaged weights from time to time.

    Attributes:
        validator: Predicts the chips.
        history: Of each look the step, the pixels judged by, overall and average accuracy, kappa.
    """

    validator: Validator
    history: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, step: int, weights: Mapping[str, Tensor]) -> float | None:
        """Look; the overall accuracy, 0 to 1."""
        matrix = self.validator.matrix(weights)
        accuracy = Accuracy.from_matrix(matrix)
        figures = {
            "overall_accuracy": accuracy.overall_accuracy,
            "average_accuracy": accuracy.average_accuracy,
            "kappa": accuracy.kappa,
        }
        self.history.append({"step": step, "pixels": int(matrix.sum()), **figures})
        return accuracy.overall_accuracy
