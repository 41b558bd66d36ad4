"""Methods and seeds on one scene: the table, what is done again and what is not, and failures."""

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from benches import QUICK, TWO, bench, document, report, times
from cli import comix
from safetensors.torch import load_file
from scenes import write_raster

from comix_cli.learning.pixel_samples import draw_pixels
from comix_cli.tools import benchmark_runs


def test_the_table_holds_means_and_deviations_of_the_reports(benchmarked: Path) -> None:
    seeds = [report(benchmarked / "b" / "random-forest" / f"seed-{seed}") for seed in (0, 2)]
    svm = [report(benchmarked / "b" / "svm" / f"seed-{seed}") for seed in (0, 2)]
    first, second = document(benchmarked / "b")["methods"]
    assert (first["name"], second["name"]) == ("svm", "random-forest")
    for key in ("overall_accuracy", "average_accuracy", "kappa"):
        values = [each[key] for each in seeds]
        assert second[key]["mean"] == pytest.approx(fmean(values))
        assert second[key]["standard_deviation"] == pytest.approx(stdev(values))
    assert second["mean_f1"]["mean"] == pytest.approx(
        fmean(each["means"]["macro"]["f1"] for each in seeds)
    )
    by_class = {row["name"]: row["producers_accuracy"]["mean"] for row in second["per_class"]}
    for k, row in enumerate(seeds[0]["per_class"]):
        values = [each["per_class"][k]["producers_accuracy"] for each in seeds]
        assert by_class[row["name"]] == pytest.approx(fmean(values))
    paired = [
        b["overall_accuracy"] - a["overall_accuracy"] for a, b in zip(svm, seeds, strict=True)
    ]
    assert second["difference"]["mean"] == pytest.approx(fmean(paired))
    assert second["difference"]["standard_deviation"] == pytest.approx(stdev(paired))
    assert first["difference"] is None
    assert second["parameters"] is second["macs_per_window"] is None
    assert second["size"].startswith("5 trees")
    oa = second["overall_accuracy"]
    cell = f"{100 * oa['mean']:.2f} ± {100 * oa['standard_deviation']:.2f}"
    for name in ("printed.txt", "b/table.md", "b/table.tex"):
        text = (benchmarked / name).read_text().replace(r" $\pm$ ", " ± ")
        assert cell in text, name


