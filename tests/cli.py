"""Run the command line inside a test, in a folder, and look at what it says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from comix_cli.commands.app import main_group


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that an error has to be."""
        lines = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


def comix(folder: Path, *arguments: str | Path) -> Outcome:
    """Run `comix ARGUMENTS` in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = CliRunner().invoke(main_group, [str(argument) for argument in arguments])
    finally:
        os.chdir(before)
    return Outcome(result.exit_code, result.stdout, result.stderr)


def files(folder: Path) -> set[str]:
    """Every file and folder below a folder, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@contextmanager
def running(folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A real process in a folder, with its output at hand; it never outlives this."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
