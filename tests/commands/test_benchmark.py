"""Methods and seeds on one scene: the table, what is done again and what is not, and failures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import geopandas
import pytest
from cli import Outcome, comix
from safetensors.torch import load_file
from scenes import make_scene

from comix_cli.tools import benchmark_runs
from comix_cli.tools.benchmark_runs import Run

SCENE = ("benchmark", "hsi.tif", "lidar.tif", "--gt", "train.gpkg", "--test", "test.gpkg",
         "--threads", "1")  # fmt: skip
QUICK = ("--train-options", "--steps 3 --batch-size 1 --window 16 --preset nano --trees 5 "
         "--samples-per-class 40 --validation none")  # fmt: skip
TWO = ("--models", "svm,random-forest", "--seeds", "0,2", *QUICK)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, and a finished benchmark of two methods in `b`; look only."""
    folder = tmp_path_factory.mktemp("benchmark")
    make_scene(folder)
    labels = geopandas.read_file(folder / "labels.gpkg")
    odd = labels["plot"] % 2 == 1
    labels[~odd].to_file(folder / "train.gpkg")
    labels[odd].to_file(folder / "test.gpkg")
    outcome = comix(folder, *SCENE, *TWO, "-o", "b")
    assert outcome.code == 0, outcome.err
    (folder / "printed.txt").write_text(outcome.out)
    return folder


@pytest.fixture
def scene(place: Path, tmp_path: Path) -> Path:
    """A copy to do anything with."""
    folder = tmp_path / "scene"
    shutil.copytree(place, folder)
    return folder


