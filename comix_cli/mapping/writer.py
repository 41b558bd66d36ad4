"""The map on disk: a cloud-optimised GeoTIFF whose class names and colours every GIS shows.

Rows go to a plain temporary file as they are finished, so memory does not depend on the scene. At
the end GDAL's COG driver turns that into the map, which is read back before it gets its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from numpy.typing import NDArray

from comix_cli.files import check_writable, partial_folder, reserve, settle
from comix_cli.mapping.cog import (
    BLOCK,
    GDAL_ERRORS,
    check_creation_options,
    copy_to_cog,
    merged_options,
    write_failure,
)
from comix_cli.mapping.gis_metadata import add_legend, add_text, clean_text
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import NO_CLASS, Legend

LEGEND_TAG = "COMIX_LEGEND"
VERSION_TAG = "COMIX_VERSION"
_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16"}
# Files of an older map of the same name that would be taken for the new one's.
_STALE_SIDECARS = (".ovr", ".msk")


class MapWriter:
    """Takes the rows of a map in any order and any number at a time.

    Args:
        stream: An empty file open for reading and writing; rows are kept there as they are.
        grid: The map's grid.
        legend: The map's classes; they decide the data type.

    Raises:
        OSError: The disk has no room for the rows.
    """

    def __init__(self, stream: BinaryIO, grid: Grid, legend: Legend) -> None:
        self._stream = stream
        self.grid = grid
        self.legend = legend
        self.dtype = np.dtype(legend.dtype)
        self.counts = np.zeros(max(legend.codes, default=NO_CLASS) + 1, np.int64)
        self._written = np.zeros(grid.height, np.bool_)
        # A disk that is too small is better found out now than after hours of computing.
        reserve(stream, grid.height * grid.width * self.dtype.itemsize)

    def write_rows(self, row_start: int, codes: NDArray[np.integer]) -> None:
        """Write finished rows.

        Args:
            row_start: The first row.
            codes: `(rows, W)`, codes of the legend or 0 for no class.

        Raises:
            ValueError: Rows beyond the grid, rows written before, or codes not in the legend.
            OSError: The disk is full, or fails.
        """
        rows = slice(row_start, row_start + codes.shape[0])
        if codes.shape[1:] != (self.grid.width,) or not 0 <= row_start <= rows.stop <= len(
            self._written
        ):
            raise ValueError(f"rows {rows} of shape {codes.shape} do not fit {self.grid.shape}")
        if self._written[rows].any():
            raise ValueError(f"rows {rows} have been written before")
        self._count(codes)
        self._stream.seek(row_start * self.grid.width * self.dtype.itemsize)
        self._stream.write(np.ascontiguousarray(codes, self.dtype.newbyteorder("<")).data)
        self._written[rows] = True

    @property
    def class_pixels(self) -> tuple[int, ...]:
        """Pixels written of each class, in the legend's order."""
        return tuple(int(self.counts[code]) for code in self.legend.codes)

    def rows(self, start: int, stop: int) -> NDArray[np.integer]:
        """Rows `[start, stop)` as they were written, `(rows, W)`."""
        row_bytes = self.grid.width * self.dtype.itemsize
        self._stream.seek(start * row_bytes)
        data = self._stream.read((stop - start) * row_bytes)
        return np.frombuffer(data, self.dtype.newbyteorder("<")).reshape(-1, self.grid.width)

    def flush(self) -> None:
        """Bring everything to the file.

        Raises:
            ValueError: Rows are missing.
        """
        if not self._written.all():
            raise ValueError(f"row {int(self._written.argmin())} of the map was never written")
        self._stream.flush()

    def _count(self, codes: NDArray[np.integer]) -> None:
        counts = np.bincount(codes.ravel(), minlength=len(self.counts))
        foreign = np.setdiff1d(np.flatnonzero(counts), (NO_CLASS, *self.legend.codes))
        if foreign.size:
            raise ValueError(f"code {foreign[0]} is not in the legend {self.legend.codes}")
        self.counts += counts


