"""Label sets: their codes, and their pixels by class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.errors import LabelError
from comix_cli.scene.legend import NO_CLASS, Legend
from comix_cli.tools.importing.pixels import Pixels
from comix_cli.tools.importing.records import Dataset


def legend_of(dataset: Dataset) -> Legend:
    """The official classes with codes from 1 and colours."""
    return Legend.from_names(enumerate(dataset.classes, start=1))


def code_strips(pixels: Pixels, classes: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """First rows and class codes `(rows, W)`; 0 where there is none.

    Negative values, NaN and nodata are no class.

    Raises:
        LabelError: Several bands, fractions, or codes above the number of classes.
    """
    if pixels.bands != 1:
        raise LabelError(
            f"has {pixels.bands} bands, but labels have one",
            path=pixels.path,
            remedy="give the raster of class codes, not a picture of it",
        )
    for row, (values,) in pixels.strips():
        yield row, _codes(pixels, values, classes)


def _codes(pixels: Pixels, values: NDArray[Any], classes: int) -> NDArray[np.uint8]:
    labelled = values > 0  # false for NaN too
    if pixels.nodata is not None:
        labelled &= values != pixels.nodata
    kept = values[labelled]
    odd = kept[(kept > classes) | (kept != np.trunc(kept))]
    if odd.size:
        raise LabelError(
            f"holds the label {odd[0]:g}, and there are {classes} classes",
            path=pixels.path,
            remedy="give the label raster of the original distribution",
        )
    return np.where(labelled, values, NO_CLASS).astype(np.uint8)


def count_classes(pixels: Pixels, classes: int) -> tuple[int, ...]:
    """Pixels of each class in the order of the codes 1, 2, ...

    Raises:
        LabelError: As `code_strips`.
    """
    counts = np.zeros(classes + 1, np.int64)
    for _, codes in code_strips(pixels, classes):
        counts += np.bincount(codes.ravel(), minlength=classes + 1)
    return tuple(int(count) for count in counts[1:])
