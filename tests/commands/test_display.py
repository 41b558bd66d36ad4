"""What a person sees while a command runs."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from cli import comix
from rich.console import Console

from comix_cli.accuracy.estimate import by_map_class
from comix_cli.accuracy.report import AreaWeighted, Clustered, report_document
from comix_cli.commands import display
from comix_cli.commands.display import Display, number, percent
from comix_cli.commands.show_report import print_report


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the display sees; the last entry is now."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[-1])
    return now


def test_without_a_terminal_there_is_a_line_for_every_tenth_and_only_with_v(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    for verbosity in (0, 1):
        with Display(verbosity).task("training", 40) as task:
            for _ in range(40):
                clock.append(clock[-1] + 60)
                task.advance(status="loss 0.500")
    lines = capsys.readouterr().err.splitlines()
    left = [f"training: {t}0 % loss 0.500 {timedelta(minutes=40 - 4 * t)} left" for t in range(10)]
    assert lines == [*left[1:], "training: 100 % loss 0.500"]


def test_the_time_left_is_not_told_from_what_an_earlier_run_has_done(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with Display(1).task("training", 100) as task:
        task.advance(50)  # the steps before the break
        for _ in range(25):
            clock.append(clock[-1] + 2)
            task.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "training: 50 %", "training: 60 % 0:01:20 left", "training: 70 % 0:01:00 left"
    ]  # fmt: skip


def test_a_terminal_of_80_columns_shows_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = StringIO()
    console = Console(file=seen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(display, "_console", lambda **_: console)
    status = "loss 0.402 12.3 chips/s validation 91.0 %"
    with Display(1).task("training", 400) as task:
        for _ in range(300):
            task.advance(status=status)
    last = [line for line in seen.getvalue().splitlines() if "training" in line][-1]
    assert re.search(rf"━ +300/400 0:00:\d\d left {re.escape(status)}$", last)
    assert "…" not in last


def test_the_time_left_of_work_in_long_steps_is_that_of_all_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, seen = [0.0], StringIO()
    console = Console(
        file=seen, force_terminal=True, width=80, color_system=None, get_time=lambda: now[-1]
    )
    monkeypatch.setattr(display, "_console", lambda **_: console)
    with Display(1).task("benchmark", 6) as task:
        for minutes in (10, 20, 40):
            task.advance(0, status="run")
            now.append(now[-1] + 60 * minutes)
            task.advance()
    last = [line for line in seen.getvalue().splitlines() if "benchmark" in line][-1]
    # the first step ends where counting begins; the other two took half an hour each
    assert "3/6 1:30:00 left" in last


def test_work_of_unknown_length_is_silent_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Display(1).task("reading", None) as task:
        task.advance()
    assert capsys.readouterr().err == ""


def test_warnings_are_shown_unless_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    Display(-1).warn("hush")
    Display(0).warn("look [here]")
    assert capsys.readouterr().err == "Warning: look [here]\n"


def test_undefined_figures_are_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert (percent(None), number(None)) == ("-", "-")
    assert (percent(0.12345), number(0.12345)) == ("12.35", "0.1235")
    nothing = Clustered(None, "polygons", 0, 1000, 0)
    empty = np.zeros((1, 1), np.int64)
    area = AreaWeighted(by_map_class(empty, [5]), [5], [50.0], 0.0, ["roof"], False, nothing)
    excluded = {"nodata": 3, "outside": 0}
    print_report(report_document(empty, [(1, "roof")], excluded, nothing, area))
    text = capsys.readouterr().out
    assert "overall accuracy - %" in text
    assert "left out: 3 where the map has no data" in text
    assert "outside" not in text
    assert "without any reference pixel, so left out: roof" in text
    assert "nan" not in text.lower()


def test_verbose_training_tells_of_its_progress(scene: Path) -> None:
    arguments = ("train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class")
    quick = ("--preset", "nano", "--steps", "10", "--batch-size", "1", "--window", "16")
    outcome = comix(scene, *arguments, *quick, "--overwrite", "-v")
    [line] = [each for each in outcome.err.splitlines() if each.startswith("training: 50 %")]
    assert re.search(r"loss [\d.]+ [\d.]+ chips/s .*\d:\d\d:\d\d left", line)


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_work_within_work_has_a_bar_of_its_own_below(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    display = Display()

    def work() -> None:
        with display.task("all runs", 2) as outer:
            with display.task("one run", 5) as inner:
                inner.advance(5)
            outer.advance(status="1/2")
            with display.task("broken run", 5):
                raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    with display.task("later", 1) as task:
        task.advance()
    shown = screen.getvalue()
    assert all(name in shown for name in ("all runs", "one run", "1/2", "broken run", "later"))
    # the bars of what is over, well or not, are gone
    assert "run" not in shown[shown.index("later") :]