@contextmanager
def open_map_writer(
    path: Path | str,
    grid: Grid,
    legend: Legend,
    *,
    tags: Mapping[str, str],
    overwrite: bool = False,
    creation_options: Mapping[str, str] = _NO_OPTIONS,
) -> Iterator[MapWriter]:
    """Write a class map that appears, with its sidecar, when the block ends well, or not at all.

    The map is a COG on `grid` in `legend.dtype`, nodata 0, with overviews by majority. Palette and
    tags are inside; category names and the attribute table are in the `.aux.xml` beside it, where
    GDAL keeps them, and the legend is in the tag `COMIX_LEGEND` too, should the sidecar get lost.

    Args:
        path: The map.
        grid: Where it lies.
        legend: Its classes.
        tags: Provenance, written as TIFF metadata.
        overwrite: Whether an existing map is replaced.
        creation_options: Options of GDAL's COG driver that go before ours, such as `COMPRESS=ZSTD`.

    Yields:
        What takes the rows; every row must have been written at the end.

    Raises:
        OutputError: The map exists, the folder is not writable, or the disk is full.
        UsageError: GDAL refuses a creation option.
    """
    target = Path(path)
    check_writable(target, overwrite=overwrite)
    with partial_folder(target) as folder:
        check_creation_options(folder, creation_options)
        with (folder / "rows.bin").open("w+b") as stream:
            writer = MapWriter(stream, grid, legend)
            yield writer
            writer.flush()
            vrt = folder / "rows.vrt"
            vrt.write_bytes(_vrt_document(writer, tags))
            finished = folder / target.name
            copy_to_cog(vrt, finished, merged_options(creation_options), target)
            _verify(finished, writer, target)
        _publish_map(finished, target)


def _vrt_document(writer: MapWriter, tags: Mapping[str, str]) -> bytes:
    """The map as a VRT over the temporary file of rows, with all that a GIS shows of it."""
    grid, item = writer.grid, writer.dtype.itemsize
    root = ET.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    add_text(root, "SRS", grid.crs.to_wkt())
    add_text(root, "GeoTransform", ", ".join(repr(float(v)) for v in grid.transform.to_gdal()))
    metadata = ET.SubElement(root, "Metadata")
    legend_json = json.dumps(writer.legend.to_json(), ensure_ascii=False)
    for key, value in {**tags, LEGEND_TAG: legend_json}.items():
        add_text(metadata, "MDI", value, key=clean_text(key))
    band = ET.SubElement(
        root,
        "VRTRasterBand",
        {"dataType": _GDAL_TYPES[writer.legend.dtype], "band": "1", "subClass": "VRTRawRasterBand"},
    )
    add_text(band, "NoDataValue", NO_CLASS)
    add_text(band, "ColorInterp", "Palette")
    add_legend(band, writer.legend, writer.class_pixels)
    add_text(band, "SourceFilename", "rows.bin", relativeToVRT="1")
    add_text(band, "ImageOffset", 0)
    add_text(band, "PixelOffset", item)
    add_text(band, "LineOffset", item * grid.width)
    add_text(band, "ByteOrder", "LSB")
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _verify(finished: Path, writer: MapWriter, target: Path) -> None:
    """Read the map back: GDAL reports some write errors only as a warning, or not at all.

    Raises:
        OutputError: What is on the disk is not what was written.
    """
    try:
        ET.parse(_sidecar(finished))
        intact = _same_pixels(finished, writer)
    except (OSError, ET.ParseError, *GDAL_ERRORS) as error:
        raise write_failure(error, target) from error
    if not intact:
        raise write_failure("it came back from the disk changed", target)


def _same_pixels(finished: Path, writer: MapWriter) -> bool:
    with rasterio.open(finished) as dataset:
        if dataset.shape != writer.grid.shape or dataset.dtypes != (writer.legend.dtype,):
            return False
        edges = [*range(0, dataset.height, BLOCK), dataset.height]
        return all(
            np.array_equal(
                dataset.read(1, window=((start, stop), (0, dataset.width))),
                writer.rows(start, stop),
            )
            for start, stop in pairwise(edges)
        )


def _publish_map(finished: Path, target: Path) -> None:
    """Give the map its name last: whoever sees it finds its class names already there."""
    target = target.resolve()
    existed = target.exists()
    try:
        # The slow part first, so that nothing can come between the two renames.
        settle(_sidecar(finished))
        settle(finished)
        _sidecar(finished).replace(_sidecar(target))
        finished.replace(target)
    except BaseException:
        if not existed and not target.exists():
            _sidecar(target).unlink(missing_ok=True)
        raise
    for suffix in _STALE_SIDECARS:
        _with_suffix(target, suffix).unlink(missing_ok=True)


def _sidecar(path: Path) -> Path:
    return _with_suffix(path, ".aux.xml")


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
