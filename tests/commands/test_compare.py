"""comix compare: tables of methods, and whether their maps differ on the same pixels."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from cli import Outcome, comix
from numpy.typing import NDArray
from scenes import ORIGIN, write_raster, write_vector
from scipy import stats
from shapely.geometry import Point, box

from comix_cli.accuracy.confusion import Accuracy, confusion_matrix
from comix_cli.scene.checksum import checksum

SIDE = 30
NAMES = ("grass", "roof", "tree")
# Polygons of whole pixels: first row and column, height and width, class code.
FIELDS = [
    (0, 0, 10, 10, 1), (0, 12, 8, 8, 2), (0, 22, 6, 8, 3), (12, 0, 8, 10, 2),
    (12, 12, 6, 6, 3), (12, 20, 9, 10, 1), (22, 0, 8, 8, 3), (24, 10, 6, 12, 1),
]  # fmt: skip


def truth() -> NDArray[np.int32]:
    labels = np.zeros((SIDE, SIDE), np.int32)
    for row, col, height, width, code in FIELDS:
        labels[row : row + height, col : col + width] = code
    return labels


def clusters() -> NDArray[np.int64]:
    """The number of the polygon of each pixel, -1 outside."""
    numbers = np.full((SIDE, SIDE), -1)
    for k, (row, col, height, width, _) in enumerate(FIELDS):
        numbers[row : row + height, col : col + width] = k
    return numbers


def noisy(errors: float, seed: int) -> NDArray[np.int32]:
    """A map that is wrong at a share of the pixels."""
    rng = np.random.default_rng(seed)
    wrong = rng.random((SIDE, SIDE)) < errors
    shifted = truth() % 3 + 1
    return np.where(wrong, shifted, np.maximum(truth(), 1)).astype(np.int32)


def write_truth(folder: Path, name: str = "labels.gpkg") -> None:
    left, top = ORIGIN
    rows = [
        (
            box(left + 10 * c, top - 10 * (r + h), left + 10 * (c + w), top - 10 * r),
            {"class": code},
        )
        for r, c, h, w, code in FIELDS
    ]
    write_vector(folder / name, rows)


def write_report(
    folder: Path, name: str, codes: NDArray[np.int32], **changes: Any
) -> dict[str, Any]:
    """Write a map and the report that `comix evaluate` has of it, computed here by itself."""
    map_path = write_raster(folder / f"{name}.tif", codes[np.newaxis].astype(np.uint8), nodata=0)
    kept = (truth() > 0) & (codes > 0)
    matrix = confusion_matrix(truth()[kept], codes[kept], (1, 2, 3))
    accuracy = Accuracy.from_matrix(matrix)
    document: dict[str, Any] = {
        "kind": "accuracy",
        "schema_version": 3,
        "pixels": int(matrix.sum()),
        "overall_accuracy": accuracy.overall_accuracy,
        "average_accuracy": accuracy.average_accuracy,
        "kappa": accuracy.kappa,
        "intervals": {"unit": "polygons"},
        "per_class": [
            {"code": k + 1, "name": str(k + 1), "producers_accuracy": share}
            for k, share in enumerate(accuracy.producers_accuracy)
        ],
        "confusion_matrix": {"counts": matrix.tolist()},
        "provenance": {
            "map": {"path": map_path.name, "checksum": checksum(map_path)},
            "ground_truth": {
                "path": "labels.gpkg",
                "checksum": checksum(folder / "labels.gpkg"),
                "field": "class",
                "layer": None,
                "crs": "EPSG:32633",
                "all_touched": False,
                "min_coverage": None,
                "kind": "polygons",
            },
        },
    } | changes
    (folder / f"{name}.json").write_text(json.dumps(document))
    return document


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with labels.gpkg, and maps with their reports: a, b (worse), c (much worse)."""
    write_truth(tmp_path)
    for seed, (name, errors) in enumerate((("a", 0.1), ("b", 0.2), ("c", 0.5))):
        write_report(tmp_path, name, noisy(errors, seed))
    return tmp_path


def rewritten(folder: Path, name: str, change: Any) -> None:
    document = json.loads((folder / f"{name}.json").read_text())
    change(document)
    (folder / f"{name}.json").write_text(json.dumps(document))