def bench(folder: Path, *more: str) -> Outcome:
    return comix(folder, *SCENE, *more)


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "benchmark.json").read_text())
    return found


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def times(folder: Path) -> dict[str, int]:
    """When the files of the runs were last written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.glob("*/**/*") if p.is_file()}


def test_the_table_holds_means_and_deviations_of_the_reports(place: Path) -> None:
    seeds = [report(place / "b" / "random-forest" / f"seed-{seed}") for seed in (0, 2)]
    svm = [report(place / "b" / "svm" / f"seed-{seed}") for seed in (0, 2)]
    first, second = document(place / "b")["methods"]
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
        text = (place / name).read_text().replace(r" $\pm$ ", " ± ")
        assert cell in text, name


def test_every_figure_of_every_run_is_a_row_of_the_csv(place: Path) -> None:
    with (place / "b" / "benchmark.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    run = {"method": "svm", "label_fraction": "1.0", "seed": "2"}
    own = {
        (row["figure"], row["class"]): row["value"]
        for row in rows
        if all(row[key] == value for key, value in run.items())
    }
    found = report(place / "b" / "svm" / "seed-2")
    assert float(own["kappa", ""]) == found["kappa"]
    for row in found["per_class"]:
        assert float(own["users_accuracy", row["name"]]) == row["users_accuracy"]
    assert own["parameters", ""] == ""
    assert float(own["mapping_seconds", ""]) > 0
    assert len(rows) == 4 * len(own)


def test_maps_are_judged_as_evaluate_judges_them(place: Path) -> None:
    folder = "b/svm/seed-0"
    alone = comix(place, "evaluate", f"{folder}/map.tif", "--gt", "test.gpkg", "--json")
    expected, found = json.loads(alone.out), report(place / folder)
    for each in (expected, found):
        each["provenance"].pop("date")
    assert found == expected


def test_only_what_is_missing_is_done_again(scene: Path) -> None:
    before = times(scene / "b")
    assert bench(scene, *TWO, "-o", "b").code == 0
    assert times(scene / "b") == before

    gone = scene / "b" / "svm" / "seed-2"
    (gone / "run.json").unlink()
    outcome = bench(scene, *TWO, "-o", "b", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["methods"] == document(scene / "b")["methods"]
    after = times(scene / "b")
    changed = {path for path in before if after[path] != before[path]}
    assert changed == {str(gone / name) for name in ("report.json", "run.json")}
    shutil.rmtree(gone)
    assert bench(scene, *TWO, "-o", "b").code == 0
    assert {path for path, time in times(scene / "b").items() if time != after.get(path)} == {
        str(path) for path in gone.iterdir()
    }


def test_runs_with_other_options_are_refused_and_alone_replaced_when_told_to(scene: Path) -> None:
    other = ("--models", "svm,random-forest", "--seeds", "0,2", "-o", "b", "--train-options",
             f"{QUICK[1]} --trees 4")  # fmt: skip
    before = times(scene / "b")
    refused = bench(scene, *other)
    assert refused.code == 1
    assert "b: 2 runs of 'random-forest' had other inputs or options" in refused.error
    assert "--overwrite" in refused.error
    assert times(scene / "b") == before

    assert bench(scene, *other, "--overwrite").code == 0
    after = times(scene / "b")
    assert {Path(path).parts[-3] for path in after if after[path] != before.get(path)} == {
        "random-forest"
    }


def test_other_ground_truth_to_judge_by_trains_nothing_again(scene: Path) -> None:
    labels = geopandas.read_file(scene / "test.gpkg")
    labels.iloc[:-1].to_file(scene / "test.gpkg")
    before = times(scene / "b")
    assert bench(scene, *TWO, "-o", "b").code == 1
    outcome = bench(scene, *TWO, "-o", "b", "--overwrite")
    assert outcome.code == 0, outcome.err
    after = times(scene / "b")
    assert {Path(path).name for path in before if after[path] != before[path]} == {
        "report.json",
        "run.json",
    }


def test_a_run_that_fails_leaves_the_others_and_exit_code_3(scene: Path) -> None:
    wild = "wild: --model unet --width 2 --learning-rate 1e30 --label-smoothing 0"
    many = ("--train-options", "--steps 40 --batch-size 1 --window 16 --validation none "
            "--samples-per-class 40")  # fmt: skip
    outcome = bench(scene, "--models", "svm", "--method", wild, "--seeds", "1", *many, "-o", "c")
    assert outcome.code == 3, outcome.err
    assert "1 run of 2 failed, the first of them (wild, seed 0)" in outcome.error
    assert "because: the loss became nan" in outcome.error
    svm, other = document(scene / "c")["methods"]
    assert svm["finished"] == 1
    assert other["overall_accuracy"] is other["difference"] is None
    assert document(scene / "c")["runs"][1]["status"] == "failed"
    line = next(row for row in outcome.out.splitlines() if " OA " in row)
    assert line.rstrip(" │").endswith(" -")
    assert "│ 0 of 1 │" in outcome.out


def test_an_interrupted_benchmark_keeps_what_is_trained(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    one = ("--models", "random-forest", "--seeds", "1", *QUICK, "-o", "d")
    with monkeypatch.context() as patch:
        patch.setattr(benchmark_runs, "classify", interrupt)
        stopped = bench(scene, *one)
    assert stopped.code == 130
    assert stopped.err.endswith(
        "interrupted; d keeps what has been trained: the same command goes on\n"
    )
    model = scene / "d" / "random-forest" / "seed-0" / "model.safetensors"
    trained = model.stat().st_mtime_ns
    assert document(scene / "d")["runs"][0]["status"] == "missing"
    assert bench(scene, *one).code == 0
    assert model.stat().st_mtime_ns == trained


def test_an_interrupted_training_goes_on_from_its_checkpoint(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comix_cli.learning.checkpoint as checkpoints
    from comix_cli.learning.loop import Run as Training

    one = ("--models", "unet", "--seeds", "1", *QUICK)
    assert bench(scene, *one, "-o", "whole").code == 0
    step, calls = Training.step, list[int]()

    def breaks(self: Training, *arguments: Any) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "PAUSE_S", 0)
        patch.setattr(Training, "step", breaks)
        assert bench(scene, *one, "-o", "e").code == 130
    folder = scene / "e" / "unet" / "seed-0"
    assert (folder / "model.checkpoint.safetensors").exists()
    assert bench(scene, *one, "-o", "e").code == 0
    assert not (folder / "model.checkpoint.safetensors").exists()
    whole, resumed = (
        load_file(each / "model.safetensors")
        for each in (scene / "whole" / "unet" / "seed-0", folder)
    )
    assert all(bool((tensor == resumed[name]).all()) for name, tensor in whole.items())


def test_shares_of_the_labels_make_a_plot_and_all_labels_are_the_runs_that_are_there(
    scene: Path,
) -> None:
    before = times(scene / "b")
    outcome = bench(scene, *TWO, "-o", "b", "--label-fractions", "1,0.1")
    assert outcome.code == 0, outcome.err
    after = times(scene / "b")
    assert all(after[path] == time for path, time in before.items())
    assert (scene / "b" / "svm" / "labels-0.1" / "seed-2" / "report.json").exists()
    assert (scene / "b" / "label_fractions.png").read_bytes().startswith(b"\x89PNG")
    with (scene / "b" / "label_fractions.csv").open() as stream:
        rows = {(row["method"], row["label_fraction"]): row for row in csv.DictReader(stream)}
    few = [report(scene / "b" / "svm" / "labels-0.1" / f"seed-{seed}") for seed in (0, 2)]
    own = rows["svm", "0.1"]
    assert float(own["overall_accuracy"]) == pytest.approx(
        fmean(each["overall_accuracy"] for each in few)
    )
    assert set(rows) == {(m, s) for m in ("svm", "random-forest") for s in ("0.1", "1.0")}
    assert "│ 10 % " in outcome.out
    card = comix(scene, "info", "b/svm/labels-0.1/seed-2/model.safetensors", "--json")
    assert json.loads(card.out)["training"]["label_budget"]["fraction"] == 0.1


def test_methods_have_names_options_and_the_options_of_all_that_are_meant_for_them(
    scene: Path,
) -> None:
    shared = "--preset nano --steps 2 --batch-size 1 --window 16 --validation none"
    methods = (
        "--method",
        "Small, no X: --hsi-only",
        "--method",
        "one step: --model unet --steps 1",
    )
    outcome = bench(scene, *methods, "--seeds", "1", "--train-options", shared, "-o", "f")
    assert outcome.code == 0, outcome.err
    alone, unet = (
        json.loads(comix(scene, "info", f"f/{name}/seed-0/model.safetensors", "--json").out)
        for name in ("small-no-x", "one-step")
    )
    assert alone["spec"]["x_channels"] == 0
    assert (alone["training"]["preset"], alone["training"]["steps"]) == ("nano", 2)
    assert (unet["model"], unet["training"]["steps"]) == ("unet", 1)
    # a map of the HSI alone has the pixels of the others
    pixels = {row["name"]: row["overall_accuracy"] for row in document(scene / "f")["methods"]}
    assert set(pixels) == {"Small, no X", "one step"}
    runs = document(scene / "f")["runs"]
    assert len({run["record"]["figures"]["pixels"] for run in runs}) == 1
    assert all(method["macs_per_window"] > 0 for method in document(scene / "f")["methods"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--method", "a"), "--method 'a': is not 'NAME: OPTIONS'"),
        (("--method", ": --steps 3"), "is not 'NAME: OPTIONS'"),
        (("--method", "a: --foo"), "method 'a': No such option"),
        (("--method", "a: --gt x.shp"), "--gt is not the business of a method"),
        (("--method", "a: --seed 3"), "--seed is not the business of a method"),
        (("--method", "a: --steps x"), "method 'a': Invalid value for '--steps'"),
        (("--method", "a: --steps '3"), "method 'a': no closing quotation"),
        (("--method", "a: b"), "method 'a': Got unexpected extra argument"),
        (("--method", "a: --model svm --steps 3"), "--steps is not for --model svm"),
        (("--method", "a: --hsi-only --model fusion-fcn"), "fuses the HSI with X"),
        (("--method", "a: --label-fraction 0.5", "--label-fractions", "0.5,1"), "label budget"),
        (("--method", "a: --preset nano", "--method", "a: --preset tiny"), "the same name"),
        (("--method", "a b:", "--method", "A-b:"), "are called alike"),
        (("--method", "***:"), "a folder cannot be called so"),
        (("--models", "svm,forest"), "'forest' is none of"),
        (("--train-options", "--model svm"), "--model makes a method"),
        (("--seeds", "0"), "neither a number of seeds nor a list"),
        (("--seeds", "1,x"), "neither a number of seeds nor a list"),
        (("--label-fractions", "0,1"), "are no shares above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(
    place: Path, options: tuple[str, ...], said: str
) -> None:
    outcome = bench(place, *options, "-o", "none")
    assert outcome.code == 2, outcome.err
    assert said in outcome.error
    assert not (place / "none").exists()


def test_bad_inputs_end_it_at_once(place: Path) -> None:
    outcome = comix(place, *SCENE[:5], "--test", "no.gpkg", "-o", "none")
    assert outcome.code == 1
    assert "no.gpkg" in outcome.error
    assert not (place / "none").exists()


def test_a_folder_with_other_files_is_none_to_write_to(place: Path) -> None:
    outcome = bench(place, *TWO, "-o", ".", "--overwrite")
    assert outcome.code == 1
    assert "holds files, and none of a benchmark" in outcome.error


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that would be done, in a list that fills with them; none is done."""
    runs: list[Run] = []
    monkeypatch.setattr("comix_cli.tools.benchmark.carry_out", lambda run, _: runs.append(run))
    monkeypatch.setattr("comix_cli.tools.benchmark.write_summary", lambda *_: None)
    monkeypatch.setattr("comix_cli.tools.benchmark.warm_up", lambda: None)
    return runs


