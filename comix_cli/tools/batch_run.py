"""Scenes on their way through a crew: what is begun next, and what becomes of what is over."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from comix_cli.errors import CrewError, counted
from comix_cli.scale.crew import Crew, Done, Event, Failed, Failure, Said, Started, Task
from comix_cli.tools.batch_jobs import Scene
from comix_cli.tools.batch_orders import Order, Parts, Result
from comix_cli.tools.batch_work import do_assembly, do_part, do_scene

# Tasks that wait at a crew, for each that is being done: nobody idles while the next is sent.
_AHEAD = 2

OnError = Literal["skip", "stop"]


@dataclass(eq=False)
class SceneRun:
    """A scene under way.

    Attributes:
        scene: The scene.
        order: What a worker is told.
        parts: How it has been cut; None where it has not.
        missing: Parts that are not done yet.
        begun: When a worker began, by `time.monotonic`; None where none has.
        worker: Who did something for it last.
        warnings: How often it was warned of something.
        tries: How often it has been tried again as a whole.
        submitted: Whether it has been given to the crew.
        ended: What came of it.
    """

    scene: Scene
    order: Order
    parts: Parts | None = None
    missing: int = 0
    begun: float | None = None
    worker: str = ""
    warnings: int = 0
    tries: int = 0
    submitted: bool = False
    ended: Result | Failure | None = None

    @property
    def seconds(self) -> float:
        """Since a worker began with it."""
        return 0.0 if self.begun is None else time.monotonic() - self.begun


@dataclass(frozen=True)
class Step:
    """A task of a scene.

    Attributes:
        run: The scene.
        label: What people call it: the id of the scene, and which part.
        work: What is done.
        arguments: With what, besides the order of the scene.
        tries: How often it has been tried again, where it is a part.
    """

    run: SceneRun = field(compare=False)
    label: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = field(default=(), compare=False)
    tries: int = 0


class Watcher(Protocol):
    """Who is told what happens."""

    def submitted(self, run: SceneRun) -> None:
        """The first step of a scene is about to be given to the crew."""

    def begun(self, step: Step, worker: str) -> None:
        """A worker has begun a step."""

    def said(self, step: Step, worker: str, what: Any) -> None:
        """A step has told something."""

    def over(self, step: Step) -> None:
        """A step is over, be it well or not."""

    def again(self, step: Step, failure: Failure, worker: str) -> None:
        """A step has failed, and is going to be tried again."""

    def cut(self, run: SceneRun) -> None:
        """A scene is going to be done in parts."""

    def ended(self, run: SceneRun) -> None:
        """A scene is over."""


class BatchRun:
    """Gives the steps of scenes to a crew, a few ahead, until all are over.

    Args:
        crew: Who does them.
        scenes: What is to be done.
        watcher: Who is told.
        retries: How often a step that failed is tried again, after all others.
        on_error: Whether a scene that has failed ends the batch: what is under way comes to its end
            then, and nothing else is begun.
    """

    def __init__(
        self,
        crew: Crew,
        scenes: list[SceneRun],
        watcher: Watcher,
        *,
        retries: int,
        on_error: OnError,
    ) -> None:
        self._crew, self._watcher = crew, watcher
        self._retries, self._on_error = retries, on_error
        self._waiting = deque(_whole(run) for run in scenes)
        self._under_way: dict[str, Step] = {}
        # Two batches may share a scheduler.
        self._token = secrets.token_hex(4)
        self._number = 0
        # Where a failure stops all: the scene that is tried once more.
        self._in_doubt: SceneRun | None = None

    def finish(self) -> None:
        """Until every scene is over, or nothing more is to be begun.

        Raises:
            CrewError: There are no workers any more.
        """
        self._submit()
        while self._under_way:
            event = self._crew.wait()
            if event is None:  # the crew has nothing under way: to wait on would be for ever
                lost = counted(len(self._under_way), "task")
                raise CrewError(f"the workers have lost {lost}", remedy="give the command again")
            self._take(event)
            self._submit()

    def _submit(self) -> None:
        # What waits at the crew already could not be held back where a failure is to stop it all.
        ahead = _AHEAD if self._on_error == "skip" else 1
        while self._waiting and len(self._under_way) < ahead * self._crew.size:
            if self._in_doubt not in (None, self._waiting[0].run):
                return
            step = self._waiting.popleft()
            if step.run.ended is not None:
                continue
            if not step.run.submitted:
                step.run.submitted = True
                self._watcher.submitted(step.run)
            self._number += 1
            key = f"comix-{self._token}-{self._number}-{step.label}"
            self._under_way[key] = step
            self._crew.submit(Task(key, step.work, (step.run.order, *step.arguments)))

    def _take(self, event: Event) -> None:
        step = self._under_way.get(event.key)
        if step is None:  # it has been told late
            return
        if isinstance(event, Started):
            self._begin(step, event.worker)
        elif isinstance(event, Said):
            self._watcher.said(step, event.worker, event.what)
        else:
            del self._under_way[event.key]
            self._watcher.over(step)
            if isinstance(event, Done):
                step.run.worker = event.worker
                self._go_on(step, event.value)
            else:
                self._fail(step, event)

    def _begin(self, step: Step, worker: str) -> None:
        run = step.run
        if run.begun is None:
            run.begun, run.worker = time.monotonic(), worker
        self._watcher.begun(step, worker)

    def _go_on(self, step: Step, value: Any) -> None:
        run = step.run
        if isinstance(value, Result):
            self._end(run, value)
        elif isinstance(value, Parts):
            run.parts, run.missing = value, len(value.cut.parts)
            self._watcher.cut(run)
            # Before the other scenes: of a large one that waits, most would be left at the end.
            self._waiting.extendleft(reversed(_steps_of_parts(run, value)))
        elif run.parts is not None:
            run.missing -= 1
            if run.missing == 0:
                label = f"{run.scene.id}: map of its parts"
                self._waiting.appendleft(Step(run, label, do_assembly, (run.parts,)))

    def _fail(self, step: Step, event: Failed) -> None:
        failure, run = event.failure, step.run
        if run.ended is not None:
            return
        is_part = step.work is do_part
        tries = step.tries if is_part else run.tries
        if failure.hopeless or tries >= self._retries:
            run.worker = event.worker or run.worker
            self._end(run, failure)
            return
        self._watcher.again(step, failure, event.worker)
        if is_part:  # before other scenes, for the same reason as above
            self._waiting.appendleft(replace(step, tries=tries + 1))
            return
        # Parts that are damaged have been taken away: the scene is cut again, and lacks only those.
        run.tries, run.parts = tries + 1, None
        if self._on_error == "stop":  # no other scene is begun until it is known what comes of it
            self._in_doubt = run
            self._waiting.appendleft(_whole(run))
        else:
            self._waiting.append(_whole(run))

    def _end(self, run: SceneRun, ended: Result | Failure) -> None:
        run.ended = ended
        self._in_doubt = None if self._in_doubt is run else self._in_doubt
        self._watcher.ended(run)
        if isinstance(ended, Failure) and self._on_error == "stop":
            self._waiting.clear()


def _whole(run: SceneRun) -> Step:
    return Step(run, run.scene.id, do_scene)


def _steps_of_parts(run: SceneRun, parts: Parts) -> list[Step]:
    inputs, count = parts.cut.inputs, len(parts.cut.parts)
    steps = []
    for number, part in enumerate(parts.cut.parts, start=1):
        label = f"{run.scene.id}: part {number} of {count}"
        steps.append(Step(run, label, do_part, (inputs, part, parts.folder, parts.signatures)))
    return steps
