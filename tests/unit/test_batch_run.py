"""Scenes go through a crew in a sensible order, and whatever happens to them is dealt with."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest

from comix_cli.scale.crew import Done, Event, Failed, Failure, Said, Started, Task
from comix_cli.scene.parts import cut
from comix_cli.scene.windows import plan_windows
from comix_cli.tools.batch_jobs import EvaluateJob, Scene
from comix_cli.tools.batch_orders import Order, Parts, Result
from comix_cli.tools.batch_run import BatchRun, OnError, SceneRun, Step
from comix_cli.tools.batch_work import do_assembly, do_part, do_scene
from comix_cli.tools.classify_parts import SceneCut
from comix_cli.tools.evaluate import EvaluateOptions
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.reference import TruthOptions

RESULT = Result({}, "mark")
LOST = Failure("the worker was killed", lost=True)
BROKEN = Failure("h.tif: is empty")
MISTAKE = Failure("--window 7: too small", hopeless=True)


class ScriptedCrew:
    """Does one task after the other, and answers what it has been told to."""

    def __init__(self, answers: dict[str, list[Any]], size: int = 1) -> None:
        self.size = size
        self.done: list[str] = []
        self.most = 0
        self._answers = answers
        self._tasks: deque[Task] = deque()
        self._events: deque[Event] = deque()

    def give(self, name: str, value: bytes) -> None:
        raise AssertionError(name, value)

    def submit(self, task: Task) -> None:
        self._tasks.append(task)
        self.most = max(self.most, len(self._tasks))

    def wait(self, seconds: float | None = None) -> Event | None:
        assert seconds is None
        if not self._events:
            self._do(self._tasks.popleft())
        return self._events.popleft()

    def _do(self, task: Task) -> None:
        label = task.key.split("-", 3)[3]
        self.done.append(label)
        answers = self._answers.get(label, [RESULT])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self._events.append(Started(task.key, "w"))
        self._events.append(Said(task.key, "w", ("info", "word")))
        if isinstance(answer, Failure):
            self._events.append(Failed(task.key, "w", answer))
        else:
            self._events.append(Done(task.key, "w", answer))


class Notes:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def submitted(self, run: SceneRun) -> None:
        self.told.append(("submitted", run.scene.id))

    def begun(self, step: Step, worker: str) -> None:
        assert worker == "w"
        self.told.append(("begun", step.label))

    def said(self, step: Step, worker: str, what: Any) -> None:
        assert (worker, what) == ("w", ("info", "word"))
        self.told.append(("said", step.label))

    def over(self, step: Step) -> None:
        self.told.append(("over", step.label))

    def again(self, step: Step, failure: Failure, worker: str) -> None:
        assert worker == "w"
        self.told.append(("again", f"{step.label} ({failure.cause})"))

    def cut(self, run: SceneRun) -> None:
        self.told.append(("cut", run.scene.id))

    def ended(self, run: SceneRun) -> None:
        self.told.append(("ended", run.scene.id))


def runs(*names: str) -> list[SceneRun]:
    options = EvaluateOptions("map.tif", TruthOptions("labels.shp"))
    job = EvaluateJob(options, {"-o": Path("report.json")})
    return [SceneRun(Scene(name, "", job), Order(job)) for name in names]


def finished(
    crew: ScriptedCrew, *names: str, retries: int = 0, on_error: OnError = "skip"
) -> tuple[dict[str, Any], Notes]:
    """What came of each scene; None where nothing did."""
    scenes, notes = runs(*names), Notes()
    BatchRun(crew, scenes, notes, retries=retries, on_error=on_error).finish()
    return {run.scene.id: run.ended for run in scenes}, notes


def in_parts(count: int) -> Parts:
    plan = plan_windows((400, 40), 8, 0)
    parts = cut(plan, count, least=1)
    assert len(parts) == count
    return Parts(SceneCut(plan.shape, len(plan), parts, SceneInputs("h.tif")), Path("parts"), {})


def test_every_scene_is_done_and_told_of() -> None:
    crew = ScriptedCrew({})
    found, notes = finished(crew, "a", "b")
    assert found == {"a": RESULT, "b": RESULT}
    assert [what for what in notes.told if what[1] == "a"] == [
        ("submitted", "a"), ("begun", "a"), ("said", "a"), ("over", "a"), ("ended", "a"),
    ]  # fmt: skip


def test_few_tasks_wait_at_the_crew() -> None:
    crew = ScriptedCrew({}, size=3)
    finished(crew, *map(str, range(50)))
    assert crew.most == 6
    assert len(crew.done) == 50


def test_what_fails_is_tried_again_after_the_others() -> None:
    crew = ScriptedCrew({"a": [LOST, RESULT]})
    found, notes = finished(crew, "a", "b", "c", retries=1)
    assert crew.done == ["a", "b", "c", "a"]
    assert found == {"a": RESULT, "b": RESULT, "c": RESULT}
    assert ("again", "a (the worker was killed)") in notes.told
    assert notes.told.count(("submitted", "a")) == 1


def test_retries_have_an_end_and_a_failure_is_the_scenes_alone() -> None:
    crew = ScriptedCrew({"a": [BROKEN]})
    found, _ = finished(crew, "a", "b", retries=2)
    assert crew.done == ["a", "b", "a", "a"]
    assert found == {"a": BROKEN, "b": RESULT}


def test_a_mistake_in_options_is_not_tried_again() -> None:
    crew = ScriptedCrew({"a": [MISTAKE]})
    found, _ = finished(crew, "a", retries=5)
    assert crew.done == ["a"]
    assert found == {"a": MISTAKE}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_batch_that_stops_begins_nothing_after_a_failure(retries: int) -> None:
    crew = ScriptedCrew({"b": [BROKEN]})
    found, _ = finished(crew, *"abcdefgh", on_error="stop", retries=retries)
    assert crew.done == ["a", *["b"] * (1 + retries)]
    assert found["b"] == BROKEN
    assert all(found[name] is None for name in "cdefgh")


def test_a_batch_that_stops_goes_on_where_a_second_try_succeeds() -> None:
    crew = ScriptedCrew({"b": [LOST, RESULT]}, size=2)
    found, _ = finished(crew, *"abcd", on_error="stop", retries=1)
    assert crew.done == ["a", "b", "c", "b", "d"]  # c was under way
    assert found == dict.fromkeys("abcd", RESULT)


def test_a_map_that_can_never_be_made_of_its_parts_is_given_up() -> None:
    answers: dict[str, list[Any]] = {f"a: part {n} of 2": [8] for n in (1, 2)}
    full = Failure("the disk is full")
    crew = ScriptedCrew({"a": [in_parts(2)], "a: map of its parts": [full], **answers})
    found, _ = finished(crew, "a", retries=2)
    assert found == {"a": full}
    assert crew.done.count("a: map of its parts") == 3


def test_parts_go_before_other_scenes_and_become_one_map() -> None:
    crew = ScriptedCrew({"a": [in_parts(3)], **{f"a: part {n} of 3": [8] for n in (1, 2, 3)}})
    found, notes = finished(crew, *"abcd")
    assert crew.done[0] == "a"
    # What waits at the crew already goes first.
    assert crew.done[1:] == [
        "b", "a: part 1 of 3", "a: part 2 of 3", "a: part 3 of 3", "a: map of its parts", "c", "d",
    ] or crew.done.index("a: map of its parts") < crew.done.index("d")  # fmt: skip
    assert found == dict.fromkeys("abcd", RESULT)
    assert ("cut", "a") in notes.told


def test_a_part_that_fails_is_tried_again_alone() -> None:
    answers: dict[str, list[Any]] = {f"a: part {n} of 3": [8] for n in (1, 3)}
    crew = ScriptedCrew({"a": [in_parts(3)], "a: part 2 of 3": [LOST, 8], **answers})
    found, _ = finished(crew, "a", retries=1)
    assert sorted(crew.done) == sorted(
        ["a", *(f"a: part {n} of 3" for n in (1, 2, 2, 3)), "a: map of its parts"]
    )
    assert found == {"a": RESULT}


def test_a_part_that_fails_for_good_fails_the_scene_once() -> None:
    answers: dict[str, list[Any]] = {f"a: part {n} of 9": [BROKEN] for n in range(1, 10)}
    crew = ScriptedCrew({"a": [in_parts(9)], **answers})
    found, notes = finished(crew, "a", "b")
    assert found == {"a": BROKEN, "b": RESULT}
    assert notes.told.count(("ended", "a")) == 1
    assert len(crew.done) < 6  # parts that nobody needs any more are not begun


def test_where_the_parts_do_not_make_a_map_the_scene_is_cut_again() -> None:
    answers: dict[str, list[Any]] = {f"a: part {n} of 2": [8] for n in (1, 2)}
    damaged = Failure("part 2 is damaged")
    crew = ScriptedCrew({"a": [in_parts(2)], "a: map of its parts": [damaged, RESULT], **answers})
    found, _ = finished(crew, "a", retries=1)
    assert crew.done.count("a") == 2
    assert crew.done.count("a: map of its parts") == 2
    assert found == {"a": RESULT}


def test_the_steps_are_the_functions_that_workers_know() -> None:
    works: list[Any] = []

    class Watching(ScriptedCrew):
        def submit(self, task: Task) -> None:
            works.append(task.work)
            super().submit(task)

    finished(Watching({"a": [in_parts(2)], **{f"a: part {n} of 2": [8] for n in (1, 2)}}), "a")
    assert works == [do_scene, do_part, do_part, do_assembly]
