"""Many scenes, or one huge one, through a command: spread over workers, and gone on with later."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from comix_cli.errors import ComixError, UsageError
from comix_cli.learning.model_file import read_card
from comix_cli.progress import Progress
from comix_cli.scale.crew import Crew, Failure
from comix_cli.scene.checksum import checksum
from comix_cli.scene.raster import looks_missing
from comix_cli.tools.batch_folder import BatchFolder, SceneOutcome
from comix_cli.tools.batch_jobs import Job, Scene, asked_mark, files_of, may_replace, replaces
from comix_cli.tools.batch_orders import MODEL, Order
from comix_cli.tools.batch_records import Record, is_same, output_states
from comix_cli.tools.batch_run import BatchRun, OnError, SceneRun
from comix_cli.tools.batch_summary import shard_name, write_summaries
from comix_cli.tools.batch_watcher import watching
from comix_cli.tools.classify_job import ClassifyOptions, check_outputs

# With fewer scenes for each worker, some would have nothing to do for long at the end.
SCENES_EACH = 4
# So many models are sent to every worker.
MOST_MODELS = 8


@dataclass(frozen=True)
class BatchOptions:
    """Everything `comix batch` can be told.

    Attributes:
        scenes: What is to be done; all of one command.
        folder: Where records, logs and summaries are kept.
        on_error: Whether a scene that fails ends the batch, or is left out.
        retries: How often what failed is tried again; a mistake in options never is.
        overwrite: Replace files that this batch has not written.
        parts: Into how many parts a scene is cut; None for what suits its size and the workers.
        shard: Number of this share of the scenes, from 1, and how many there are.
        collection: Whether to write a STAC collection of the items of all maps.
        is_rest: Whether the scenes are those that an earlier run has left.
        names_workers: Whether people should hear which worker something failed on.
    """

    scenes: tuple[Scene, ...]
    folder: Path
    on_error: OnError = "skip"
    retries: int = 1
    overwrite: bool = False
    parts: int | None = None
    shard: tuple[int, int] = (1, 1)
    collection: bool = False
    is_rest: bool = False
    names_workers: bool = False

    @property
    def own(self) -> tuple[Scene, ...]:
        """The scenes of the shard."""
        number, count = self.shard
        return self.scenes[number - 1 :: count]


@dataclass(frozen=True)
class Intent:
    """What a run would do with a scene.

    Attributes:
        scene: The scene.
        order: What a worker is told.
        record: What is known from before; None where nothing is.
        todo: Whether there is something to do, as far as can be told without reading all inputs.
    """

    scene: Scene
    order: Order
    record: Record | None = None
    todo: bool = True


def batch(
    options: BatchOptions, crew: Callable[[], AbstractContextManager[Crew]], progress: Progress
) -> list[SceneOutcome]:
    """Do every scene that has not been done yet from the same contents, and sum all of them up.

    Args:
        options: What to do.
        crew: Makes the workers; not called where there is nothing to do.
        progress: Who watches.

    Returns:
        Every scene of the shard, in the order of the table.

    Raises:
        ComixError: The folder cannot be written, or there are no workers.
        UsageError: Two scenes write one file, or one writes what another reads.
    """
    check_apart(options.scenes)
    folder = BatchFolder(options.folder)
    folder.make()
    with folder.claimed(options.shard):
        outcomes = _done(options, folder, crew, progress)
        if options.collection:
            _write_collection(outcomes, options)
    return outcomes


def _done(
    options: BatchOptions,
    folder: BatchFolder,
    crew: Callable[[], AbstractContextManager[Crew]],
    progress: Progress,
) -> list[SceneOutcome]:
    intents = intentions(options, folder)
    runs = {each.scene.id: SceneRun(each.scene, each.order) for each in intents if each.todo}
    try:
        if runs:
            _carry_out(options, list(runs.values()), crew, folder, progress)
    finally:
        names_workers = options.names_workers
        outcomes = [
            _outcome(each, runs.get(each.scene.id), folder, names_workers=names_workers)
            for each in intents
        ]
        write_summaries(outcomes, options.folder, options.shard, is_rest=options.is_rest)
    return outcomes


def _write_collection(outcomes: Sequence[SceneOutcome], options: BatchOptions) -> None:
    """A STAC collection of the items of all maps that are there.

    Raises:
        OutputError: It cannot be written.
    """
    jobs = [each.scene.job for each in outcomes if each.status in ("done", "unchanged")]
    items = [job.outputs.stac for job in jobs if isinstance(job, ClassifyOptions)]
    found = [item for item in items if item is not None and item.is_file()]
    if found:
        # What reads and writes STAC takes half a second, which most batches can do without.
        from comix_cli.tools.stac_collection import write_collection  # noqa: PLC0415

        target = options.folder / shard_name("collection", options.shard, ".json")
        write_collection(found, target, name=options.folder.name)


def intentions(options: BatchOptions, folder: BatchFolder) -> list[Intent]:
    """What is to be done with each scene of the shard; nothing is written."""
    return [_intent(scene, options, folder) for scene in options.own]


def check_apart(scenes: Sequence[Scene]) -> None:
    """Refuse scenes whose results would depend on their order.

    Raises:
        UsageError: Two of them write one file, or one writes what another reads.
    """
    writes: dict[str, Scene] = {}
    for scene in scenes:
        for path in files_of(scene.job)[1]:
            other = writes.setdefault(os.path.realpath(path), scene)
            if other is not scene:
                raise UsageError(
                    f"{scene.where}: {path} is written by {other.where} as well",
                    remedy="give each scene an output of its own",
                )
    for scene in scenes:
        for name in files_of(scene.job)[0]:
            other = writes.get(os.path.realpath(name), scene)
            if other is not scene:
                raise UsageError(
                    f"{scene.where}: reads {name}, which {other.where} writes",
                    remedy="do one after the other, in two batches",
                )


def intended(options: BatchOptions) -> list[dict[str, str]]:
    """What a batch would do with each scene of the shard, without doing it.

    Returns:
        Of each scene its `id`; `what`: `do`, `do again`, `compare` where times have changed and the
        contents decide, or `nothing`; its `output`; and a `problem` that can be seen from here.

    Raises:
        UsageError: As `batch`.
    """
    check_apart(options.scenes)
    found = []
    for each in intentions(options, BatchFolder(options.folder)):
        told = {"id": each.scene.id, "what": _what(each)}
        told["output"] = str(files_of(each.scene.job)[1][0])
        told["problem"] = _foreseen(each.order.job) if each.todo else ""
        found.append(told)
    return found


def _what(intent: Intent) -> str:
    if not intent.todo:
        return "nothing"
    if intent.order.mark:
        return "compare"
    return "do" if intent.record is None or intent.record.status != "done" else "do again"


def _foreseen(job: Job) -> str:
    """What can be seen from here to stand in the way; empty where nothing is."""
    read, written = files_of(job)
    for path in read:
        if looks_missing(path):
            return f"{path}: there is no such file"
    for target in written:
        if target.exists() and not replaces(job):
            return f"{target}: exists already, and --overwrite is not given"
    if isinstance(job, ClassifyOptions):
        try:
            read_card(job.model)
            if job.outputs.map.parent.is_dir():
                check_outputs(job)
        except ComixError as error:
            return error.message
    return ""


def _intent(scene: Scene, options: BatchOptions, folder: BatchFolder) -> Intent:
    job, record = scene.job, folder.record(scene)
    read, written = files_of(job)
    states = output_states(written, options.folder)
    if record is None:
        return Intent(scene, Order(may_replace(job) if options.overwrite else job))
    same = {
        name: name in record.outputs and is_same(name, state, record.outputs[name], options.folder)
        for name, state in states.items()
    }
    # A record that has a mark is of what is there, though a later try may have failed before it
    # was known whether anything had changed.
    intact = bool(record.mark) and all(same.values()) and set(same) == set(record.outputs)
    if intact and record.status == "done" and _is_unchanged(job, record, read):
        return Intent(scene, Order(job), record, todo=False)
    # What an interrupted run was about to write counts as its own; what has been changed since it
    # was written does not.
    ours = all(
        same[name] or (name in record.outputs and record.outputs[name] is None)
        for name, state in states.items()
        if state is not None
    )
    job = may_replace(job) if ours or options.overwrite else job
    return Intent(
        scene, Order(job, known=record.inputs, mark=record.mark if intact else ""), record
    )


def _is_unchanged(job: Job, record: Record, read: Sequence[str]) -> bool:
    same = record.asked == asked_mark(job) and set(record.inputs) == set(read)
    return same and all(known.is_still(path) for path, known in record.inputs.items())


def _carry_out(
    options: BatchOptions,
    runs: list[SceneRun],
    make_crew: Callable[[], AbstractContextManager[Crew]],
    folder: BatchFolder,
    progress: Progress,
) -> None:
    models = _models(runs)
    with (
        watching(runs, folder, progress, names_workers=options.names_workers) as watcher,
        make_crew() as crew,
    ):
        for name, value in models.items():
            crew.give(name, value)
        # Where there are scenes for everybody, halos would be computed for nothing.
        sharers = crew.size if len(runs) < SCENES_EACH * crew.size else 1
        for run in runs:
            exactly = options.parts is not None
            run.order = replace(run.order, parts=options.parts or sharers, exactly=exactly)
        BatchRun(crew, runs, watcher, retries=options.retries, on_error=options.on_error).finish()


def _models(runs: Sequence[SceneRun]) -> dict[str, bytes]:
    """The models of all classifications, by the names that they are given to workers under.

    Of several, one that cannot be read is left to its scenes, which fail and say why.

    Raises:
        ModelFileError: The model of all scenes cannot be read.
    """
    found: dict[str, bytes] = {}
    asked = {run.order.job.model for run in runs if isinstance(run.order.job, ClassifyOptions)}
    if len(asked) == 1:  # a mistake in what all scenes need is told once
        read_card(*asked)
    # Every worker keeps what it is given. Of many models it reads those that it needs.
    names = dict.fromkeys(asked, "") if len(asked) > MOST_MODELS else {}
    for run in runs:
        job = run.order.job
        if not isinstance(job, ClassifyOptions):
            continue
        if job.model not in names:
            names[job.model] = f"{MODEL}{checksum(job.model)}" if job.model.is_file() else ""
            if names[job.model]:
                found[names[job.model]] = job.model.read_bytes()
        run.order = replace(run.order, model=names[job.model])
    return found


def _outcome(
    intent: Intent, run: SceneRun | None, folder: BatchFolder, *, names_workers: bool
) -> SceneOutcome:
    if run is None:
        return SceneOutcome(intent.scene, "unchanged", intent.record)
    if run.ended is None:
        return SceneOutcome(intent.scene, "not begun" if run.begun is None else "interrupted")
    record = folder.record(intent.scene)
    if isinstance(run.ended, Failure):
        by = f"{run.worker}: " if names_workers and run.worker else ""
        return SceneOutcome(intent.scene, "failed", record, f"{by}{run.ended.cause}")
    return SceneOutcome(intent.scene, "unchanged" if run.ended.unchanged else "done", record)
