"""What a model or a raster says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comix_cli.files import MODEL_SUFFIX
from comix_cli.learning.model_file import ModelCard, read_card
from comix_cli.mapping.map_file import read_classes
from comix_cli.scene.bands import BandTable
from comix_cli.scene.grid import Grid
from comix_cli.scene.raster import RasterInfo, inspect_raster, open_raster
from comix_models.build import build_model, count_parameters

# Lets a raster without CRS be looked at; nothing is ever placed with it.
NOWHERE = 'LOCAL_CS["unknown",UNIT["metre",1]]'


def info(path: str, src_crs: str | None = None) -> dict[str, Any]:
    """The facts about a file as one document; its `kind` is `model`, `map` or `raster`.

    Raises:
        ModelFileError: A model file that cannot be read.
        RasterError: Neither a model nor a raster.
    """
    if looks_like_model(path):
        return describe_model(path, read_card(Path(path)))
    with open_raster(path) as dataset:
        placed = dataset.crs is not None or src_crs is not None
    raster = inspect_raster(path, src_crs=src_crs if placed else NOWHERE)
    document = describe_raster(raster, placed=placed)
    legend, tags = read_classes(path) if raster.count == 1 else (None, {})
    if legend is not None:
        ours = {key: value for key, value in tags.items() if key.startswith("COMIX_")}
        document |= {"kind": "map", "classes": legend.to_json(), "tags": ours}
    return document


def looks_like_model(path: str) -> bool:
    """Whether a file is called like a model, or begins like one whatever it is called."""
    if path.lower().endswith(MODEL_SUFFIX):
        return True
    file = Path(path)
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        # safetensors: the length of the header in eight bytes, then the header, a JSON object
        return stream.read(9)[8:] == b"{"


def describe_model(path: str, card: ModelCard) -> dict[str, Any]:
    """What a model expects, tells apart, is, and what trained it."""
    parameters = count_parameters(build_model(card.spec))
    return {
        "kind": "model",
        "path": path,
        "modalities": "HSI + X" if card.x else "HSI alone",
        "inputs": [record.to_json() for record in (card.hsi, *card.x)],
        "classes": card.legend.to_json(),
        "window": card.window,
        "gsd_m": card.gsd_m,
        "model": card.spec.model,
        "parameters": parameters or None,  # forests and support vector machines have none
        "size": card.spec.size(parameters),
        "spec": card.spec.to_json(),
        "training": dict(card.training),
    }


def describe_raster(raster: RasterInfo, *, placed: bool = True) -> dict[str, Any]:
    """Grid, bands, wavelengths and nodata of a raster; `placed` says whether its CRS is known."""
    return {
        "kind": "raster",
        "path": raster.path,
        "driver": raster.driver,
        "grid": describe_grid(raster.grid) | ({} if placed else {"crs": None}),
        "bands": raster.count,
        "dtype": raster.dtype,
        "nodata": "nan" if raster.nodata != raster.nodata else raster.nodata,
        "band_table": describe_bands(raster.bands),
    }


def describe_grid(grid: Grid) -> dict[str, Any]:
    """Size, CRS, extent and pixel size of a grid."""
    return {
        "width": grid.width,
        "height": grid.height,
        "crs": grid.crs.to_string(),
        "bounds": list(grid.bounds),
        "resolution": list(grid.resolution),
        "gsd_m": grid.gsd_m,
        "transform": list(grid.transform)[:6],
    }


def describe_bands(bands: BandTable) -> list[dict[str, Any]]:
    """Name, wavelength, width and usability of every band."""
    columns = zip(bands.names, bands.wavelengths_nm, bands.fwhm_nm, bands.good, strict=True)
    return [
        {"band": i, "name": name, "wavelength_nm": nm, "fwhm_nm": fwhm, "good": good}
        for i, (name, nm, fwhm, good) in enumerate(columns, start=1)
    ]
