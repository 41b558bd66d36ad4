"""The accuracy report as a document, JSON and CSV."""

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest

from comix_cli.accuracy.bootstrap import Contributions, cluster_spreads
from comix_cli.accuracy.confusion import Accuracy
from comix_cli.accuracy.estimate import by_map_class
from comix_cli.accuracy.report import PER_CLASS, AreaWeighted, Clustered, report_document
from comix_cli.accuracy.report_text import to_csv_text, to_json_text

MATRIX = np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]])
CLASSES = [(1, "roof"), (4, 'water, "deep"'), (9, "Wald – Nadel")]


ONE_POLYGON = Clustered(None, "polygons", 1, 1000, 0)


@pytest.fixture
def document() -> dict[str, Any]:
    excluded: dict[str, Any] = {"outside the map": 3, "map has no class": np.int64(2)}
    return report_document(MATRIX, CLASSES, excluded, ONE_POLYGON, provenance={"map": "map.tif"})


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
        **{f"{key}_{end}": None for key in PER_CLASS for end in ("95", "se")},
    }


def test_disagreement_is_of_quantity_and_of_allocation(document: dict[str, Any]) -> None:
    # roof: 8 in the reference and 7 in the map; water 2 and 3; 3 of 10 wrong
    assert document["quantity_disagreement"] == pytest.approx(0.1)
    assert document["allocation_disagreement"] == pytest.approx(0.2)


def test_means_are_of_the_classes_that_have_the_figure(document: dict[str, Any]) -> None:
    means = document["means"]
    assert means["macro"]["producers_accuracy"] == pytest.approx((6 / 8 + 1 / 2) / 2)
    assert means["weighted"]["producers_accuracy"] == pytest.approx(0.7)
    assert means["weighted"]["users_accuracy"] == pytest.approx(0.8 * 6 / 7 + 0.2 / 3)


def test_estimates_for_the_whole_map_stand_beside_the_counts() -> None:
    matrix, pixels = np.array([[66, 0, 1, 2], [0, 55, 0, 1], [5, 8, 153, 9], [4, 12, 11, 313]]), (
        200_000, 150_000, 3_200_000, 6_450_000,
    )  # fmt: skip
    classes = [(i + 1, name) for i, name in enumerate(("loss", "gain", "forest", "other"))]
    areas = [900.0 * n for n in pixels]
    area = AreaWeighted(by_map_class(matrix, areas), pixels, areas, sum(areas), [], False, None)
    document = report_document(matrix, classes, {}, ONE_POLYGON, area)
    weighted = document["area_weighted"]
    assert weighted["estimator"] == "Olofsson et al. 2014"
    assert weighted["intervals"] == "1.96 standard errors"
    low, high = weighted["overall_accuracy"]["interval_95"]
    assert ((low + high) / 2, (high - low) / 2) == pytest.approx((0.9465, 0.0185), abs=5e-5)
    loss = weighted["per_class"][0]
    assert loss["area_m2"]["value"] / 1e4 == pytest.approx(21157.8, abs=0.05)
    assert loss["mapped_area_m2"] / 1e4 == pytest.approx(18_000)
    low, high = loss["area_m2"]["interval_95"]
    assert (high - low) / 2e4 == pytest.approx(6157.6, abs=0.05)
    text = to_csv_text(document)
    assert "estimate for the whole map (Olofsson et al. 2014)" in text
    assert json.loads(to_json_text(document)) == json.loads(to_json_text(document))


def test_intervals_of_polygons_take_the_place_of_the_estimators_own() -> None:
    found = Contributions(
        np.array([0, 0, 1, 2, 3, 4, 5]), np.array([0, 1, 0, 1, 1, 0, 1]),
        np.array([0, 0, 0, 1, 1, 0, 1]), np.array([5, 2, 3, 4, 2, 4, 1]), 2,
    )  # fmt: skip
    pixels = np.array([80, 20])
    clustered = Clustered(
        cluster_spreads(found, pixels, replicates=99, seed=0), "polygons", 6, 99, 0
    )
    estimates = by_map_class(found.matrix(), pixels.tolist())
    areas = (pixels * 2.0).tolist()
    area = AreaWeighted(estimates, pixels.tolist(), areas, 200.0, [], False, clustered)
    document = report_document(found.matrix(), CLASSES[:2], {}, clustered, area)
    assert document["intervals"]["method"] == "bootstrap over polygons, percentiles"
    weighted = document["area_weighted"]
    assert weighted["intervals"] == "bootstrap over polygons, percentiles"
    assert weighted["overall_accuracy"]["value"] == estimates.overall_accuracy.value
    assert clustered.spreads is not None
    spread = clustered.spreads.area_weighted.overall_accuracy
    assert spread is not None
    assert weighted["overall_accuracy"]["standard_error"] == spread.standard_error
    share = weighted["per_class"][0]["area_share"]["value"]
    assert weighted["per_class"][0]["area_m2"]["value"] == pytest.approx(200 * share)


def test_one_polygon_tells_nothing_of_how_far_a_figure_may_be_off() -> None:
    pixels, areas = (5, 5, 0), (45.0, 45.0, 0.0)
    area = AreaWeighted(by_map_class(MATRIX, pixels), pixels, areas, 90.0, [], False, ONE_POLYGON)
    weighted = report_document(MATRIX, CLASSES, {}, ONE_POLYGON, area)["area_weighted"]
    assert weighted["overall_accuracy"]["value"] is not None
    assert weighted["overall_accuracy"]["interval_95"] is None
    assert weighted["overall_accuracy"]["standard_error"] is None


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
    assert set(classes[3][4:]) == {""}
    assert "rows = reference" in matrix[0][0]
    assert matrix[0][1] == "predicted: roof"
    assert matrix[1] == ["reference: roof", "6", "2", "0"]
    assert ["overall_accuracy", "0.7", "", "", ""] in totals
    assert excluded[1:] == [["outside the map", "3"], ["map has no class", "2"]]


def test_a_report_without_pixels_is_still_a_report() -> None:
    empty = report_document(np.zeros((1, 1), np.int64), [(1, "roof")], {}, ONE_POLYGON)
    assert empty["overall_accuracy"] is None
    assert empty["per_class"][0]["users_accuracy"] is None
    to_csv_text(empty)


def test_classes_and_matrix_must_fit() -> None:
    with pytest.raises(ValueError, match="2 classes do not describe a matrix of 3"):
        report_document(MATRIX, CLASSES[:2], {}, ONE_POLYGON)
