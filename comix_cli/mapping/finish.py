"""From finished rows to a cloud-optimised GeoTIFF that has been read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio

from comix_cli.files import sidecar, write_failure
from comix_cli.mapping.cog import BLOCK, GDAL_ERRORS, copy_to_cog
from comix_cli.mapping.row_file import RowFile


def write_cog(
    rows: RowFile,
    document: ET.Element,
    finished: Path,
    options: Mapping[str, str],
    target: Path,
    *,
    needs_sidecar: bool = False,
) -> None:
    """Turn a flushed file of rows into a COG.

    Args:
        rows: The pixels.
        document: Their VRT, with all that a GIS shows of them.
        finished: Where the COG goes, and its sidecar if it has one.
        options: GDAL creation options.
        target: What an error calls the file.
        needs_sidecar: Whether a COG without sidecar is taken for damaged.

    Raises:
        OutputError: GDAL fails to write, or what is on the disk is not what was written.
    """
    vrt = rows.path.with_suffix(".vrt")
    vrt.write_bytes(ET.tostring(document, encoding="utf-8", xml_declaration=True))
    copy_to_cog(vrt, finished, options, target)
    # GDAL reports some write errors only as a warning, or not at all.
    try:
        if needs_sidecar or sidecar(finished).exists():
            ET.parse(sidecar(finished))
        intact = _same_pixels(finished, rows)
    except (OSError, ET.ParseError, *GDAL_ERRORS) as error:
        raise write_failure(error, target) from error
    if not intact:
        raise write_failure("it came back from the disk changed", target)


def _same_pixels(finished: Path, rows: RowFile) -> bool:
    with rasterio.open(finished) as dataset:
        if dataset.shape != rows.grid.shape or dataset.dtypes != (rows.dtype.name,) * rows.bands:
            return False
        return all(
            np.array_equal(
                dataset.read(window=((strip.start, strip.stop), (0, dataset.width))),
                rows.read(strip.start, strip.stop),
                equal_nan=rows.dtype.kind == "f",
            )
            for strip in rows.strips(BLOCK)
        )
