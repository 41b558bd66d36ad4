"""Everything that is to be known of a GPU, in one call.

    PYTHONPATH=tests python tests/benchmarks/bench_gpu.py

The operator next to the reference, to the published package where it is installed, and to a copy;
how the operator's time depends on the size of its programs; a scene of the size of Houston2013 as a
map; steps of training. ``--device cpu --small`` goes through all of it in a minute, to see that it
runs. Tables go to stdout, as Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from affine import Affine
from benchmarks.bench_map import table
from benchmarks.bench_operator import Case, copy_bandwidth, forward_of, measure, rows, step_of
from numpy.typing import NDArray
from rasterio.crs import CRS
from torch import nn

from comix_cli.learning.augment import Augmentation
from comix_cli.learning.device import check_number_type, free_on
from comix_cli.learning.loop import fit
from comix_cli.learning.processes import launched
from comix_cli.learning.recipe import Recipe
from comix_cli.learning.samples import Chip
from comix_cli.mapping.budget import batch_on_gpu
from comix_cli.mapping.device import DeviceEngine
from comix_cli.mapping.feed import WindowFeed
from comix_cli.mapping.predict import Pace, blended_rows
from comix_cli.mapping.predictor import Predictor
from comix_cli.mapping.rehearsal import rehearse
from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import Window, plan_windows
from comix_models.build import build_model
from comix_models.deform import available_backends, triton_backend
from comix_models.fuse import fuse
from comix_models.spec import preset

# Houston2013: pixels, bands, channels of the DSM, classes. The paper maps it in 7.72 s, and trains
# 500 epochs in 8282 s.
HOUSTON = (349, 1905)
BANDS, CHANNELS, CLASSES = 144, 1, 15


class SceneInMemory:
    """Random numbers of a scene's size; windows are views."""

    def __init__(self, shape: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        self.grid = Grid(CRS.from_epsg(32615), Affine(2.5, 0, 0, 0, -2.5, 0), *shape[::-1])
        self._hsi = rng.random((BANDS, *shape), np.float32)
        self._x = rng.random((CHANNELS, *shape), np.float32)
        self._valid = np.ones(shape, np.bool_)

    def read(self, window: Window) -> Block:
        """The window's values."""
        where = window.slices
        return Block(self._hsi[:, *where], self._x[:, *where], self._valid[where])

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)`."""
        return self._valid[window.slices]


def network_of(name: str, classes: int = CLASSES) -> tuple[nn.Module, int]:
    """A preset with random weights, and the side of its windows."""
    torch.manual_seed(0)
    spec = preset(name, hsi_bands=BANDS, x_channels=CHANNELS, classes=classes)
    return build_model(spec).eval(), spec.window or 128


def map_scene(name: str, shape: tuple[int, int], device: torch.device) -> tuple[object, ...]:
    """Seconds from a scene in memory to finished rows, and how busy the device was meanwhile."""
    network, side = network_of(name)
    kind = check_number_type("auto", device)
    predictor = Predictor(fuse(network).to(device), CLASSES, device, kind)
    scene = SceneInMemory(shape)
    plan = plan_windows(shape, side, side // 3)
    forward = rehearse(predictor, BANDS, CHANNELS, side, fixed=side)
    on_gpu = device.type == "cuda"
    free = free_on(device) if on_gpu else 0
    suggested = batch_on_gpu(
        free, forward, plan, (side, side), channels=BANDS + CHANNELS, classes=CLASSES, devices=1
    )
    batch = suggested if on_gpu else 4

    def run() -> float:
        feed = WindowFeed(scene, _as_is, plan, (side, side))
        engine = DeviceEngine([predictor], batch, Silent())
        start = time.perf_counter()
        for _ in blended_rows(feed, engine, plan, Pace(1, batch, 3), Silent()):
            pass
        return time.perf_counter() - start

    run()
    seconds = min(run() for _ in range(3))
    with _busy(device) as busy:
        profiled = run()
    share = f"{100 * busy[0] / profiled:.0f} %" if on_gpu else "-"
    megapixels = shape[0] * shape[1] / 1e6
    return name, str(kind), len(plan), batch, seconds, megapixels / seconds, share


def _as_is(block: Block) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return block.hsi, block.x


@contextmanager
def _busy(device: torch.device) -> Iterator[list[float]]:
    """Seconds that a GPU has computed or copied in the block, streams added up; in the list."""
    found = [0.0]
    if device.type != "cuda":
        yield found
        return
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        yield found
        torch.cuda.synchronize()
    found[0] = sum(event.self_device_time_total for event in seen.key_averages()) / 1e6


class RandomChips:
    """Chips of random numbers, all of them labelled."""

    def __init__(self, side: int) -> None:
        rng = np.random.default_rng(0)
        self._chip = Chip(
            rng.random((BANDS, side, side), np.float32),
            rng.random((CHANNELS, side, side), np.float32),
            rng.integers(0, CLASSES, (side, side)),
        )

    def draw(self, rng: np.random.Generator) -> Chip:  # noqa: ARG002
        """Always the same one."""
        return self._chip


def train_steps(name: str, device: torch.device, steps: int, batch: int) -> tuple[object, ...]:
    """Seconds a step, and for an epoch: as many chips as cover the scene once."""
    network, side = network_of(name)
    still = Augmentation(flips=True, gain=0.1, band_gain=0.02)
    recipe = Recipe(steps=steps, batch_size=batch, augmentation=still)
    pixels = np.full(CLASSES, 100)
    with launched(device, check_number_type("auto", device)) as fabric:
        fit(network, RandomChips(side), pixels, recipe, fabric, Silent())  # compiles kernels
        result = fit(network, RandomChips(side), pixels, recipe, fabric, Silent())
    each = result.seconds / steps
    chips = len(plan_windows(HOUSTON, side, 0))
    return name, batch, each, each * chips / batch, 500 * each * chips / batch


def block_sizes(device: torch.device) -> Iterator[tuple[object, ...]]:
    """How the operator's time depends on how much each program does."""
    module: Any = triton_backend
    before = module._BLOCK, module._WARPS
    dtype = torch.bfloat16
    try:
        for case in (Case(128, 48, 3, 16), Case(64, 96, 7, 16)):
            for block in (256, 512, 1024, 2048, 4096):
                for warps in (1, 2, 4, 8):
                    module._BLOCK, module._WARPS = block, warps
                    functions = [
                        f(case, "triton", dtype, str(device)) for f in (forward_of, step_of)
                    ]
                    forward, both = (min(t) for t in measure(functions, 20, str(device)))
                    yield str(case), block, warps, forward, both
    finally:
        module._BLOCK, module._WARPS = before


def operator_tables(device: torch.device) -> None:
    """The operator in every number type, and the size of its programs."""
    kinds = (torch.float32, torch.bfloat16, torch.float16)
    for dtype in kinds if device.type == "cuda" else kinds[:1]:
        print(f"\n## The operator, {dtype}; copies {copy_bandwidth(str(device)) / 1e9:.0f} GB/s\n")
        head = ("case", "direction", "backend", "best (ms)", "median", "times as fast as torch")
        table((*head, "useful GB/s", "of a copy"), list(rows(device, dtype, 20)))
    if device.type == "cuda":
        print("\n## The size of a program (now: 1024 numbers, 4 warps)\n")
        size = ("case", "numbers", "warps", "forward (ms)", "and backward")
        table(size, list(block_sizes(device)))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="only see that it runs")
    arguments = parser.parse_args()
    device, small = torch.device(arguments.device), arguments.small
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"# {name}, torch {torch.__version__}\n")
    table(("backend", "works here"), [(k, v or "yes") for k, v in available_backends().items()])
    if not small:
        operator_tables(device)
    shape = (130, 150) if small else HOUSTON
    presets = ("nano",) if small else ("paper", "base", "small", "nano")
    print(f"\n## A scene of {shape[0]} x {shape[1]} pixels, {BANDS} bands, as a map\n")
    head = ("preset", "number type", "windows", "batch", "seconds", "megapixels a second", "busy")
    table(head, [map_scene(preset_name, shape, device) for preset_name in presets])
    print("\n## Training\n")
    steps, batches = (2, (2,)) if small else (30, (8, 32))
    trained = [train_steps(p, device, steps, b) for p in presets[:2] for b in batches]
    table(("preset", "batch", "seconds a step", "seconds an epoch", "500 epochs"), trained)


if __name__ == "__main__":
    main()
