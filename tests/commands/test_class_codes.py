"""comix evaluate with maps that name no classes, or name several alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli import Outcome, comix
from known_map import CODES, GRID, area, counts, document_of, label_raster, write
from maps import map_rows

from comix_cli.scene.legend import Legend


@pytest.fixture
def nameless(tmp_path: Path) -> Path:
    """A folder with `map.tif`, which holds codes 1, 2 and 5 and names none of them."""
    label_raster(tmp_path, CODES.astype(np.uint8), name="map.tif")
    return tmp_path


def evaluate(folder: Path, *more: str) -> Outcome:
    return comix(folder, "evaluate", "map.tif", "--gt", "truth.gpkg", "--json", *more)


LEFT, RIGHT, WATER = area(0, 0, 4, 5), area(4, 1, 8, 5), area(0, 5, 8, 6)


def test_codes_that_a_nameless_map_holds_are_matched(nameless: Path) -> None:
    write(nameless, (LEFT, 1), (RIGHT, 2), (WATER, 7))
    outcome = evaluate(nameless)
    document = document_of(outcome)
    # A map without names cannot say that it leaves a class out: not to have found it is an error.
    assert document["confusion_matrix"]["codes"] == [1, 2, 5, 7]
    assert document["overall_accuracy"] == 36 / 44
    assert document["excluded"]["unmapped_class"] == 0
    assert "the map has no class '7': 8 pixels (18 %) count as wrong" in outcome.err


def test_ids_of_many_objects_are_no_fault_of_the_map(nameless: Path) -> None:
    cells = [
        area(k % 40 / 5, k // 40 / 5, k % 40 / 5 + 0.2, k // 40 / 5 + 0.2) for k in range(1200)
    ]
    write(nameless, *((cell, 1000 + k) for k, cell in enumerate(cells)))
    refused = evaluate(nameless)
    assert refused.code == 1
    assert "truth.gpkg: its classes ('1000', '1001'," in refused.error
    assert "and the map's ('1', '2', '5') have nothing in common; name another" in refused.error
    write(nameless, *((cell, 1 + k) for k, cell in enumerate(cells)))
    many = evaluate(nameless).error
    assert "truth.gpkg: holds more than 1000 classes that the map does not know" in many
    assert "name another field" in many


def test_text_may_be_a_code_of_a_nameless_map(nameless: Path) -> None:
    write(nameless, (LEFT, "01"), (RIGHT, "2"), (WATER, "12345678901"), (WATER, "9" * 50))
    document = document_of(evaluate(nameless))
    assert [row[:3] for row in counts(document)][:3] == [[20, 0, 0], [0, 16, 0], [0, 0, 0]]
    write(nameless, (LEFT, "12345678901"))
    refused = evaluate(nameless)
    assert refused.code == 1
    assert "have nothing in common" in refused.error
    write(nameless, (LEFT, "roof"), (RIGHT, "tree"))
    assert "field 'class' holds names, but the map map.tif has none" in evaluate(nameless).error


def test_a_table_gives_codes_of_a_nameless_map(nameless: Path) -> None:
    write(nameless, (LEFT, "roof"), (RIGHT, "tree"))
    (nameless / "names.csv").write_text("here,map\nroof,1\ntree,2\n")
    assert document_of(evaluate(nameless, "--class-map", "names.csv"))["overall_accuracy"] == 1
    (nameless / "names.csv").write_text("here,map\nroof,1\ntree,wood\n")
    refused = evaluate(nameless, "--class-map", "names.csv")
    assert "'wood' is no code, and the map has no class names" in refused.error


def test_a_nameless_map_of_nothing_is_refused(nameless: Path) -> None:
    label_raster(nameless, np.zeros(GRID.shape, np.uint8), name="map.tif")
    write(nameless, (LEFT, 1))
    refused = evaluate(nameless)
    assert refused.code == 1
    assert "map.tif: holds no class: every pixel is 0 or nodata" in refused.error


def test_nameless_maps_are_compared_as_they_were_evaluated(nameless: Path) -> None:
    write(nameless, (LEFT, 1), (RIGHT, 2), (WATER, 7))
    label_raster(nameless, np.ones(GRID.shape, np.uint8), name="other.tif")
    for name in ("map", "other"):
        asked = ("--gt", "truth.gpkg", "-o", f"{name}.json")
        assert comix(nameless, "evaluate", f"{name}.tif", *asked).code == 0
    outcome = comix(nameless, "compare", "map.json", "other.json", "--json")
    assert outcome.code == 0, outcome.err
    # The other map does not hold code 2, so it is wrong on the right, as both are on the water.
    (test,) = json.loads(outcome.out)["mcnemar"]["tests"]
    assert (test["pixels"], test["both_right"]) == (44, 20)


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """A folder with `map.tif`, which calls both code 1 and code 5 a roof."""
    legend = Legend.from_names([(1, "roof"), (2, "tree"), (5, "roof")])
    with map_rows(tmp_path / "map.tif", GRID, legend) as rows:
        rows.write_rows(0, CODES)
    return tmp_path


@pytest.mark.parametrize("name", ["roof", "Roof "])
def test_a_name_of_several_codes_is_refused(twice: Path, name: str) -> None:
    write(twice, (LEFT, name), (RIGHT, "tree"))
    refused = evaluate(twice)
    assert refused.code == 1
    said = f"truth.gpkg: class '{name.strip()}' may be code 1 or 5 of map.tif, which gives both"
    assert said in refused.error
    assert "--class-map" in refused.error


def test_a_name_of_several_codes_that_nobody_uses_is_no_matter(twice: Path) -> None:
    write(twice, (RIGHT, "tree"))
    assert counts(document_of(evaluate(twice))) == [[0, 0, 0], [0, 16, 0], [0, 0, 0]]


def test_codes_tell_classes_of_one_name_apart(twice: Path) -> None:
    write(twice, (LEFT, 1), (RIGHT, 2), (WATER, 5))
    expected = [[20, 0, 0], [0, 16, 0], [0, 0, 8]]
    assert counts(document_of(evaluate(twice))) == expected
    write(twice, (LEFT, "roof"), (RIGHT, "tree"), (WATER, "water"))
    (twice / "names.csv").write_text("here,map\nroof,1\nwater,5\n")
    assert counts(document_of(evaluate(twice, "--class-map", "names.csv"))) == expected
    (twice / "names.csv").write_text("here,map\nroof,1\nwater,roof\n")
    refused = evaluate(twice, "--class-map", "names.csv")
    assert "class 'roof' may be code 1 or 5" in refused.error


def test_codes_that_a_map_holds_without_a_name_are_known(tmp_path: Path) -> None:
    named = Legend.from_names([(1, "roof"), (2, "tree")])
    tags = json.dumps(named.to_json())
    label_raster(tmp_path, CODES.astype(np.uint8), name="map.tif")
    import rasterio

    with rasterio.open(tmp_path / "map.tif", "r+") as raster:
        raster.update_tags(COMIX_LEGEND=tags)
    write(tmp_path, (LEFT, 1), (RIGHT, 2), (WATER, 5))
    outcome = evaluate(tmp_path)
    assert document_of(outcome)["overall_accuracy"] == 1
    assert "the map has no class" not in outcome.err