def document_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    document: dict[str, Any] = json.loads(outcome.out)
    return document


def expected_counts(one: NDArray[np.int32], other: NDArray[np.int32]) -> Mapping[str, int]:
    kept = (truth() > 0) & (one > 0) & (other > 0)
    first, second = (one == truth())[kept], (other == truth())[kept]
    return {
        "pixels": int(kept.sum()),
        "both_right": int((first & second).sum()),
        "only_first_right": int((first & ~second).sum()),
        "only_second_right": int((~first & second).sum()),
        "both_wrong": int((~first & ~second).sum()),
        "clusters": len(np.unique(clusters()[kept])),
    }


def test_two_maps_are_tested_on_the_pixels_of_both(world: Path) -> None:
    one, other = noisy(0.1, 0), noisy(0.2, 1)
    one[0:3, 0:5] = 0  # no data in a part of one polygon
    other[24:, 10:] = 0  # nor in a whole one
    write_report(world, "a", one)
    write_report(world, "b", other)
    (test,) = document_of(comix(world, "compare", "a.json", "b.json", "--json"))["mcnemar"]["tests"]
    counts = expected_counts(one, other)
    assert {key: test[key] for key in counts} == counts
    b, c = counts["only_first_right"], counts["only_second_right"]
    assert b + c >= 25
    assert test["statistic"] == pytest.approx((abs(b - c) - 1) ** 2 / (b + c))
    assert test["p_value"] == pytest.approx(stats.chi2.sf(test["statistic"], 1))
    assert test["method"] == "chi-square with continuity correction"
    assert test["difference"] == pytest.approx((b - c) / counts["pixels"])
    low, high = test["difference_95"]
    assert low < test["difference"] < high


def test_maps_that_differ_little_are_tested_exactly(world: Path) -> None:
    other = noisy(0.1, 0)
    other[0, 0:7] = np.where(other[0, 0:7] == 1, 2, 1)
    write_report(world, "b", other)
    (test,) = document_of(comix(world, "compare", "a.json", "b.json", "--json"))["mcnemar"]["tests"]
    b, c = test["only_first_right"], test["only_second_right"]
    assert b + c == 7
    assert (test["method"], test["statistic"]) == ("exact binomial", None)
    assert test["p_value"] == pytest.approx(stats.binomtest(b, b + c).pvalue)


def test_the_table_has_the_figures_of_the_reports(world: Path) -> None:
    document = document_of(comix(world, "compare", "ours=a.json", "b.json", "--json"))
    assert [method["name"] for method in document["methods"]] == ["ours", "b"]
    reports = [json.loads((world / f"{name}.json").read_text()) for name in "ab"]
    *classes, overall, average, kappa = document["rows"]
    assert [row["class"] for row in classes] == ["1", "2", "3"]
    for k, report in enumerate(reports):
        assert overall["values"][k]["mean"] == report["overall_accuracy"]
        assert average["values"][k]["mean"] == report["average_accuracy"]
        assert kappa["values"][k] == {
            "mean": report["kappa"],
            "standard_deviation": None,
            "runs": 1,
        }
        assert classes[1]["values"][k]["mean"] == report["per_class"][1]["producers_accuracy"]
    assert overall["best"] == ["ours"]


def test_text_marks_the_best_and_tells_what_it_shows(world: Path) -> None:
    outcome = comix(world, "compare", "a.json", "b.json")
    assert outcome.code == 0, outcome.err
    accuracy = json.loads((world / "a.json").read_text())["overall_accuracy"]
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("OA")]
    assert f" {100 * accuracy:.2f} *" in line
    assert line.count("*") == 1
    assert "Producer's accuracy of each class" in outcome.out
    assert f"over {int((truth() > 0).sum())} reference pixels" in " ".join(outcome.out.split())
    assert "runs" in outcome.out
    assert "McNemar's test takes pixels as independent" in outcome.out
    assert "±" not in outcome.out


