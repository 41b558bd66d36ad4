"""Bands that hold no numbers, in training and in mapping: never used in silence."""

from __future__ import annotations

import math
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from cli import Outcome, comix
from numpy.typing import NDArray
from scenes import write_raster

QUICK = ("--preset", "nano", "--steps", "2", "--batch-size", "1", "--window", "16", "--threads",
         "1", "-o", "new.safetensors", "--overwrite")  # fmt: skip


def train(folder: Path, hsi: str, *more: str) -> Outcome:
    arguments = ("train", hsi, "lidar.tif", "--gt", "labels.gpkg", "--field", "class")
    return comix(folder, *arguments, *QUICK, *more)


def changed(
    folder: Path, hole: NDArray[np.bool_], value: float, bands: slice, nodata: float | None = None
) -> str:
    """The HSI as floats with a value in some bands and places."""
    with rasterio.open(folder / "hsi.tif") as source:
        values = source.read().astype(np.float32)
        place = {"crs": source.crs, "transform": source.transform}
        wavelengths = [float(source.tags(band)["wavelength"]) for band in source.indexes]
    values[bands, hole] = value
    write_raster(folder / "a.tif", values, nodata=nodata, wavelengths=wavelengths, **place)
    return "a.tif"


def mostly(folder: Path) -> NDArray[np.bool_]:
    """All of the HSI but a strip in the west."""
    with rasterio.open(folder / "hsi.tif") as source:
        hole = np.ones(source.shape, np.bool_)
    hole[:, :5] = False
    return hole


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e38])
@pytest.mark.parametrize("nodata", [None, -9999.0])
def test_a_band_of_no_numbers_is_told_of_by_name_and_place(
    scene: Path, value: float, nodata: float | None
) -> None:
    hsi = changed(scene, mostly(scene), value, slice(6, 7), nodata)
    outcome = train(scene, hsi)
    assert outcome.code == 0, outcome.err
    [said] = [line for line in outcome.err.splitlines() if "Warning" in line]
    assert "labelled pixels have no valid data and are left out" in said
    assert "(a.tif has none there in band 7, for instance in the window of 47 x 47 pixels" in said
    assert "at row 0, column 0)" in said
    mapped = comix(scene, "classify", hsi, "lidar.tif", "-o", "map.tif", "-m", "new.safetensors")
    assert mapped.code == 0, mapped.err
    with rasterio.open(scene / "map.tif") as made:
        codes = made.read(1)
    assert (codes[:, :13] != 0).all()
    assert (codes[:, 15:] == 0).all()


@pytest.mark.parametrize(
    ("bands", "named"),
    [(slice(None), "any band"), (slice(1, 4), "bands 2, 3, 4"), (slice(0, 9), "9 of its 12 bands")],
)
def test_several_bands_are_told_of_together(scene: Path, bands: slice, named: str) -> None:
    outcome = train(scene, changed(scene, mostly(scene), math.nan, bands))
    assert outcome.code == 0, outcome.err
    assert f"(a.tif has none there in {named}," in outcome.err


def test_a_few_such_pixels_are_as_good_as_nodata(scene: Path) -> None:
    hole = np.zeros_like(mostly(scene))
    hole[4, 4] = True
    outcome = train(scene, changed(scene, hole, math.nan, slice(6, 7)), "-v")
    assert outcome.code == 0, outcome.err
    assert "Warning" not in outcome.err
    assert "6 labelled pixels have no valid data and are left out" in outcome.err


def test_where_nothing_is_left_the_band_is_named(scene: Path) -> None:
    frame = geopandas.read_file(scene / "labels.gpkg")
    east = frame.cx[frame.total_bounds[0] + 34 :, :]
    east.to_file(scene / "east.gpkg")
    hsi = changed(scene, mostly(scene), math.nan, slice(6, 7))
    refused = train(scene, hsi, "--gt", "east.gpkg")
    assert refused.code == 1
    assert "no labelled pixel lies on valid data (a.tif has none there in band 7," in refused.error


@pytest.mark.parametrize("model", ["comix", "svm"])
def test_a_scale_that_makes_no_numbers_stops(scene: Path, model: str) -> None:
    with rasterio.open(scene / "lidar.tif") as source:
        values, place = source.read(), {"crs": source.crs, "transform": source.transform}
    write_raster(scene / "x.tif", values, scale=1e38, **place)
    given = ("hsi.tif", "x.tif")
    trained = comix(scene, "train", *given, "--gt", "labels.gpkg", "--field", "class", "--model",
                    model, "-o", "new.safetensors")  # fmt: skip
    mapped = comix(scene, "classify", *given, "-o", "map.tif")
    for refused in (trained, mapped):
        assert refused.code == 1
        assert "x.tif: band 1 has numbers that its scale of 1e+38" in refused.error
        assert "pixels at row 1, column 1; correct them in the file" in refused.error
    assert not (scene / "map.tif").exists()
    assert not (scene / "new.safetensors").exists()
