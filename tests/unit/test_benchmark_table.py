"""The table of a benchmark, from runs that are made up."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comix_cli.tools.benchmark_files import to_latex, to_markdown
from comix_cli.tools.benchmark_plot import apart, draw
from comix_cli.tools.benchmark_runs import Marks, Outcome, Run, RunRecord
from comix_cli.tools.benchmark_table import shares_sheet, sheet, summaries
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.reference import TruthOptions
from comix_cli.tools.train import TrainOptions
from comix_models.fusion_fcn import FusionFCNSpec
from comix_models.svm import SvmSpec

FCN = FusionFCNSpec(hsi_bands=4, x_channels=1, classes=2, width=2)
SVM = SvmSpec(hsi_bands=4, x_channels=1, classes=2, support=(3, 4))
TRUTH = TruthOptions("labels.gpkg")


def record(oa: float | None, tree: float | None = 0.5, **changes: Any) -> RunRecord:
    classes = [{"code": 1, "name": "tree", "producers_accuracy": tree}]
    figures = {"pixels": 100, "overall_accuracy": oa, "average_accuracy": oa, "kappa": oa,
               "mean_f1": oa, "per_class": classes}  # fmt: skip
    known = {"spec": FCN.to_json(), "window": 16, "training_seconds": 10.0,
             "mapping_seconds": 1.0, "training_device": "cpu", "device": "cpu",
             "threads": 2}  # fmt: skip
    return RunRecord(Marks("", ""), figures, versions={}, date="", **{**known, **changes})


def outcome(method: str, seed: int, found: RunRecord | None, fraction: float = 1.0) -> Outcome:
    training = TrainOptions(SceneInputs("hsi.tif"), TRUTH, Path("model.safetensors"))
    run = Run(method, fraction, seed, Path(), training, TRUTH, Marks("", ""))
    return Outcome(run, found, None if found else "it broke")


def cells(outcomes: list[Outcome]) -> dict[str, tuple[str, ...]]:
    page = sheet(summaries(outcomes))
    return {line.label: line.cells for block in page.blocks for line in block}


def test_differences_are_of_the_seeds_that_both_have() -> None:
    found = cells(
        [
            outcome("a", 0, record(0.50)),
            outcome("a", 1, record(0.60)),
            outcome("a", 2, record(0.90)),
            outcome("b", 0, record(0.54)),
            outcome("b", 1, record(0.62)),
            outcome("b", 2, None),
        ]
    )
    assert found["OA"] == ("66.67 ± 20.82", "58.00 ± 5.66")
    assert found["OA, difference"] == ("-", "+3.00 ± 1.41")
    assert found["runs"] == ("3", "2 of 3")


def test_one_seed_has_no_deviation_and_what_is_undefined_is_a_dash() -> None:
    found = cells([outcome("a", 0, record(0.5, tree=None)), outcome("b", 0, record(None))])
    assert found["OA"] == ("50.00", "-")
    assert found["tree"] == ("-", "50.00")
    assert found["OA, difference"] == ("-", "-")
    assert found["training (s)"] == ("10.0", "10.0")


def test_costs_are_counted_for_networks_and_said_in_words_for_others() -> None:
    forest = record(0.5, spec=SVM.to_json())
    found = cells([outcome("a", 0, record(0.5, window=100)), outcome("b", 0, forest)])
    each = 9 * (1 * 2 + 2 * 2 + 2 * 2) + (2 + 4) * 2
    assert found["GMAC of a window"] == (f"{each * 100**2 / 1e9:.3g}", "-")
    assert found["GMAC of 4 chips"] == (f"{4 * each * 128**2 / 1e9:.3g}", "-")
    assert found["size"] == ("0.00 M parameters", SVM.size(0))


def test_windows_and_devices_that_differ_are_told() -> None:
    runs = [
        outcome("a", 0, record(0.5)),
        outcome("b", 0, record(0.5, window=32, threads=8)),
    ]
    page = sheet(summaries(runs))
    assert "compare no times" in page.caption
    assert cells(runs)["GMAC of a window"][1].endswith(" (32 px)")
    assert "compare no times" not in sheet(summaries(runs[:1])).caption
    on_gpu = record(0.5, device="gpu", training_device="gpu")
    forest = record(0.5, device="gpu", training_device="cpu", spec=SVM.to_json())
    page = sheet(summaries([outcome("a", 0, on_gpu), outcome("b", 0, forest)]))
    assert "compare no training times" in page.caption


def test_the_best_of_a_row_has_all_its_runs() -> None:
    runs = [
        outcome("a", 0, record(0.5)),
        outcome("a", 1, record(0.5)),
        outcome("b", 0, record(0.9)),
        outcome("b", 1, None),
        outcome("c", 0, record(0.6)),
        outcome("c", 1, record(0.6)),
    ]
    page = sheet(summaries(runs))
    best = {line.label: line.best for block in page.blocks for line in block}
    assert best["OA"] == (False, False, True)
    assert best["tree"] == (True, False, True)
    assert "unfinished runs are never marked as the best" in page.caption
    assert "unfinished" not in sheet(summaries([*runs[:2], *runs[4:]])).caption


def test_one_method_is_the_best_of_nothing_and_differs_from_none() -> None:
    page = sheet(summaries([outcome("a", 0, record(0.5))]))
    assert not page.has_best
    assert "bold" not in to_latex([page])
    assert "Differences" not in page.caption
    assert "F1, x 100 too" in page.caption


def test_methods_on_different_pixels_are_told() -> None:
    fewer = record(0.5)
    fewer = replace(fewer, figures={**fewer.figures, "pixels": 90})
    said = "Not all maps have data on the same pixels"
    for other, told in ((fewer, True), (record(0.6), False)):
        page = sheet(summaries([outcome("a", 0, record(0.5)), outcome("b", 0, other)]))
        assert (said in page.caption) == told


def test_nothing_finished_makes_no_table() -> None:
    with pytest.raises(ValueError, match="needs a run"):
        sheet(summaries([outcome("a", 0, None)]))


def test_names_stay_names_in_markdown_and_latex() -> None:
    page = sheet(summaries([outcome("a|b_c", 0, record(0.5)), outcome("d", 0, record(0.6))]))
    assert r"| class | a\|b_c | d |" in to_markdown([page])
    assert "| OA | 50.00 | **60.00** |" in to_markdown([page])
    latex = to_latex([page])
    assert r"Class & a\textbar{}b\_c & d \\" in latex
    assert r"OA & 50.00 & \textbf{60.00} \\" in latex


def test_shares_are_rows_and_a_method_without_a_share_has_a_dash(tmp_path: Path) -> None:
    runs = [
        outcome("a", 0, record(0.4), 0.5),
        outcome("a", 0, record(0.5), 1.0),
        outcome("$b$", 0, None, 0.5),
        outcome("$b$", 0, record(0.7), 1.0),
    ]
    page = shares_sheet(summaries(runs))
    (block,) = page.blocks
    assert [(line.label, line.cells) for line in block] == [
        ("50 %", ("40.00", "-")),
        ("100 %", ("50.00", "70.00")),
    ]
    draw(summaries(runs), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_names_at_the_ends_of_lines_never_lie_on_each_other(heights: list[float]) -> None:
    places = {str(k): height for k, height in enumerate(heights)}
    moved = apart(places, 0.05)
    found = sorted(moved.values())
    assert set(moved) == set(places)
    assert all(b - a > 0.05 - 1e-9 for a, b in pairwise(found))
    assert sorted(moved, key=lambda n: moved[n]) == sorted(places, key=lambda n: places[n])
    if len(set(heights)) == len(heights) == 1:
        assert moved == places
