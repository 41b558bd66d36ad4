"""STAC items as a classification writes them, and their judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from affine import Affine
from numpy.typing import NDArray
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rasterio.crs import CRS

from comix_cli.learning.model_file import InputRecord, ModelCard
from comix_cli.learning.normalise import Normalisation
from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend
from comix_cli.tools.output_files import OutputOptions
from comix_cli.tools.outputs import open_outputs
from comix_models.spec import preset
from comix_models.spec_base import Spec

LEGEND = Legend.from_names([(1, "roof"), (2, "bare soil / gravel"), (7, "water")])
GRID = Grid(CRS.from_epsg(32633), Affine(2, 0, 4e5, 0, -2, 5.8e6), 40, 30)
CHECKSUM = "sha256:" + "0123456789abcdef" * 4
DATE = "2024-05-06T07:08:09+00:00"


def record(bands: int, role: str = "hsi") -> InputRecord:
    return InputRecord(
        name=f"{role}.tif",
        role=role,
        count=bands,
        bands=tuple(range(1, bands + 1)),
        dropped={},
        wavelengths_nm=tuple(450.0 + 10 * i for i in range(bands)),
        fwhm_nm=(8.0, *(None,) * (bands - 1)),
        resampling=None,
        normalisation=Normalisation((0.5,) * bands, (9.5,) * bands, "by hand"),
    )


def card(spec: Spec | None = None, **more: Any) -> ModelCard:
    spec = spec or preset("nano", hsi_bands=4, x_channels=1, classes=len(LEGEND))
    x = (record(1, "continuous"),) if spec.x_channels else ()
    return ModelCard(spec, record(4), x, LEGEND, 32, 2.0, **more)


def tags(*inputs: dict[str, Any], model: str = "model.safetensors") -> dict[str, str]:
    """Provenance as `comix classify` puts it into the map."""
    versions = {"comix": "0.1.0", "torch": "2.4.0"}
    return {
        "COMIX_DATE": DATE,
        "COMIX_INPUTS": json.dumps(inputs),
        "COMIX_MODEL": json.dumps({"path": model, "checksum": CHECKSUM}),
        "COMIX_OPTIONS": json.dumps({"windows": {"size": [32, 32], "count": 4}}),
        "COMIX_VERSIONS": json.dumps(versions),
    }


def probabilities(grid: Grid = GRID) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """`(3, H, W)` that sum to one, and validity with gaps."""
    rng = np.random.default_rng(5)
    shares = rng.dirichlet((0.6, 0.6, 0.6), grid.shape).astype(np.float32)
    return np.moveaxis(shares, -1, 0), rng.random(grid.shape) > 0.1


def made(
    folder: Path,
    inputs: Sequence[dict[str, Any]] = (),
    *,
    grid: Grid = GRID,
    legend: Legend = LEGEND,
    progress: Silent | None = None,
    **options: Any,
) -> pystac.Item:
    """Write a small map with its item into a folder, and read the item."""
    asked = OutputOptions(**{"map": folder / "map.tif", "stac": folder / "map.json", **options})
    shares, valid = probabilities(grid)
    with open_outputs(
        asked, grid, legend, lambda: tags(*inputs), progress or Silent(), card=card()
    ) as outputs:
        outputs.write_rows(0, shares, valid)
    assert asked.stac is not None
    return checked(asked.stac)


def checked(path: Path) -> pystac.Item:
    """An item that is valid by the schema of STAC itself, which pystac brings along."""
    document = json.loads(path.read_text(encoding="utf-8"))
    JsonSchemaSTACValidator().validate_core(
        document, pystac.STACObjectType(document["type"]), document["stac_version"], str(path)
    )
    return pystac.Item.from_file(str(path))
