"""One raster less another: heights above the ground from a surface and a terrain model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.pixels import Values
from comix_cli.scene.reader import BandReader
from comix_cli.scene.windows import Window


class DifferenceReader:
    """Every band of one raster less the first of another, valid where both are.

    Args:
        values: What is subtracted from, such as a digital surface model (DSM).
        less: What is subtracted, such as a digital terrain model (DTM).
    """

    def __init__(self, values: BandReader, less: BandReader) -> None:
        self._values, self._less = values, less

    def read(self, window: Window) -> Values:
        """The differences in a window of the grid."""
        values, less = self._values.read(window), self._less.read(window)
        with np.errstate(over="ignore", invalid="ignore"):  # fill values of invalid pixels
            return Values(values.data - less.data[:1], values.valid & less.valid)

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)` True where both are valid."""
        return self._values.read_valid(window) & self._less.read_valid(window)

    def close(self) -> None:
        """Close both readers."""
        self._values.close()
        self._less.close()
