"""A scene that is worth cutting, for tests of batches: an untrained model, some seconds' work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from benchmarks.big_scene import write_big_scene
from cli import comix
from numpy.typing import NDArray

TABLE = "scenes.csv"
OPTIONS = ("-m", "model.safetensors", "--options", "--window 32")
COMIX = (sys.executable, "-m", "comix_cli")
BATCH = (*COMIX, "batch", TABLE, *OPTIONS)


def write_huge_scene(folder: Path, side: int = 512) -> Path:
    """hsi.tif, x.tif, model.safetensors, and a table of that one scene."""
    write_big_scene(folder, (side, side), bands=8, channels=1, classes=4, window=32)
    (folder / TABLE).write_text("id,hsi,x,out\nhuge,hsi.tif,x.tif,map.tif\n")
    return folder


def as_classified(folder: Path) -> NDArray[Any]:
    """The pixels of `comix classify`."""
    files = ("hsi.tif", "x.tif", "-m", "model.safetensors", "--window", "32")
    done = comix(folder, "classify", *files, "-o", "whole.tif", "-q", "--threads", "1")
    assert done.code == 0, done.err
    return pixels(folder / "whole.tif")


def pixels(path: Path) -> NDArray[Any]:
    """All bands of a raster."""
    with rasterio.open(path) as dataset:
        values: NDArray[Any] = dataset.read()
    return values


def same(folder: Path, expected: NDArray[Any]) -> bool:
    """Whether the map is there and is the expected one."""
    return np.array_equal(pixels(folder / "map.tif"), expected)


def finished_parts(folder: Path) -> list[Path]:
    """Records of parts that are finished."""
    return sorted(folder.glob(".map.comix-parts-*/*.json"))


def partial(folder: Path) -> list[str]:
    """What somebody has left half done."""
    return [path.name for path in folder.rglob("*") if ".partial" in path.name]


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Wait for something to come true; what it is then."""
    for _ in ticks(seconds):
        found = condition()
        if found:
            return found
    raise AssertionError("it never came true")


def ticks(seconds: float) -> Iterator[None]:
    """Short pauses, until so many seconds are over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The processes that a process has started, but for those that only keep books."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            command = (status.parent / "cmdline").read_text()
        except (OSError, ValueError):
            continue
        if int(fields["PPid"]) == pid and "resource_tracker" not in command:
            found.append(int(fields["Pid"]))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