def test_runs_of_a_name_become_a_mean_and_a_deviation(world: Path) -> None:
    for k in (1, 2, 3):
        write_report(world, f"x{k}", noisy(0.1 * k, 10 + k))
    runs = [f"X net=x{k}.json" for k in (1, 2, 3)]
    outcome = comix(world, "compare", "b.json", *runs, "--json")
    document = document_of(outcome)
    values = [json.loads((world / f"x{k}.json").read_text())["overall_accuracy"] for k in (1, 2, 3)]
    (row,) = [row for row in document["rows"] if row["measure"] == "overall_accuracy"]
    assert row["values"][1] == {
        "mean": pytest.approx(np.mean(values)),
        "standard_deviation": pytest.approx(np.std(values, ddof=1)),
        "runs": 3,
    }
    assert [test["run"] for test in document["mcnemar"]["tests"]] == [1]
    text = comix(world, "compare", "b.json", *runs).out
    assert f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}" in text


def test_runs_are_tested_in_pairs(world: Path) -> None:
    arguments = ("A=a.json", "B=b.json", "A=b.json", "B=c.json", "A=c.json")
    outcome = comix(world, "compare", *arguments, "--json")
    tests = document_of(outcome)["mcnemar"]["tests"]
    assert [test["run"] for test in tests] == [1, 2]
    second = expected_counts(noisy(0.2, 1), noisy(0.5, 2))
    assert {key: tests[1][key] for key in second} == second
    text = " ".join(comix(world, "compare", *arguments).out.split())
    assert "Run 1 of a method is tested against run 1" in text


def test_few_methods_are_tested_each_against_each(world: Path) -> None:
    few = document_of(comix(world, "compare", "a.json", "b.json", "c.json", "--json"))
    pairs = [(test["first"], test["second"]) for test in few["mcnemar"]["tests"]]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    alone = document_of(comix(world, "compare", "b.json", "c.json", "--json"))
    assert few["mcnemar"]["tests"][2] == alone["mcnemar"]["tests"][0]
    many = document_of(
        comix(
            world, "compare", *(f"{n}={'abc'[k % 3]}.json" for k, n in enumerate("vwxyz")), "--json"
        )
    )
    pairs = [(test["first"], test["second"]) for test in many["mcnemar"]["tests"]]
    assert pairs == [("v", "w"), ("v", "x"), ("v", "y"), ("v", "z")]


def test_csv_is_a_table_and_the_tests(world: Path) -> None:
    outcome = comix(world, "compare", "A=a.json", "A=b.json", "C, c=c.json", "--csv")
    assert outcome.code == 0, outcome.err
    rows = list(csv.reader(io.StringIO(outcome.out)))
    blank = rows.index([])
    assert rows[0] == ["figure (x 100)", "A", "A std", "C, c", "C, c std"]
    assert [row[0] for row in rows[1:blank]] == ["1", "2", "3", "OA", "AA", "kappa", "runs"]
    assert rows[blank - 1] == ["runs", "2", "", "1", ""]
    assert all(len(row) == 5 for row in rows[:blank])
    head, test, empty, *notes = rows[blank + 1 :]
    assert empty == []
    assert notes[0][1].startswith("Producer's accuracy of each class")
    record = dict(zip(head, test, strict=True))
    assert int(record["pixels"]) == int((truth() > 0).sum())
    assert float(record["difference_low_95"]) <= float(record["difference"])


def test_latex_escapes_names_and_prints_the_best_bold(world: Path) -> None:
    strange = "50 % & more_{x} [a]"
    rewritten(world, "a", lambda d: d["per_class"][0].update(name=strange))
    rewritten(world, "b", lambda d: d["per_class"][0].update(name=strange))
    outcome = comix(world, "compare", "my_net=a.json", "b.json", "--latex")
    assert outcome.code == 0, outcome.err
    assert r"50 \% \& more\_\{x\} {[}a] & " in outcome.out
    assert r"my\_net" in outcome.out
    assert outcome.out.count(r"\toprule") == outcome.out.count(r"\bottomrule") == 2
    (overall,) = [line for line in outcome.out.splitlines() if line.startswith("OA")]
    assert overall.startswith(r"OA & \textbf{")
    assert overall.endswith(r"\\")
    assert overall.count(r"\textbf") == 1
    body = outcome.out.split(r"\toprule")[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in lines} == {2}


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tex", ".json"])
def test_the_suffix_of_the_output_chooses_its_format(world: Path, suffix: str) -> None:
    flag = {".txt": [], ".csv": ["--csv"], ".tex": ["--latex"], ".json": ["--json"]}[suffix]
    arguments = ("compare", "a.json", "b.json", *flag, "-o", f"table{suffix}")
    outcome = comix(world, *arguments)
    assert outcome.code == 0, outcome.err
    assert (world / f"table{suffix}").read_text() == outcome.out
    again = comix(world, *arguments)
    assert (again.code, "--overwrite" in again.error) == (1, True)
    assert comix(world, *arguments, "--overwrite").code == 0


