"""A small town that nobody lives in: a synthetic scene for the demo.

Roofs and roads have nearly the same spectrum and differ in height; so do trees and grass. Neither
the HSI (4 m, offset against the fine grid) nor the DSM (1 m) can tell all classes apart alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject
from shapely import affinity
from shapely.geometry import Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from comix_cli.files import atomic_path

CRS = "EPSG:32633"
ORIGIN = (400000.0, 5800000.0)  # left, top
SIZE = 320  # metres and fine pixels
HSI_PIXEL = 4.0
HSI_SHIFT = (-2.4, 1.6)  # metres: the two grids do not nest, as in real deliveries
BLOCK = 64  # metres from one road to the next
GAP = 16  # metres between training and test ground truth
FINE = Affine.translation(*ORIGIN) * Affine.scale(1, -1)
WAVELENGTHS_NM = np.linspace(450, 2350, 48)

CLASSES = ("bare soil", "building", "grass", "road", "tree", "water")


@dataclass(frozen=True)
class Thing:
    """One object on the ground: its outline, class and height in metres."""

    outline: Polygon
    name: str
    height: float


def write_demo_scene(folder: Path, seed: int = 0) -> None:
    """Write `hsi.tif`, `lidar.tif`, `train.gpkg` (west) and `test.gpkg` (east) into a folder."""
    rng = np.random.default_rng(seed)
    things = build_town(rng)
    classes, height = burn(things)
    _write_hsi(folder / "hsi.tif", classes, rng)
    _write_lidar(folder / "lidar.tif", height, rng)
    middle = ORIGIN[0] + SIZE / 2
    west = box(ORIGIN[0], ORIGIN[1] - SIZE, middle - GAP / 2, ORIGIN[1])
    east = box(middle + GAP / 2, ORIGIN[1] - SIZE, ORIGIN[0] + SIZE, ORIGIN[1])
    for name, half in (("train.gpkg", west), ("test.gpkg", east)):
        _write_labels(folder / name, things, half, rng)


def build_town(rng: np.random.Generator) -> list[Thing]:
    """Objects in the order in which they lie on each other, lowest first."""
    left, top = ORIGIN
    everything = box(left, top - SIZE, left + SIZE, top)
    things = [Thing(everything, "grass", 0.0)]
    for row in range(SIZE // BLOCK):
        for col in range(SIZE // BLOCK):
            corner = (left + col * BLOCK, top - (row + 1) * BLOCK)
            things += _block(corner, (row + 2 * col) % 4, rng)
    for i in range(SIZE // BLOCK + 1):
        at = i * BLOCK
        things.append(Thing(box(left, top - at - 4, left + SIZE, top - at + 4), "road", 0.0))
        things.append(Thing(box(left + at - 4, top - SIZE, left + at + 4, top), "road", 0.0))
    return things


def _block(corner: tuple[float, float], use: int, rng: np.random.Generator) -> list[Thing]:
    """What stands on one block of the town: houses, a park, a field, or a pond with trees."""
    middle = (corner[0] + BLOCK / 2, corner[1] + BLOCK / 2)
    if use == 0:
        return _houses(corner, rng) + _trees(corner, 3, rng)
    if use == 1:
        return _trees(corner, 14, rng)
    if use == 2:
        field = affinity.rotate(_rectangle(middle, 40, 34), rng.uniform(-12, 12))
        return [Thing(field, "bare soil", 0.0), *_houses(corner, rng)[:1]]
    pond = affinity.scale(Point(middle).buffer(16), rng.uniform(0.8, 1.2), rng.uniform(0.7, 1.0))
    return [Thing(pond, "water", 0.0), *_trees(corner, 5, rng)]


def _houses(corner: tuple[float, float], rng: np.random.Generator) -> list[Thing]:
    houses = []
    for dx, dy in ((18, 18), (46, 18), (18, 46), (46, 46)):
        outline = _rectangle((corner[0] + dx, corner[1] + dy), *rng.uniform(13, 21, 2))
        turned = affinity.rotate(outline, rng.uniform(-20, 20))
        houses.append(Thing(turned, "building", rng.uniform(5, 12)))
    return houses


def _trees(corner: tuple[float, float], count: int, rng: np.random.Generator) -> list[Thing]:
    trees = []
    for _ in range(count):
        place = Point(corner[0] + rng.uniform(10, 54), corner[1] + rng.uniform(10, 54))
        trees.append(Thing(place.buffer(rng.uniform(3, 7)), "tree", rng.uniform(4, 14)))
    return trees


def _rectangle(middle: tuple[float, float], width: float, height: float) -> Polygon:
    x, y = middle
    return box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def burn(things: list[Thing]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Class index and height in metres above ground of every fine pixel, `(SIZE, SIZE)`."""
    shape = (SIZE, SIZE)
    classes = rasterize(
        [(thing.outline, CLASSES.index(thing.name)) for thing in things], shape, transform=FINE
    )
    height = rasterize(
        [(thing.outline, thing.height) for thing in things],
        shape,
        transform=FINE,
        dtype="float32",
    )
    return classes.astype(np.uint8), height.astype(np.float32)


