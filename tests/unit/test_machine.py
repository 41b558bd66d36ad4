"""Memory that is left, as files of the system tell it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from comix_cli.tools.machine import available_bytes

GB = 1 << 30


def machine(folder: Path, groups: str) -> Path:
    """A root folder of a machine with 16 GB free."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable: {16 * GB // 1024} kB\n")
    (folder / "proc/self/cgroup").write_text(groups)
    return folder


def group(folder: Path, most: str, used: int, files: int, *, old: bool = False) -> None:
    """A control group with a limit, a use, and files kept in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    limit, usage = ("limit_in_bytes", "usage_in_bytes") if old else ("max", "current")
    (folder / f"memory.{limit}").write_text(f"{most}\n")
    (folder / f"memory.{usage}").write_text(f"{used}\n")
    name = "total_inactive_file" if old else "inactive_file"
    (folder / "memory.stat").write_text(f"anon 5\n{name} {files}\nslab 7\n")


def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n")
    assert available_bytes(root) == 16 * GB
    group(root / "sys/fs/cgroup", "max", GB, 0)
    assert available_bytes(root) == 16 * GB


def test_files_kept_in_memory_are_no_use_of_it(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n")
    group(root / "sys/fs/cgroup", str(8 * GB), 8 * GB - 4096, 5 * GB)
    assert available_bytes(root) == 5 * GB + 4096


def test_the_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/batch/job_7\n")
    group(root / "sys/fs/cgroup/batch", str(12 * GB), 2 * GB, 0)
    group(root / "sys/fs/cgroup/batch/job_7", str(4 * GB), GB, 0)
    assert available_bytes(root) == 3 * GB


def test_older_groups_are_known_too(tmp_path: Path) -> None:
    root = machine(tmp_path, "5:cpu,cpuacct:/x\n4:memory:/job\n")
    group(root / "sys/fs/cgroup/memory/job", str(2 * GB), GB, 0, old=True)
    assert available_bytes(root) == GB


HOLDING = """
import resource
import numpy as np
from comix_cli.tools.machine import resident_bytes, return_large_blocks
return_large_blocks()
before = resident_bytes()
block = np.ones(100_000_000, np.uint8)
assert resident_bytes() - before > 90_000_000
del block
assert resident_bytes() - before < 50_000_000
assert resident_bytes() <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 1
"""


def test_the_process_holds_about_what_it_takes() -> None:
    # In a process of its own: this one may hold blocks that earlier tests have given back to it.
    subprocess.run([sys.executable, "-c", HOLDING], check=True)
