"""The same commands on a GPU; without one they are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from cli import comix

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def classified(scene: Path, name: str, *more: str) -> np.ndarray:
    """The map of a scene, as codes `(H, W)`."""
    finished = comix(scene, "classify", "hsi.tif", "lidar.tif", "-o", name, "-q", *more)
    assert finished.code == 0, finished.err
    with rasterio.open(scene / name) as dataset:
        codes: np.ndarray = dataset.read(1)
    return codes


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_maps_of_cpu_and_gpu_agree(scene: Path, precision: str) -> None:
    on_cpu = classified(scene, "cpu.tif", "--device", "cpu")
    on_gpu = classified(scene, "gpu.tif", "--device", "cuda", "--precision", precision)
    np.testing.assert_array_equal(on_cpu == 0, on_gpu == 0)
    assert (on_cpu == on_gpu).mean() >= 0.999


def test_a_model_trained_on_a_gpu_maps_on_a_cpu(scene: Path) -> None:
    trained = comix(
        scene, "train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--preset", "nano",
        "--steps", "40", "--window", "32", "--device", "cuda", "-o", "gpu.safetensors", "-q",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    codes = classified(scene, "map.tif", "-m", "gpu.safetensors", "--device", "cpu")
    assert len(np.unique(codes)) > 1
