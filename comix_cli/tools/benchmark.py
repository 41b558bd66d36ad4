"""Methods and seeds on one scene: trained, mapped, evaluated, and put side by side."""

from __future__ import annotations

import importlib
import os
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comix_cli.errors import ComixError, OutputError, UsageError, counted, listed
from comix_cli.files import make_folder
from comix_cli.learning.baselines import KINDS
from comix_cli.learning.label_budget import LabelBudget
from comix_cli.progress import EachOnce, Progress
from comix_cli.scene.checksum import checksum
from comix_cli.scene.grid import Grid
from comix_cli.scene.stack import GridOptions
from comix_cli.tools.benchmark_files import FILES, is_benchmark, write_summary
from comix_cli.tools.benchmark_runs import (
    MODEL,
    Marks,
    Outcome,
    Run,
    carry_out,
    finished_besides,
    finished_record,
    mark,
    marks_in,
)
from comix_cli.tools.inputs import SceneInputs, open_for_training, sharp_hsi_as_asked
from comix_cli.tools.provenance import plain, versions
from comix_cli.tools.reference import TruthOptions, open_reference
from comix_cli.tools.train import TrainOptions
from comix_cli.tools.training_scene import labelled_scene
from comix_cli.tools.validation import AUTO, NONE
from comix_models.deform import warm_up
from comix_models.spec import CoMiXSpec

if TYPE_CHECKING:
    from comix_cli.tools.sharp_hsi import SharpHsi

# Fields of the options of a training that its results do not depend on, or that checksums replace.
_NO_MATTER = ("output", "device", "threads", "overwrite", "resume", "logs")
_LONGEST_NAME = 60


@dataclass(frozen=True)
class BenchmarkMethod:
    """A way to train.

    Attributes:
        name: What it is called in tables.
        training: The options of `comix train`. Its output, its seeds and, in a benchmark of several
            shares, its label budget are replaced.
        hsi_only: Whether it sees the HSI alone, on the grid that the other methods have.
    """

    name: str
    training: TrainOptions
    hsi_only: bool = False

    @property
    def slug(self) -> str:
        """Its name as one of a folder."""
        return re.sub(r"[^\w.]+", "-", self.name.casefold()).strip("-.")


@dataclass(frozen=True)
class BenchmarkOptions:
    """Everything `comix benchmark` can be told.

    Attributes:
        methods: What is compared; all of one scene and one ground truth.
        test: The ground truth that judges. Without a field, the one that the models learn from.
        folder: Where everything is written.
        seeds: Every method is trained once with each.
        fractions: Shares of the labels that train; every method and seed is trained with each.
        overwrite: Replace runs in the folder that were done with other options.
    """

    methods: tuple[BenchmarkMethod, ...]
    test: TruthOptions
    folder: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    fractions: tuple[float, ...] = (1.0,)
    overwrite: bool = False

    @property
    def inputs(self) -> SceneInputs:
        """The scene."""
        return self.methods[0].training.inputs

    @property
    def truth(self) -> TruthOptions:
        """The ground truth that trains."""
        return self.methods[0].training.truth


def benchmark(options: BenchmarkOptions, progress: Progress) -> list[Outcome]:
    """Do every run that has not been done yet, and sum all of them up in the folder.

    A run that fails does not hold up the others. Whenever one is over, the summary is written anew.

    Args:
        options: What to do.
        progress: Who watches.

    Returns:
        Every run, in the order of methods, shares and seeds.

    Raises:
        ComixError: An input cannot be used, or the folder holds runs with other options.
        UsageError: Methods that cannot be told apart, or that cannot be trained; or several
            processes.
    """
    _refuse_several_processes()
    check_methods(options)
    told_once = EachOnce(progress)
    grid = _check_inputs(options, told_once)
    sharp = sharp_hsi_as_asked(options.inputs, told_once)
    runs = list(_planned(options, grid, sharp))
    with _folder_of_runs(options, runs):
        _tell_of_others(options.folder, runs, progress)
        outcomes = [Outcome(run, finished_record(run)) for run in runs]
        missing = [place for place, outcome in enumerate(outcomes) if outcome.record is None]
        if missing and sharp is not None:
            runs = _with_sharp_hsi(options, runs, sharp, told_once)
    write_summary(outcomes, options.folder)
    _warm_up([runs[place] for place in missing])
    # What is finished already would be taken for a measure of the pace.
    with progress.task("benchmark", len(missing)) as task:
        for number, place in enumerate(missing, start=1):
            label = f"{number}/{len(missing)} {runs[place].label}"
            task.advance(0, status=label)
            outcomes[place] = _attempt(runs[place], told_once)
            _tell(outcomes[place], label, progress)
            write_summary(outcomes, options.folder)
            task.advance()
    return outcomes


