"""Regions of interest as ENVI writes them as text: one region a class, a pixel a line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from comix_cli.errors import LabelError

_SIZE = re.compile(r";\s*File Dimension:\s*(\d+)\s*x\s*(\d+)", re.I)
_COUNT = re.compile(r";\s*ROI npts:\s*(\d+)", re.I)
_REMEDY = "export it again from ENVI as text, with the pixel coordinates"


def read_roi_text(path: str) -> NDArray[np.uint8]:
    """Class codes `(H, W)` of an ENVI file of regions: the first region is class 1, the next 2.

    A line of a pixel begins with a running number, its column and its row, both from 1. The header
    tells how many pixels each region has; some versions write all headers first, some one before
    the pixels of each.

    Raises:
        LabelError: No such file, pixels beyond the image, or more or fewer than the header tells.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    size = next((found for line in lines if (found := _SIZE.match(line))), None)
    counts = [int(found[1]) for line in lines if (found := _COUNT.match(line))]
    if size is None or not counts:
        raise LabelError("is no text file of ENVI's regions", path=path, remedy=_REMEDY)
    width, height = int(size[1]), int(size[2])
    points = _points(path, lines)
    if len(points) != sum(counts):
        raise LabelError(
            f"has {len(points)} pixels, and its header tells of {sum(counts)}",
            path=path,
            remedy=_REMEDY,
        )
    columns, rows = points.T - 1
    if points.size and not (
        0 <= columns.min() <= columns.max() < width and 0 <= rows.min() <= rows.max() < height
    ):
        raise LabelError(
            f"has pixels beyond its {width} x {height}, counted from 1", path=path, remedy=_REMEDY
        )
    codes = np.zeros((height, width), np.uint8)
    codes[rows, columns] = np.repeat(np.arange(1, len(counts) + 1), counts)
    return codes


def _points(path: str, lines: list[str]) -> NDArray[np.int64]:
    """Columns and rows of the pixels in the order of the file, `(n, 2)`."""
    rows = [line.split()[1:3] for line in lines if line.strip() and not line.startswith(";")]
    try:
        return np.array(rows, np.int64).reshape(len(rows), 2)
    except ValueError as error:
        raise LabelError("has lines that are no pixels", path=path, remedy=_REMEDY) from error
