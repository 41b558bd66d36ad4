"""Every error that comix raises on purpose.

::

    ComixError                 one base class to catch; exit code 1
    ├── UsageError             options that cannot be meant; exit code 2
    ├── InputError             a file that is given cannot be used
    │   ├── RasterError        missing, unreadable, no CRS, wrong bands
    │   ├── GridError          rasters that share no ground
    │   ├── LabelError         ground truth: field, classes, place
    │   └── ModelFileError     not a model, truncated, from a newer comix
    ├── OutputError            exists already, cannot be written, disk full
    ├── TrainingError          training cannot begin or cannot go on
    ├── CrewError              the workers that were to do it cannot be reached
    ├── RunsError              some of several runs failed, the others are done; exit code 3
    └── ThresholdError         a result is worse than what was asked for; exit code 4

An error names the file, what is wrong with it, and what to do about it, in one line.
`commands/app.py` is the one place where it becomes a message and an exit code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


class ComixError(Exception):
    """Base class of all errors that comix raises on purpose.

    Args:
        cause: What is wrong, as a clause without a full stop.
        path: The file that it is wrong with, if there is one.
        remedy: What the user can do, as a clause without a full stop.
    """

    exit_code = 1

    def __init__(
        self, cause: str, *, path: str | Path | None = None, remedy: str | None = None
    ) -> None:
        self.cause = cause
        self.path = None if path is None else str(path)
        self.remedy = remedy
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole error as one line: file, cause, remedy."""
        parts = [self.cause if self.path is None else f"{self.path}: {self.cause}"]
        if self.remedy:
            parts.append(self.remedy)
        return " ".join("; ".join(parts).split())


class UsageError(ComixError):
    """The options contradict each other or cannot be meant."""

    exit_code = 2


class InputError(ComixError):
    """A file that is given cannot be used."""


class RasterError(InputError):
    """A raster is missing, unreadable, without CRS, or has the wrong bands."""


class GridError(InputError):
    """The rasters share no ground, or the grid that is asked for is impossible."""


class LabelError(InputError):
    """The ground truth has no such field, no usable classes, or lies elsewhere."""


class ModelFileError(InputError):
    """The model file is not one of ours, is truncated, or is from a newer comix."""


class OutputError(ComixError):
    """The output exists already, or cannot be written."""


class TrainingError(ComixError):
    """Training cannot begin, or cannot go on."""


class CrewError(ComixError):
    """The workers that were to do the work cannot be reached, or not any more."""


class RunsError(ComixError):
    """Some of several runs failed; the results of the others have been written."""

    exit_code = 3


class ThresholdError(ComixError):
    """A result, which has been written, is worse than what was asked for."""

    exit_code = 4


def as_ranges(numbers: Iterable[int]) -> str:
    """`1-3, 7` for 1, 2, 3 and 7."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ", ".join("-".join(map(str, each)) for each in found)


def counted(number: int, noun: str) -> str:
    """A number of things: `1 band`, `2 bands`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a message, cut where there are too many to read."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def metres(length: float) -> str:
    """A length to three digits and without exponents: `0.35 m`, `28.7 m`, `3300 m`."""
    return f"{float(f'{length:.3g}'):.12g} m"
