"""GDAL's COG driver, with its errors turned into ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # rasterio.shutil.copy lets it through; no public name
from rasterio.errors import RasterioError, RasterioIOError

from comix_cli.errors import UsageError
from comix_cli.files import sidecar, write_failure
from comix_cli.scene.raster import gdal_warnings

BLOCK = 512
DEFAULT_CREATION_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "BLOCKSIZE": str(BLOCK),
        "COMPRESS": "DEFLATE",  # readable everywhere, which ZSTD is not
        "OVERVIEW_RESAMPLING": "MODE",  # the commonest class; an average of codes means nothing
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": "ALL_CPUS",
    }
)
GDAL_ERRORS = (CPLE_BaseError, RasterioError, RasterioIOError)


def merged_options(asked: Mapping[str, str]) -> dict[str, str]:
    """Our creation options with the user's in front of them; GDAL writes the keys in capitals."""
    return {**DEFAULT_CREATION_OPTIONS, **{key.upper(): str(v) for key, v in asked.items()}}


def copy_to_cog(source: Path, finished: Path, options: Mapping[str, str], target: Path) -> None:
    """Copy a raster to a cloud-optimised GeoTIFF and its sidecar.

    Args:
        source: Any raster.
        finished: Where the copy goes.
        options: GDAL creation options.
        target: What an error calls the file.

    Raises:
        OutputError: GDAL fails to write.
    """
    # The sidecar is part of the map, whatever the user's environment says of sidecars.
    with rasterio.Env(GDAL_PAM_ENABLED="YES", GDAL_VRT_ENABLE_RAWRASTERBAND="YES"):
        try:
            rasterio.shutil.copy(source, finished, driver="COG", **options)
        except GDAL_ERRORS as error:
            raise write_failure(error, target) from error


def with_sidecar(finished: Path, target: Path) -> list[tuple[Path, Path]]:
    """What of a copy is to be published, and where: its sidecar, if it has one, and itself."""
    companion = [(sidecar(finished), sidecar(target))] if sidecar(finished).exists() else []
    return [*companion, (finished, target)]


def check_creation_options(
    folder: Path, asked: Mapping[str, str], kinds: Iterable[tuple[str, int]] = (("uint8", 1),)
) -> None:
    """Try creation options on small rasters: a mistake in them must not cost a night's work.

    Args:
        folder: Where the trial may leave files.
        asked: The user's options.
        kinds: Data type and number of bands of each raster that they are for.

    Raises:
        UsageError: GDAL does not know an option or its value, or the option changes pixels or grid.
    """
    if not asked:
        return
    complaint = _block_size_complaint(merged_options(asked))
    for dtype, bands in kinds:
        complaint = complaint or _trial_complaint(folder, asked, dtype, bands)
    if complaint:
        given = " ".join(f"{key}={value}" for key, value in asked.items())
        raise UsageError(
            f"--co {given}: {complaint}", remedy="see the creation options of GDAL's COG driver"
        )


def _block_size_complaint(options: Mapping[str, str]) -> str | None:
    """GDAL ends the whole process over a block size that is no number."""
    size = options["BLOCKSIZE"]
    if size.isascii() and size.isdigit() and int(size) >= 128 and int(size) % 16 == 0:
        return None
    return "BLOCKSIZE must be a multiple of 16, at least 128"


def _trial_complaint(folder: Path, asked: Mapping[str, str], dtype: str, bands: int) -> str | None:
    source, copy = folder / "trial.tif", folder / "trial-copy.tif"
    values = _trial_values(dtype, (bands, 64, 64))
    _write_trial(source, values)
    with gdal_warnings() as warnings, rasterio.Env():
        try:
            rasterio.shutil.copy(source, copy, driver="COG", **merged_options(asked))
        except GDAL_ERRORS as error:
            return f"GDAL refuses this ({error})"
    if warnings:
        return warnings[0].partition(" in ")[2]
    with rasterio.open(copy) as dataset:
        same = dataset.shape == values.shape[1:] and np.array_equal(dataset.read(), values)
    return None if same else "this changes the pixels of the map"


def _trial_values(dtype: str, shape: tuple[int, int, int]) -> NDArray[Any]:
    """All that a map or scores may hold: every code, or any share of one."""
    rng = np.random.default_rng(0)
    if dtype.startswith("float"):
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def _write_trial(path: Path, values: NDArray[Any]) -> None:
    bands, height, width = values.shape
    transform = Affine(10.0, 0.0, 390000.0, 0.0, -10.0, 5820000.0)
    profile = {"driver": "GTiff", "dtype": values.dtype, "width": width, "height": height}
    profile |= {"count": bands, "crs": "EPSG:32633", "transform": transform}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
        if values.dtype == np.uint8 and bands == 1:
            dataset.write_colormap(1, {code: (code, code, code) for code in range(4)})
