"""How well a hyperspectral image can be sharpened: Wald's protocol on a scene of your own.

A sharp HSI is made coarse, an optical image of a few bands is made of it, and every method of
`comix sharpen` has to find the sharp one again, which judges it:

    python wald_protocol.py sharp_hsi.tif folder --ratio 4 --x-bands 490:65,560:35,665:30,842:115

Wald, Ranchin, Mangolini 1997. The scene is held in memory: cut a part out of a large one.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from comix_cli.progress import Silent
from comix_cli.scene.raster import inspect_raster
from comix_cli.sharpening.budget import Budget
from comix_cli.tools.sharpen import SharpenOptions, sharpen
from comix_cli.tools.sharpen_inputs import Wavelength, parse_wavelengths
from comix_cli.tools.sharpen_words import METHODS

FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
FIGURES = {"psnr_db": "PSNR, dB", "ssim": "SSIM", "sam_degrees": "SAM, degrees", "ergas": "ERGAS"}
Image = NDArray[np.float64]


def main() -> None:
    """Make the pair, sharpen it by every method, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("hsi", help="a sharp HSI whose file says wavelengths")
    parser.add_argument("folder", type=Path, help="for all that is made")
    parser.add_argument("--ratio", type=int, default=4)
    parser.add_argument(
        "--x-bands",
        default="490:65,560:35,665:30,842:115",
        help="centres and widths of the optical image's bands in nanometres",
    )
    parser.add_argument(
        "--psf",
        type=float,
        default=1.0,
        help="what a coarse pixel sees (full width at half maximum), in its sides",
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--steps", type=int, default=Budget().steps, help="of MossFuse's learning")
    asked = parser.parse_args()  # fmt: skip

    asked.folder.mkdir(exist_ok=True)
    make_pair(asked.hsi, asked.folder, asked.ratio, asked.psf, parse_wavelengths(asked.x_bands))
    print("| method |", " | ".join(FIGURES.values()), "|")
    print("|---|", "---:|" * len(FIGURES), sep="")
    options = SharpenOptions(
        hsi=str(asked.folder / "hsi.tif"),
        x=str(asked.folder / "x.tif"),
        output=asked.folder,
        budget=Budget(asked.steps),
        reference=str(asked.folder / "truth.tif"),
        quality=False,
        overwrite=True,
    )
    for method in asked.methods:
        output = asked.folder / f"{method}.tif"
        found = sharpen(replace(options, method=method, output=output), Silent())["reference"]
        print(f"| {method} |", " | ".join(f"{found[key]:.4g}" for key in FIGURES), "|", flush=True)


def make_pair(
    hsi: str, folder: Path, ratio: int, psf: float, bands: tuple[Wavelength, ...]
) -> None:
    """Write truth.tif, hsi.tif and x.tif.

    Args:
        hsi: The sharp HSI.
        folder: Where they go.
        ratio: Sharp pixels along a coarse one.
        psf: Full width at half maximum of what a coarse pixel sees, in coarse pixels.
        bands: Of the optical image, each with its width.
    """
    info = inspect_raster(hsi)
    with rasterio.open(hsi) as dataset:
        height, width = (size - size % ratio for size in dataset.shape)
        window = rasterio.windows.Window(0, 0, width, height)
        scales = np.array(dataset.scales)[:, np.newaxis, np.newaxis]
        offsets = np.array(dataset.offsets)[:, np.newaxis, np.newaxis]
        truth: Image = dataset.read(window=window) * scales + offsets
        place = {"crs": dataset.crs, "transform": dataset.transform}
    centres = [centre for centre in info.bands.wavelengths_nm if centre is not None]
    if len(centres) != len(truth):
        raise SystemExit(f"{hsi}: the file does not say the wavelengths of its bands")
    sides = [blur(size, ratio, psf * ratio / FWHM_PER_SIGMA) for size in (height, width)]
    coarse = np.array([sides[0] @ band @ sides[1].T for band in truth])
    x = np.tensordot(response(centres, bands), truth, 1)

    write(folder / "truth.tif", truth, place, centres)
    write(folder / "x.tif", x, place, [band.centre_nm for band in bands])
    place["transform"] = place["transform"] @ Affine.scale(ratio)
    write(folder / "hsi.tif", coarse, place, centres)


def blur(size: int, ratio: int, sigma: float) -> Image:
    """Weights of sharp rows (or columns) for each coarse one: a Gaussian around its centre."""
    sharp = np.arange(size) + 0.5
    coarse = (np.arange(size // ratio) + 0.5) * ratio
    weights = np.exp(-0.5 * ((sharp - coarse[:, np.newaxis]) / sigma) ** 2)
    normalised: Image = weights / weights.sum(1, keepdims=True)
    return normalised


def response(centres: list[float], bands: tuple[Wavelength, ...]) -> Image:
    """Gaussian weights of the HSI's bands, `(bands of X, bands of the HSI)`."""
    rows = []
    for band in bands:
        if band.fwhm_nm is None:
            raise SystemExit(f"--x-bands: the band at {band.centre_nm:g} nm needs a width")
        sigma = band.fwhm_nm / FWHM_PER_SIGMA
        rows.append(np.exp(-0.5 * ((np.array(centres) - band.centre_nm) / sigma) ** 2))
    weights: Image = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    return weights


def write(path: Path, image: Image, place: dict[str, Any], centres: list[float]) -> None:
    """Write a GeoTIFF whose bands say their wavelengths."""
    bands, height, width = image.shape
    profile = {"driver": "GTiff", "dtype": "float32", "count": bands, **place}
    with rasterio.open(path, "w", height=height, width=width, **profile) as dataset:
        dataset.write(image.astype(np.float32))
        for band, centre in enumerate(centres, 1):
            dataset.update_tags(band, wavelength=f"{centre:.6g}", wavelength_units="Nanometers")


if __name__ == "__main__":
    main()
