"""Compiling the loops of the ``cpu`` backend, once per number type and width, and keeping them."""

from __future__ import annotations

import functools
import logging
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numba

from comix_models.deform import half_lanes, kernels, lane_sums, lanes

_log = logging.getLogger("comix_models")
_lock = threading.Lock()
_VECTOR_BYTES = 64  # four sums of this size fill half of the registers of AVX2

Direction = Literal["forward", "backward"]


def lanes_of(group_width: int, element: int) -> int:
    """Channels to hold in registers at once: the most that divide a group and still fit.

    Args:
        group_width: Channels of a group.
        element: Bytes of a float.
    """
    most = _VECTOR_BYTES // element
    return max(n for n in range(1, most + 1) if group_width % n == 0)


def loop_of(direction: Direction, bits: int, lanes_count: int, stored: int | None = None) -> Any:
    """Return the compiled loop; see `kernels`. Compiled on first use, which takes seconds."""
    with _lock:  # numba's own lock would let two threads compile the same loop one after the other
        return _compile(direction, bits, lanes_count, stored or bits // 8)


@functools.cache
def _compile(direction: Direction, bits: int, lanes_count: int, stored: int) -> Any:
    kind = f"float{bits}" if stored == bits // 8 else "bfloat16"
    what = f"deformable operator, {direction}, {kind}, {lanes_count} channels at a time"
    _log.info("preparing the %s; the first time this takes some seconds", what)
    start = time.perf_counter()
    make = {"forward": kernels.forward_of, "backward": kernels.backward_of}[direction]
    loop = _cached_or_not(make(bits, lanes_count, stored, _revision()))
    how = "taken from the cache on disk" if loop.cache_hits else "compiled"
    _log.info("%s in %.1f s: %s", how, time.perf_counter() - start, what)
    return loop


def _cached_or_not(function: Callable[[int], None]) -> Any:
    signature = numba.types.void(numba.types.int64)
    try:
        return numba.cfunc(signature, cache=True, error_model="numpy")(function)
    except Exception as error:  # a full disk, a read-only home, a damaged file...
        _log.info("going on without a cache on disk: %s", error)
        return numba.cfunc(signature, error_model="numpy")(function)


@functools.cache
def _revision() -> int:
    """A number that changes with the code that the loops call but numba's cache does not watch."""
    sources = (Path(str(module.__file__)).read_bytes() for module in (lanes, half_lanes, lane_sums))
    return zlib.crc32(b"".join(sources))
