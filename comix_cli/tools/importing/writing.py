"""Images and labels of a dataset as tiled GeoTIFFs, written strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import rasterio
from numpy.typing import NDArray

from comix_cli.files import write_failure
from comix_cli.mapping.cog import GDAL_ERRORS
from comix_cli.mapping.score_file import CONTENT_TAG
from comix_cli.mapping.writer import Published, open_map_rows
from comix_cli.scene.legend import Legend
from comix_cli.tools.importing.label_sets import code_strips
from comix_cli.tools.importing.parts import Image, LabelSet
from comix_cli.tools.importing.pixels import STRIP

# Each tile is complete as soon as a strip is written, so that none is compressed twice.
_TILES = {"tiled": True, "blockxsize": 2 * STRIP, "blockysize": STRIP, "interleave": "band"}
_PREDICTORS = {"f": 3, "i": 2, "u": 2}


def write_image(
    image: Image, path: Path, target: Path, tags: Mapping[str, str], advance: Callable[[], None]
) -> None:
    """Write an image, band names and centres included.

    Floating-point images have NaN where the source has no data.

    Args:
        image: What to write.
        path: The file.
        target: What an error calls the file.
        tags: Written as TIFF metadata.
        advance: Called after each strip.

    Raises:
        OutputError: GDAL cannot write, or what is on the disk is not what was written.
        RasterError: The source cannot be read.
    """
    grid, kind = image.place.grid, np.dtype(image.dtype).kind
    profile = {
        "driver": "GTiff", "width": grid.width, "height": grid.height, "count": image.bands,
        "dtype": image.dtype, "crs": grid.crs, "transform": grid.transform,
        "nodata": np.nan if kind == "f" else image.pixels.nodata,
        "compress": "deflate", "predictor": _PREDICTORS[kind], "bigtiff": "if_safer", **_TILES,
    }  # fmt: skip
    written = 0
    try:
        with rasterio.open(path, "w", **profile) as file:
            file.update_tags(**tags, **{CONTENT_TAG: "image"})
            _describe(file, image)
            for row, values in image.pixels.strips(image.bands):
                stored = np.ascontiguousarray(_stored(values, image))
                file.write(stored, window=((row, row + values.shape[1]), (0, grid.width)))
                written = crc32(stored.data, written)
                advance()
        # GDAL reports some write errors only as a warning, or not at all.
        intact = _checksum(path) == written
    except GDAL_ERRORS as error:
        raise write_failure(error, target) from error
    if not intact:
        raise write_failure("it came back from the disk changed", target)


def _checksum(path: Path) -> int:
    """The sum over a written image, strip by strip."""
    total = 0
    with rasterio.open(path) as file:
        for row in range(0, file.height, STRIP):
            rows = (row, min(row + STRIP, file.height))
            values = np.ascontiguousarray(file.read(window=(rows, (0, file.width))))
            total = crc32(values.data, total)
    return total


def _describe(file: Any, image: Image) -> None:
    """Names and centres of the bands."""
    for band, nm in enumerate(image.centres_nm, start=1):
        file.update_tags(band, wavelength=f"{nm:.6g}", wavelength_units="Nanometers")
        file.set_band_description(band, f"{nm:.1f} nm")
    if image.bands == 1:
        file.set_band_description(1, image.part.name)


def _stored(values: NDArray[Any], image: Image) -> NDArray[Any]:
    if np.dtype(image.dtype).kind != "f":
        return values.astype(image.dtype)
    unknown = np.zeros(values.shape, np.bool_)
    if image.pixels.nodata is not None:
        unknown |= values == image.pixels.nodata
    if image.part.unknown_above is not None:
        unknown |= np.abs(values) > image.part.unknown_above
    # What is beyond float32 is beyond any measurement, and becomes infinite without a warning.
    with np.errstate(over="ignore"):
        stored = values.astype(image.dtype)
    stored[unknown] = np.nan
    return stored


def write_labels(
    one: LabelSet,
    legend: Legend,
    folder: Path,
    target: Path,
    tags: Mapping[str, str],
    advance: Callable[[], None],
) -> Published:
    """Write a label set as a raster of classes with names and colours, as maps have them.

    Args:
        one: What to write.
        legend: The classes.
        folder: For temporary files; what is published lies there.
        target: Where the file will be.
        tags: Written as TIFF metadata.
        advance: Called after each strip.

    Returns:
        Finished files and their places.

    Raises:
        OutputError: The disk is full, or fails.
        LabelError: The source holds no classes.
    """
    # Without the tag, 'evaluate' would take the newest label raster of a folder for its map.
    labelled = {**tags, CONTENT_TAG: "labels"}
    with open_map_rows(folder, one.place.grid, legend) as writer:
        for row, codes in code_strips(one.pixels, len(legend)):
            writer.write_rows(row, codes)
            advance()
        writer.flush()
        return writer.finish(target, labelled, {})
