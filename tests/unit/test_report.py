"""The accuracy report as a document, JSON and CSV."""

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest

from comix_cli.accuracy.confusion import Accuracy
from comix_cli.accuracy.report import report_document, to_csv_text, to_json_text

MATRIX = np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]])
CLASSES = [(1, "roof"), (4, 'water, "deep"'), (9, "Wald – Nadel")]


@pytest.fixture
def document() -> dict[str, Any]:
    excluded: dict[str, Any] = {"outside the map": 3, "map has no class": np.int64(2)}
    return report_document(MATRIX, CLASSES, excluded, provenance={"map": "map.tif"})


def test_overall_figures_are_those_of_the_matrix(document: dict[str, Any]) -> None:
    accuracy = Accuracy.from_matrix(MATRIX)
    assert document["overall_accuracy"] == accuracy.overall_accuracy
    assert document["average_accuracy"] == accuracy.average_accuracy
    assert document["kappa"] == accuracy.kappa
    assert document["pixels"] == 10
    assert document["excluded"] == {"outside the map": 3, "map has no class": 2}
    assert document["provenance"] == {"map": "map.tif"}


def test_every_class_has_its_row(document: dict[str, Any]) -> None:
    assert document["per_class"][1] == {
        "code": 4,
        "name": 'water, "deep"',
        "reference_pixels": 2,
        "predicted_pixels": 3,
        "producers_accuracy": 0.5,
        "users_accuracy": 1 / 3,
        "f1": 0.4,
        "iou": 0.25,
    }


def test_the_matrix_says_which_axis_is_the_reference(document: dict[str, Any]) -> None:
    matrix = document["confusion_matrix"]
    assert matrix["axes"].startswith("rows = reference")
    assert matrix["codes"] == [1, 4, 9]
    assert matrix["counts"] == [[6, 2, 0], [1, 1, 0], [0, 0, 0]]
    assert matrix["names"] == [name for _, name in CLASSES]


def test_json_has_null_for_what_is_undefined(document: dict[str, Any]) -> None:
    parsed = json.loads(to_json_text(document))
    assert parsed["per_class"][2]["f1"] is None
    assert parsed["per_class"][2]["name"] == "Wald – Nadel"
    assert parsed["overall_accuracy"] == 0.7


def test_json_never_has_nan() -> None:
    text = to_json_text({"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": (1.5,)})
    assert json.loads(text) == {"a": None, "b": [None, {"c": None}], "d": [1.5]}


def test_numbers_survive_json_to_the_last_bit(document: dict[str, Any]) -> None:
    assert json.loads(to_json_text(document))["kappa"] == document["kappa"]


def test_csv_has_classes_matrix_totals_and_exclusions(document: dict[str, Any]) -> None:
    blocks = [list(csv.reader(io.StringIO(block))) for block in to_csv_text(document).split("\n\n")]
    classes, matrix, totals, excluded = blocks
    assert classes[2][:2] == ["4", 'water, "deep"']
    assert classes[3][4:] == ["", "", "", ""]
    assert "rows = reference" in matrix[0][0]
    assert matrix[0][1] == "predicted: roof"
    assert matrix[1] == ["reference: roof", "6", "2", "0"]
    assert ["overall_accuracy", "0.7"] in totals
    assert excluded[1:] == [["outside the map", "3"], ["map has no class", "2"]]


def test_a_report_without_pixels_is_still_a_report() -> None:
    empty = report_document(np.zeros((1, 1), np.int64), [(1, "roof")], {})
    assert empty["overall_accuracy"] is None
    assert empty["per_class"][0]["users_accuracy"] is None
    to_csv_text(empty)


def test_classes_and_matrix_must_fit() -> None:
    with pytest.raises(ValueError, match="2 classes do not describe a matrix of 3"):
        report_document(MATRIX, CLASSES[:2], {})
