"""A scene and its ground truth as training needs them."""

from __future__ import annotations

import os

import numpy as np

from comix_cli.errors import LabelError, listed
from comix_cli.learning.samples import (
    LabelIndex,
    LabelReader,
    Labels,
    MemoryLabels,
    MemoryScene,
    index_labels,
    scene_bytes,
)
from comix_cli.progress import Progress
from comix_cli.scene.labels import Reference
from comix_cli.scene.legend import Legend
from comix_cli.scene.stack import BlockReader, Stack
from comix_cli.tools.data_gaps import why_without_data
from comix_cli.tools.reference import TruthOptions, tell_of_left_out
from comix_cli.tools.validation import LabelledScene

# Scenes up to this size are read once and kept; larger ones are read chip by chip.
MEMORY_SCENE_BYTES = 4 << 30
# Beyond that a field holds names or numbers of single objects and not classes.
MOST_CLASSES = 1000
# From this share of labelled pixels on it is said which raster has no data there.
MANY_WITHOUT_DATA = 0.1


def labelled_scene(
    stack: Stack,
    options: TruthOptions,
    truth: Reference,
    progress: Progress,
    *,
    to_learn: bool = True,
) -> LabelledScene:
    """The scene, in memory where it fits, with the classes that it really holds.

    Args:
        stack: The rasters.
        options: How the ground truth is read.
        truth: The ground truth.
        progress: Who watches.
        to_learn: Whether anything is going to be learnt from it; what is only looked at is not
            brought into memory.

    Raises:
        LabelError: Too many classes, or not two that have usable pixels.
    """
    reader = _readable_scene(stack, progress) if to_learn else stack
    everything = _all_classes(truth)
    labels = LabelReader(truth, stack.grid, everything, options.rule)
    index = index_labels(labels, reader, len(everything), progress)
    _tell_of_pixels_without_data(stack, labels, reader, index, truth.path, progress)
    legend, index = _really_there(everything, index, truth, progress)
    own: Labels = LabelReader(truth, stack.grid, legend, options.rule)
    if isinstance(reader, MemoryScene):
        own = MemoryLabels(own, stack.grid.shape)
    coarsest = max(info.grid.gsd_m for info in (stack.hsi_info, *stack.x_info))
    return LabelledScene(reader, own, index, legend, coarsest)


def _readable_scene(stack: Stack, progress: Progress) -> BlockReader:
    infos = (stack.hsi_info, *stack.x_info)
    for info, dropped in zip(infos, (stack.dropped, *stack.x_dropped), strict=True):
        for band, reason in dropped.items():
            progress.info(f"{info.path}: band {band} is not used ({reason})")
    if scene_bytes(stack) <= memory_for_a_scene():
        return MemoryScene(stack, progress)
    return stack


def memory_for_a_scene() -> int:
    """How many bytes a scene may take in memory: at most half of what is free."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(MEMORY_SCENE_BYTES, free // 2)


def _all_classes(truth: Reference) -> Legend:
    """The classes that the ground truth has anywhere.

    Raises:
        LabelError: Too many.
    """
    if len(truth.classes) > MOST_CLASSES:
        raise LabelError(
            f"field '{truth.field}' has {len(truth.classes)} values, too many for classes"
            if truth.field
            else f"holds {len(truth.classes)} values, too many for classes",
            path=truth.path,
            remedy="name another field with --field, or give another file",
        )
    return Legend.from_names(truth.classes)


def _tell_of_pixels_without_data(
    stack: Stack,
    labels: LabelReader,
    scene: BlockReader,
    index: LabelIndex,
    path: str,
    progress: Progress,
) -> None:
    """Tell how many labels lie where a raster has no data, and of which raster where they are many.

    Raises:
        LabelError: All of them do, or there are none.
    """
    used = int(index.class_pixels.sum())
    share = index.invalid / max(1, used + index.invalid)
    if used and share < MANY_WITHOUT_DATA:
        tell_of_left_out(path, index.invalid, "labelled pixels have no valid data", progress)
        return
    why = why_without_data(stack, labels, scene) if index.invalid else None
    because = f" ({why})" if why else ""
    if not used:
        raise LabelError(
            f"no labelled pixel lies on valid data{because}",
            path=path,
            remedy="check the CRS of the ground truth (--gt-crs) and nodata in the rasters",
        )
    progress.warn(
        f"{path}: {index.invalid} of {used + index.invalid} labelled pixels have no valid data and "
        f"are left out{because}; check nodata with 'comix info', or do without that raster or band"
    )


def _really_there(
    everything: Legend, index: LabelIndex, truth: Reference, progress: Progress
) -> tuple[Legend, LabelIndex]:
    """The classes that the scene really holds, and where their pixels are.

    Raises:
        LabelError: It holds one class only.
    """
    kept = np.flatnonzero(index.class_pixels).tolist()
    legend = everything.only(kept)
    if len(kept) == 1:
        raise LabelError(
            f"only one class ('{legend.names[0]}') has labelled pixels in the scene",
            path=truth.path,
            remedy="label at least two classes, or name another field with --field",
        )
    absent = [name for name in everything.names if name not in legend.names]
    if absent:
        progress.warn(f"{truth.path}: no usable pixel, so left out: {listed(absent)}")
    disputed = "pixels lie in polygons of different classes"
    tell_of_left_out(truth.path, index.overlap, disputed, progress)
    return legend, index.only(kept)
