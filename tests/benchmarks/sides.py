"""What `bench_map.py` compares comix with, each run in a process of its own.

`python -m benchmarks.sides NAME FOLDER` maps the scene that `big_scene` wrote into FOLDER and
prints the seconds that computing took, without imports, as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from benchmarks.big_scene import read_all
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from comix_cli.learning.model_file import ModelCard, load_model
from comix_cli.mapping.blend import window_ramp
from comix_cli.mapping.predictor import Predictor
from comix_cli.mapping.side_by_side import predict_windows
from comix_cli.scene.grid import Grid
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import WindowPlan, plan_windows
from comix_models.fuse import fuse, traced

BATCH = 4
CPU = torch.device("cpu")


def windows_of(folder: Path, card: ModelCard) -> WindowPlan:
    """The windows that comix plans for the scene."""
    with rasterio.open(folder / "x.tif") as x:
        grid = Grid(x.crs, x.transform, x.width, x.height)
    return plan_windows(grid.shape, card.window, card.window // 3, grid.lattice_position)


def batch_of(card: ModelCard, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random inputs of the network, `size` windows."""
    side = card.window
    hsi = torch.rand(size, card.spec.hsi_bands, side, side)
    return hsi, torch.rand(size, card.spec.x_channels, side, side)


def bare(folder: Path) -> float:
    """Nothing but the forward passes of all windows, in batches, as torch computes them."""
    network, card = load_model(folder / "model.safetensors", CPU)
    count = len(windows_of(folder, card))
    batch = batch_of(card, BATCH)
    with torch.inference_mode():
        network(*batch)
        start = time.perf_counter()
        for _ in range(count // BATCH):
            network(*batch)
        if count % BATCH:
            network(*(part[: count % BATCH] for part in batch))
    return time.perf_counter() - start


def _fused(folder: Path) -> tuple[torch.nn.Module, ModelCard]:
    """The network as comix runs it."""
    network, card = load_model(folder / "model.safetensors", CPU)
    return fuse(network), card


def side_by_side(folder: Path) -> float:
    """Nothing but the predictions of all windows, computed as comix does."""
    network, card = load_model(folder / "model.safetensors", CPU)
    count = len(windows_of(folder, card))
    hsi, x = (part[0].numpy() for part in batch_of(card, 1))
    block = Block(hsi, x, np.ones(hsi.shape[1:], np.bool_))
    graph = traced(fuse(network), *batch_of(card, 1))
    predictor = Predictor(graph, card.spec.classes, CPU)
    for _ in range(3):  # a graph is still being optimised during its first two windows
        predictor([block])
    threads = torch.get_num_threads()
    start = time.perf_counter()
    for _ in predict_windows(predictor, (block for _ in range(count)), threads):
        pass
    return time.perf_counter() - start


def monai(folder: Path) -> float:
    """MONAI's sliding window over the whole scene in memory, with its Gaussian blending."""
    from monai.inferers import sliding_window_inference

    network, card = _fused(folder)
    bands, overlap = card.spec.hsi_bands, (card.window // 3) / card.window

    def predict(stacked: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = network(stacked[:, :bands], stacked[:, bands:])
        return logits.softmax(dim=1)

    start = time.perf_counter()
    inputs = torch.from_numpy(_normalised(_stacked(folder), card)).unsqueeze(0)
    with torch.inference_mode():
        found = sliding_window_inference(
            inputs, (card.window,) * 2, BATCH, predict, overlap=overlap, mode="gaussian"
        )
        assert isinstance(found, torch.Tensor)
        codes = found[0].argmax(dim=0).numpy() + 1
    _write(folder, "monai.tif", codes)
    return time.perf_counter() - start


def torchgeo(folder: Path) -> float:
    """torchgeo's grid sampler over both rasters, windows stitched in one array in memory."""
    network, card = _fused(folder)
    bands, side = card.spec.hsi_bands, card.window
    start = time.perf_counter()
    with rasterio.open(folder / "x.tif") as x:
        shape, transform = x.shape, x.transform
    total = np.zeros((card.spec.classes, *shape), np.float32)
    weights = np.zeros(shape, np.float32)
    ramp = np.outer(window_ramp(side), window_ramp(side)).astype(np.float32)
    for batch in _torchgeo_batches(folder, side):
        stacked = _normalised(batch["image"].numpy(), card)
        tensor = torch.from_numpy(stacked)
        with torch.inference_mode():
            found = network(tensor[:, :bands], tensor[:, bands:]).softmax(dim=1).numpy()
        for probabilities, bounds in zip(found, batch["bounds"], strict=True):
            col, row = ~transform * (float(bounds[0].start), float(bounds[1].stop))
            _add(total, weights, probabilities, ramp, round(row), round(col))
    total /= weights
    _write(folder, "torchgeo.tif", total.argmax(axis=0) + 1)
    return time.perf_counter() - start


def _torchgeo_batches(folder: Path, side: int) -> Iterator[dict[str, Any]]:
    _stand_in_for_torchvision()
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    hsi, x = (
        type(name, (RasterDataset,), {"filename_glob": f"{name}.tif"})(folder, res=1.0)
        for name in ("hsi", "x")
    )
    scene = hsi & x
    sampler = GridGeoSampler(scene, size=side, stride=side - side // 3)
    loader = DataLoader(scene, batch_size=BATCH, sampler=sampler, collate_fn=stack_samples)
    yield from loader


def _stand_in_for_torchvision() -> None:
    """Name the operators that torchvision wants to know, and that nothing here uses.

    Wheels of torchvision for CUDA, the only ones that PyPI has, cannot load their own beside a
    torch for CPUs; torchgeo imports torchvision all the same.
    """
    if "+cpu" in torch.__version__:
        for name in ("nms", "qnms"):
            schema = "(Tensor boxes, Tensor scores, float threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", schema)


def _add(
    total: NDArray[np.float32],
    weights: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    ramp: NDArray[np.float32],
    row: int,
    col: int,
) -> None:
    """Add a window's weighted probabilities; what leaves the scene is dropped."""
    height, width = weights.shape
    above = max(0, -row)
    rows = slice(row + above, min(row + ramp.shape[0], height))
    columns = slice(col, min(col + ramp.shape[1], width))
    inner = (slice(above, rows.stop - row), slice(columns.stop - col))
    total[:, rows, columns] += probabilities[:, *inner] * ramp[inner]
    weights[rows, columns] += ramp[inner]


def _stacked(folder: Path) -> NDArray[np.float32]:
    """HSI and X on X's grid, `(bands + channels, H, W)`."""
    x = read_all(folder / "x.tif")
    with (
        rasterio.open(folder / "x.tif") as like,
        rasterio.open(folder / "hsi.tif") as coarse,
        WarpedVRT(
            coarse,
            crs=like.crs,
            transform=like.transform,
            width=like.width,
            height=like.height,
            resampling=Resampling.nearest,
        ) as hsi,
    ):
        stacked = np.empty((hsi.count + len(x), *x.shape[1:]), np.float32)
        hsi.read(out=stacked[: hsi.count])
    stacked[-len(x) :] = x
    return stacked


def _normalised(stacked: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    """Scaled to [0, 1] as in training, in place; channels are the third axis from the end."""
    both = (card.hsi.normalisation, *(record.normalisation for record in card.x))
    low = np.array([value for part in both for value in part.low], np.float32)[:, None, None]
    high = np.array([value for part in both for value in part.high], np.float32)[:, None, None]
    stacked -= low
    stacked /= high - low
    return np.clip(stacked, 0, 1, out=stacked)


def _write(folder: Path, name: str, codes: NDArray[np.integer[Any]]) -> None:
    with rasterio.open(folder / "x.tif") as like:
        profile = like.profile | {"count": 1, "dtype": "uint8", "compress": "deflate"}
    with rasterio.open(folder / name, "w", **profile) as dataset:
        dataset.write(codes.astype(np.uint8), 1)


SIDES: dict[str, Callable[[Path], float]] = {
    "bare": bare,
    "side_by_side": side_by_side,
    "monai": monai,
    "torchgeo": torchgeo,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(json.dumps({"seconds": SIDES[arguments.side](arguments.folder)}))
