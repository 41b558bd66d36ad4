"""comix evaluate with a sample: its layers, its columns, its pixels, and what the map lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from cli import Outcome, comix
from known_map import (
    DESIGN,
    GRID,
    LEGEND,
    area,
    at,
    counts,
    document_of,
    evaluate,
    report,
    sample,
    sample_frame,
    write,
    write_map,
)
from maps import map_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_map(tmp_path)


def by_design(folder: Path, *more: str, design: str = "sample.gpkg") -> Outcome:
    return comix(folder, "evaluate", "map.tif", "--design", design, "--json", *more)


def with_swamp(folder: Path, *more: tuple[int, int, str, int, int, str | None]) -> None:
    """The sample with one point on water that is a class which the map lacks."""
    sample(folder, *DESIGN[:5], (0, 5, "right", 2, 27, "swamp"), *more)


def test_a_class_that_the_map_lacks_is_an_error_of_the_map(folder: Path) -> None:
    with_swamp(folder)
    outcome = by_design(folder)
    document = document_of(outcome)
    matrix = document["confusion_matrix"]
    assert matrix["codes"] == [1, 2, 5, 6]
    assert matrix["names"] == ["roof", "tree", "water", "swamp"]
    assert counts(document) == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert document["overall_accuracy"] == 3 / 6
    assert document["excluded"]["unmapped_class"] == 0
    assert document["provenance"]["ground_truth"]["unmapped_classes"] == {"swamp": 1}
    weighted = document["area_weighted"]
    expected = (20 * 2 / 3 + 27 / 3) / 47
    assert weighted["overall_accuracy"]["value"] == pytest.approx(expected)
    swamp = weighted["per_class"][3]
    assert (swamp["name"], swamp["mapped_pixels"]) == ("swamp", 0)
    assert swamp["area_share"]["value"] == pytest.approx(27 / 3 / 47)
    assert swamp["producers_accuracy"]["value"] == 0
    said = "the map has no class 'swamp': 1 pixels (17 %) count as wrong"
    assert said in outcome.err


def test_only_classes_that_the_sample_meets_are_listed(folder: Path) -> None:
    sample(folder, *((*row[:5], None) for row in DESIGN))
    write(folder, (area(0, 0, 2, 6), "shed"), (area(2, 0, 8, 6), "tree"), (area(0, 3, 1, 4), "ice"))
    document = report(folder, "--design", "sample.gpkg")
    assert document["confusion_matrix"]["names"] == ["roof", "tree", "water", "shed"]
    assert counts(document)[3] == [2, 0, 1, 0]


def test_numbers_that_the_map_lacks_stay_what_they_are(folder: Path) -> None:
    sample(folder, *((*row[:5], None) for row in DESIGN))
    write(folder, (area(0, 0, 2, 6), 9), (area(2, 0, 8, 6), 2), (area(0, 3, 1, 4), 1))
    matrix = report(folder, "--design", "sample.gpkg")["confusion_matrix"]
    assert list(zip(matrix["codes"], matrix["names"], strict=True))[3] == (9, "9")
    (folder / "names.csv").write_text("here,map\n5,lake\n")
    write(folder, (area(0, 0, 2, 6), 5), (area(2, 0, 8, 6), 2))
    matrix = report(folder, "--design", "sample.gpkg", "--class-map", "names.csv")
    matrix = matrix["confusion_matrix"]
    # 5 is the map's water, which is not meant.
    assert list(zip(matrix["codes"], matrix["names"], strict=True))[2:] == [(5, "water"), (6, "5")]
    assert matrix["counts"][3] == [2, 0, 1, 0]


def test_a_field_of_single_objects_is_no_field_of_a_sample(folder: Path) -> None:
    sample(folder, *((*row[:5], None) for row in DESIGN))
    write(folder, *((area(0, k / 1100, 8, (k + 1) / 1100), f"parcel {k}") for k in range(1100)),
          (area(0, 4, 8, 6), "tree"))  # fmt: skip
    refused = evaluate(folder, "--design", "sample.gpkg")
    assert refused.code == 1
    assert "truth.gpkg: holds more than 1000 classes that the map does not know" in refused.error


def test_maps_are_compared_by_a_sample_with_classes_that_they_lack(folder: Path) -> None:
    with_swamp(folder)
    with map_rows(folder / "other.tif", GRID, LEGEND) as rows:
        rows.write_rows(0, np.ones(GRID.shape, np.int32))
    for name in ("map", "other"):
        asked = ("--design", "sample.gpkg", "-o", f"{name}.json")
        assert comix(folder, "evaluate", f"{name}.tif", *asked).code == 0
    outcome = comix(folder, "compare", "map.json", "other.json", "--json")
    assert outcome.code == 0, outcome.err
    (test,) = json.loads(outcome.out)["mcnemar"]["tests"]
    # right: 0, 1 and 3 of the sample, and 0, 1 and 4
    found = [test[key] for key in ("pixels", "both_right", "only_first_right", "both_wrong")]
    assert found == [6, 2, 1, 2]


def test_a_layer_named_for_the_ground_truth_is_that_of_its_sample(folder: Path) -> None:
    sample(folder, *DESIGN)
    sample_frame(*DESIGN[:3]).to_file(folder / "sample.gpkg", layer="sample2")
    refused = by_design(folder)
    assert "holds several layers; name one of sample, sample2 with --layer" in refused.error
    assert document_of(by_design(folder, "--layer", "sample"))["pixels"] == 6
    assert document_of(by_design(folder, "--layer", "sample2"))["pixels"] == 3


def test_beside_other_ground_truth_the_layer_of_samples_is_meant(folder: Path) -> None:
    write(folder, (area(0, 0, 8, 6), "roof"))
    sample(folder, *DESIGN)
    write(folder, (at(1, 1), "a photograph"), name="notes.gpkg")
    geopandas.read_file(folder / "notes.gpkg").to_file(folder / "sample.gpkg", layer="notes")
    document = report(folder, "--design", "sample.gpkg")
    assert document["pixels"] == 6
    frame = geopandas.read_file(folder / "sample.gpkg", layer="sample")
    for layer in ("one", "two"):
        frame.to_file(folder / "others.gpkg", layer=layer)
    refused = evaluate(folder, "--design", "others.gpkg")
    assert refused.code == 1
    remedy = "others.gpkg: holds several layers; call the one that is the sample 'sample'"
    assert remedy in refused.error


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("stratum", ["left"] * 3 + ["right"] * 3, "column 'stratum' holds 'left', which is no"),
        ("stratum", [1.5, 1, 1, 2, 2, 2], "column 'stratum' holds '1.5', which is no whole"),
        ("stratum_pixels", ["many"] * 6, "column 'stratum_pixels' holds 'many', which is no"),
    ],
)
def test_strata_have_numbers(folder: Path, column: str, values: list[Any], message: str) -> None:
    frame = sample_frame(*DESIGN).assign(**{column: values})
    frame.to_file(folder / "sample.gpkg", layer="sample")
    refused = by_design(folder)
    assert refused.code == 1
    assert f"sample.gpkg: {message}" in refused.error


def test_numbers_of_strata_may_be_written_as_text(folder: Path) -> None:
    sample(folder, *DESIGN)
    expected = counts(document_of(by_design(folder)))
    frame = sample_frame(*DESIGN)
    frame["stratum"] = frame["stratum"].astype(str)
    frame.to_file(folder / "sample.gpkg", layer="sample")
    assert counts(document_of(by_design(folder))) == expected


def placeless(frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """The same without a CRS."""
    return geopandas.GeoDataFrame(
        frame.drop(columns="geometry"), geometry=frame.geometry.to_numpy(), crs=None
    )


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_sample_without_crs_has_the_maps_with_a_warning(folder: Path) -> None:
    write(folder, (area(0, 0, 8, 6), "roof"))
    placeless(sample_frame(*DESIGN)).to_file(folder / "sample.gpkg")
    outcome = evaluate(folder, "--design", "sample.gpkg")
    assert document_of(outcome)["pixels"] == 6
    said = "sample.gpkg: has no CRS; the raster's (EPSG:32633) is assumed; give another with"
    assert outcome.err.count(said) == 1
    # The ground truth says so once for both.
    assert by_design(folder).err.count(said) == 1


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_sample_without_crs_may_be_given_one(folder: Path) -> None:
    write(folder, (area(0, 0, 8, 6), "roof"))
    placeless(sample_frame(*DESIGN).to_crs(25832)).to_file(folder / "sample.gpkg")
    lost = evaluate(folder, "--design", "sample.gpkg")
    assert "no point of the sample lies on the map" in lost.error
    outcome = evaluate(folder, "--design", "sample.gpkg", "--gt-crs", "EPSG:25832")
    assert document_of(outcome)["pixels"] == 6
    assert "has no CRS" not in outcome.err


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        (None, "the points 2 and 7 (counted from 1)"),
        (range(11, 18), "the points 12 and 17 (sample_id)"),
    ],
)
def test_points_of_a_sample_lie_in_pixels_of_their_own(
    folder: Path, numbers: range | None, names: str
) -> None:
    frame = sample_frame(*DESIGN, DESIGN[1])
    if numbers is not None:
        frame["sample_id"] = list(numbers)
    frame.to_file(folder / "sample.gpkg", layer="sample")
    refused = by_design(folder)
    assert refused.code == 1
    said = f"sample.gpkg: {names} lie in one pixel of the map (row 0, column 1)"
    assert said in refused.error


def test_points_may_share_a_place_beyond_the_map(folder: Path) -> None:
    away = (90, 90, "left", 1, 20, "roof")
    sample(folder, *DESIGN, away, away)
    outcome = by_design(folder)
    assert document_of(outcome)["pixels"] == 6
    assert "2 of 8 points of the sample lie outside the map" in outcome.err
