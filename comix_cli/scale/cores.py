"""How many CPU cores this process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that the process may run on; limits of containers and batch systems count.

    Args:
        root: Where `sys` is.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota(root, cores)))


def _quota(root: Path, cores: int) -> int:
    """Cores' worth of time that the control group may use, of both versions of control groups."""
    group = root / "sys/fs/cgroup"
    with suppress(OSError, ValueError):  # no limit reads 'max'
        time, period = map(int, (group / "cpu.max").read_text().split())
        return time // period
    with suppress(OSError, ValueError, ZeroDivisionError):
        time = int((group / "cpu/cpu.cfs_quota_us").read_text())
        if time > 0:
            return time // int((group / "cpu/cpu.cfs_period_us").read_text())
    return cores
