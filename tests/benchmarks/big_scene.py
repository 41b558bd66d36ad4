"""A scene of any size and an untrained model for it, written in strips.

What the classes look like plays no part in what is measured with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray

from comix_cli.learning.model_file import InputRecord, ModelCard, save_model
from comix_cli.learning.normalise import Normalisation
from comix_cli.scene.legend import Legend
from comix_models.build import build_model
from comix_models.spec import preset

STRIP = 256


@dataclass(frozen=True)
class BigScene:
    """Where the files are, and what is in them."""

    folder: Path
    hsi: Path
    x: Path
    model: Path
    shape: tuple[int, int]
    bands: int
    channels: int
    classes: int


def write_big_scene(
    folder: Path,
    shape: tuple[int, int],
    *,
    bands: int = 48,
    channels: int = 2,
    classes: int = 20,
    ratio: int = 2,
    size: str = "nano",
    window: int = 128,
) -> BigScene:
    """Write `hsi.tif` (int16), `x.tif` (float32) and `model.safetensors`.

    Args:
        folder: Where to write; made if it is not there.
        shape: Height and width of X in pixels of 1 m, multiples of `ratio`.
        bands: Bands of the HSI.
        channels: Channels of X.
        classes: Classes of the model.
        ratio: Metres of an HSI pixel.
        size: Preset of the model.
        window: Side of the model's windows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    coarse = (shape[0] // ratio, shape[1] // ratio)
    hsi, x, model = folder / "hsi.tif", folder / "x.tif", folder / "model.safetensors"
    _write(hsi, coarse, bands, float(ratio), "int16", 3000.0)
    _write(x, shape, channels, 1.0, "float32", 20.0)
    _write_model(model, bands, channels, classes, size, window)
    return BigScene(folder, hsi, x, model, shape, bands, channels, classes)


def _write(
    path: Path, shape: tuple[int, int], count: int, res: float, dtype: str, scale: float
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.random((count, STRIP, shape[1] + STRIP), np.float32)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=shape[1],
        height=shape[0],
        count=count,
        dtype=dtype,
        crs="EPSG:32633",
        transform=Affine(res, 0, 400_000, 0, -res, 5_800_000),
        tiled=True,
        blockxsize=256,
        blockysize=256,
        bigtiff="IF_SAFER",
    ) as dataset:
        for row in range(0, shape[0], STRIP):
            rows = min(STRIP, shape[0] - row)
            shift = row // STRIP * 37 % STRIP
            values = noise[:, :rows, shift : shift + shape[1]] * scale
            dataset.write(values.astype(dtype), window=((row, row + rows), (0, shape[1])))


def _write_model(
    path: Path, bands: int, channels: int, classes: int, size: str, window: int
) -> None:
    torch.manual_seed(0)
    network = build_model(preset(size, hsi_bands=bands, x_channels=channels, classes=classes))
    card = ModelCard(
        spec=preset(size, hsi_bands=bands, x_channels=channels, classes=classes),
        hsi=_record("hsi", bands, 3000.0),
        x=(_record("continuous", channels, 20.0),),
        legend=Legend.from_names((i + 1, f"class {i + 1}") for i in range(classes)),
        window=window,
        gsd_m=1.0,
    )
    save_model(path, network.state_dict(), card)


def _record(role: str, count: int, high: float) -> InputRecord:
    unknown = (None,) * count
    return InputRecord(
        name=f"{role}.tif",
        role=role,
        count=count,
        bands=tuple(range(1, count + 1)),
        dropped={},
        wavelengths_nm=unknown,
        fwhm_nm=unknown,
        resampling=None,
        normalisation=Normalisation((0.0,) * count, (high,) * count, "fixed"),
    )


def read_all(path: Path) -> NDArray[np.float32]:
    """A whole raster as `(bands, H, W)` float32."""
    with rasterio.open(path) as dataset:
        values: NDArray[np.float32] = dataset.read(out_dtype="float32")
    return values
