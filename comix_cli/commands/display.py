"""What a person sees while a command runs: on stderr, never on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
)
from rich.progress import Task as RichTask
from rich.table import Column, Table
from rich.text import Text

from comix_cli.errors import counted
from comix_cli.progress import Task


def _console(*, stderr: bool) -> Console:
    """Names of classes and files are printed as they are: rich reads no markup in them."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


# Work may come in steps of hours, and its pace is that of all of it.
_PACE_S = 30 * 24 * 3600.0


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, amount: float = 1, *, status: str = "") -> None:
        self._progress.update(self._task, advance=amount, status=status)


class _TimeColumn(ProgressColumn):
    """The time that is left, or that has gone where nobody knows."""

    max_refresh = 0.5

    def render(self, task: RichTask) -> Text:
        """`0:01:20 left`, or `0:01:20` where the end is not known or reached."""
        left = None if task.finished else task.time_remaining
        return Text(_time(task.elapsed or 0) if left is None else f"{_time(left)} left")


class _Lines:
    """Progress where there is no terminal: a line for every tenth of the work."""

    def __init__(self, display: Display, description: str, total: float | None) -> None:
        self._display, self._description, self._total = display, description, total
        self._done = 0.0
        self._tenths = 0
        # Work that is gone on with has much done at its first sign of life: no measure of its pace.
        self._first: tuple[float, float] | None = None

    def advance(self, amount: float = 1, *, status: str = "") -> None:
        self._done += amount
        self._first = self._first or (self._done, time.monotonic())
        tenths = int(10 * self._done / self._total + 1e-9) if self._total else 0
        if tenths > self._tenths:
            self._tenths = tenths
            parts = (f"{self._description}: {10 * tenths} %", status, self._left(self._first))
            self._display.info(" ".join(filter(None, parts)))

    def _left(self, first: tuple[float, float]) -> str:
        done, since = self._done - first[0], time.monotonic() - first[1]
        rest = (self._total or 0) - self._done
        return f"{_time(since * rest / done)} left" if done > 0 and rest > 1e-9 else ""


def _time(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))


class Display:
    """A `Progress` on the terminal.

    Args:
        verbosity: Below 0 errors only, 0 warnings and bars, above 0 information as well.
    """

    def __init__(self, verbosity: int = 0) -> None:
        self._verbosity = verbosity
        self._console = _console(stderr=True)
        self._bars = self._new_bars()
        self._depth = 0

    @contextmanager
    def task(self, description: str, total: float | None) -> Iterator[Task]:
        """A progress bar; without a terminal lines with -v, and with -q nothing.

        Work that is a part of other work has its bar below that of the other.
        """
        if not self._console.is_terminal:
            yield _Lines(self, description, total)
            return
        with self._shown() as bars:
            number = bars.add_task(description, total=total, status="")
            try:
                yield _Bar(bars, number)
            finally:
                if self._depth > 1:
                    bars.remove_task(number)

    @contextmanager
    def _shown(self) -> Iterator[Progress]:
        """The bars of all work under way."""
        if self._depth == 0:
            self._bars = self._new_bars()
            self._bars.start()
        self._depth += 1
        try:
            yield self._bars
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._bars.stop()

    def _new_bars(self) -> Progress:
        return Progress(
            # In a narrow terminal the bar becomes shorter, and no figure is cut.
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _TimeColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[status]}", table_column=Column(no_wrap=True)),
            console=self._console,
            speed_estimate_period=_PACE_S,
            expand=True,
            transient=self._verbosity <= 0,
            disable=self._verbosity < 0,
        )

    def info(self, message: str) -> None:
        """Shown with -v."""
        if self._verbosity > 0:
            self._console.print(message)

    def warn(self, message: str) -> None:
        """Shown unless -q."""
        if self._verbosity >= 0:
            self._console.print(f"Warning: {message}", style="yellow")


def say(message: str) -> None:
    """One line for people on stderr."""
    _console(stderr=True).print(message)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: text columns left, all others right; an empty title is none."""
    table = Table(title=title or None, title_justify="left")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    # Without a terminal rich would cut the table at 80 columns; a pipe has no width.
    width = None if sys.stdout.isatty() else 200
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    with console.capture() as capture:
        console.print(table)
    # click flushes, so that a pipe that is closed early is noticed here and not at exit.
    click.echo(capture.get(), nl=False)


def how_trained(training: Mapping[str, Any]) -> str:
    """How much work a model took, by its own account; what that does not say is 'nan' or '?'."""
    seconds = float(training.get("seconds", "nan"))
    if "samples" in training:
        return f"fitted to {training['samples']} pixels in {seconds:.1f} s"
    first, last = (float(training.get(key, "nan")) for key in ("first_loss", "last_loss"))
    steps = counted(training["steps"], "step") if "steps" in training else "? steps"
    return f"{steps} in {seconds / 60:.1f} min, loss {first:.3f} -> {last:.3f}"


def percent(value: float | None) -> str:
    """A share in [0, 1] as a percentage; a dash where it is undefined."""
    return "-" if value is None else f"{100 * value:.2f}"


def number(value: float | None) -> str:
    """A figure to four digits; a dash where it is undefined."""
    return "-" if value is None else f"{value:.4f}"
