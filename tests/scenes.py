"""Small worlds for tests: rasters, vectors, and a scene whose classes can be learnt."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

CRS = "EPSG:32633"
ORIGIN = (400_000.0, 5_800_000.0)
CLASS_NAMES = ("grass", "roof", "tree", "water", "soil", "road", "wheat", "vine")

_PROJECT_ROOT = Path(__file__).resolve().parents[1]


def real_data() -> Path:
    """The folder of the real scenes: `COMIX_REAL_DATA`, or `../shared/data` from the project."""
    return Path(os.environ.get("COMIX_REAL_DATA", _PROJECT_ROOT.parent / "shared" / "data"))


def needs_real_data(test: Any) -> Any:
    """Mark a test `real`, and skip it with a message that names the folder where that is absent."""
    absent = pytest.mark.skipif(
        not real_data().is_dir(),
        reason=f"the real scenes are not at {real_data()}; name their folder with COMIX_REAL_DATA",
    )
    return pytest.mark.real(absent(test))


def write_raster(
    path: Path,
    array: NDArray[Any],
    *,
    crs: str | None = CRS,
    origin: tuple[float, float] = ORIGIN,
    res: float | tuple[float, float] = 10.0,
    transform: Affine | None = None,
    nodata: float | None = None,
    wavelengths: Sequence[float] | None = None,
    fwhm: Sequence[float] | None = None,
    bad_bands: Iterable[int] = (),
    scale: float | None = None,
    offset: float | None = None,
    mask: NDArray[np.bool_] | None = None,
    alpha: bool = False,
    driver: str = "GTiff",
    **options: Any,
) -> Path:
    """Write `(C, H, W)` to a file.

    Args:
        path: The file.
        array: The bands.
        crs: None for a file without CRS.
        origin: Top left corner; with `res` it makes a north-up transform.
        res: Pixel size.
        transform: Instead of `origin` and `res`.
        nodata: Nodata value of all bands.
        wavelengths: Band centres in nanometres, for the bands' tags.
        fwhm: Band widths in nanometres, likewise.
        bad_bands: 1-based bands for the bad-band list.
        scale: Scale tag of all bands.
        offset: Offset tag of all bands.
        mask: `(H, W)`, True where valid: an internal mask.
        alpha: The last band is transparency.
        driver: GDAL driver.
        options: More for `rasterio.open`.
    """
    xres, yres = res if isinstance(res, tuple) else (res, res)
    count, height, width = array.shape
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_PAM_ENABLED=driver != "GTiff"),
        rasterio.open(
            path,
            "w",
            driver=driver,
            count=count,
            height=height,
            width=width,
            dtype=array.dtype,
            crs=crs,
            transform=transform or Affine(xres, 0, origin[0], 0, -yres, origin[1]),
            nodata=nodata,
            **options,
        ) as dataset,
    ):
        if alpha:
            dataset.colorinterp = (*dataset.colorinterp[:-1], ColorInterp.alpha)
        dataset.write(array)
        if mask is not None:
            dataset.write_mask(mask)
        if scale is not None:
            dataset.scales = (scale,) * count
        if offset is not None:
            dataset.offsets = (offset,) * count
        for band in range(1, count + 1):
            dataset.update_tags(band, **_band_tags(band, wavelengths, fwhm, set(bad_bands)))
    return path


def _band_tags(
    band: int,
    wavelengths: Sequence[float] | None,
    fwhm: Sequence[float] | None,
    bad_bands: set[int],
) -> dict[str, str]:
    tags: dict[str, str] = {}
    if wavelengths is not None:
        tags |= {"wavelength": str(wavelengths[band - 1]), "wavelength_units": "Nanometers"}
    if fwhm is not None:
        tags["fwhm"] = str(fwhm[band - 1])
    if bad_bands:
        tags["bbl"] = "0" if band in bad_bands else "1"
    return tags


def write_vector(
    path: Path,
    rows: Sequence[tuple[Any, Mapping[str, Any]]],
    crs: str | None = CRS,
    *,
    layer: str | None = None,
) -> Path:
    """Write `(geometry, attributes)` rows; the suffix of the path chooses the format."""
    frame = geopandas.GeoDataFrame(
        [dict(attributes) for _, attributes in rows],
        geometry=[geometry for geometry, _ in rows],
        crs=crs,
    )
    options: dict[str, Any] = {} if layer is None else {"layer": layer}
    frame.to_file(path, **options)
    return path


@dataclass(frozen=True)
class SceneFiles:
    """A scene made by `make_scene`.

    Attributes:
        folder: Where it lies.
        hsi: Coarse, int16 reflectance x 10 000, with wavelengths.
        lidar: Fine, one band of heights in metres, float32.
        labels: Polygons with their class in field `class`; `labels_fine` on pixels.
        classes: The names of the classes, in the order that natural sorting gives them.
        labels_fine: `(size, size)` class index of every pixel of the lidar raster, labelled or not.
    """

    folder: Path
    hsi: Path
    lidar: Path
    labels: Path
    classes: tuple[str, ...]
    labels_fine: NDArray[np.int64]


def make_scene(
    folder: Path,
    *,
    size: int = 48,
    ratio: int = 3,
    bands: int = 12,
    classes: int = 3,
    seed: int = 0,
) -> SceneFiles:
    """Write a small coherent scene: `hsi.tif`, `lidar.tif`, `labels.gpkg`.

    The lidar raster has `size` x `size` pixels of 2 m, the HSI pixels `ratio` times as large, and
    begins a fraction of a fine pixel to the south-east of it: their grids nowhere coincide, and
    the common grid has `size` - 1 pixels a side. Square fields of one class each alternate, so
    that every class occurs all over the scene; their spectra and heights tell them apart.

    Args:
        folder: Where to write; made if it is not there.
        size: Side of the lidar raster in pixels, at least 12.
        ratio: HSI pixel size over lidar pixel size.
        bands: Bands of the HSI.
        classes: How many classes, 1 to 8.
        seed: Seed of the noise and of the order of the fields.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = tuple(sorted(CLASS_NAMES[:classes]))
    fields = _fields(max(2, size // 8), classes, rng)
    field_size = 2.0 * size / len(fields)
    fine = _class_at(fields, field_size, np.arange(size) * 2.0 + 1)
    heights = 4.0 * fine + rng.normal(0, 0.3, fine.shape)
    wavelengths = np.linspace(450, 2300, bands).round(1)
    lidar = write_raster(folder / "lidar.tif", heights[np.newaxis].astype(np.float32), res=2.0)
    hsi = write_raster(
        folder / "hsi.tif",
        _hsi(fields, field_size, size, ratio, bands, rng),
        origin=(ORIGIN[0] + 1.3, ORIGIN[1] - 0.7),
        res=2.0 * ratio,
        nodata=-9999,
        wavelengths=wavelengths.tolist(),
        fwhm=[8.0] * bands,
    )
    labels = write_vector(folder / "labels.gpkg", _polygons(fields, field_size, names))
    return SceneFiles(folder, hsi, lidar, labels, names, fine)


def _fields(count: int, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Class indices of `count` x `count` square fields, all classes alike in number."""
    every = np.arange(count * count, dtype=np.int64) % classes
    return rng.permutation(every).reshape(count, count)


def _class_at(
    fields: NDArray[np.int64], field_size: float, offsets: NDArray[np.floating[Any]]
) -> NDArray[np.int64]:
    """Classes at all pairs of distances (in metres) south and east of the scene's corner."""
    index = np.clip((offsets // field_size).astype(int), 0, len(fields) - 1)
    return fields[np.ix_(index, index)]


def _hsi(
    fields: NDArray[np.int64],
    field_size: float,
    size: int,
    ratio: int,
    bands: int,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Means of the classes' spectra over coarse pixels that cover the fine raster, with noise."""
    coarse = -(-size // ratio)
    steps = np.arange(coarse * ratio) * 2.0 + 1
    spectra = _spectra(int(fields.max()) + 1, bands)
    # East and south of the corner by different fractions; both round to the same field edges
    # but for a pixel, and one pair of offsets serves both axes.
    pure = spectra.take(_class_at(fields, field_size, steps + 1.0), axis=1)
    mixed = pure.reshape(bands, coarse, ratio, coarse, ratio).mean(axis=(2, 4))
    noisy = mixed + rng.normal(0, 80, mixed.shape)
    reflectance: NDArray[np.int16] = np.clip(noisy, 0, 10_000).astype(np.int16)
    return reflectance


def _spectra(classes: int, bands: int) -> NDArray[np.float64]:
    """One smooth bump per class, `(bands, classes)`, in reflectance x 10 000."""
    position = np.linspace(0, 1, bands)[:, np.newaxis]
    centre = (np.arange(classes) + 0.5) / classes
    bumps: NDArray[np.float64] = 1000 + 4000 * np.exp(-(((position - centre) / 0.2) ** 2))
    return bumps


def _polygons(
    fields: NDArray[np.int64], field_size: float, names: Sequence[str]
) -> list[tuple[Any, dict[str, Any]]]:
    """The fields, drawn 2 m inside their edges as an interpreter would."""
    rows = []
    for (i, j), index in np.ndenumerate(fields):
        left, top = ORIGIN[0] + j * field_size, ORIGIN[1] - i * field_size
        whole = shapely.box(left, top - field_size, left + field_size, top)
        rows.append((whole.buffer(-2.0), {"class": names[int(index)], "plot": i * len(fields) + j}))
    return rows
