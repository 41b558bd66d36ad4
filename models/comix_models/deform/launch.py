"""Running a compiled C function in several threads at once.

The threads are torch's own: its OpenMP team keeps spinning for some milliseconds after an
operation, and threads of another library would have to share the cores with it. numba's threading
layers are not used at all. One of them aborts the process when two Python threads enter it, and
the other one brings a second OpenMP library, whose team spins against torch's.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Entry = Callable[[int], None]


def run_in_threads(entry: Any, job: int, threads: int) -> None:
    """Run ``entry(job)`` in `threads` threads, without the GIL, and wait for all of them.

    Args:
        entry: A compiled callback as ``numba.cfunc`` makes it, with ``address`` and ``ctypes``.
        job: Address of the job, the only argument.
        threads: How many.
    """
    if threads == 1:
        entry.ctypes(job)
        return
    parallel = openmp_parallel()
    if parallel is not None:
        parallel(entry.address, job, threads, 0)
    else:
        run_in_python_threads(entry.ctypes, job, threads)


def run_in_python_threads(function: Entry, job: int, threads: int) -> None:
    """Run ``function(job)`` in the calling thread and in new ones; `function` drops the GIL."""
    helpers = [threading.Thread(target=function, args=(job,)) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    function(job)
    for helper in helpers:
        helper.join()


@functools.cache
def openmp_parallel() -> Callable[[int, int, int, int], None] | None:
    """Find how torch's own OpenMP library opens a parallel region; None where there is none.

    ``GOMP_parallel(function, data, threads, flags)`` is what GCC compiles ``#pragma omp parallel``
    to. LLVM's and Intel's libraries offer it too on Linux. Looked up through the library that holds
    torch's kernels, the name leads to the one OpenMP library that torch itself is linked with.
    """
    folder = Path(torch.__file__).parent / "lib"
    try:
        function = ctypes.CDLL(str(folder / "libtorch_cpu.so")).GOMP_parallel
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    function.restype = None
    parallel: Callable[[int, int, int, int], None] = function
    return parallel
