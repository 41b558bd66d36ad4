"""The map on disk: a cloud-optimised GeoTIFF whose class names and colours every GIS shows.

Rows go to a plain temporary file as they are finished, so memory does not depend on the scene. At
the end GDAL's COG driver turns that into the map, which is read back before it gets its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from comix_cli.files import check_writable, sidecar
from comix_cli.mapping.cog import merged_options
from comix_cli.mapping.finish import write_cog
from comix_cli.mapping.gis_metadata import add_legend, add_text
from comix_cli.mapping.qgis import is_our_style, style_document, style_path
from comix_cli.mapping.row_file import RowFile, open_row_file
from comix_cli.mapping.sieve import sieve_rows
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import NO_CLASS, Legend

LEGEND_TAG = "COMIX_LEGEND"
VERSION_TAG = "COMIX_VERSION"
# Of the ground truth that the map's model was trained on: the field, and the file's checksum.
FIELD_TAG = "COMIX_FIELD"
TRUTH_TAG = "COMIX_TRUTH"
# Files of an older raster of the same name that would be taken for the new one's.
_STALE_SUFFIXES = (".ovr", ".msk")

Published = list[tuple[Path, Path]]


class MapWriter:
    """Takes the rows of a map in any order and any number at a time.

    Args:
        rows: An empty file of rows in the legend's data type.
        legend: The map's classes.

    Attributes:
        rows: The file of rows.
        grid: Where they lie.
        legend: The map's classes.
        counts: Pixels of each code, from 0 on.
    """

    def __init__(self, rows: RowFile, legend: Legend) -> None:
        self.rows = rows
        self.grid = rows.grid
        self.legend = legend
        self.counts = np.zeros(max(legend.codes, default=NO_CLASS) + 1, np.int64)

    def write_rows(self, row_start: int, codes: NDArray[np.integer]) -> None:
        """Write finished rows.

        Args:
            row_start: The first row.
            codes: `(rows, W)`, codes of the legend or 0 for no class.

        Raises:
            ValueError: Rows beyond the grid, rows written before, or codes not in the legend.
            OSError: The disk is full, or fails.
        """
        counts = self._count(codes)
        self.rows.write(row_start, codes)
        self.counts += counts

    @property
    def class_pixels(self) -> tuple[int, ...]:
        """Pixels of each class, in the legend's order."""
        return tuple(int(self.counts[code]) for code in self.legend.codes)

    def strips(self, most_bytes: int) -> Iterator[tuple[int, NDArray[np.integer]]]:
        """The flushed map from top to bottom: first rows, and codes `(rows, W)`."""
        for strip in self.rows.strips(most_bytes=most_bytes):
            yield strip.start, self.rows.read(strip.start, strip.stop)[0]

    def flush(self) -> None:
        """Bring everything to the file.

        Raises:
            ValueError: Rows are missing.
        """
        self.rows.flush()

    def sieve(self, least_pixels: int) -> None:
        """Give smaller patches of the flushed map to their largest neighbours, and count again."""
        sieve_rows(self.rows, least_pixels)
        self.counts[:] = 0
        for strip in self.rows.strips():
            self.counts += self._count(self.rows.read(strip.start, strip.stop))

    def finish(
        self, target: Path, tags: Mapping[str, str], options: Mapping[str, str]
    ) -> Published:
        """Make the map out of the flushed rows, in their folder.

        Args:
            target: Where the map will be.
            tags: Written as TIFF metadata.
            options: Creation options that go before ours.

        Returns:
            What to publish: finished files and their places, the map last.

        Raises:
            OutputError: The disk is full, or fails.
        """
        finished = self.rows.path.with_name(target.name)
        write_cog(
            self.rows,
            self._document(tags),
            finished,
            merged_options(options),
            target,
            needs_sidecar=True,
        )
        style = style_path(finished)
        style.write_text(style_document(self.legend), encoding="utf-8")
        # Whoever sees the map finds its class names and colours already there.
        return [
            (sidecar(finished), sidecar(target)),
            (style, style_path(target)),
            (finished, target),
        ]

    def _document(self, tags: Mapping[str, str]) -> ET.Element:
        """The map as a VRT with all that a GIS shows of it."""
        legend_json = json.dumps(self.legend.to_json(), ensure_ascii=False)
        root, (band,) = self.rows.vrt({**tags, LEGEND_TAG: legend_json})
        add_text(band, "NoDataValue", NO_CLASS)
        add_text(band, "ColorInterp", "Palette")
        add_legend(band, self.legend, self.class_pixels)
        return root

    def _count(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        counts = np.bincount(codes.ravel(), minlength=len(self.counts))
        foreign = np.setdiff1d(np.flatnonzero(counts), (NO_CLASS, *self.legend.codes))
        if foreign.size:
            raise ValueError(f"code {foreign[0]} is not in the legend {self.legend.codes}")
        return counts


@contextmanager
def open_map_rows(folder: Path, grid: Grid, legend: Legend) -> Iterator[MapWriter]:
    """What takes the rows of a map, in a folder for temporary files.

    The map will be a COG on `grid` in `legend.dtype`, nodata 0, with overviews by majority. Palette
    and tags are inside; category names and the attribute table are in the `.aux.xml` beside it,
    where GDAL keeps them, and the legend is in the tag `COMIX_LEGEND` too, should the sidecar get
    lost. A QGIS style of the same name, `.qml`, makes QGIS show the names at once.

    Raises:
        OSError: The disk has no room for the map.
    """
    with open_row_file(folder / "rows.bin", grid, legend.dtype) as rows:
        yield MapWriter(rows, legend)


def check_map_writable(target: Path, *, overwrite: bool, inputs: tuple[str, ...] = ()) -> None:
    """Refuse a map that could not be written.

    Raises:
        OutputError: As `check_writable`, for the map and for a style beside it that is not ours.
    """
    check_writable(target, overwrite=overwrite, inputs=inputs)
    style = style_path(target.resolve())
    check_writable(style, overwrite=overwrite or is_our_style(style), inputs=inputs)


def stale_files(finished: Published) -> list[Path]:
    """What older files of the same names left beside them and the new ones do not replace."""
    targets = [target for _, target in finished]
    beside = [
        target.with_name(target.name + suffix) for target in targets for suffix in _STALE_SUFFIXES
    ]
    return [*beside, *(s for s in map(sidecar, targets) if s not in targets)]
