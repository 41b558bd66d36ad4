"""comix evaluate with the classes and the demands that users have."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pytest
from cli import Outcome, comix


def relabelled(finished: Path, folder: Path, names: dict[str, str]) -> Path:
    """The ground truth of the scene with other names for its classes."""
    frame = geopandas.read_file(finished / "labels.gpkg")[["class", "geometry"]]
    frame["class"] = [names.get(name, name) for name in frame["class"]]
    frame.to_file(folder / "other.gpkg")
    return folder / "other.gpkg"


def evaluate(finished: Path, folder: Path, *more: str | Path) -> Outcome:
    return comix(
        folder, "evaluate", finished / "map.tif", "--gt", "other.gpkg", "--field", "class", *more
    )


def pixels_of(outcome: Outcome) -> int:
    assert outcome.code == 0, outcome.err
    return int(json.loads(outcome.out)["pixels"])


def test_names_that_differ_by_case_and_spaces_are_the_same(finished: Path, tmp_path: Path) -> None:
    relabelled(finished, tmp_path, {})
    whole = pixels_of(evaluate(finished, tmp_path, "--json"))
    relabelled(finished, tmp_path, {"roof": "ROOF", "tree": " Tree "})
    outcome = evaluate(finished, tmp_path, "--json")
    assert pixels_of(outcome) == whole
    assert "has no class" not in outcome.err


def test_a_table_says_what_the_map_calls_a_class(finished: Path, tmp_path: Path) -> None:
    relabelled(finished, tmp_path, {})
    whole = pixels_of(evaluate(finished, tmp_path, "--json"))
    relabelled(finished, tmp_path, {"roof": "Dach", "tree": "Baum"})
    (tmp_path / "names.csv").write_text("here,map\nDach,roof\n\nBaum, tree\n", encoding="utf-8-sig")
    outcome = evaluate(finished, tmp_path, "--class-map", "names.csv", "--json")
    assert pixels_of(outcome) == whole


def test_several_classes_may_be_one_of_the_map(finished: Path, tmp_path: Path) -> None:
    relabelled(finished, tmp_path, {"roof": "tiles", "tree": "tiles"})
    (tmp_path / "names.csv").write_text("here,map\ntiles,1\n")
    document = json.loads(evaluate(finished, tmp_path, "--class-map", "names.csv", "--json").out)
    pixels = {entry["code"]: entry["reference_pixels"] for entry in document["per_class"]}
    assert pixels[1] == document["pixels"]


def test_classes_that_the_map_lacks_are_named_and_counted(finished: Path, tmp_path: Path) -> None:
    relabelled(finished, tmp_path, {"roof": "volcano"})
    outcome = evaluate(finished, tmp_path, "--json")
    document = json.loads(outcome.out)
    lost = document["provenance"]["ground_truth"]["unmapped_classes"]
    assert lost == {"volcano": document["excluded"]["unmapped_class"]}
    assert lost["volcano"] > 0
    assert f"the map has no class 'volcano': {lost['volcano']} pixels" in outcome.err
    assert "is 'class' the right field?" in outcome.err


def test_the_training_grounds_are_no_test(finished: Path, tmp_path: Path) -> None:
    outcome = comix(finished, "evaluate", "map.tif", "--gt", "labels.gpkg")
    assert "the model was trained on this very file" in outcome.err
    relabelled(finished, tmp_path, {})
    assert "trained on this very file" not in evaluate(finished, tmp_path).err


def test_intervals_take_polygons_as_the_sample(finished: Path, tmp_path: Path) -> None:
    path = relabelled(finished, tmp_path, {"roof": "tree"})
    outcome = evaluate(finished, tmp_path, "--json")
    document = json.loads(outcome.out)
    intervals = document["intervals"]
    assert (intervals["clusters"], intervals["unit"]) == (
        len(geopandas.read_file(path)),
        "polygons",
    )
    low, high = intervals["overall_accuracy"]
    assert low < document["overall_accuracy"] < high
    tree = next(entry for entry in document["per_class"] if entry["name"] == "tree")
    assert tree["producers_accuracy_95"][0] <= tree["producers_accuracy"]
    assert json.loads(evaluate(finished, tmp_path, "--json").out)["intervals"] == intervals
    table = evaluate(finished, tmp_path)
    assert f"(95 % interval {100 * low:.2f} to {100 * high:.2f} %" in table.out
    head, *rows = evaluate(finished, tmp_path, "--csv").out.splitlines()
    assert head.endswith("iou_se,iou_low_95,iou_high_95")
    assert rows[0].count(",") == head.count(",")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("here,map\n", "renames nothing"),
        ("here,map\nDach\n", "row 2 does not have two columns: Dach"),
        ("here,map\nDach,\n", "row 2 does not have two columns"),
        ("here,map\nDach,roof\nDach,tree\n", "'Dach' is renamed twice"),
        (None, "cannot be read as a table of class names"),
    ],
)
def test_a_table_that_is_none_is_refused(
    finished: Path, tmp_path: Path, table: str | None, message: str
) -> None:
    relabelled(finished, tmp_path, {})
    if table is not None:
        (tmp_path / "names.csv").write_text(table)
    refused = evaluate(finished, tmp_path, "--class-map", "names.csv")
    assert refused.code == 1
    assert f"names.csv: {message}" in refused.error


def test_a_map_that_is_too_bad_ends_with_code_4_and_its_report(
    finished: Path, tmp_path: Path
) -> None:
    relabelled(finished, tmp_path, {"roof": "tree", "tree": "roof"})
    found = json.loads(evaluate(finished, tmp_path, "--json").out)["overall_accuracy"]
    least = f"{found + 0.01:.4f}"
    missed = evaluate(finished, tmp_path, "--min-oa", least, "-o", "report.json")
    assert missed.code == 4
    assert f"overall accuracy is {100 * found:.2f} %, and --min-oa wants" in missed.error
    assert json.loads((tmp_path / "report.json").read_text())["overall_accuracy"] == found
    assert evaluate(finished, tmp_path, "--min-oa", f"{found - 0.01:.4f}").code == 0
    assert evaluate(finished, tmp_path, "--min-oa", "80").code == 2


def test_a_report_is_a_page_as_well(finished: Path, tmp_path: Path) -> None:
    relabelled(finished, tmp_path, {})
    outcome = evaluate(finished, tmp_path, "-o", "report.csv", "--report", "report.html")
    assert outcome.code == 0, outcome.err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "data:image/png;base64," in page  # where the map is right and wrong
    figures = json.loads(evaluate(finished, tmp_path, "--json").out)
    assert f"{100 * figures['overall_accuracy']:.2f}" in page
    assert (tmp_path / "report.csv").read_text().startswith("code,name")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--report", "report.json"), 2, "--report report.json: a report is written as .html"),
        (("-o", "report.txt"), 2, "-o report.txt: a report is written as .json"),
        (("-o", "a.html", "--report", "a.html"), 2, "-o and --report both name a.html"),
        (("-o", "other.gpkg"), 2, "a report is written as"),
        (("--report", "nowhere/a.html"), 1, "nowhere"),
    ],
)
def test_reports_that_cannot_be_are_refused_before_the_work(
    finished: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    relabelled(finished, tmp_path, {})
    refused = evaluate(finished, tmp_path, *arguments)
    assert refused.code == code
    assert message in refused.error


def test_no_report_replaces_the_table_of_class_names(finished: Path, tmp_path: Path) -> None:
    relabelled(finished, tmp_path, {"roof": "Dach"})
    (tmp_path / "names.csv").write_text("here,map\nDach,roof\n")
    asked = ("--class-map", "names.csv", "-o", "names.csv", "--overwrite")
    refused = evaluate(finished, tmp_path, *asked)
    assert refused.code == 1
    assert "names.csv" in refused.error
    assert (tmp_path / "names.csv").read_text() == "here,map\nDach,roof\n"


def test_a_page_replaces_another_only_when_told_to(finished: Path, tmp_path: Path) -> None:
    relabelled(finished, tmp_path, {})
    (tmp_path / "report.html").write_text("old")
    assert "exists already" in evaluate(finished, tmp_path, "--report", "report.html").error
    assert (tmp_path / "report.html").read_text() == "old"
    assert evaluate(finished, tmp_path, "--report", "report.html", "--overwrite").code == 0


def test_a_table_of_names_without_use_is_refused(finished: Path, tmp_path: Path) -> None:
    relabelled(finished, tmp_path, {"roof": "Dach"})
    for row, message in (
        ("Dach,building", "--class-map calls its class 'Dach' 'building', which"),
        ("Ziegel,roof", "--class-map renames 'Ziegel', which is no class here"),
    ):
        (tmp_path / "names.csv").write_text(f"here,map\n{row}\n")
        refused = evaluate(finished, tmp_path, "--class-map", "names.csv")
        assert refused.code == 1
        assert message in refused.error
    (tmp_path / "names.csv").write_text("here;map\nDach;roof\n")  # as some spreadsheets write it
    assert evaluate(finished, tmp_path, "--class-map", "names.csv").code == 0


def test_a_map_is_no_ground_truth_for_itself(finished: Path) -> None:
    refused = comix(finished, "evaluate", "map.tif", "--gt", "map.tif")
    assert refused.code == 2
    assert "is the map and the ground truth at once" in refused.error
