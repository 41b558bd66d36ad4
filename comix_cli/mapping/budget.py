"""How much memory a classification takes, and how to make it take less.

Whatever is decided here changes how fast a map is made and never what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from comix_cli.errors import UsageError
from comix_cli.mapping.device import BUFFERS
from comix_cli.mapping.feed import carry_bytes
from comix_cli.mapping.predict import Pace
from comix_cli.scene.windows import WindowPlan

MB = 1_000_000
# Allocators keep what was freed in pieces too small to use again.
FRAGMENTATION = 1.2
SMALLEST_CACHE = 16 * MB
# A GPU is busy long before it computes so many windows at once, and others may want memory too.
MOST_AT_ONCE = 64
SHARE_OF_GPU = 0.7


@dataclass(frozen=True)
class Costs:
    """What the parts of the pipeline hold, in bytes.

    Attributes:
        base: The process before it begins: libraries, network, open files.
        window: One window's normalised inputs.
        prediction: One window's probabilities.
        reading: What reading one window takes besides, where more bands are read than used.
        forward: What the network needs besides, to compute one window on this CPU; 0 elsewhere.
        strip: The blender, and rows on their way to the file.
        carry: Rows kept so that they are not read twice.
        cache: What GDAL should be able to keep so that no block of a file is decoded twice.
        locked: One window's share of the page-locked memory from which it is copied to a GPU; 0 on
            a CPU.
    """

    base: int
    window: int
    prediction: int
    reading: int
    forward: int
    strip: int
    carry: int
    cache: int
    locked: int = 0


@dataclass(frozen=True)
class Budget:
    """What a run may hold at once.

    Attributes:
        pace: How many windows are in work.
        carry: Whether rows are kept so that they are not read twice.
        cache: Bytes for GDAL's block cache.
        total: About what the whole process will take at most, in bytes.
    """

    pace: Pace
    carry: bool
    cache: int
    total: int


def plan_costs(
    plan: WindowPlan,
    size: tuple[int, int],
    *,
    channels: int,
    bands_read: int,
    classes: int,
    row_bytes: int,
    base: int,
    forward: int,
    cache: int,
    on_gpu: bool = False,
) -> Costs:
    """What a plan costs.

    Args:
        plan: The windows.
        size: Height and width of the windows as the network sees them.
        channels: Channels of HSI and X together.
        bands_read: Bands that are read of all rasters for them.
        classes: Classes.
        row_bytes: What the outputs hold for each row handed to them.
        base: What the process holds already.
        forward: What the network needs for one window.
        cache: What GDAL should keep.
        on_gpu: Whether windows are copied to a GPU.
    """
    pixels, (height, width) = size[0] * size[1], plan.window
    steps = [below - above for above, below in pairwise(plan.row_starts)]
    finished = max((*steps, plan.shape[0] - plan.row_starts[-1]))
    # The blender's strip, and two lots of finished rows: one being written, one waiting.
    per_row = (classes + 1) * 4 * plan.shape[1]
    return Costs(
        base=base,
        # Raw values and normalised ones stand side by side while a window is prepared.
        window=2 * pixels * channels * 4,
        prediction=2 * height * width * (classes + 1) * 4,
        # As stored, as floating-point numbers, and a copy while they are looked through.
        reading=3 * pixels * bands_read * 4,
        forward=forward,
        strip=height * per_row + 2 * finished * (per_row + row_bytes),
        carry=carry_bytes(plan, channels),
        cache=cache,
        locked=BUFFERS * pixels * channels * 4 if on_gpu else 0,
    )


def fit(costs: Costs, threads: int, batch: int, limit: int) -> Budget:
    """The fastest way that keeps within a limit.

    Args:
        costs: What the parts cost.
        threads: Windows that should be computed side by side; each takes `batch` windows at once.
        batch: Windows at once.
        limit: Bytes that the process may take.

    Raises:
        UsageError: Not even the slowest way fits.
    """
    full = Budget(Pace(threads, batch, 2 * threads + 1), carry=True, cache=costs.cache, total=0)
    small_cache = min(costs.cache, SMALLEST_CACHE)
    ways = [full, replace(full, pace=Pace(threads, batch, threads + 1))]
    ways += [replace(ways[-1], carry=False), replace(ways[-1], carry=False, cache=small_cache)]
    ways += [
        replace(ways[3], pace=Pace(workers, size, workers))
        for workers, size in _smaller(threads, batch)
    ]
    for way in ways:
        total = _total(costs, way)
        if total <= limit:
            return replace(way, total=total)
    raise UsageError(
        f"this scene takes at least {_mb(total)} MB in windows of this size, more than the "
        f"{_mb(limit)} MB allowed",
        remedy=f"give --ram {_with_margin(total)} or more, a smaller --window, or part of the "
        "scene with --bounds",
    )


def batch_on_gpu(
    free: int,
    forward: int,
    plan: WindowPlan,
    size: tuple[int, int],
    *,
    channels: int,
    classes: int,
    devices: int,
) -> int:
    """How many windows a GPU takes at once, so that its memory is not the limit.

    Args:
        free: Bytes free on the GPU that has the fewest.
        forward: What the network needs for one window, inputs left out.
        plan: The windows; the blender's strip lies on the first GPU as well.
        size: Height and width of the windows as the network sees them.
        channels: Channels of HSI and X together.
        classes: Classes.
        devices: How many GPUs share the windows.
    """
    pixels = size[0] * size[1]
    row = (classes + 1) * 4 * plan.shape[1]
    # The strip, and finished rows on their way to the host.
    left = SHARE_OF_GPU * free - 2 * row * plan.window[0]
    waiting = (2 * devices + 2) * (classes + 1) * 4 * pixels
    each = FRAGMENTATION * forward + BUFFERS * channels * 4 * pixels + waiting
    shared_out = -(-len(plan) // devices)
    return max(1, min(MOST_AT_ONCE, shared_out, int(left / each)))


def _with_margin(size: int) -> int:
    """Megabytes a little above a size: the next run's libraries may take a little more."""
    return -(-int(1.03 * size) // (10 * MB)) * 10


def _smaller(threads: int, batch: int) -> list[tuple[int, int]]:
    halves = [batch >> shift for shift in range(1, batch.bit_length())]
    return [(workers, batch) for workers in range(threads, 0, -1)] + [(1, size) for size in halves]


def _total(costs: Costs, way: Budget) -> int:
    windows = way.pace.batch * (way.pace.ahead + 2)  # one more is being read, one being blended
    moving = (
        windows * (costs.window + costs.prediction)
        + way.pace.batch * way.pace.workers * costs.locked
        + way.pace.batch * way.pace.workers * costs.forward
        + costs.reading
        + costs.strip
        + (costs.carry if way.carry else 0)
    )
    return costs.base + way.cache + int(FRAGMENTATION * moving)


def _mb(size: int) -> int:
    return -(-size // MB)
