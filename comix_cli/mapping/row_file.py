"""A raster that grows in rows: a plain temporary file, which GDAL reads through a VRT.

Rows go to the disk as they are finished, so memory does not depend on the height of the scene.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import DTypeLike, NDArray

from comix_cli.files import reserve
from comix_cli.mapping.gis_metadata import add_text, clean_text
from comix_cli.scene.grid import Grid

_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "float32": "Float32"}
_STRIP_BYTES = 32 << 20


class RowFile:
    """Takes rows of one or several bands in any order, and gives them back.

    Args:
        stream: An empty file open for reading and writing.
        grid: Where the rows lie.
        dtype: Of the pixels.
        bands: How many values a pixel has; they lie side by side.

    Raises:
        OSError: The disk has no room for the rows.
    """

    def __init__(self, stream: BinaryIO, grid: Grid, dtype: DTypeLike, bands: int = 1) -> None:
        self._stream = stream
        self.path = Path(stream.name)
        self.grid = grid
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.bands = bands
        self._written = np.zeros(grid.height, np.int64)  # pixels of each row
        # A disk that is too small is better found out now than after hours of computing.
        reserve(stream, grid.height * self.row_bytes)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of all bands."""
        return self.grid.width * self.bands * self.dtype.itemsize

    def write(self, row_start: int, values: NDArray[Any]) -> None:
        """Write finished rows.

        Args:
            row_start: The first row.
            values: `(rows, W)`, or `(bands, rows, W)` where there are several bands.

        Raises:
            ValueError: Rows beyond the grid, or rows written before.
            OSError: The disk is full, or fails.
        """
        shaped = values[np.newaxis] if values.ndim == 2 else values
        if shaped.shape[2] != self.grid.width:
            raise ValueError(f"rows of shape {values.shape} do not fit {self.grid.shape}")
        self.write_block(row_start, 0, shaped)

    def write_block(self, row_start: int, col_start: int, values: NDArray[Any]) -> None:
        """Write some columns of some rows.

        Args:
            row_start: The first row.
            col_start: The first column.
            values: `(bands, rows, columns)`.

        Raises:
            ValueError: Pixels beyond the grid, or more of a row than there is.
            OSError: The disk is full, or fails.
        """
        bands, height, width = values.shape
        rows, end = slice(row_start, row_start + height), col_start + width
        inside = 0 <= row_start <= rows.stop <= self.grid.height and col_start >= 0
        if bands != self.bands or end > self.grid.width or not inside:
            raise ValueError(f"rows {rows} of shape {values.shape} do not fit {self.grid.shape}")
        if (self._written[rows] + width > self.grid.width).any():
            raise ValueError(f"rows {rows} have been written before")
        pixels = np.ascontiguousarray(np.moveaxis(values, 0, -1), self.dtype)
        for place, data in self._pieces(row_start, col_start, pixels):
            self._stream.seek(place)
            self._stream.write(data)
        self._written[rows] += width

    def _pieces(
        self, row_start: int, col_start: int, pixels: NDArray[Any]
    ) -> Iterator[tuple[int, memoryview]]:
        """What lies together in the file, `(rows, columns, bands)`, and where."""
        first = row_start * self.row_bytes + col_start * self.bands * self.dtype.itemsize
        if pixels.shape[1] == self.grid.width:
            yield first, pixels.data
        else:
            for number, row in enumerate(pixels):
                yield first + number * self.row_bytes, row.data

    def flush(self) -> None:
        """Bring everything to the file.

        Raises:
            ValueError: Rows are missing.
        """
        missing = np.flatnonzero(self._written < self.grid.width)
        if missing.size:
            raise ValueError(f"row {missing[0]} of the map was never written")
        self._stream.flush()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows `[start, stop)` of the flushed file, `(bands, rows, W)`."""
        shape = (stop - start, self.grid.width, self.bands)
        count = int(np.prod(shape))
        values = np.fromfile(self.path, self.dtype, count, offset=start * self.row_bytes)
        if values.size != count:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self.path))
        return np.moveaxis(values.reshape(shape), -1, 0)

    def strips(self, multiple: int = 1, most_bytes: int = _STRIP_BYTES) -> Iterator[slice]:
        """Slices of rows from top to bottom.

        Args:
            multiple: Strips begin at multiples of this, unless a row is very long.
            most_bytes: What the pixels of a strip may take, one row being the least.
        """
        rows = max(1, most_bytes // self.row_bytes)
        step = rows // multiple * multiple or rows
        edges = [*range(0, self.grid.height, step), self.grid.height]
        return (slice(start, stop) for start, stop in pairwise(edges))

    def vrt(self, tags: Mapping[str, str]) -> tuple[ET.Element, list[ET.Element]]:
        """A VRT of the file beside it: its root, and its bands, to which more can be added."""
        grid, item = self.grid, self.dtype.itemsize
        root = ET.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
        add_text(root, "SRS", grid.crs.to_wkt())
        add_text(root, "GeoTransform", ", ".join(repr(float(v)) for v in grid.transform.to_gdal()))
        metadata = ET.SubElement(root, "Metadata")
        for key, value in tags.items():
            add_text(metadata, "MDI", value, key=clean_text(key))
        kind = {"dataType": _GDAL_TYPES[self.dtype.name], "subClass": "VRTRawRasterBand"}
        bands = [
            ET.SubElement(root, "VRTRasterBand", {**kind, "band": str(index + 1)})
            for index in range(self.bands)
        ]
        for index, band in enumerate(bands):
            add_text(band, "SourceFilename", self.path.name, relativeToVRT="1")
            add_text(band, "ImageOffset", index * item)
            add_text(band, "PixelOffset", item * self.bands)
            add_text(band, "LineOffset", self.row_bytes)
            add_text(band, "ByteOrder", "LSB")
        return root, bands


@contextmanager
def open_row_file(path: Path, grid: Grid, dtype: DTypeLike, bands: int = 1) -> Iterator[RowFile]:
    """A new file of rows, closed at the end.

    Raises:
        OSError: The disk has no room for the rows.
    """
    with path.open("w+b") as stream:
        yield RowFile(stream, grid, dtype, bands)
