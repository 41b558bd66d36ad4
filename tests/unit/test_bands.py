"""Wavelengths, bad-band lists and names, from wherever programs put them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from scenes import write_raster

from comix_cli.scene.bands import BandTable, read_band_table
from comix_cli.scene.spectral import Spectrum, band_mix, uncovered

THREE = np.ones((3, 4, 5), np.float32)


def table(path: Path) -> BandTable:
    with rasterio.open(path) as dataset:
        return read_band_table(dataset)


def tagged(path: Path, **tags: str) -> BandTable:
    write_raster(path, THREE)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**tags)
    return table(path)


def envi(folder: Path, *lines: str) -> BandTable:
    path = write_raster(folder / "image.dat", THREE, driver="ENVI")
    header = path.with_suffix(".hdr")
    kept = [x for x in header.read_text().splitlines() if not x.startswith("band names")]
    text = "\n".join(x for x in kept if "Band " not in x)
    header.write_text(text + "\n" + "\n".join(lines) + "\n")
    for sidecar in folder.glob("*.aux.xml"):
        sidecar.unlink()
    return table(path)


def test_wavelengths_come_from_the_bands_tags(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif", THREE, wavelengths=[450.5, 660, 2200], fwhm=[5, 6, 7], bad_bands=[2]
    )
    found = table(path)
    assert found.wavelengths_nm == (450.5, 660, 2200)
    assert found.fwhm_nm == (5, 6, 7)
    assert found.good == (True, False, True)
    assert found.names == ("band 1", "band 2", "band 3")


def test_a_raster_without_tags_has_good_bands_of_unknown_wavelength(tmp_path: Path) -> None:
    found = table(write_raster(tmp_path / "a.tif", THREE))
    assert found.wavelengths_nm == found.fwhm_nm == (None, None, None)
    assert found.good == (True, True, True)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("unit", "values", "expected"),
    [
        ("Nanometers", "450, 660, 2200", (450, 660, 2200)),
        ("Micrometers", "0.45, 0.66, 2.2", (450, 660, 2200)),
        ("Unknown", "0.45, 0.66, 2.2", (450, 660, 2200)),
        ("Unknown", "450, 660, 2200", (450, 660, 2200)),
        ("Wavenumber", "20000, 10000, 5000", (500, 1000, 2000)),
    ],
)
def test_an_envi_header_gives_wavelengths_in_its_unit(
    tmp_path: Path, unit: str, values: str, expected: tuple[float, ...]
) -> None:
    found = envi(tmp_path, f"wavelength units = {unit}", f"wavelength = {{{values}}}")
    assert found.wavelengths_nm == pytest.approx(expected)


def test_an_envi_header_gives_widths_and_the_bad_band_list(tmp_path: Path) -> None:
    found = envi(
        tmp_path,
        "wavelength units = Micrometers",
        "wavelength = {0.45, 0.66, 2.2}",
        "fwhm = {0.0058, 0.0061, 0.012}",
        "bbl = {1, 0, 1}",
    )
    assert found.fwhm_nm == pytest.approx((5.8, 6.1, 12))
    assert found.good == (True, False, True)


def test_lists_among_the_files_tags_are_read(tmp_path: Path) -> None:
    found = tagged(
        tmp_path / "a.tif", wavelength="{450, 660, 2200}", wavelength_units="nm", bbl="{0 1 1}"
    )
    assert found.wavelengths_nm == (450, 660, 2200)
    assert found.good == (False, True, True)


def test_a_list_of_another_length_is_no_list_of_the_bands(tmp_path: Path) -> None:
    found = tagged(tmp_path / "a.tif", wavelength="450, 660", bbl="0, 0")
    assert found.wavelengths_nm == (None, None, None)
    assert found.good == (True, True, True)


def test_gdals_imagery_tags_are_read(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", THREE)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(2, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.842", FWHM_UM="0.1")
    found = table(path)
    assert found.wavelengths_nm == (None, 842, None)
    assert found.fwhm_nm == (None, 100, None)


def test_descriptions_are_names_and_a_last_resort_for_wavelengths(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", THREE)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("B1 (418.24 Nanometers)", "0.66 um", "mask 3")
    found = table(path)
    assert found.wavelengths_nm == (418.24, 660, None)
    assert found.names == ("B1 (418.24 Nanometers)", "0.66 um", "mask 3")


def test_words_that_are_no_numbers_are_unknown(tmp_path: Path) -> None:
    found = tagged(tmp_path / "a.tif", wavelength="450, n/a, nan", wavelength_units="nm")
    assert found.wavelengths_nm == (450, None, None)


def test_one_wavelength_for_all_bands_says_nothing_about_any(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.ones((3, 2, 2), np.uint8), wavelengths=[2300.0] * 3)
    assert table(path).wavelengths_nm == (None, None, None)
    one = write_raster(tmp_path / "b.tif", np.ones((1, 2, 2), np.uint8), wavelengths=[2300.0])
    assert table(one).wavelengths_nm == (2300.0,)


def test_widths_in_wavenumbers_become_nanometres_where_the_band_lies(tmp_path: Path) -> None:
    found = envi(
        tmp_path,
        "wavelength units = Wavenumber",
        "wavelength = {1000, 1250, 2000}",
        "fwhm = {8, 8, 8}",
    )
    # dl = l**2 dn: 10 um, 8 um and 5 um
    assert found.wavelengths_nm == (10_000.0, 8_000.0, 5_000.0)
    assert found.fwhm_nm == pytest.approx((80.0, 51.2, 20.0))


def test_a_single_band_of_unknown_width_stands_for_its_own_wavelength_only() -> None:
    own, wanted = Spectrum((484.3,), (None,)), Spectrum((484.3, 558.4, 632.5), (8.0, 8.0, 8.0))
    assert uncovered(own, wanted) == (1, 2)
    assert band_mix(own, Spectrum((484.3,), (8.0,))).rows == (((0, 1.0),),)
    assert own.label == "1 band, 484.3 nm"
    assert wanted.label == "3 bands, 484.3..632.5 nm"
