"""Dask schedulers and workers as processes of their own, which tests may kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import crew_work

QUIET = {"DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "False"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Dask:
    """Starts processes in a folder, and ends those that are left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._running: list[subprocess.Popen[str]] = []

    def scheduler(self, *options: str) -> subprocess.Popen[str]:
        return self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port), *options
        )

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def worker(
        self, *options: str, to: tuple[str, ...] | None = None, path: Path | None = None
    ) -> subprocess.Popen[str]:
        where = (self.address,) if to is None else to
        return self._start("dask_worker", *where, "--no-nanny", *options, path=path)

    def _start(self, tool: str, *options: str, path: Path | None = None) -> subprocess.Popen[str]:
        environment = crew_work.environment() | QUIET
        if path is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(path), environment["PYTHONPATH"]])
        with (self.folder / f"{tool}-{len(self._running)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{tool}", "--no-dashboard", *options],
                env=environment,
                cwd=self.folder,
                text=True,
                stdout=log,
                stderr=log,
            )
        self._running.append(process)
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def logs(self) -> str:
        return "\n".join(p.read_text() for p in sorted(self.folder.glob("*.log")))


@contextmanager
def dask(folder: Path) -> Iterator[Dask]:
    processes = Dask(folder)
    try:
        yield processes
    finally:
        for process in processes._running:
            if process.poll() is None:
                processes.kill(process)