def test_every_figure_of_every_run_is_a_row_of_the_csv(benchmarked: Path) -> None:
    with (benchmarked / "b" / "benchmark.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    run = {"method": "svm", "label_fraction": "1.0", "seed": "2"}
    own = {
        (row["figure"], row["class"]): row["value"]
        for row in rows
        if all(row[key] == value for key, value in run.items())
    }
    found = report(benchmarked / "b" / "svm" / "seed-2")
    assert float(own["kappa", ""]) == found["kappa"]
    for row in found["per_class"]:
        assert float(own["users_accuracy", row["name"]]) == row["users_accuracy"]
    assert own["parameters", ""] == ""
    assert float(own["mapping_seconds", ""]) > 0
    assert len(rows) == 4 * len(own)


def test_maps_are_judged_as_evaluate_judges_them(benchmarked: Path) -> None:
    folder = "b/svm/seed-0"
    alone = comix(benchmarked, "evaluate", f"{folder}/map.tif", "--gt", "test.gpkg", "--json")
    expected, found = json.loads(alone.out), report(benchmarked / folder)
    for each in (expected, found):
        each["provenance"].pop("date")
    assert found == expected


def test_only_what_is_missing_is_done_again(copied: Path) -> None:
    before = times(copied / "b")
    assert bench(copied, *TWO, "-o", "b").code == 0
    assert times(copied / "b") == before

    gone = copied / "b" / "svm" / "seed-2"
    (gone / "run.json").unlink()
    outcome = bench(copied, *TWO, "-o", "b", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["methods"] == document(copied / "b")["methods"]
    after = times(copied / "b")
    changed = {path for path in before if after[path] != before[path]}
    assert changed == {str(gone / name) for name in ("report.json", "run.json")}
    shutil.rmtree(gone)
    assert bench(copied, *TWO, "-o", "b").code == 0
    assert {path for path, time in times(copied / "b").items() if time != after.get(path)} == {
        str(path) for path in gone.iterdir()
    }


def test_runs_with_other_options_are_refused_and_alone_replaced_when_told_to(copied: Path) -> None:
    other = ("--models", "svm,random-forest", "--seeds", "0,2", "-o", "b", "--train-options",
             f"{QUICK[1]} --trees 4")  # fmt: skip
    before = times(copied / "b")
    refused = bench(copied, *other)
    assert refused.code == 1
    assert "b: 2 runs of 'random-forest' had other inputs or options" in refused.error
    assert "--overwrite" in refused.error
    assert times(copied / "b") == before

    assert bench(copied, *other, "--overwrite").code == 0
    after = times(copied / "b")
    assert {Path(path).parts[-3] for path in after if after[path] != before.get(path)} == {
        "random-forest"
    }


def test_a_run_that_is_replaced_and_interrupted_is_never_taken_for_the_old_one(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    one = ("--models", "random-forest", "--seeds", "0,2", "-o", "b", "--overwrite")
    other = ("--train-options", f"{QUICK[1]} --trees 4")
    with monkeypatch.context() as patch:
        patch.setattr(benchmark_runs, "classify", interrupt)
        assert bench(copied, *one, *other).code == 130
    assert bench(copied, *one, *QUICK).code == 0
    runs = document(copied / "b")["runs"]
    assert [len(run["record"]["spec"]["depths"]) for run in runs] == [5, 5]
    card = comix(copied, "info", "b/random-forest/seed-0/model.safetensors", "--json")
    assert len(json.loads(card.out)["spec"]["depths"]) == 5


def test_another_grid_under_the_name_of_like_is_another_run(copied: Path) -> None:
    like = ("--models", "svm", "--seeds", "1", *QUICK, "--like", "like.tif", "-o", "g")
    with rasterio.open(copied / "hsi.tif") as hsi:
        shape, transform = hsi.shape, hsi.transform
    write_raster(copied / "like.tif", np.ones((1, *shape), np.uint8), transform=transform)
    assert bench(copied, *like).code == 0
    before = times(copied / "g")
    assert bench(copied, *like).code == 0
    assert times(copied / "g") == before
    smaller = np.ones((1, shape[0] - 3, shape[1]), np.uint8)
    write_raster(copied / "like.tif", smaller, transform=transform)
    assert "had other inputs or options" in bench(copied, *like).error


def test_other_ground_truth_to_judge_by_trains_nothing_again(copied: Path) -> None:
    labels = geopandas.read_file(copied / "test.gpkg")
    labels.iloc[:-1].to_file(copied / "test.gpkg")
    before = times(copied / "b")
    assert bench(copied, *TWO, "-o", "b").code == 1
    outcome = bench(copied, *TWO, "-o", "b", "--overwrite")
    assert outcome.code == 0, outcome.err
    after = times(copied / "b")
    assert {Path(path).name for path in before if after[path] != before[path]} == {
        "report.json",
        "run.json",
    }


def test_a_run_that_fails_leaves_the_others_and_exit_code_3(copied: Path) -> None:
    wild = "wild: --model unet --width 2 --learning-rate 1e30 --label-smoothing 0"
    many = ("--train-options", "--steps 40 --batch-size 1 --window 16 --validation none "
            "--samples-per-class 40")  # fmt: skip
    outcome = bench(copied, "--models", "svm", "--method", wild, "--seeds", "1", *many, "-o", "c")
    assert outcome.code == 3, outcome.err
    assert "1 run of 2 failed, the first of them (wild, seed 0)" in outcome.error
    assert "because: the loss became nan" in outcome.error
    svm, other = document(copied / "c")["methods"]
    assert svm["finished"] == 1
    assert other["overall_accuracy"] is other["difference"] is None
    assert document(copied / "c")["runs"][1]["status"] == "failed"
    line = next(row for row in outcome.out.splitlines() if " OA " in row)
    assert line.rstrip(" │").endswith(" -")
    assert "│ 0 of 1 │" in outcome.out


def test_an_interrupted_benchmark_keeps_what_is_trained(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    one = ("--models", "random-forest", "--seeds", "1", *QUICK, "-o", "d")
    with monkeypatch.context() as patch:
        patch.setattr(benchmark_runs, "classify", interrupt)
        stopped = bench(copied, *one)
    assert stopped.code == 130
    assert stopped.err.endswith(
        "interrupted; d keeps what has been done: the same command goes on\n"
    )
    model = copied / "d" / "random-forest" / "seed-0" / "model.safetensors"
    trained = model.stat().st_mtime_ns
    assert document(copied / "d")["runs"][0]["status"] == "missing"
    assert bench(copied, *one).code == 0
    assert model.stat().st_mtime_ns == trained


def test_an_interrupted_training_goes_on_from_its_checkpoint(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comix_cli.learning.checkpoint as checkpoints
    from comix_cli.learning.loop import Run as Training

    one = ("--models", "unet", "--seeds", "1", *QUICK)
    assert bench(copied, *one, "-o", "whole").code == 0
    step, calls = Training.step, list[int]()

    def breaks(self: Training, *arguments: Any) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "PAUSE_S", 0)
        patch.setattr(Training, "step", breaks)
        assert bench(copied, *one, "-o", "e").code == 130
    folder = copied / "e" / "unet" / "seed-0"
    assert (folder / "model.checkpoint.safetensors").exists()
    assert bench(copied, *one, "-o", "e").code == 0
    assert not (folder / "model.checkpoint.safetensors").exists()
    whole, resumed = (
        load_file(each / "model.safetensors")
        for each in (copied / "whole" / "unet" / "seed-0", folder)
    )
    assert all(bool((tensor == resumed[name]).all()) for name, tensor in whole.items())


def test_shares_of_the_labels_make_a_plot_and_all_labels_are_the_runs_that_are_there(
    copied: Path,
) -> None:
    before = times(copied / "b")
    outcome = bench(copied, *TWO, "-o", "b", "--label-fractions", "1,0.1")
    assert outcome.code == 0, outcome.err
    after = times(copied / "b")
    assert all(after[path] == time for path, time in before.items())
    assert (copied / "b" / "svm" / "labels-0.1" / "seed-2" / "report.json").exists()
    assert (copied / "b" / "label_fractions.png").read_bytes().startswith(b"\x89PNG")
    with (copied / "b" / "label_fractions.csv").open() as stream:
        rows = {(row["method"], row["label_fraction"]): row for row in csv.DictReader(stream)}
    few = [report(copied / "b" / "svm" / "labels-0.1" / f"seed-{seed}") for seed in (0, 2)]
    own = rows["svm", "0.1"]
    assert float(own["overall_accuracy"]) == pytest.approx(
        fmean(each["overall_accuracy"] for each in few)
    )
    assert set(rows) == {(m, s) for m in ("svm", "random-forest") for s in ("0.1", "1.0")}
    assert "│ 10 % " in outcome.out
    card = comix(copied, "info", "b/svm/labels-0.1/seed-2/model.safetensors", "--json")
    assert json.loads(card.out)["training"]["label_budget"]["fraction"] == 0.1

    # fewer runs of the same folder: what is left out is told, and no file speaks of it
    fewer = bench(copied, "--models", "svm", "--seeds", "1", *QUICK, "-o", "b")
    assert fewer.code == 0, fewer.err
    left_out = "7 finished runs of 'random-forest', 'svm' that this command does not ask for"
    assert left_out in " ".join(fewer.err.split())
    assert not list((copied / "b").glob("label_fractions.*"))


def test_maps_with_data_in_different_places_are_told(copied: Path) -> None:
    with rasterio.open(copied / "lidar.tif", "r+") as lidar:
        heights = lidar.read()
        heights[:, :, :9] = -1
        lidar.nodata = -1
        lidar.write(heights)
    both, alone = (f"{name}: --model svm {more}" for name, more in (("a", ""), ("b", "--hsi-only")))
    outcome = bench(copied, "--method", both, "--method", alone, "--seeds", "1", *QUICK, "-o", "h")
    assert outcome.code == 0, outcome.err
    pixels = [run["record"]["figures"]["pixels"] for run in document(copied / "h")["runs"]]
    assert pixels[0] < pixels[1]
    said = "Not all maps have data on the same pixels"
    assert said in " ".join(outcome.out.split())
    assert said in (copied / "h" / "table.md").read_text()


def test_drawing_pixels_is_a_part_of_training(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*arguments: Any, **more: Any) -> Any:
        time.sleep(0.5)
        return draw_pixels(*arguments, **more)

    monkeypatch.setattr("comix_cli.tools.fitting.draw_pixels", slowly)
    assert bench(copied, "--models", "svm", "--seeds", "1", *QUICK, "-o", "i").code == 0
    assert document(copied / "i")["methods"][0]["training_seconds"]["mean"] >= 0.5
