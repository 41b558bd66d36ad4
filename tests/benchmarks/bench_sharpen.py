"""How long the methods of `comix sharpen` take beside each other, and in how much memory.

Run on a quiet machine::

    python tests/benchmarks/bench_sharpen.py

A painted pair of 512 x 512 fine pixels and 30 bands at ratio 4 is repeated downwards. Every run is
a process of its own, and methods take turns.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pairs
from benchmarks.bench_map import COMIX, Run, run
from rich.console import Console
from rich.table import Table

SIDE, RATIO = 512, 4
SHORT, TALL, TIMES = 1, 8, 3
STEPS = ("--steps", "50", "--threads", "1", "--no-quality", "-q", "--overwrite")


def write_scene(folder: Path, repeats: int) -> Path:
    """A pair that is so many times as high as wide."""
    folder.mkdir()
    canvas = pairs.painted((SIDE, SIDE))
    grid = pairs.coarse_grid(canvas.shape)
    coarse = np.tile(pairs.seen_by(canvas, grid).astype(np.float32), (1, repeats, 1))
    tall = pairs.CoarseGrid(grid.crs, grid.transform, (coarse.shape[1], coarse.shape[2]))
    pairs.write_hsi(folder / "hsi.tif", coarse, tall)
    pairs.write_x(folder / "x.tif", np.tile(canvas.x, (1, repeats, 1)))
    return folder


def sharpen(folder: Path, method: str) -> Run:
    """`comix sharpen` on the pair of a folder."""
    files = [str(folder / name) for name in ("hsi.tif", "x.tif")]
    return run(*COMIX, "sharpen", *files, "-o", str(folder / "o.tif"), "--method", method, *STEPS)


def main() -> None:
    """Print both tables."""
    table = Table("method", "seconds", "over bicubic", "peak memory (MB)", f"{TALL} times as high")
    with tempfile.TemporaryDirectory() as place:
        short, tall = (write_scene(Path(place) / f"s{n}", n) for n in (SHORT, TALL))
        methods = ("bicubic", "gsa", "cnmf", "mossfuse")
        found = [{name: sharpen(short, name) for name in methods} for _ in range(TIMES)]
        seconds = {name: min(each[name].wall_s for each in found) for name in methods}
        for name in methods:
            peaks = (max(each[name].peak_mb for each in found), sharpen(tall, name).peak_mb)
            table.add_row(
                name,
                f"{seconds[name]:.1f}",
                f"{seconds[name] / seconds['bicubic']:.2f}",
                f"{peaks[0]:.0f}",
                f"{peaks[1]:.0f}",
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
