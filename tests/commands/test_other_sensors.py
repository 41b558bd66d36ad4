"""A model meets the ground it knows, or other ground, seen by a sensor with other bands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from cli import comix
from numpy.typing import NDArray
from scenes import ORIGIN, write_raster

CENTRES = np.linspace(450, 2300, 12).round(1)


def spectrum(scene: Path) -> NDArray[np.float64]:
    with rasterio.open(scene / "hsi.tif") as dataset:
        array: NDArray[np.float64] = dataset.read().astype(np.float64)
    return array


def imaged(
    scene: Path, name: str, centres: NDArray[np.float64], *, fwhm: float | None, **options: Any
) -> str:
    """The scene's HSI by a sensor with these bands: its spectra run straight between its bands."""
    array = spectrum(scene)
    flat = array.reshape(len(array), -1)
    seen = np.array([np.interp(centres, CENTRES, pixel) for pixel in flat.T]).T
    write_raster(
        scene / name,
        seen.reshape(len(centres), *array.shape[1:]).astype(np.float32),
        origin=(ORIGIN[0] + 1.3, ORIGIN[1] - 0.7),
        res=6.0,
        wavelengths=centres.tolist(),
        fwhm=None if fwhm is None else [fwhm] * len(centres),
        **options,
    )
    return name


def mapped(folder: Path, hsi: str, *options: str) -> tuple[NDArray[Any], str]:
    """The map, and what was said on the way as one line."""
    outcome = comix(folder, "classify", hsi, "lidar.tif", "-o", "map.tif", "--overwrite", *options)
    assert outcome.code == 0, outcome.err
    with rasterio.open(folder / "map.tif") as dataset:
        return dataset.read(1), " ".join(outcome.err.split())


@pytest.mark.parametrize(
    ("centres", "fwhm"),
    [
        (np.linspace(450, 2300, 24), 80.0),
        (np.linspace(400, 2500, 211), 1.0),
        (np.linspace(2400, 440, 40), None),  # from long waves to short ones
    ],
)
def test_another_sensor_gives_nearly_the_same_map(
    scene: Path, centres: NDArray[np.float64], fwhm: float | None
) -> None:
    expected, said = mapped(scene, "hsi.tif")
    assert "resampled" not in said
    found, said = mapped(scene, imaged(scene, "other.tif", centres, fwhm=fwhm))
    assert (found == expected).mean() > 0.97
    assert f"other.tif: its {len(centres)} bands, " in said
    assert "are resampled to the model's 12 bands, 450..2300 nm, by " in said
    assert said.count("resampled") == 1


def test_bands_within_a_fraction_of_their_width_are_used_as_they_are(scene: Path) -> None:
    expected, _ = mapped(scene, "hsi.tif")
    with rasterio.open(scene / "hsi.tif", "r+") as dataset:
        for band in dataset.indexes:  # a quarter of the 8 nm that the bands are wide
            centre = float(dataset.tags(band)["wavelength"]) + 1.9
            dataset.update_tags(band, wavelength=str(centre))
    found, said = mapped(scene, "hsi.tif")
    assert "resampled" not in said
    np.testing.assert_array_equal(found, expected)


def test_a_subset_of_files_bands_is_found_by_wavelength(scene: Path) -> None:
    expected, _ = mapped(scene, "hsi.tif")
    with_more = np.sort(np.concatenate([CENTRES, CENTRES[:-1] + 50]))
    found, said = mapped(scene, imaged(scene, "more.tif", with_more, fwhm=8.0))
    assert "resampled" in said
    np.testing.assert_array_equal(found, expected)


def test_bands_that_are_dead_or_marked_bad_are_made_of_their_neighbours(scene: Path) -> None:
    centres = np.linspace(450, 2300, 56)
    name = imaged(scene, "good.tif", centres, fwhm=30.0)
    expected, _ = mapped(scene, name)
    with rasterio.open(scene / name) as dataset:
        array = dataset.read()
    array[10], array[20] = -1, 30_000
    write_raster(
        scene / "dead.tif", array, nodata=-1, bad_bands=[21], res=6.0,
        origin=(ORIGIN[0] + 1.3, ORIGIN[1] - 0.7), wavelengths=centres.tolist(), fwhm=[30.0] * 56,
    )  # fmt: skip
    found, said = mapped(scene, "dead.tif")
    assert "dead.tif: its 54 bands" in said
    assert (found > 0).all()
    assert (found == expected).mean() > 0.97


def test_a_sensor_that_does_not_cover_the_model_is_refused_with_both_ranges(scene: Path) -> None:
    name = imaged(scene, "vnir.tif", np.linspace(420, 1000, 60), fwhm=10.0)
    outcome = comix(scene, "classify", name, "lidar.tif", "-o", "map.tif")
    assert outcome.code == 1
    for part in (
        "vnir.tif: its 60 bands, 420..1000 nm do not cover the model's 12 bands, 450..2300 nm",
        "no usable band around 1122.7, 1290.9, 1459.1, 1627.3, 1795.5, 1963.6 nm and 2 more",
        "train a model on the bands that are there",
    ):
        assert part in outcome.error


def test_a_gap_where_the_model_has_a_band_is_refused(scene: Path) -> None:
    centres = np.arange(440, 2400, 10.0)
    dry = centres[(centres < 1400) | (centres > 1500)]
    name = imaged(scene, "dry.tif", dry, fwhm=10.0)
    outcome = comix(scene, "classify", name, "lidar.tif", "-o", "map.tif")
    assert outcome.code == 1
    assert "no usable band around 1459.1 nm;" in outcome.error


def test_without_wavelengths_the_number_of_bands_decides(scene: Path) -> None:
    expected, _ = mapped(scene, "hsi.tif")
    place: dict[str, Any] = {"res": 6.0, "origin": (ORIGIN[0] + 1.3, ORIGIN[1] - 0.7)}
    write_raster(scene / "plain.tif", spectrum(scene).astype(np.float32), **place)
    np.testing.assert_array_equal(mapped(scene, "plain.tif")[0], expected)
    write_raster(scene / "short.tif", spectrum(scene)[:11].astype(np.float32), **place)
    outcome = comix(scene, "classify", "short.tif", "lidar.tif", "-o", "map.tif", "--overwrite")
    assert outcome.code == 1
    assert "has 11 bands, but the model was trained on 12 bands (hsi.tif)" in outcome.error
    assert "wavelengths" in outcome.error
