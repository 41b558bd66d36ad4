"""What this machine has left, and what the process takes of it."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

# Of <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE_BLOCK = 16 << 20
_STATM = Path("/proc/self/statm")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def return_large_blocks() -> None:
    """Let freed blocks of memory beyond 16 MB go back to the system at once, where libc can.

    glibc begins so, and then keeps blocks as large as any that was freed: strips of a wide scene
    would stay in pieces between smaller ones.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)
        # Setting the one leaves the other at 128 kB, and memory would come and go all the time.
        mallopt(_TRIM_THRESHOLD, 2 * _LARGE_BLOCK)


def resident_bytes() -> int:
    """Memory that the process holds now, or has held at most where the system says no more."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available_bytes() -> int:
    """Memory that the process may still take; the limit of a container counts."""
    return min([_free_bytes(), *(max(0, most - used) for most, used in _cgroup_limits())])


def _free_bytes() -> int:
    if _MEMINFO.exists():
        lines = _MEMINFO.read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if "MemAvailable" in fields:
            return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _cgroup_limits() -> list[tuple[int, int]]:
    found = []
    for limit, usage in _CGROUP:
        try:
            most = limit.read_text().strip()
            if most != "max":
                found.append((int(most), int(usage.read_text())))
        except (OSError, ValueError):
            continue
    return found