def test_without_x_the_default_methods_are_those_that_need_none(
    place: Path, planned: list[Run], tmp_path: Path
) -> None:
    alone = [each for each in SCENE if each != "lidar.tif"]
    outcome = comix(place, *alone, "--seeds", "1", "-o", tmp_path / "b")
    assert [run.method for run in planned] == ["comix", "unet", "random-forest", "svm"]
    assert "fusion-fcn fuses the HSI with X" in outcome.err


def test_the_ablation_has_the_rows_of_the_paper_at_the_size_asked_for(
    place: Path, planned: list[Run], tmp_path: Path
) -> None:
    size = ("--train-options", "--preset small")
    comix(place, *SCENE, "--ablation", "--seeds", "5,", *size, "-o", tmp_path / "b")
    rows = {run.method: dict(run.training.model.changes) for run in planned}
    averaged = {"fusion": "average"}
    alone = {"cmfex": "none", **averaged}
    assert rows == {
        "attention": {"hsi_blocks": "attention", "x_blocks": "attention", **alone},
        "+ 2-D DCN": {"hsi_blocks": "2d", **alone},
        "+ 3-D DCN": alone,
        "+ CMFeX spatial": {"cmfex": "spatial", **averaged},
        "+ CMFeX spectral": {"cmfex": "spectral", **averaged},
        "+ CMFeX": averaged,
        "+ FFM = CoMiX": {},
        "HSI alone": {},
    }
    assert [run.seed for run in planned] == [5] * 8
    assert {run.training.model.preset for run in planned} == {"small"}
    assert [bool(run.training.inputs.x) for run in planned] == [True] * 7 + [False]
    # all on one grid, so that their maps have the same pixels
    grid = planned[-1].training.inputs.grid
    assert grid.resolution == (2.0, 2.0)
    assert len({run.marks.made for run in planned}) == 8
    assert len({run.marks.judged for run in planned}) == 1


def test_an_ablation_is_of_two_modalities(place: Path) -> None:
    alone = [each for each in SCENE if each != "lidar.tif"]
    outcome = comix(place, *alone, "--ablation", "-o", "none")
    assert outcome.code == 2
    assert "--ablation: is of two modalities" in outcome.error


def test_the_project_file_says_what_the_scene_and_the_ground_truth_are(scene: Path) -> None:
    (scene / "comix.toml").write_text(
        '[scene]\nhsi = "hsi.tif"\nx = "lidar.tif"\n[compute]\nthreads = 1\nbatch_size = 2\n'
        '[train]\ngt = "train.gpkg"\nsteps = 7\n[evaluate]\ngt = "test.gpkg"\n'
        '[benchmark]\nseeds = "0,2"\nmodels = "svm,random-forest"\n'
    )
    before = times(scene / "b")
    outcome = comix(scene, "benchmark", *QUICK, "-o", "b")
    assert outcome.code == 0, outcome.err
    assert times(scene / "b") == before