def _refuse_several_processes() -> None:
    """Refuse to do every run as often as torchrun has started processes.

    Raises:
        UsageError: It has started several.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "a benchmark does its runs in one process, and torchrun has started several",
            remedy="start it without torchrun",
        )


def check_methods(options: BenchmarkOptions) -> None:
    """Refuse methods that cannot be told apart, or that cannot be trained.

    Raises:
        UsageError: They cannot.
    """
    taken: dict[str, str] = {}
    for method in options.methods:
        slug = method.slug
        if not slug or len(slug) > _LONGEST_NAME or slug in FILES:
            raise UsageError(
                f"method '{method.name}': a folder cannot be called so",
                remedy=f"give it a name with letters in it, of at most {_LONGEST_NAME}, that is no "
                "file of a benchmark",
            )
        if slug in taken:
            raise UsageError(
                f"the methods '{taken[slug]}' and '{method.name}' are called alike",
                remedy="give each a name of its own",
            )
        taken[slug] = method.name
        method.training.model.check(() if method.hsi_only else method.training.inputs.x)
        budget = method.training.labels
        if options.fractions != (1.0,) and not budget.is_everything:
            raise UsageError(
                f"method '{method.name}': has a label budget of its own, and --label-fractions "
                "gives one to every method",
                remedy="leave one of them out, here or in [train] of comix.toml",
            )


def _with_sharp_hsi(
    options: BenchmarkOptions, runs: Sequence[Run], sharp: SharpHsi, progress: Progress
) -> list[Run]:
    """The runs on the sharp HSI, which is made where it is not there.

    Raises:
        ComixError: It cannot be made, or nothing could be learnt with it.
    """
    if not sharp.is_there:
        _check_labels(options, progress)
    sharp.make(progress)
    with open_for_training(sharp.scene) as stack:
        grid = stack.grid
    alone = _hsi_alone(sharp.scene, grid)
    return [
        replace(
            run,
            training=replace(run.training, inputs=sharp.scene if run.training.inputs.x else alone),
        )
        for run in runs
    ]


def _check_labels(options: BenchmarkOptions, progress: Progress) -> None:
    """Count labels with the HSI as it is: a mistake should not wait for a sharp one.

    Raises:
        LabelError: There are no two classes to learn.
    """
    with (
        open_for_training(options.inputs) as stack,
        open_reference(options.truth, stack.grid, progress) as truth,
    ):
        labelled_scene(stack, options.truth, truth, progress, to_learn=False)


def _check_inputs(options: BenchmarkOptions, progress: Progress) -> Grid:
    """Look at everything that is read, before anything is trained; the grid of the scene.

    Raises:
        ComixError: Something cannot be used.
    """
    with open_for_training(options.inputs) as stack:
        with open_reference(options.truth, stack.grid, progress) as truth:
            field = truth.field
        with open_reference(options.test, stack.grid, progress, field=field):
            return stack.grid


def _planned(options: BenchmarkOptions, grid: Grid, sharp: SharpHsi | None) -> Iterator[Run]:
    """Every run with the HSI as it is; its marks speak of the sharp one where one is asked for."""
    known = {} if sharp is None else {sharp.given.hsi: sharp.mark}
    sums = cache(lambda path: known.get(path) or checksum(path) or path)
    test = {**plain(options.test), "path": sums(options.test.path)}
    for method in options.methods:
        for fraction in options.fractions:
            for seed in options.seeds:
                folder = _folder(options.folder / method.slug, fraction, seed)
                training = _training(method, fraction, seed, folder, grid)
                training = replace(training, overwrite=options.overwrite)
                made = mark(versions()["comix"], _what_matters(training, grid, sums))
                marks = Marks(made, mark(test))
                yield Run(method.name, fraction, seed, folder, training, options.test, marks)


def _folder(folder: Path, fraction: float, seed: int) -> Path:
    share = folder if fraction == 1 else folder / f"labels-{fraction!r}"
    return share / f"seed-{seed}"


def _training(
    method: BenchmarkMethod, fraction: float, seed: int, folder: Path, grid: Grid
) -> TrainOptions:
    options = method.training
    return replace(
        options,
        inputs=_hsi_alone(options.inputs, grid) if method.hsi_only else options.inputs,
        output=folder / MODEL,
        recipe=replace(options.recipe, seed=seed),
        pixel_recipe=replace(options.pixel_recipe, seed=seed),
        labels=options.labels if fraction == 1 else LabelBudget(fraction),
        logs=None,
    )


def _hsi_alone(inputs: SceneInputs, grid: Grid) -> SceneInputs:
    """The HSI on the grid of all inputs: a map of other pixels could not be compared."""
    return replace(
        inputs,
        x=(),
        x_names=(),
        dtm=None,
        resampling={k: v for k, v in inputs.resampling.items() if k == "hsi"},
        grid=GridOptions(resolution=grid.resolution, dst_crs=grid.crs.to_wkt(), bounds=grid.bounds),
    )


def _what_matters(training: TrainOptions, grid: Grid, sums: Callable[[str], str]) -> dict[str, Any]:
    """All that the model depends on: checksums for paths, the grid for what it is made from."""
    told: dict[str, Any] = plain(training)
    for name in _NO_MATTER:
        del told[name]
    inputs = told["inputs"]
    inputs["grid"] = [grid.crs.to_wkt(), *grid.transform[:6], *grid.shape]
    inputs["hsi"], inputs["x"] = sums(inputs["hsi"]), [sums(path) for path in inputs["x"]]
    del inputs["sharpened_from"]
    if inputs["dtm"] is not None:
        inputs["dtm"] = sums(inputs["dtm"])
    told["truth"]["path"] = sums(told["truth"]["path"])
    if told["validation"] not in (AUTO, NONE):
        told["validation"] = sums(told["validation"])
    return told


@contextmanager
def _folder_of_runs(options: BenchmarkOptions, runs: Sequence[Run]) -> Iterator[None]:
    """The folder, checked; a new one goes again where the block fails.

    Raises:
        OutputError: The folder is in use, or cannot be made.
    """
    is_new = not options.folder.exists()
    try:
        _check_folder(options, runs)
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):
                options.folder.rmdir()
        raise


def _check_folder(options: BenchmarkOptions, runs: Sequence[Run]) -> None:
    """Refuse to mix runs with those of another benchmark, or with files that are none of ours.

    Raises:
        OutputError: The folder is in use, or cannot be made.
    """
    make_folder(options.folder)
    if any(options.folder.iterdir()) and not is_benchmark(options.folder):
        raise OutputError(
            "holds files, and none of a benchmark", path=options.folder, remedy="name a new folder"
        )
    if options.overwrite:
        return
    others = [run for run in runs if not _is_own(run)]
    if others:
        raise OutputError(
            f"{counted(len(others), 'run')} of {listed(sorted({run.method for run in others}))} "
            "had other inputs or options, or another version of comix",
            path=options.folder,
            remedy="give --overwrite to replace them, or name another folder",
        )


def _is_own(run: Run) -> bool:
    """Whether what is in the folder of a run, if anything, is of this very run."""
    made, judged = marks_in(run.folder)
    return made in (None, run.marks.made) and judged in (None, run.marks.judged)


def _tell_of_others(folder: Path, runs: Sequence[Run], progress: Progress) -> None:
    """Say what the summary of these runs replaces without containing it."""
    others = finished_besides(folder, runs)
    if others:
        progress.warn(
            f"{folder}: the table leaves out {counted(len(others), 'finished run')} of "
            f"{listed(sorted(set(others)))} that this command does not ask for; one command with "
            "all methods, seeds and shares puts them side by side"
        )


def _warm_up(runs: Sequence[Run]) -> None:
    """Compile and import now what only the first of the runs would wait for."""
    models = {run.training.model.model for run in runs}
    if CoMiXSpec.model in models:
        warm_up()
    if models & {*KINDS}:
        for module in ("sklearn.ensemble", "sklearn.svm"):
            importlib.import_module(module)


def _attempt(run: Run, progress: Progress) -> Outcome:
    """Do a run; whatever stops it is no reason to give up the others."""
    try:
        return Outcome(run, carry_out(run, progress))
    except ComixError as error:
        return Outcome(run, error=error.message)
    except Exception as error:
        progress.info(traceback.format_exc())
        said = " ".join(f"unexpected {type(error).__name__}: {error}".split())
        return Outcome(run, error=said)


def _tell(outcome: Outcome, label: str, progress: Progress) -> None:
    if outcome.record is None:
        progress.warn(f"{label} failed: {outcome.error}")
        return
    found = outcome.record.figures["overall_accuracy"]
    share = "undefined" if found is None else f"{100 * found:.2f} %"
    progress.info(f"{label}: overall accuracy {share}")
