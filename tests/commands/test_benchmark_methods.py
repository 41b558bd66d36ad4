"""Methods of a benchmark: names, options, the ablation, and what cannot be meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benches import QUICK, SCENE, TWO, bench, document, times
from cli import comix

from comix_cli.tools.benchmark_runs import Run


def test_methods_have_names_options_and_the_options_of_all_that_are_meant_for_them(
    copied: Path,
) -> None:
    shared = "--preset nano --steps 2 --batch-size 1 --window 16 --validation none"
    methods = (
        "--method",
        "Small, no X: --hsi-only",
        "--method",
        "one step: --model unet --steps 1",
    )
    outcome = bench(copied, *methods, "--seeds", "1", "--train-options", shared, "-o", "f")
    assert outcome.code == 0, outcome.err
    alone, unet = (
        json.loads(comix(copied, "info", f"f/{name}/seed-0/model.safetensors", "--json").out)
        for name in ("small-no-x", "one-step")
    )
    assert alone["spec"]["x_channels"] == 0
    assert (alone["training"]["preset"], alone["training"]["steps"]) == ("nano", 2)
    assert (unet["model"], unet["training"]["steps"]) == ("unet", 1)
    # a map of the HSI alone has the pixels of the others
    pixels = {row["name"]: row["overall_accuracy"] for row in document(copied / "f")["methods"]}
    assert set(pixels) == {"Small, no X", "one step"}
    runs = document(copied / "f")["runs"]
    assert len({run["record"]["figures"]["pixels"] for run in runs}) == 1
    assert all(method["macs_per_window"] > 0 for method in document(copied / "f")["methods"])


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
        (("--method", "Table.md:"), "a folder cannot be called so"),
        (("--models", ","), "names no model"),
        (("--models", "svm,forest"), "'forest' is none of"),
        (("--train-options", "--model svm"), "--model makes a method"),
        (("--seeds", "0"), "neither a number of seeds nor a list"),
        (("--seeds", "1,x"), "neither a number of seeds nor a list"),
        (("--label-fractions", "0,1"), "are no shares above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(
    benchmarked: Path, options: tuple[str, ...], said: str
) -> None:
    outcome = bench(benchmarked, *options, "-o", "none")
    assert outcome.code == 2, outcome.err
    assert said in outcome.error
    assert not (benchmarked / "none").exists()


def test_bad_inputs_end_it_at_once(benchmarked: Path) -> None:
    outcome = comix(benchmarked, *SCENE[:5], "--test", "no.gpkg", "-o", "none")
    assert outcome.code == 1
    assert "no.gpkg" in outcome.error
    assert not (benchmarked / "none").exists()


def test_a_folder_with_other_files_is_none_to_write_to(benchmarked: Path) -> None:
    outcome = bench(benchmarked, *TWO, "-o", ".", "--overwrite")
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
    benchmarked: Path, planned: list[Run], tmp_path: Path
) -> None:
    alone = [each for each in SCENE if each != "lidar.tif"]
    outcome = comix(benchmarked, *alone, "--seeds", "1", "-o", tmp_path / "b")
    assert [run.method for run in planned] == ["comix", "unet", "random-forest", "svm"]
    assert "fusion-fcn fuses the HSI with X" in outcome.err


def test_the_ablation_has_the_rows_of_the_paper_at_the_size_asked_for(
    benchmarked: Path, planned: list[Run], tmp_path: Path
) -> None:
    # no row becomes another one by what all methods are given
    size = ("--train-options", "--preset small --fusion average --hsi-blocks attention")
    comix(benchmarked, *SCENE, "--ablation", "--seeds", "5,", *size, "-o", tmp_path / "b")
    rows = {run.method: dict(run.training.model.changes) for run in planned}
    whole = {"hsi_blocks": "3d", "x_blocks": "2d", "cmfex": "both", "fusion": "ffm"}
    averaged = {**whole, "fusion": "average"}
    alone = {**averaged, "cmfex": "none"}
    assert rows == {
        "attention": {**alone, "hsi_blocks": "attention", "x_blocks": "attention"},
        "+ 2-D DCN": {**alone, "hsi_blocks": "2d"},
        "+ 3-D DCN": alone,
        "+ CMFeX spatial": {**averaged, "cmfex": "spatial"},
        "+ CMFeX spectral": {**averaged, "cmfex": "spectral"},
        "+ CMFeX": averaged,
        "+ FFM = CoMiX": whole,
        "HSI alone": whole,
    }
    assert [run.seed for run in planned] == [5] * 8
    assert {run.training.model.preset for run in planned} == {"small"}
    assert [bool(run.training.inputs.x) for run in planned] == [True] * 7 + [False]
    # all on one grid, so that their maps have the same pixels
    grid = planned[-1].training.inputs.grid
    assert grid.resolution == (2.0, 2.0)
    assert len({run.marks.made for run in planned}) == 8
    assert len({run.marks.judged for run in planned}) == 1


def test_an_ablation_is_of_two_modalities(benchmarked: Path) -> None:
    alone = [each for each in SCENE if each != "lidar.tif"]
    outcome = comix(benchmarked, *alone, "--ablation", "-o", "none")
    assert outcome.code == 2
    assert "--ablation: is of two modalities" in outcome.error


def test_the_project_file_says_what_the_scene_and_the_ground_truth_are(copied: Path) -> None:
    (copied / "comix.toml").write_text(
        '[scene]\nhsi = "hsi.tif"\nx = "lidar.tif"\n[compute]\nthreads = 1\nbatch_size = 2\n'
        '[train]\ngt = "train.gpkg"\nsteps = 7\n[evaluate]\ngt = "test.gpkg"\n'
        '[benchmark]\nseeds = "0,2"\nmodels = "svm,random-forest"\n'
    )
    before = times(copied / "b")
    outcome = comix(copied, "benchmark", *QUICK, "-o", "b")
    assert outcome.code == 0, outcome.err
    assert times(copied / "b") == before


def test_methods_are_trained_as_train_trains_them_in_this_folder(
    copied: Path, planned: list[Run]
) -> None:
    (copied / "comix.toml").write_text(
        '[compute]\nbatch-size = 3\n[train]\npreset = "small"\nsteps = 2000\ntrees = 7\n'
        'validation = "none"\nseed = 9\nprecision = "float32"\noutput = "other.safetensors"\n'
    )
    shared = ("--train-options", "--steps 50")
    bench(copied, "--seeds", "1", "--method", "own: --steps 5 --preset nano", "--models",
          "comix,unet,random-forest", *shared, "-o", "p")  # fmt: skip
    comix_, unet, forest, own = (run.training for run in planned)
    assert (comix_.model.preset, own.model.preset) == ("small", "nano")
    assert [each.recipe.steps for each in (comix_, unet, own)] == [50, 50, 5]
    assert {each.recipe.batch_size for each in (comix_, unet, own)} == {3}
    assert forest.pixel_recipe.trees == 7
    for run in planned:
        assert run.seed == run.training.recipe.seed == 0
        assert (run.training.validation, run.training.precision) == ("none", "float32")
        assert run.training.output == run.folder / "model.safetensors"

    planned.clear()
    bench(copied, "--seeds", "1", "--models", "comix", "-o", "p")
    assert planned[0].training.recipe.steps == 2000


def test_a_mistake_in_what_the_project_file_says_of_training_is_told(copied: Path) -> None:
    (copied / "comix.toml").write_text("[train]\nstepz = 3\n")
    outcome = bench(copied, "-o", "p")
    assert outcome.code == 2
    assert "comix.toml: [train] has no option 'stepz'" in outcome.error


@pytest.mark.parametrize(
    ("seeds", "expected"), [("[5]", [5]), ("[0, 2]", [0, 2]), ("2", [0, 1]), ('"4,"', [4])]
)
def test_lists_of_the_project_file_are_lists(
    copied: Path, planned: list[Run], seeds: str, expected: list[int]
) -> None:
    (copied / "comix.toml").write_text(
        f'[benchmark]\nseeds = {seeds}\nmodels = ["svm"]\nlabel-fractions = [0.5, 1]\n'
    )
    bench(copied, "-o", "p")
    assert [(run.fraction, run.seed) for run in planned] == [
        (share, seed) for share in (0.5, 1.0) for seed in expected
    ]


def test_shares_that_are_almost_alike_have_folders_of_their_own(
    benchmarked: Path, planned: list[Run], tmp_path: Path
) -> None:
    shares = ("--label-fractions", "0.12345671,0.12345672")
    bench(benchmarked, "--models", "svm", "--seeds", "1", *shares, "-o", str(tmp_path / "b"))
    assert len({run.folder for run in planned}) == 2


def test_processes_of_torchrun_are_sent_home(
    benchmarked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    outcome = bench(benchmarked, "--models", "comix", "-o", "none")
    assert outcome.code == 2
    assert "start it without torchrun" in outcome.error
    assert not (benchmarked / "none").exists()
