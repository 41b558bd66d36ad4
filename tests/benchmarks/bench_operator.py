"""The deformable operator: every backend that runs here, next to the reference and to memory.

Run ``PYTHONPATH=tests python tests/benchmarks/bench_operator.py`` on a quiet machine (``make
bench-operator``). Backends take turns in one process, so that whatever else the machine does falls
on all of them. *Useful bytes* are what has to be read and written once: value, offsets and
modulation, result, and for gradients those of each as well. The share of the bandwidth compares
them with what a plain copy moves on the same device.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.bench_map import table
from torch import Tensor

from comix_cli.learning.device import has_bfloat16
from comix_models.deform import DeformShape, deform_conv2d
from comix_models.deform.registry import backends, why_not_automatic

GROUP_WIDTH = 16
COPIED = 256 << 20  # bytes, beyond any cache


@dataclass(frozen=True)
class Case:
    """Images of ``side x side`` pixels, and the window that moves over them."""

    side: int
    channels: int
    kernel: int
    batch: int = 1

    def __str__(self) -> str:
        many = f"{self.batch} x " if self.batch > 1 else ""
        return f"{many}{self.side}x{self.side}x{self.channels}, {self.kernel}x{self.kernel}"

    @property
    def shape(self) -> DeformShape:
        """The operator."""
        return DeformShape(self.kernel, self.channels // GROUP_WIDTH, padding=self.kernel // 2)


def cases(device: torch.device) -> list[Case]:
    """Three sizes with both windows; batches that fill a GPU."""
    batch = 16 if device.type == "cuda" else 1
    sizes = ((128, 48), (64, 96), (64, 192))
    return [Case(side, width, kernel, batch) for kernel in (3, 7) for side, width in sizes]


def forward_of(
    case: Case, backend: str, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Callable[[], Tensor]:
    """A function that runs the operator once, without gradients."""
    value, offset_mask = _inputs(case, dtype, device)

    def run() -> Tensor:
        with torch.inference_mode():
            return _deform(value, offset_mask, case, backend)

    return run


def step_of(
    case: Case, backend: str, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Callable[[], Tensor]:
    """A function that runs the operator once, forward and backward."""
    value, offset_mask = (tensor.requires_grad_() for tensor in _inputs(case, dtype, device))
    grad = torch.ones_like(value)

    def run() -> Tensor:
        result = _deform(value, offset_mask, case, backend)
        return torch.autograd.grad(result, (value, offset_mask), grad)[0]

    return run


def measure(
    functions: Sequence[Callable[[], Tensor]], rounds: int, device: str = "cpu"
) -> list[list[float]]:
    """The milliseconds of every run of every function; they take turns."""
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for taken, function in zip(times, functions, strict=True):
            taken.append(_on_host(function) if device == "cpu" else _on_gpu(function))
    return times


def _on_host(function: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def _on_gpu(function: Callable[[], Tensor], calls: int = 10) -> float:
    """Milliseconds a call by the GPU's own clock, of calls that do not wait for the host."""
    event: Any = torch.cuda.Event
    start, stop = event(enable_timing=True), event(enable_timing=True)
    start.record()
    for _ in range(calls):
        function()
    stop.record()
    stop.synchronize()
    return float(start.elapsed_time(stop)) / calls


def copy_bandwidth(device: str) -> float:
    """Bytes a second that a plain copy reads and writes, the best of some."""
    source = torch.ones(COPIED // 4, device=device)
    target = torch.empty_like(source)
    (taken,) = measure([lambda: target.copy_(source)], 10, device)
    return 2 * COPIED / (min(taken) / 1e3)


def useful_bytes(case: Case, dtype: torch.dtype, *, gradients: bool) -> int:
    """What has to be read and written once."""
    pixels = case.batch * case.side**2
    size = torch.empty((), dtype=dtype).element_size()
    forward = pixels * (2 * case.channels + case.shape.scalars) * size
    # the result's gradient and both inputs are read, both inputs' gradients are written
    backward = pixels * (3 * case.channels + 2 * case.shape.scalars) * size
    return forward + backward if gradients else forward


def rows(device: torch.device, dtype: torch.dtype, rounds: int) -> Iterator[tuple[object, ...]]:
    """A row for every case, direction and backend of one device and number type."""
    bandwidth = copy_bandwidth(str(device))
    for case in cases(device):
        names = _able(case, dtype, device)
        for what, make in (("forward", forward_of), ("and backward", step_of)):
            functions = [make(case, name, dtype, str(device)) for name in names]
            taken = dict(zip(names, measure(functions, rounds, str(device)), strict=True))
            slowest = min(taken["torch"])
            moved = useful_bytes(case, dtype, gradients=what != "forward")
            for name, times in taken.items():
                best, rate = min(times), moved / (min(times) / 1e3)
                yield (
                    str(case), what, name, best, statistics.median(times), slowest / best,
                    rate / 1e9, f"{100 * rate / bandwidth:.0f} %",
                )  # fmt: skip


def _able(case: Case, dtype: torch.dtype, device: torch.device) -> list[str]:
    """The backends that ``auto`` may take for a case, the reference last."""
    value = torch.empty((1, 1, 1, case.channels), dtype=dtype, device=device)
    return [b.name for b in backends() if not why_not_automatic(b, value, case.shape)]


def _inputs(case: Case, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = (case.batch, case.side, case.side)
    value = torch.randn(*size, case.channels, generator=generator)
    scalars = math.ceil(case.shape.scalars / 8) * 8
    offset_mask = torch.randn(*size, scalars, generator=generator)
    return value.to(device, dtype), offset_mask.to(device, dtype)


def _deform(value: Tensor, offset_mask: Tensor, case: Case, backend: str) -> Tensor:
    groups = case.shape.groups
    return deform_conv2d(value, offset_mask, kernel=case.kernel, groups=groups, backend=backend)


def main() -> None:
    """Print a table for every device and number type."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", help="cpu or cuda; every one there is if not given")
    arguments = parser.parse_args()
    found = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for name in [arguments.device] if arguments.device else found:
        device = torch.device(name)
        kinds = [torch.float32, *([torch.bfloat16] if has_bfloat16(device) else [])]
        kinds += [torch.float16] if name == "cuda" else []
        where = torch.cuda.get_device_name() if name == "cuda" else f"{_threads()} threads"
        for dtype in kinds:
            print(f"\n{name} ({where}), {dtype}, copies {copy_bandwidth(name) / 1e9:.0f} GB/s\n")
            head = ("case", "direction", "backend", "best (ms)", "median", "times as fast as torch")
            table((*head, "useful GB/s", "of a copy"), list(rows(device, dtype, arguments.rounds)))


def _threads() -> int:
    return torch.get_num_threads()


if __name__ == "__main__":
    main()
