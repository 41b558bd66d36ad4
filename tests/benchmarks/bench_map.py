"""How fast a scene becomes a map, and in how much memory, next to other ways of doing it.

Run on a quiet machine::

    python tests/benchmarks/bench_map.py overhead
    python tests/benchmarks/bench_map.py memory
    python tests/benchmarks/bench_map.py peers

Every side is a process of its own; sides take turns, so that whatever else the machine does falls
on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
COMIX = (sys.executable, "-m", "comix_cli.commands.app")


@dataclass(frozen=True)
class Run:
    """One process: its wall time, its peak resident memory, and what it says it computed in."""

    wall_s: float
    peak_mb: float
    computing_s: float | None


def run(*command: str) -> Run:
    """Run a command to its end and measure it."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    seconds = json.loads(output)["seconds"] if output.startswith("{") else None
    return Run(wall, usage.ru_maxrss / 1e3, seconds)


def side(name: str, folder: Path) -> Run:
    """One of `sides.py`."""
    return run(sys.executable, "-m", "benchmarks.sides", name, str(folder))


def comix(folder: Path, *options: str) -> Run:
    """`comix classify` on the scene of a folder."""
    files = (str(folder / "hsi.tif"), str(folder / "x.tif"))
    model = ("-m", str(folder / "model.safetensors"))
    output = ("-o", str(folder / "map.tif"), "--overwrite", "-q")
    return run(*COMIX, "classify", *files, *model, *output, *options)


def scene(folder: Path, height: int, width: int) -> Path:
    """Write a scene, in a process of its own, so that its memory counts for nobody."""
    code = (
        "import sys; from pathlib import Path; from benchmarks.big_scene import write_big_scene; "
        "write_big_scene(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3])))"
    )
    run(sys.executable, "-c", code, str(folder), str(height), str(width))
    return folder


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row) + " |")


def overhead(folder: Path, size: int, rounds: int) -> None:
    """The whole command next to the bare forward passes of its windows."""
    where = scene(folder / "overhead", size, size)
    taken: dict[str, list[float]] = {"bare": [], "side_by_side": [], "comix": []}
    for _ in range(rounds):
        for name in ("bare", "side_by_side"):
            taken[name].append(side(name, where).computing_s or 0.0)
        taken["comix"].append(comix(where).wall_s)
    best = {name: min(values) for name, values in taken.items()}
    print(f"\n{size} x {size} pixels, nano, 48 bands and 2 channels, best of {rounds}\n")
    table(
        ("", "seconds", "over bare passes", "over predictions side by side"),
        [
            (what, best[name], best[name] / best["bare"], best[name] / best["side_by_side"])
            for name, what in (
                ("bare", "bare forward passes of the network as trained, batches of 4"),
                ("side_by_side", "predictions side by side, fused, as one graph, nothing else"),
                ("comix", "comix classify, start of the process to finished map"),
            )
        ],
    )


def memory(folder: Path, size: int) -> None:
    """Peak memory where a scene is ten times as tall."""
    short, tall = (comix(scene(folder / f"m{n}", n, size)).peak_mb for n in (size, 10 * size))
    print()
    table(
        ("scene", "peak memory (MB)", "growth"),
        [
            (f"{size} x {size}", round(short), ""),
            (f"{10 * size} x {size}", round(tall), f"{100 * (tall / short - 1):+.1f} %"),
        ],
    )


def peers(folder: Path, size: int) -> None:
    """The same network on the same scene through other libraries."""
    where = scene(folder / "peers", size, size)
    runs = {"comix classify": comix(where)}
    runs |= {name: side(name, where) for name in ("monai", "torchgeo")}
    ours = runs["comix classify"]
    print(f"\n{size} x {size} pixels, nano, 48 bands and 2 channels, 20 classes, whole processes\n")
    table(
        ("", "seconds", "over comix", "peak memory (MB)", "over comix"),
        [
            (name, r.wall_s, r.wall_s / ours.wall_s, round(r.peak_mb), r.peak_mb / ours.peak_mb)
            for name, r in runs.items()
        ],
    )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("overhead", "memory", "peers"))
    parser.add_argument("--size", type=int, help="side of the scene in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where scenes are written; some gigabytes")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="comix-bench-", dir=arguments.folder))
    try:
        if arguments.what == "overhead":
            overhead(folder, arguments.size or 4000, arguments.rounds)
        elif arguments.what == "memory":
            memory(folder, arguments.size or 1000)
        else:
            peers(folder, arguments.size or 4000)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
