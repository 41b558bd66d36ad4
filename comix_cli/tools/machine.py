"""What this machine has left, and what the process takes of it."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Of <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE_BLOCK = 16 << 20
# A run takes no more of the memory that is free, unless it is told otherwise.
SHARE_OF_FREE = 0.8
_STATM = Path("/proc/self/statm")


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


def available_bytes(root: Path = Path("/")) -> int:
    """Memory that the process may still take; limits of containers and batch systems count.

    Args:
        root: Where `proc` and `sys` are.
    """
    return min([_free_bytes(root), *_left_in_groups(root)])


def share_of_memory(processes: int) -> int:
    """Bytes that each of some processes may take, so that all together leave some free."""
    return int(SHARE_OF_FREE * available_bytes()) // processes


def _free_bytes(root: Path) -> int:
    with suppress(OSError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if "MemAvailable" in fields:
            return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _left_in_groups(root: Path) -> Iterator[int]:
    """What is left in each control group that holds the process, and sets a limit."""
    for folder, limit, usage, cached in _groups(root):
        with suppress(OSError, ValueError):  # no limit reads 'max'
            most, used = (int((folder / name).read_text()) for name in (limit, usage))
            statistics = (folder / "memory.stat").read_text().split()
            # Files that have been read stay in memory while nobody else wants it.
            kept = int(statistics[statistics.index(cached) + 1])
            yield max(0, most - used + kept)


def _groups(root: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Folders of the process' control groups up to the topmost, and what their files are called."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        names: tuple[str, str, str]
        if kinds == "":
            top, names = "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            top = "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts), -1, -1):
            yield root.joinpath(top, *parts[:depth]), *names
