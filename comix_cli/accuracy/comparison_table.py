"""Accuracies of several methods side by side: a row for each figure, a column for each method.

The layout is that of comparisons in papers: producer's accuracy of every class, then overall
accuracy (OA), average accuracy (AA) and kappa; mean and standard deviation where a method has
several runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

PRODUCERS = "producers_accuracy"
OVERALL = ("overall_accuracy", "average_accuracy", "kappa")
MEAN_F1 = "mean_f1"
# Figures are compared as they are printed, in percent.
DECIMALS = 2


@dataclass(frozen=True)
class Run:
    """The figures of one run of a method, 0..1 (kappa -1..1); None where undefined.

    Attributes:
        classes: Producer's accuracy by class name, in the classes' order.
        overall_accuracy: Share of the pixels that are right.
        average_accuracy: Mean producer's accuracy.
        kappa: Cohen's kappa.
        pixels: Pixels that were compared.
        mean_f1: Mean F1 of the classes.
    """

    classes: Mapping[str, float | None]
    overall_accuracy: float | None
    average_accuracy: float | None
    kappa: float | None
    pixels: int
    mean_f1: float | None = None

    def figure_of(self, key: str) -> float | None:
        """The producer's accuracy of the class whose plain name is `key`; None without one."""
        return next((v for name, v in self.classes.items() if plain_name(name) == key), None)


def plain_name(name: str) -> str:
    """A class name without regard to case and to spaces around and in it."""
    return " ".join(name.split()).casefold()


@dataclass(frozen=True)
class Method:
    """A method and its runs; without any it is a column of empty cells."""

    name: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Cell:
    """A figure of a method over those of its runs in which it is defined.

    Attributes:
        mean: Their mean.
        deviation: Their standard deviation with `n - 1`; None of one run.
        runs: How many they are.
    """

    mean: float
    deviation: float | None
    runs: int

    @property
    def percent(self) -> str:
        """The mean, x 100, as tables print it."""
        return f"{100 * self.mean:.{DECIMALS}f}"

    @property
    def deviation_percent(self) -> str:
        """The standard deviation, x 100, as tables print it; empty where there is none."""
        return "" if self.deviation is None else f"{100 * self.deviation:.{DECIMALS}f}"


@dataclass(frozen=True)
class Row:
    """One figure of all methods.

    Attributes:
        measure: `producers_accuracy`, one of `OVERALL`, or `mean_f1`.
        class_name: The class of a producer's accuracy, else None.
        cells: One for each method; None where no run of it has the figure.
    """

    measure: str
    class_name: str | None
    cells: tuple[Cell | None, ...]

    @property
    def best(self) -> tuple[bool, ...]:
        """Which methods have the highest mean as printed; none where only one has the figure."""
        means = [None if cell is None else float(cell.percent) for cell in self.cells]
        known = [mean for mean in means if mean is not None]
        return tuple(len(known) > 1 and mean == max(known) for mean in means)


@dataclass(frozen=True)
class Table:
    """Rows in the order of a paper's table, columns in the order of the methods."""

    methods: tuple[Method, ...]
    rows: tuple[Row, ...]

    @property
    def pixels(self) -> tuple[int, int]:
        """The fewest and the most pixels that a run was compared on."""
        counts = [run.pixels for method in self.methods for run in method.runs]
        return min(counts), max(counts)


def comparison_table(methods: Sequence[Method], measures: Sequence[str] = OVERALL) -> Table:
    """Put methods side by side, with the classes in the order of their appearance.

    Classes are matched by name, without regard to case and spaces, as evaluation does.

    Args:
        methods: The columns.
        measures: Figures of all classes, which follow those of each class.

    Raises:
        ValueError: There is no run at all.
    """
    if not any(method.runs for method in methods):
        raise ValueError("a table needs a run")
    names: dict[str, str] = {}
    for name in (name for m in methods for run in m.runs for name in run.classes):
        names.setdefault(plain_name(name), name)
    classes = [
        Row(
            PRODUCERS,
            name,
            tuple(cell_of([run.figure_of(key) for run in m.runs]) for m in methods),
        )
        for key, name in names.items()
    ]
    overall = [
        Row(
            measure,
            None,
            tuple(cell_of([getattr(run, measure) for run in m.runs]) for m in methods),
        )
        for measure in measures
    ]
    return Table(tuple(methods), (*classes, *overall))


def cell_of(values: Sequence[float | None]) -> Cell | None:
    """Mean and deviation of those values that are defined; None where none is."""
    defined = [value for value in values if value is not None]
    if not defined:
        return None
    return Cell(fmean(defined), stdev(defined) if len(defined) > 1 else None, len(defined))
