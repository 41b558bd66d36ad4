"""What a person sees while a command runs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from cli import comix

from comix_cli.accuracy.estimate import by_map_class
from comix_cli.accuracy.report import AreaWeighted, Clustered, report_document
from comix_cli.commands.display import Display, number, percent
from comix_cli.commands.show_report import print_report


def test_without_a_terminal_there_is_a_line_for_every_tenth_and_only_with_v(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for verbosity in (0, 1):
        with Display(verbosity).task("training", 40) as task:
            for _ in range(40):
                task.advance(status="loss 0.500")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"training: {share} % loss 0.500" for share in range(10, 101, 10)]


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
    assert "training: 50 % loss" in outcome.err


class _Terminal(io.StringIO):
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
