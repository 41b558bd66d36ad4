"""Who watches a batch: bars for people, a log and a record for each scene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from comix_cli.progress import Progress, Task
from comix_cli.scale.crew import Failure
from comix_cli.tools.batch_folder import BatchFolder
from comix_cli.tools.batch_jobs import asked_mark, command_of, files_of, may_replace, replaces
from comix_cli.tools.batch_orders import Result
from comix_cli.tools.batch_records import Record, output_states, with_checksums
from comix_cli.tools.batch_run import SceneRun, Step
from comix_cli.tools.batch_words import ADVANCE, ANEW, BEGIN, END, INFO, WARN
from comix_cli.tools.provenance import timestamp


@contextmanager
def watching(
    runs: Sequence[SceneRun], folder: BatchFolder, progress: Progress, *, names_workers: bool
) -> Iterator[BatchWatcher]:
    """What watches while scenes are done; its bars are there until the end of the block."""
    with progress.task("scenes", len(runs)) as task, ExitStack() as bars:
        watcher = BatchWatcher(folder, progress, task, names_workers=names_workers)
        bars.callback(watcher.close)
        yield watcher


class BatchWatcher:
    """Shows what happens, and writes it down.

    Args:
        folder: Where records and logs are.
        progress: Who watches.
        task: The bar of all scenes.
        names_workers: Whether people hear which worker it was.
    """

    def __init__(
        self, folder: BatchFolder, progress: Progress, task: Task, *, names_workers: bool
    ) -> None:
        self._folder, self._progress, self._task = folder, progress, task
        self._names_workers = names_workers
        self._bars: dict[Step, tuple[ExitStack, Task]] = {}
        self._counts: Counter[str] = Counter()

    def close(self) -> None:
        """Take away the bars of steps that never came to an end."""
        for step in list(self._bars):
            self._end_bar(step)

    def submitted(self, run: SceneRun) -> None:
        """Note that the scene is begun; what may be as it was keeps its record until it is not."""
        if not run.order.mark:
            self._note_begun(run)

    def _note_begun(self, run: SceneRun) -> None:
        """Note that what is written from now on is this batch's own."""
        job = run.order.job
        states = output_states(files_of(job)[1], self._folder.path)
        # What may not be replaced is somebody else's, and does not become ours by being tried.
        own = replaces(job) or not any(states.values())
        known = self._folder.record(run.scene)
        record = Record(
            "begun",
            asked_mark(job),
            inputs={} if known is None else known.inputs,
            outputs=dict.fromkeys(states) if own else {},
            date=timestamp(),
        )
        self._folder.note(run.scene, record)
        if own:  # a second try finds what the first has written
            run.order = replace(run.order, job=may_replace(job), mark="")

    def begun(self, step: Step, worker: str) -> None:
        """Log it."""
        is_whole = step.label == step.run.scene.id
        self._log(
            step, worker, f"{command_of(step.run.order.job)} begins" if is_whole else "begins"
        )
        if self._names_workers:
            self._progress.info(f"{step.label} begins on {worker}")

    def said(self, step: Step, worker: str, what: Any) -> None:
        """Move the bar of a step, or log what it says."""
        kind, *told = what
        if kind == BEGIN:
            self._begin_bar(step, *told)
        elif kind == ADVANCE and step in self._bars:
            amount, status = told
            self._bars[step][1].advance(amount, status=status)
        elif kind == END:
            self._end_bar(step)
        elif kind == ANEW:
            self._note_begun(step.run)
        elif kind in (INFO, WARN):
            (text,) = told
            step.run.warnings += kind == WARN
            self._log(step, worker, f"Warning: {text}" if kind == WARN else text)
            self._progress.info(f"{step.label}: {text}")

    def over(self, step: Step) -> None:
        """Take the bar of a step away."""
        self._end_bar(step)

    def again(self, step: Step, failure: Failure, worker: str) -> None:
        """Tell of what failed and is tried again."""
        self._log(step, worker, f"{failure.cause}; it will be tried again", failure.trace)
        self._progress.info(f"{step.label}: {self._by(worker)}{failure.cause}; it is tried again")

    def cut(self, run: SceneRun) -> None:
        """Log how many parts there are."""
        count = 0 if run.parts is None else len(run.parts.cut.parts)
        self._folder.log(run.scene.id, run.worker, [f"is done in {count} parts"])

    def ended(self, run: SceneRun) -> None:
        """Keep what came of a scene."""
        if isinstance(run.ended, Failure):
            self._failed(run, run.ended)
        elif run.ended is not None:
            self._done(run, run.ended)
        self._counts["failed" if isinstance(run.ended, Failure) else "done"] += 1
        failed = self._counts["failed"]
        self._task.advance(1, status=f"{failed} failed" if failed else "")

    def _done(self, run: SceneRun, result: Result) -> None:
        job, before = run.order.job, self._folder.record(run.scene)
        states = output_states(files_of(job)[1], self._folder.path)
        if result.unchanged and before is not None:
            record = replace(
                before,
                status="done",
                asked=asked_mark(job),
                inputs=result.inputs,
                outputs=with_checksums(states, self._folder.path),
                error="",
            )
        else:
            record = Record(
                "done",
                asked_mark(job),
                result.mark,
                result.inputs,
                with_checksums(states, self._folder.path),
                result.figures,
                run.worker,
                round(run.seconds, 3),
                run.warnings,
                date=timestamp(),
            )
        self._folder.note(run.scene, record)
        ends = "is as it was" if result.unchanged else f"done in {run.seconds:.1f} s"
        self._folder.log(run.scene.id, run.worker, [ends])
        self._progress.info(f"{run.scene.id}: {ends}")

    def _failed(self, run: SceneRun, failure: Failure) -> None:
        name = run.scene.id
        known = self._folder.record(run.scene) or Record("failed", asked_mark(run.order.job))
        states = output_states(files_of(run.order.job)[1], self._folder.path)
        # What is not there now and comes later is somebody else's.
        there = {path: state for path, state in states.items() if state and path in known.outputs}
        owned = with_checksums(there, self._folder.path)
        record = replace(
            known,
            status="failed",
            outputs=known.outputs if known.mark else owned,
            worker=run.worker,
            seconds=round(run.seconds, 3),
            warnings=run.warnings,
            error=failure.cause,
            date=timestamp(),
        )
        self._folder.note(run.scene, record)
        self._folder.log(name, run.worker, [f"Error: {failure.cause}", *failure.trace.splitlines()])
        self._progress.warn(f"{name} failed: {self._by(run.worker)}{failure.cause}")

    def _by(self, worker: str) -> str:
        return f"{worker}: " if worker and self._names_workers else ""

    def _log(self, step: Step, worker: str, *texts: str) -> None:
        lines = [line for text in texts for line in text.splitlines()]
        if step.label != step.run.scene.id:
            lines = [f"[{step.label.partition(': ')[2]}] {line}" for line in lines]
        self._folder.log(step.run.scene.id, worker, lines)

    def _begin_bar(self, step: Step, description: str, total: float | None) -> None:
        self._end_bar(step)
        bar = ExitStack()
        task = bar.enter_context(self._progress.task(f"{step.label}: {description}", total))
        self._bars[step] = bar, task

    def _end_bar(self, step: Step) -> None:
        bar, _ = self._bars.pop(step, (None, None))
        if bar is not None:
            bar.close()