def spectra() -> NDArray[np.float64]:
    """Reflectance in [0, 1] of every class, `(classes, bands)`."""
    nm = WAVELENGTHS_NM
    red_edge = 1 / (1 + np.exp(-(nm - 715) / 18))
    water_bands = np.exp(-(((nm - 1450) / 90) ** 2)) + np.exp(-(((nm - 1940) / 110) ** 2))
    green = 0.05 * np.exp(-(((nm - 550) / 45) ** 2))
    leaf = 0.04 + green + red_edge * (0.42 * np.exp(-((nm - 715) / 1500)) - 0.12 * water_bands)
    grey = 0.14 + 0.05 * (nm - 450) / 1900
    by_name = {
        "bare soil": 0.08 + 0.30 * (1 - np.exp(-(nm - 400) / 700)) - 0.05 * water_bands,
        "building": 1.06 * grey,
        "grass": 1.05 * leaf + 0.01,
        "road": grey,
        "tree": 0.95 * leaf,
        "water": 0.06 * np.exp(-(nm - 450) / 200) + 0.01,
    }
    return np.stack([by_name[name] for name in CLASSES])


def _write_hsi(path: Path, classes: NDArray[np.uint8], rng: np.random.Generator) -> None:
    transform = Affine.translation(ORIGIN[0] + HSI_SHIFT[0], ORIGIN[1] + HSI_SHIFT[1])
    transform *= Affine.scale(HSI_PIXEL, -HSI_PIXEL)
    pixels = int(SIZE // HSI_PIXEL) + 2
    shares = _class_shares(classes, transform, pixels)
    rows, columns = np.mgrid[0:pixels, 0:pixels]
    light = 1 + 0.05 * np.sin(rows / 9 + columns / 23)
    cube = np.tensordot(spectra().T, shares, axes=1) * light
    cube += 0.008 * rng.standard_normal(cube.shape)
    values = np.clip(cube * 10000, 0, 16000).astype(np.int16)
    with atomic_path(path) as partial, rasterio.open(
        partial, "w", driver="GTiff", width=pixels, height=pixels, count=len(values), dtype="int16",
        crs=CRS, transform=transform, nodata=-99, tiled=True, blockxsize=128, blockysize=128,
        compress="deflate", interleave="pixel",
    ) as file:  # fmt: skip
        file.write(values)
        for band, nm in enumerate(WAVELENGTHS_NM, start=1):
            file.update_tags(band, wavelength=f"{nm:.1f}", wavelength_units="Nanometers")
            file.set_band_description(band, f"{nm:.0f} nm")


def _class_shares(
    classes: NDArray[np.uint8], transform: Affine, pixels: int
) -> NDArray[np.float32]:
    """Share of every class in each coarse pixel, `(classes, pixels, pixels)`."""
    # The edge of the town is repeated outwards, so that the coarse pixels there are whole as well.
    margin = 2 * int(HSI_PIXEL)
    one_hot = np.stack([classes == index for index in range(len(CLASSES))]).astype(np.float32)
    fine = np.pad(one_hot, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    shares = np.zeros((len(CLASSES), pixels, pixels), np.float32)
    reproject(
        fine,
        shares,
        src_transform=FINE * Affine.translation(-margin, -margin),
        src_crs=CRS,
        dst_transform=transform,
        dst_crs=CRS,
        resampling=Resampling.average,
    )
    return shares


def _write_lidar(path: Path, height: NDArray[np.float32], rng: np.random.Generator) -> None:
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    ground = 34 + 0.002 * columns + 0.4 * np.sin(rows / 60)
    dsm = ground + height + 0.08 * rng.standard_normal(height.shape)
    with atomic_path(path) as partial, rasterio.open(
        partial, "w", driver="GTiff", width=SIZE, height=SIZE, count=1, dtype="float32", crs=CRS,
        transform=FINE, nodata=-9999, tiled=True,
        blockxsize=256, blockysize=256, compress="deflate", predictor=3,
    ) as file:  # fmt: skip
        file.write(dsm.astype(np.float32), 1)
        file.set_band_description(1, "DSM in metres")


def _write_labels(path: Path, things: list[Thing], half: Polygon, rng: np.random.Generator) -> None:
    """Polygons a surveyor might have drawn: a share of the objects, a little inside their edges."""
    rows = []
    covered: BaseGeometry = Polygon()
    for thing in reversed(things):  # what lies on top hides what is below
        visible = thing.outline.difference(covered).intersection(half).buffer(-0.8)
        covered = covered.union(thing.outline)
        if not visible.is_empty and rng.random() < 0.75:
            rows.append({"class": thing.name, "geometry": visible})
    frame = gpd.GeoDataFrame(rows, crs=CRS).explode(ignore_index=True)
    with atomic_path(path) as partial:
        frame[frame.area > 6].to_file(partial, driver="GPKG", layer="labels")
