"""The official labels of Houston2013 and Trento; their cubes stand in as zeros of the same size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from cli import comix
from scenes import needs_real_data, real_data
from scipy.io import savemat

from comix_cli.errors import RasterError
from comix_cli.mapping.map_file import open_map
from comix_cli.tools.importing.containers import open_pixels
from comix_cli.tools.importing.records import Source

HOUSTON = real_data() / "houston2013"
TRENTO = real_data() / "trento"


def imported(folder: Path, dataset: str) -> dict[str, Any]:
    """The report of an import that takes nothing but the official counts."""
    outcome = comix(folder, "import", dataset, "in", "-o", "out", "--json")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    assert found["matches"]
    return found


@needs_real_data
def test_trentos_labels_are_the_official_ones(tmp_path: Path) -> None:
    shutil.copytree(TRENTO, tmp_path / "in")
    cube = np.zeros((166, 600, 63), np.uint16)
    savemat(tmp_path / "HSI.mat", {"HSI": cube}, do_compression=True)
    shutil.move(tmp_path / "HSI.mat", tmp_path / "in")
    document = imported(tmp_path, "trento")
    assert {each["name"]: each["pixels"] for each in document["sets"]} == {
        "train": 819, "test": 29395,
    }  # fmt: skip
    with rasterio.open(tmp_path / "out/lidar.tif") as file:
        heights = file.read(1)
    assert (heights.dtype, heights.max()) == (np.float32, np.float32(20.152283))


@needs_real_data
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_houstons_labels_are_the_official_ones(tmp_path: Path) -> None:
    start = tmp_path / "in" / "2013_IEEE_GRSS_DF_Contest_"
    start.parent.mkdir()
    for name in ("TR", "VA"):
        shutil.copy(HOUSTON / f"Samples_{name}.tif", f"{start}Samples_{name}.tif")
    size = {"height": 349, "width": 1905, "count": 144, "dtype": "uint8"}
    with rasterio.open(f"{start}CASI.tif", "w", driver="GTiff", sparse_ok=True, **size):
        pass  # a cube without a block is a cube of zeros
    document = imported(tmp_path, "houston2013")
    assert [each["pixels"] for each in document["sets"]] == [2832, 12197]
    assert document["sets"][0]["width"] * document["sets"][0]["pixel_size"][0] == 1905 * 2.5
    with (
        open_map(tmp_path / "out/train.tif") as train,
        open_map(tmp_path / "out/test.tif") as test,
    ):
        assert not np.any((train.read() > 0) & (test.read() > 0))


@needs_real_data
def test_spectra_without_their_image_are_no_image_of_labels(tmp_path: Path) -> None:
    """The pixel lists that some toolboxes pass around: n x bands, and n labels."""
    shutil.copy(HOUSTON / "HSI_TrSet.mat", tmp_path / "HSI.mat")
    with open_pixels(str(tmp_path / "HSI.mat"), Source("HSI.mat", ("HSI",))) as pixels:
        assert (pixels.shape, pixels.bands) == ((2832, 144), 1)
    with (
        pytest.raises(RasterError, match="it holds 'TrLabel'"),
        open_pixels(str(HOUSTON / "TrLabel.mat"), Source("TrLabel.mat", ("TRLabel",))),
    ):
        pass
