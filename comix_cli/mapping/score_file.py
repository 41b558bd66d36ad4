"""Probabilities, confidence, entropy on disk: cloud-optimised GeoTIFFs beside the map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from comix_cli.mapping.cog import merged_options, with_sidecar
from comix_cli.mapping.finish import write_cog
from comix_cli.mapping.gis_metadata import add_text
from comix_cli.mapping.row_file import RowFile, open_row_file
from comix_cli.mapping.scores import BYTE_NODATA, STEPS, stored
from comix_cli.scene.grid import Grid

# What a file of scores holds; a file with this tag is no map.
CONTENT_TAG = "COMIX_CONTENT"
# Compressions that GDAL can let a predictor go before.
_PREDICTABLE = ("DEFLATE", "LZW", "ZSTD")


def score_dtype(*, as_float: bool) -> str:
    """The data type of files of scores."""
    return "float32" if as_float else "uint8"


class ScoreWriter:
    """Takes rows of scores, which lie in 0..1, in any order.

    Args:
        rows: An empty file of rows, `score_dtype` and as many bands as names.
        content: What the scores are.
        names: What each band is.

    Attributes:
        rows: The file of rows.
        content: What the scores are.
    """

    def __init__(self, rows: RowFile, content: str, names: Sequence[str]) -> None:
        self.rows = rows
        self.content = content
        self._names = tuple(names)

    def write_rows(
        self, row_start: int, values: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> None:
        """Write finished rows.

        Args:
            row_start: The first row.
            values: `(bands, rows, W)`, or `(rows, W)` for one band.
            valid: `(rows, W)`, False for nodata.

        Raises:
            ValueError: Rows beyond the grid, or rows written before.
            OSError: The disk is full, or fails.
        """
        self.rows.write(row_start, stored(values, valid, as_float=self._is_float))

    def finish(
        self, target: Path, tags: Mapping[str, str], options: Mapping[str, str]
    ) -> list[tuple[Path, Path]]:
        """Make the GeoTIFF out of the rows, in their folder.

        Args:
            target: Where it will be.
            tags: Written as TIFF metadata.
            options: Creation options that go before ours.

        Returns:
            What to publish: finished files and their places.

        Raises:
            OutputError: The disk is full, or fails.
            ValueError: Rows are missing.
        """
        self.rows.flush()
        finished = self.rows.path.with_name(target.name)
        write_cog(self.rows, self._document(tags), finished, _score_options(options), target)
        return with_sidecar(finished, target)

    @property
    def _is_float(self) -> bool:
        return self.rows.dtype.kind == "f"

    def _document(self, tags: Mapping[str, str]) -> ET.Element:
        root, bands = self.rows.vrt({**tags, CONTENT_TAG: self.content})
        for band, name in zip(bands, self._names, strict=True):
            add_text(band, "Description", name)
            add_text(band, "NoDataValue", "nan" if self._is_float else BYTE_NODATA)
            add_text(band, "ColorInterp", "Gray" if len(bands) == 1 else "Undefined")
            if not self._is_float:
                add_text(band, "Offset", 0)
                add_text(band, "Scale", 1 / STEPS)
        return root


@contextmanager
def open_score_rows(
    folder: Path, grid: Grid, content: str, names: Sequence[str], *, as_float: bool
) -> Iterator[ScoreWriter]:
    """What takes the rows of scores, in a folder for temporary files.

    Raises:
        OSError: The disk has no room for them.
    """
    dtype = score_dtype(as_float=as_float)
    with open_row_file(folder / "rows.bin", grid, dtype, len(names)) as rows:
        yield ScoreWriter(rows, content, names)


def _score_options(asked: Mapping[str, str]) -> dict[str, str]:
    options = merged_options(asked)
    given = {key.upper() for key in asked}
    if "OVERVIEW_RESAMPLING" not in given:
        options["OVERVIEW_RESAMPLING"] = "AVERAGE"
    if options["COMPRESS"].upper() in _PREDICTABLE and "PREDICTOR" not in given:
        options["PREDICTOR"] = "YES"
    return options
