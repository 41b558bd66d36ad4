"""The schema of the accuracy report: what it takes, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from reports import report

from comix_cli.accuracy.report_schema import report_schema

DELETED = object()


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(report_schema())


def changed(path: str, value: Any) -> dict[str, Any]:
    """A full report with another value in one place."""
    document = report()
    *parents, last = (int(key) if key.isdecimal() else key for key in path.split("/"))
    place: Any = document
    for key in parents:
        place = place[key]
    if value is DELETED:
        del place[last]
    else:
        place[last] = value
    return document


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every subschema that lists properties."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)


def without_figures(value: Any, key: str = "") -> Any:
    """A report whose figures, and the intervals of them, are all undefined."""
    if isinstance(value, dict):
        return {key: without_figures(item, key) for key, item in value.items()}
    if isinstance(value, list) and value and not isinstance(value[0], float):
        return [without_figures(item) for item in value]
    is_figure = isinstance(value, float | list) and key not in ("level", "unsampled")
    return None if is_figure else value


def test_it_is_a_schema_and_knows_its_version() -> None:
    schema = report_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(f":{schema['properties']['schema_version']['const']}")


def test_every_listed_key_is_required_and_no_other_is_allowed() -> None:
    for schema in objects(report_schema()):
        assert sorted(schema["required"]) == sorted(schema["properties"]), schema
        assert schema["additionalProperties"] is False, schema


@pytest.mark.parametrize("classes", [1, 2, 6, 50])
def test_full_reports_are_valid(validator: Draft202012Validator, classes: int) -> None:
    validator.validate(report([f"class {i}" for i in range(classes)]))


def test_a_report_without_intervals_is_valid(validator: Draft202012Validator) -> None:
    validator.validate(report(("roof", "soil"), pixels=40, polygons=1))


def test_every_figure_may_be_null(validator: Draft202012Validator) -> None:
    document = without_figures(report())
    assert document["area_weighted"]["per_class"][0]["area_m2"]["interval_95"] is None
    validator.validate(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("area_weighted", None),
        ("provenance/design", {"path": "strata.csv", "checksum": None}),
        ("provenance/ground_truth/kind", "raster"),
        ("provenance/ground_truth/min_coverage", 0.5),
        ("provenance/ground_truth/unmapped_classes", {"ice": 12}),
        ("intervals/unit", "blocks of 64 x 64 pixels"),
        ("intervals/method", "bootstrap over points, percentiles"),
        ("area_weighted/intervals", "bootstrap over polygons, percentiles"),
        ("area_weighted/strata", "sample design"),
        ("area_weighted/estimator", "Stehman 2014"),
        ("kappa", -0.3),
    ],
)
def test_variants_are_valid(validator: Draft202012Validator, path: str, value: Any) -> None:
    validator.validate(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("kind", "map"),
        ("schema_version", 2),
        ("pixels", 1.5),
        ("pixels", -1),
        ("overall_accuracy", 1.01),
        ("overall_accuracy", "0.9"),
        ("kappa", -1.2),
        ("kappa", DELETED),
        ("extra", 1),
        ("intervals/level", 0.9),
        ("intervals/method", "guessing"),
        ("intervals/unit", "parcels"),
        ("intervals/overall_accuracy", [0.5]),
        ("intervals/overall_accuracy", [0.5, 0.6, 0.7]),
        ("intervals/overall_accuracy", [0.5, 1.2]),
        ("intervals/kappa", [-2, 0]),
        ("intervals/standard_errors/kappa", -0.1),
        ("means/macro/f1", DELETED),
        ("per_class/0/iou_95", DELETED),
        ("per_class/0/name", None),
        ("per_class/0/notes", "x"),
        ("per_class/0/f1_se", "small"),
        ("area_weighted/estimator", "somebody"),
        ("area_weighted/intervals", "2 standard errors"),
        ("area_weighted/overall_accuracy", 0.8),
        ("area_weighted/per_class/0/area_m2/value", -1),
        ("area_weighted/per_class/0/area_m2/interval_95", [-1, 1]),
        ("confusion_matrix/axes", "rows = map"),
        ("confusion_matrix/codes", [1, 1]),
        ("confusion_matrix/counts/0/0", -1),
        ("excluded/nodata", DELETED),
        ("overlaps/listed/0/features", [1]),
        ("overlaps/listed/0/classes", ["a", "b", "c"]),
        ("provenance/ground_truth/kind", "cloud"),
        ("provenance/ground_truth/min_coverage", 2),
        ("provenance/map/path", None),
        ("provenance/design", "none"),
    ],
)
def test_broken_reports_are_refused(validator: Draft202012Validator, path: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        validator.validate(changed(path, value))
