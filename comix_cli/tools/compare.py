"""From accuracy reports to a table of methods, and tests of whether their maps differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from comix_cli.accuracy.bootstrap import Spread
from comix_cli.accuracy.comparison_table import Method, Table, comparison_table, plain_name
from comix_cli.accuracy.mcnemar import McNemar, PairedCounts, difference_spread, mcnemar
from comix_cli.errors import UsageError, counted, listed
from comix_cli.files import check_writable
from comix_cli.progress import Progress
from comix_cli.tools.paired_pixels import paired_counts
from comix_cli.tools.report_file import Report, read_report

# Of the bootstrap behind the intervals, as in `comix evaluate`.
REPLICATES = 1000
SEED = 0
# So many methods are tested each against each, more of them against the first one only.
ALL_PAIRS = 4


@dataclass(frozen=True)
class CompareOptions:
    """Everything `comix compare` can be told.

    Attributes:
        reports: Name and path of each report; reports of one name are runs of one method. Without
            a name a report is a method of its own, called as its file.
        output: The file that the comparison is going to be written to; checked before the work.
        overwrite: Whether it may exist.
    """

    reports: tuple[tuple[str | None, str], ...]
    output: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Contest:
    """Two runs, one of each of two methods.

    Attributes:
        first: Name of one method.
        second: Name of the other one.
        run: Which of their runs these are, from 1.
        reports: The report of the one and that of the other.
    """

    first: str
    second: str
    run: int
    reports: tuple[Report, Report]


@dataclass(frozen=True)
class Tested:
    """A contest, counted and tested.

    Attributes:
        contest: What was compared.
        counts: Pixels by which map is right, by cluster.
        test: McNemar's test.
        spread: How far the difference of overall accuracies, first less second, may be off.
    """

    contest: Contest
    counts: PairedCounts
    test: McNemar
    spread: Spread | None


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        table: The figures of all methods.
        reports: The reports of each method, in the order of its runs.
        tested: The contests that could be counted.
        left_out: The others, and why.
    """

    table: Table
    reports: tuple[tuple[Report, ...], ...]
    tested: tuple[Tested, ...]
    left_out: tuple[tuple[Contest, str], ...]


def compare(options: CompareOptions, progress: Progress) -> Comparison:
    """Put reports side by side, and test on their pixels whether the maps differ.

    Raises:
        InputError: A file is no accuracy report.
        OutputError: The output cannot be written, or is something that the reports are about.
        UsageError: There are fewer than two reports, or one is named twice as a run of a method.
    """
    methods = _methods(options.reports)
    reports = [report for runs in methods.values() for report in runs]
    if options.output is not None:
        inputs = [path for report in reports for path in (report.path, *report.files)]
        check_writable(options.output, overwrite=options.overwrite, inputs=inputs)
    _warn_about_classes(reports, progress)
    contests = list(_contests(methods))
    found = paired_counts([contest.reports for contest in contests], progress)
    outcomes = list(zip(contests, found, strict=True))
    left_out = tuple((c, counts) for c, counts in outcomes if isinstance(counts, str))
    _warn_about_left_out(left_out, progress)
    return Comparison(
        table=comparison_table(
            [Method(name, tuple(r.run for r in runs)) for name, runs in methods.items()]
        ),
        reports=tuple(tuple(runs) for runs in methods.values()),
        tested=tuple(_tested(c, counts) for c, counts in outcomes if not isinstance(counts, str)),
        left_out=left_out,
    )


def _tested(contest: Contest, counts: PairedCounts) -> Tested:
    return Tested(
        contest,
        counts,
        mcnemar(int(counts.only_first.sum()), int(counts.only_second.sum())),
        difference_spread(counts, replicates=REPLICATES, seed=SEED),
    )


def _methods(named: Sequence[tuple[str | None, str]]) -> dict[str, list[Report]]:
    """The reports of each method, in the order in which methods are first named."""
    if len(named) < 2:
        raise UsageError(
            f"{counted(len(named), 'report')} cannot be compared", remedy="give at least two"
        )
    taken = {name for name, _ in named if name is not None}
    paths: dict[str, list[str]] = {}
    for name, path in named:
        own = name or _free_name(Path(path).stem, taken)
        taken.add(own)
        paths.setdefault(own, []).append(path)
    for name, files in paths.items():
        for k, path in enumerate(files):
            if Path(path).resolve() in (Path(other).resolve() for other in files[:k]):
                raise UsageError(
                    f"{name}={path} is given twice", remedy="give each run of a method once"
                )
    return {name: [read_report(path) for path in files] for name, files in paths.items()}


def _free_name(stem: str, taken: set[str]) -> str:
    """The name of a file, numbered where another method is called so."""
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem} ({number})", number + 1
    return name


def _contests(methods: Mapping[str, Sequence[Report]]) -> Iterator[Contest]:
    """Each method against each, or against the first one; runs of the same position."""
    names = list(methods)
    pairs = list(combinations(names, 2))
    for first, second in pairs if len(names) <= ALL_PAIRS else pairs[: len(names) - 1]:
        for run, reports in enumerate(zip(methods[first], methods[second], strict=False), start=1):
            yield Contest(first, second, run, reports)


def _warn_about_classes(reports: Sequence[Report], progress: Progress) -> None:
    """Name the classes that some reports lack: averages over other classes are not alike."""
    names = {plain_name(name): name for report in reports for name in report.run.classes}
    for report in reports:
        own = {plain_name(name) for name in report.run.classes}
        missing = [name for key, name in names.items() if key not in own]
        if missing:
            progress.warn(
                f"{report.path}: has no class {listed(missing)}, which other reports have; "
                "average accuracy and kappa are of other classes there"
            )


def _warn_about_left_out(
    left_out: Sequence[tuple[Contest, str]], progress: Progress, most: int = 3
) -> None:
    """Why maps are not tested, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for contest, reason in left_out:
        pair = f"{contest.first} and {contest.second}"
        by_reason.setdefault(reason, []).append(pair)
    for reason, several in by_reason.items():
        pairs = list(dict.fromkeys(several))
        more = f" and {counted(len(pairs) - most, 'more pair')}" if len(pairs) > most else ""
        progress.warn(f"McNemar's test of {', '.join(pairs[:most])}{more} is left out: {reason}")
