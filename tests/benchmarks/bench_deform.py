"""How much faster the compiled deformable operator is than its reference.

Run ``python tests/benchmarks/bench_deform.py`` on a quiet machine. Both backends take turns in one
process, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from comix_models.deform import deform_conv2d

GROUP_WIDTH = 16


@dataclass(frozen=True)
class Case:
    """One image of ``side x side`` pixels, and the window that moves over it."""

    side: int
    channels: int
    kernel: int

    def __str__(self) -> str:
        window = f"{self.kernel}x{self.kernel}"
        return f"{self.side}x{self.side}x{self.channels} {window}"


CASES = (Case(128, 48, 3), Case(64, 96, 7), Case(64, 192, 7))


def forward_of(case: Case, backend: str) -> Callable[[], Tensor]:
    """Return a function that runs the operator once, without gradients."""
    value, offset_mask = _inputs(case)

    def run() -> Tensor:
        with torch.inference_mode():
            return _deform(value, offset_mask, case, backend)

    return run


def step_of(case: Case, backend: str) -> Callable[[], Tensor]:
    """Return a function that runs the operator once, forward and backward."""
    value, offset_mask = (tensor.requires_grad_() for tensor in _inputs(case))
    grad = torch.ones_like(value)

    def run() -> Tensor:
        result = _deform(value, offset_mask, case, backend)
        return torch.autograd.grad(result, (value, offset_mask), grad)[0]

    return run


def measure(functions: Sequence[Callable[[], Tensor]], rounds: int) -> list[list[float]]:
    """Return the milliseconds of every run of every function; they take turns."""
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for taken, function in zip(times, functions, strict=True):
            start = time.perf_counter()
            function()
            taken.append(1e3 * (time.perf_counter() - start))
    return times


def _inputs(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scalars = math.ceil(3 * case.channels // GROUP_WIDTH * case.kernel**2 / 8) * 8
    value = torch.randn(1, case.side, case.side, case.channels, generator=generator)
    return value, torch.randn(1, case.side, case.side, scalars, generator=generator)


def _deform(value: Tensor, offset_mask: Tensor, case: Case, backend: str) -> Tensor:
    groups = case.channels // GROUP_WIDTH
    return deform_conv2d(value, offset_mask, kernel=case.kernel, groups=groups, backend=backend)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print(f"{torch.get_num_threads()} threads; milliseconds: best, median of {rounds}")
    print(f"{'case':16} {'':16} {'torch':>17} {'cpu':>17} {'ratio of best, median':>24}")
    for case in CASES:
        for what, make in (("forward", forward_of), ("and backward", step_of)):
            slow, fast = measure([make(case, "torch"), make(case, "cpu")], rounds)
            best = min(slow), min(fast)
            median = statistics.median(slow), statistics.median(fast)
            columns = [f"{b:8.2f} {m:8.2f}" for b, m in zip(best, median, strict=True)]
            ratios = f"{best[0] / best[1]:15.1f} {median[0] / median[1]:8.1f}"
            print(f"{case!s:16} {what:16} {columns[0]} {columns[1]} {ratios}")


if __name__ == "__main__":
    main()