def test_names_of_methods_are_unique_and_an_equals_sign_may_be_part_of_a_path(
    world: Path,
) -> None:
    folder = world / "lr=0.1"
    folder.mkdir()
    (folder / "a.json").write_bytes((world / "a.json").read_bytes())
    (world / "x=b.json").write_bytes((world / "b.json").read_bytes())
    outcome = comix(world, "compare", "a.json", "lr=0.1/a.json", "x=b.json", "--json")
    names = [method["name"] for method in document_of(outcome)["methods"]]
    assert names == ["a", "a (2)", "x=b"]


def test_a_class_that_some_lack_is_a_dash_and_a_warning(world: Path) -> None:
    rewritten(world, "b", lambda d: d["per_class"].pop(1))
    outcome = comix(world, "compare", "a.json", "b.json")
    assert "b.json: has no class '2', which other reports have" in outcome.err
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("2 ")]
    assert line.endswith(" -")
    assert "*" not in line


def test_files_are_found_beside_the_report(world: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    outcome = comix(elsewhere, "compare", world / "a.json", world / "b.json", "--json")
    assert len(document_of(outcome)["mcnemar"]["tests"]) == 1
    rewritten(world, "a", lambda d: d["provenance"]["map"].update(path="/long/gone/a.tif"))
    outcome = comix(elsewhere, "compare", world / "a.json", world / "b.json", "--json")
    assert len(document_of(outcome)["mcnemar"]["tests"]) == 1


def change_the_map(folder: Path) -> None:
    write_raster(folder / "b.tif", noisy(0.3, 9)[np.newaxis].astype(np.uint8), nodata=0)


def remove_the_map(folder: Path) -> None:
    (folder / "b.tif").unlink()


def change_the_truth(folder: Path) -> None:
    frame = geopandas.read_file(folder / "labels.gpkg")
    frame[1:].to_file(folder / "labels.gpkg")


def another_truth(folder: Path) -> None:
    write_truth(folder, "other.gpkg")
    frame = geopandas.read_file(folder / "other.gpkg")
    frame[1:].to_file(folder / "other.gpkg")
    record = {"path": "other.gpkg", "checksum": checksum(folder / "other.gpkg")}
    rewritten(folder, "b", lambda d: d["provenance"]["ground_truth"].update(record))


def another_rule(folder: Path) -> None:
    rewritten(folder, "b", lambda d: d["provenance"]["ground_truth"].update(all_touched=True))


def another_grid(folder: Path) -> None:
    codes = noisy(0.2, 1)[np.newaxis, 1:].astype(np.uint8)
    path = write_raster(folder / "b.tif", codes, nodata=0, origin=(ORIGIN[0], ORIGIN[1] - 10))
    rewritten(folder, "b", lambda d: d["provenance"]["map"].update(checksum=checksum(path)))


def other_figures(folder: Path) -> None:
    rewritten(folder, "b", lambda d: d.update(pixels=d["pixels"] - 1))


def nothing_shared(folder: Path) -> None:
    one, other = noisy(0.1, 0), noisy(0.2, 1)
    one[:12] = 0
    other[12:] = 0
    write_report(folder, "a", one)
    write_report(folder, "b", other)


def no_provenance(folder: Path) -> None:
    rewritten(folder, "b", lambda d: d.pop("provenance"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (change_the_map, "b.tif: has changed since b.json was written"),
        (remove_the_map, "b.tif: is not there, and b.json is about it"),
        (change_the_truth, "labels.gpkg: has changed since a.json was written"),
        (another_truth, "a.json and b.json are not of the same ground truth, field, rule"),
        (another_rule, "a.json and b.json are not of the same ground truth, field, rule"),
        (another_grid, "the maps of a.json and b.json are not on the same grid"),
        (other_figures, "b.json cannot be counted again from its map and ground truth"),
        (nothing_shared, "no reference pixel is classified by both maps of a.json and b.json"),
        (no_provenance, "b.json: does not say which map and ground truth it is of"),
    ],
)
def test_where_pixels_cannot_be_counted_the_table_stands_alone(
    world: Path, spoil: Any, reason: str
) -> None:
    spoil(world)
    outcome = comix(world, "compare", "a.json", "b.json")
    assert outcome.code == 0, outcome.err
    assert f"Warning: McNemar's test of a and b is left out: {reason}" in outcome.err
    assert "OA" in outcome.out
    assert "McNemar" not in outcome.out
    document = document_of(comix(world, "compare", "a.json", "b.json", "--json"))
    assert document["mcnemar"]["tests"] == []
    (left_out,) = document["mcnemar"]["left_out"]
    assert left_out["reason"].startswith(reason)


def test_one_reason_is_told_once_and_spares_the_other_pairs(world: Path) -> None:
    remove_the_map(world)
    outcome = comix(world, "compare", "a.json", "b.json", "c.json", "--json")
    document = document_of(outcome)
    assert [(t["first"], t["second"]) for t in document["mcnemar"]["tests"]] == [("a", "c")]
    assert outcome.err.count("is left out") == 1
    assert "McNemar's test of a and b, b and c is left out: b.tif" in outcome.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ("", "is not a JSON document"),
        ("II*\0\udc80", "is not a JSON document"),
        ("{", "is not a JSON document"),
        ("[1]", "is not a JSON document"),
        ("{}", "is not an accuracy report"),
        ('{"kind": "model"}', "is a document of kind 'model', not an accuracy report"),
        ('{"schema_version": 9, "per_class": []}', "version 9; this comix reads 2 and 3"),
        ('{"schema_version": 1, "per_class": []}', "version 1; this comix reads 2 and 3"),
        ('{"schema_version": 3, "per_class": []}', "damaged accuracy report (KeyError: "),
        (
            '{"schema_version": 3, "per_class": [], "confusion_matrix": {"counts": []}, '
            '"pixels": 5, "overall_accuracy": NaN}',
            "damaged accuracy report (ValueError: nan is no share)",
        ),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(
    world: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (world / "x.json").write_text(text, errors="surrogateescape")
    refused = comix(world, "compare", "a.json", "x.json")
    assert refused.code == 1
    assert refused.error.startswith("Error: x.json: ")
    assert message in refused.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.json",), "1 report cannot be compared"),
        ((), "Missing argument"),
        (("a.json", "=b.json"), "'=b.json' is not NAME=REPORT"),
        (("A=a.json", "A=./a.json"), "A=./a.json is given twice"),
        (("a.json", "b.json", "--json", "--latex"), "--json and --latex all want stdout"),
        (("a.json", "b.json", "-o", "table.html"), "written as .txt, .csv, .tex or .json"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    world: Path, arguments: tuple[str, ...], message: str
) -> None:
    refused = comix(world, "compare", *arguments)
    assert refused.code == 2
    assert message in refused.error


def test_what_is_compared_is_never_overwritten(world: Path) -> None:
    refused = comix(world, "compare", "a.json", "X=b.json", "-o", "b.json", "--overwrite")
    assert refused.code == 1
    assert "b.json: is an input of this run" in refused.error
    (world / "labels.gpkg").rename(world / "labels.json")
    rewritten(world, "a", lambda d: d["provenance"]["ground_truth"].update(path="labels.json"))
    refused = comix(world, "compare", "a.json", "c.json", "-o", "labels.json", "--overwrite")
    assert "labels.json: is an input of this run" in refused.error


def test_reports_of_version_2_say_less_and_do(world: Path) -> None:
    def age(document: dict[str, Any]) -> None:
        del document["kind"]
        document |= {"schema_version": 2, "intervals": {"polygons": 8}}
        for key in ("layer", "crs", "all_touched", "min_coverage", "kind"):
            del document["provenance"]["ground_truth"][key]

    new = document_of(comix(world, "compare", "a.json", "b.json", "--json"))
    rewritten(world, "a", age)
    mixed = document_of(comix(world, "compare", "a.json", "b.json", "--json"))
    rewritten(world, "b", age)
    old = document_of(comix(world, "compare", "a.json", "b.json", "--json"))
    assert old["mcnemar"] == mixed["mcnemar"] == new["mcnemar"]
    assert old["rows"] == new["rows"]


def label_raster(folder: Path) -> tuple[str, ...]:
    write_raster(folder / "labels.tif", truth()[np.newaxis].astype(np.uint8), nodata=0)
    return ("--gt", "labels.tif")


def sample(folder: Path) -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    rows, cols = np.divmod(rng.choice(SIDE * SIDE, 120, replace=False), SIDE)
    columns = [
        (
            Point(ORIGIN[0] + 10 * col + 5, ORIGIN[1] - 10 * row - 5),
            {"stratum": 1, "stratum_pixels": SIDE * SIDE, "class": int(truth()[row, col])},
        )
        for row, col in zip(rows, cols, strict=True)
    ]
    write_vector(folder / "sample.gpkg", columns)
    return ("--design", "sample.gpkg")


def polygons(folder: Path, *rule: str) -> tuple[str, ...]:
    frame = geopandas.read_file(folder / "labels.gpkg")
    frame.geometry = frame.geometry.translate(3, -4)  # no longer whole pixels
    frame.to_file(folder / "shifted.gpkg")
    return ("--gt", "shifted.gpkg", *rule)


@pytest.mark.parametrize(
    ("ground_truth", "unit"),
    [
        (polygons, "polygons"),
        (lambda folder: polygons(folder, "--all-touched"), "polygons"),
        (lambda folder: polygons(folder, "--min-coverage", "0.3"), "polygons"),
        (label_raster, "blocks of 64 x 64 pixels"),
        (sample, "samples"),
    ],
)
def test_pixels_are_counted_again_as_evaluate_counts_them(
    world: Path, ground_truth: Any, unit: str
) -> None:
    options = ground_truth(world)
    for name in "ab":
        arguments = (f"{name}.tif", *options, "-o", f"{name}.json", "--overwrite")
        evaluated = comix(world, "evaluate", *arguments)
        assert evaluated.code == 0, evaluated.err
    (test,) = document_of(comix(world, "compare", "a.json", "b.json", "--json"))["mcnemar"]["tests"]
    one, other = (json.loads((world / f"{name}.json").read_text()) for name in "ab")
    assert test["pixels"] == one["pixels"] == other["pixels"] > 50
    assert test["clusters"] == one["intervals"]["clusters"]
    assert test["unit"] == unit
    text = " ".join(comix(world, "compare", "a.json", "b.json").out.split())
    assert ("those of one cluster are not" in text) == (unit != "samples")
    assert ("All pixels of a sample count alike" in text) == (unit == "samples")
    accuracies = one["overall_accuracy"] - other["overall_accuracy"]
    assert test["difference"] == pytest.approx(accuracies)


def test_reports_of_evaluate_are_compared(finished: Path, tmp_path: Path) -> None:
    for name, extra in (("one", ()), ("two", ("--all-touched",))):
        evaluated = comix(
            finished, "evaluate", "map.tif", "--gt", "labels.gpkg", *extra,
            "-o", tmp_path / f"{name}.json",
        )  # fmt: skip
        assert evaluated.code == 0, evaluated.err
    (tmp_path / "same.json").write_bytes((tmp_path / "one.json").read_bytes())
    reports = [tmp_path / f"{name}.json" for name in ("one", "same", "two")]
    outcome = comix(finished, "compare", *reports, "--json")
    document = document_of(outcome)
    (test,) = document["mcnemar"]["tests"]
    report = json.loads((tmp_path / "one.json").read_text())
    assert (test["first"], test["second"]) == ("one", "same")
    assert test["pixels"] == report["pixels"]
    assert test["only_first_right"] == test["only_second_right"] == 0
    assert (test["p_value"], test["difference"]) == (1, 0)
    assert [row["class"] for row in document["rows"][:3]] == ["grass", "roof", "tree"]
