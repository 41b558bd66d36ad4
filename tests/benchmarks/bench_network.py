"""What a window costs on a CPU, as trained and as prepared for inference, for every preset.

Run ``python tests/benchmarks/bench_network.py`` on a quiet machine; the ways take turns. With
``--compile`` torch compiles every network as well, which takes minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from benchmarks.bench_map import table
from torch import nn

from comix_cli.learning.device import has_bfloat16
from comix_cli.mapping.predictor import Predictor
from comix_cli.mapping.side_by_side import predict_windows
from comix_cli.scene.stack import Block
from comix_models.build import build_model
from comix_models.fuse import fuse, traced
from comix_models.spec import PRESETS, preset

BANDS, CHANNELS, CLASSES, SIDE, BATCH = 48, 2, 20, 128, 4
CPU = torch.device("cpu")


def network_of(name: str) -> nn.Module:
    """A preset with random weights and random statistics of its normalisations."""
    torch.manual_seed(0)
    spec = preset(name, hsi_bands=BANDS, x_channels=CHANNELS, classes=CLASSES)
    network = build_model(spec).train()
    with torch.no_grad():
        for _ in range(2):
            network(*inputs(2))
    return network.eval()


def inputs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of windows of random numbers."""
    return torch.rand(count, BANDS, SIDE, SIDE), torch.rand(count, CHANNELS, SIDE, SIDE)


def blocks(count: int) -> list[Block]:
    """Windows of random numbers."""
    rng = np.random.default_rng(0)
    one = np.ones((SIDE, SIDE), np.bool_)
    return [
        Block(
            rng.random((BANDS, SIDE, SIDE), np.float32),
            rng.random((CHANNELS, SIDE, SIDE), np.float32),
            one,
        )
        for _ in range(count)
    ]


def in_batches(network: nn.Module) -> Callable[[Sequence[Block]], None]:
    """As before: batches of windows, every operation shared among all threads."""
    predictor = Predictor(network, CLASSES, CPU)

    def run(windows: Sequence[Block]) -> None:
        for first in range(0, len(windows), BATCH):
            predictor(windows[first : first + BATCH])

    return run


def side_by_side(
    network: nn.Module, number_type: torch.dtype = torch.float32
) -> Callable[[Sequence[Block]], None]:
    """As comix does: a window a thread."""
    predictor = Predictor(network, CLASSES, CPU, number_type)

    def run(windows: Sequence[Block]) -> None:
        for _ in predict_windows(predictor, windows, torch.get_num_threads()):
            pass

    return run


def agreement(network: nn.Module) -> tuple[float, float]:
    """Share of pixels whose class half precision keeps, and its largest error in probability."""
    window = blocks(1)
    single = Predictor(network, CLASSES, CPU)(window)
    half = Predictor(network, CLASSES, CPU, torch.bfloat16)(window)
    same = (single.argmax(axis=1) == half.argmax(axis=1)).mean()
    return float(same), float(np.abs(single - half).max())


def measure(
    ways: Sequence[Callable[[Sequence[Block]], None]], windows: Sequence[Block], rounds: int
) -> list[float]:
    """Milliseconds a window of each way, the best of some rounds."""
    best = [float("inf")] * len(ways)
    for turn in range(rounds + 1):
        for i, way in enumerate(ways):
            start = time.perf_counter()
            way(windows)
            if turn:  # the first one warms up
                best[i] = min(best[i], (time.perf_counter() - start) / len(windows) * 1e3)
    return best


def main() -> None:
    """Print a row for every preset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.presets:
        network = network_of(name)
        fused = fuse(network)
        graph = traced(fused, *inputs(1))
        ways = [in_batches(network), in_batches(fused), side_by_side(fused), side_by_side(graph)]
        if has_bfloat16(CPU):
            ways.append(side_by_side(fused, torch.bfloat16))
        if arguments.compile:
            compiled = fuse(network)
            compiled.compile()
            ways.append(side_by_side(compiled))
        found = measure(ways, blocks(8), arguments.rounds)
        same, most = agreement(fused)
        rows.append((name, *found, found[0] / found[3], f"{100 * same:.2f} %, {most:.3f}"))
    head = ["preset", "as trained, batches (ms)", "fused, batches", "fused, side by side"]
    head += ["one graph, side by side"]
    head += ["fused, bfloat16, side by side"] if has_bfloat16(CPU) else []
    head += ["fused, compiled, side by side"] if arguments.compile else []
    table([*head, "before / after", "bfloat16: same class, largest difference"], rows)


if __name__ == "__main__":
    main()
