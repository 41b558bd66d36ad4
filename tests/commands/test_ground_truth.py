"""comix evaluate with ground truth as it comes, on a map whose pixels are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from cli import comix
from known_map import (
    CODES,
    DESIGN,
    GRID,
    LEGEND,
    UTM,
    area,
    at,
    counts,
    evaluate,
    label_raster,
    report,
    sample,
    write,
    write_map,
)
from maps import map_rows
from rasterio.crs import CRS
from shapely import LineString, MultiPoint

from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_map(tmp_path)


def test_points_take_the_pixel_they_lie_in(folder: Path) -> None:
    write(folder, (at(0.1, 0.9), "roof"), (at(4.9, 3.2), "roof"), (at(6, 5.5), "water"),
          (at(7.5, 0.5), "tree"), (at(40, 3), "tree"))  # fmt: skip
    document = report(folder)
    assert counts(document) == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert document["excluded"] == {"nodata": 1, "outside": 1, "overlap": 0, "unmapped_class": 0}
    assert document["intervals"]["unit"] == "points"
    # Each point is a draw of its own, so the estimator's own standard errors hold.
    assert document["area_weighted"]["intervals"] == "1.96 standard errors"
    assert document["provenance"]["ground_truth"]["kind"] == "points"


def test_the_pixels_of_a_multipoint_belong_together(folder: Path) -> None:
    write(folder, (MultiPoint([at(0.5, 0.5), at(1.5, 0.5)]), "roof"), (at(4.5, 1.5), "tree"))
    document = report(folder)
    assert document["intervals"]["clusters"] == 2
    assert document["area_weighted"]["intervals"].startswith("bootstrap over points")


def test_lines_take_the_pixels_they_run_through(folder: Path) -> None:
    write(folder, (LineString([at(2.5, 1.5), at(5.5, 1.5)]), "roof"))
    document = report(folder)
    assert counts(document)[0] == [2, 2, 0]
    assert document["intervals"]["unit"] == "lines"


@pytest.mark.parametrize("name", ["t.shp", "t.gpkg", "t.fgb", "t.geojson"])
def test_any_vector_format_gives_the_same(folder: Path, name: str) -> None:
    frame = geopandas.GeoDataFrame(
        {"class": ["roof", "tree"]}, geometry=[area(0, 0, 3, 2), area(3, 2, 6, 4)], crs=UTM
    )
    (frame.to_crs(4326) if name.endswith("json") else frame).to_file(folder / name)
    assert counts(report(folder, truth=name)) == [[6, 0, 0], [2, 4, 0], [0, 0, 0]]


def test_a_raster_of_labels_is_ground_truth(folder: Path) -> None:
    codes = np.zeros(GRID.shape, np.uint8)
    codes[0, 6:] = 2  # one of them where the map has no data
    codes[2, 3:5] = 1
    codes[5, 0] = 9  # a class that the map lacks
    label_raster(folder, codes)
    document = report(folder, truth="truth.tif")
    assert counts(document) == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert document["excluded"] == {"nodata": 1, "outside": 0, "overlap": 0, "unmapped_class": 1}
    truth = document["provenance"]["ground_truth"]
    assert (truth["kind"], truth["unmapped_classes"]) == ("raster", {"9": 1})
    assert document["intervals"]["unit"] == "blocks of 64 x 64 pixels"


def test_a_finer_raster_of_labels_elsewhere_is_taken_by_nearest(folder: Path) -> None:
    finer = Grid(UTM, Affine(5, 0, 500_030, 0, -5, 5_800_000 + 10), 8, 6)
    codes = np.ones(finer.shape, np.uint8)
    label_raster(folder, codes, finer)
    document = report(folder, truth="truth.tif")
    # 20 x 15 m cover 4 columns and 2 rows of the map: columns 3 to 6, rows 0 and 1
    assert counts(document)[0] == [2, 6, 0]
    assert document["excluded"]["outside"] == 4  # one row of pixels above the map


def test_a_raster_of_labels_in_another_crs(folder: Path) -> None:
    codes = np.full((300, 300), 2, np.uint8)
    west, north = 14.99, 52.36
    degrees = Grid(CRS.from_epsg(4326), Affine(1e-4, 0, west, 0, -1e-4, north), 300, 300)
    label_raster(folder, codes, degrees)
    document = report(folder, truth="truth.tif")
    assert document["pixels"] == 47
    assert document["excluded"]["nodata"] == 1


def test_a_raster_of_labels_without_crs_has_the_maps(folder: Path) -> None:
    label_raster(folder, np.full(GRID.shape, 2, np.int16), crs=None)
    outcome = evaluate(folder, truth="truth.tif")
    assert outcome.code == 0, outcome.err
    assert "truth.tif: has no CRS; the raster's (EPSG:32633) is assumed" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--field", "class"), "--field is about vectors"),
        (("--all-touched",), "--all-touched is about vectors"),
        (("--min-coverage", "0.5"), "--min-coverage is about vectors"),
    ],
)
def test_rasters_of_labels_have_no_use_for_some_options(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    label_raster(folder, np.full(GRID.shape, 2, np.uint8))
    refused = evaluate(folder, *arguments, truth="truth.tif")
    assert refused.code == 2
    assert message in refused.error


def test_a_raster_of_labels_elsewhere_or_without_any_is_refused(folder: Path) -> None:
    label_raster(folder, np.zeros(GRID.shape, np.uint8))
    assert "holds no class: every pixel is 0 or nodata" in evaluate(folder, truth="truth.tif").error
    far = Grid(UTM, Affine(10, 0, 600_000, 0, -10, 5_800_000), 8, 6)
    label_raster(folder, np.ones(GRID.shape, np.uint8), far)
    assert "misses the raster" in evaluate(folder, truth="truth.tif").error


def test_numbers_and_names_may_stand_in_one_field(folder: Path) -> None:
    write(folder, (area(0, 0, 2, 1), "1"), (area(4, 1, 6, 2), "Tree"), (area(2, 0, 4, 1), "2"))
    assert counts(report(folder)) == [[2, 0, 0], [2, 2, 0], [0, 0, 0]]
    collection = {"type": "FeatureCollection", "features": []}
    for shape, value in ((area(0, 0, 2, 1), 1), (area(4, 1, 6, 2), "Tree"), (area(2, 0, 4, 1), 2)):
        place = geopandas.GeoSeries([shape], crs=UTM).to_crs(4326)[0]
        feature = {"type": "Feature", "properties": {"class": value},
                   "geometry": shapely.geometry.mapping(place)}  # fmt: skip
        collection["features"].append(feature)  # type: ignore[attr-defined]
    (folder / "mixed.geojson").write_text(json.dumps(collection))
    assert counts(report(folder, truth="mixed.geojson")) == [[2, 0, 0], [2, 2, 0], [0, 0, 0]]


def test_overlapping_polygons_are_counted_left_out_and_listed(folder: Path) -> None:
    write(folder, (area(0, 0, 3, 2), "roof"), (area(2, 0, 4, 2), "tree"),
          (area(0, 1, 1, 2), "water"), (area(4, 4, 6, 5), "tree"))  # fmt: skip
    document = report(folder)
    assert document["excluded"]["overlap"] == 3
    assert document["overlaps"] == {
        "pairs": 2,
        "listed": [
            {"features": [0, 1], "classes": ["roof", "tree"], "pixels": 2},
            {"features": [0, 2], "classes": ["roof", "water"], "pixels": 1},
        ],
    }
    assert document["pixels"] == 3 + 2 + 2


def test_all_pairs_of_polygons_on_a_pixel_are_listed(folder: Path) -> None:
    write(folder, (area(0, 0, 4, 1), "tree"), (area(0, 0, 2, 1), "water"),
          (area(0, 0, 3, 1), "roof"), (area(6, 3, 8, 5), "tree"))  # fmt: skip
    document = report(folder)
    assert document["excluded"]["overlap"] == 3
    listed = document["overlaps"]["listed"]
    found = {tuple(entry["features"]): entry["pixels"] for entry in listed}
    assert found == {(0, 2): 3, (0, 1): 2, (1, 2): 2}
    assert [entry["pixels"] for entry in listed] == [3, 2, 2]
    assert document["overlaps"]["pairs"] == 3
    covered = report(folder, "--min-coverage", "0.5")
    assert covered["overlaps"]["pairs"] == 3


def test_a_polygon_below_another_has_pixels(folder: Path) -> None:
    roof = area(0, 0, 3, 2), "roof"
    write(folder, roof, roof, (area(1, 0, 2, 1), "roof"), (area(4.6, 0, 4.9, 1), "tree"))
    outcome = evaluate(folder)
    assert "1 features hold no pixel's centre" in outcome.err
    least = evaluate(folder, "--min-coverage", "0.5")
    said = "1 features cover 50 % of no pixel; a smaller --min-coverage takes them"
    assert said in least.err
    touched = report(folder, "--all-touched")
    assert touched["provenance"]["ground_truth"]["features_without_pixel"] == 0


def test_polygons_smaller_than_a_pixel(folder: Path) -> None:
    write(folder, (area(1.0, 1.0, 1.4, 2.0), "roof"), (area(4, 0, 5, 1), "tree"))
    outcome = evaluate(folder)
    assert "1 features hold no pixel's centre; --all-touched or --min-coverage" in outcome.err
    assert json.loads(outcome.out)["pixels"] == 1
    assert json.loads(outcome.out)["provenance"]["ground_truth"]["features_without_pixel"] == 1
    document = report(folder, "--min-coverage", "0.4")
    assert document["pixels"] == 2
    assert document["provenance"]["ground_truth"]["min_coverage"] == 0.4
    assert report(folder, "--min-coverage", "0.5")["pixels"] == 1


def test_coverage_is_about_polygons(folder: Path) -> None:
    write(folder, (at(0.5, 0.5), "roof"))
    assert "this holds points" in evaluate(folder, "--min-coverage", "0.5").error
    both = evaluate(folder, "--min-coverage", "0.5", "--all-touched")
    assert both.code == 2
    assert "contradict each other" in both.error
    assert evaluate(folder, "--min-coverage", "0").code == 2


def test_a_sample_counts_by_its_design(folder: Path) -> None:
    sample(folder, *DESIGN)
    outcome = comix(folder, "evaluate", "map.tif", "--design", "sample.gpkg", "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert counts(document) == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    weighted = document["area_weighted"]
    assert weighted["strata"] == "sample design"
    assert weighted["estimator"] == "Stehman 2014"
    expected = (20 * 2 / 3 + 27 * 2 / 3) / 47
    assert weighted["overall_accuracy"]["value"] == pytest.approx(expected)
    variance = (20**2 * (1 - 3 / 20) + 27**2 * (1 - 3 / 27)) * (2 / 3 * 1 / 3) / 2 / 47**2
    assert weighted["overall_accuracy"]["standard_error"] == pytest.approx(variance**0.5)
    roofs = weighted["per_class"][0]["area_share"]["value"]
    assert roofs == pytest.approx((20 * 2 / 3 + 27 / 3) / 47)
    assert document["provenance"]["design"]["path"] == "sample.gpkg"
    assert document["intervals"]["unit"] == "samples"


def test_ground_truth_may_lie_beside_the_sample(folder: Path) -> None:
    sample(folder, *((*row[:5], None) for row in DESIGN))
    write(folder, (area(0, 0, 4, 6), "roof"), (area(4, 0, 8, 6), "tree"))
    document = report(folder, "--design", "sample.gpkg")
    assert document["pixels"] == 6
    # the last point lies on roof, says the ground truth, and is water in the map
    assert counts(document) == [[3, 0, 1], [0, 2, 0], [0, 0, 0]]


def test_samples_that_nobody_has_looked_at_are_told_of(folder: Path) -> None:
    sample(folder, *DESIGN[:4], (*DESIGN[4][:5], None), DESIGN[5])
    outcome = comix(folder, "evaluate", "map.tif", "--design", "sample.gpkg")
    assert outcome.code == 0, outcome.err
    assert "1 of 6 points of the sample have no class" in outcome.err


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("stratum_pixels", None, "has no column 'stratum_pixels'"),
        ("stratum", None, "has no column 'stratum'"),
        ("stratum_pixels", [20, 20, 21, 27, 27, 27], "'stratum_pixels' does not have one value"),
        ("stratum_pixels", [0, 0, 0, 27, 27, 27], "'stratum_pixels' does not have one value"),
        ("stratum", [1, None, 1, 2, 2, 2], "column 'stratum' has empty rows"),
    ],
)
def test_a_sample_without_its_design_is_refused(
    folder: Path, column: str, values: list[int] | None, message: str
) -> None:
    sample(folder, *DESIGN)
    frame = geopandas.read_file(folder / "sample.gpkg")
    broken = frame.drop(columns=column) if values is None else frame.assign(**{column: values})
    broken.to_file(folder / "sample.gpkg", layer="sample")
    refused = comix(folder, "evaluate", "map.tif", "--design", "sample.gpkg")
    assert refused.code == 1
    assert f"sample.gpkg: {message}" in refused.error


def test_a_sample_elsewhere_or_of_polygons_is_refused(folder: Path) -> None:
    sample(folder, *((col + 100, *rest) for col, *rest in DESIGN))  # type: ignore[arg-type]
    write(folder, (area(0, 0, 4, 6), "roof"))
    far = evaluate(folder, "--design", "sample.gpkg")
    assert far.code == 1
    assert "sample.gpkg: no point of the sample lies on the map" in far.error
    write(folder, (area(0, 0, 3, 2), "roof"), name="sample2.gpkg")
    frame = geopandas.read_file(folder / "sample2.gpkg").assign(stratum=1, stratum_pixels=5)
    frame.to_file(folder / "sample2.gpkg")
    areas = comix(folder, "evaluate", "map.tif", "--design", "sample2.gpkg")
    assert "holds something else than points" in areas.error


def test_either_ground_truth_or_a_sample_is_needed(folder: Path) -> None:
    refused = comix(folder, "evaluate", "map.tif")
    assert refused.code == 2
    assert "--gt" in refused.err


def test_permuting_the_codes_permutes_the_report(folder: Path, tmp_path: Path) -> None:
    roof, tree, water = area(0, 0, 5, 3), area(5, 3, 8, 6), area(0, 5, 4, 6)
    write(folder, (roof, "roof"), (tree, "tree"), (water, "water"))
    before = report(folder)
    swapped = {1: 2, 2: 5, 5: 1, 0: 0}
    legend = Legend.from_names([(swapped[e.code], e.name) for e in LEGEND])
    with map_rows(tmp_path / "map.tif", GRID, legend, overwrite=True) as rows:
        rows.write_rows(0, np.vectorize(swapped.get)(CODES))
    after = report(folder)
    assert after["overall_accuracy"] == before["overall_accuracy"]
    for key in ("per_class", "area_weighted"):
        lists = [d[key] if key == "per_class" else d[key]["per_class"] for d in (before, after)]
        one, other = ({e["name"]: {**e, "code": 0} for e in entries} for entries in lists)
        assert rounded(one) == rounded(other)


def rounded(value: Any) -> Any:
    """All figures to twelve digits: sums in another order differ in the last ones."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value


def test_a_perfect_map_is_one_everywhere(folder: Path) -> None:
    roof, tree, water = area(0, 0, 4, 5), area(4, 1, 8, 5), area(0, 5, 8, 6)
    write(folder, (roof, "roof"), (tree, "tree"), (water, "water"))
    document = report(folder)
    assert document["overall_accuracy"] == document["kappa"] == 1
    assert document["quantity_disagreement"] == document["allocation_disagreement"] == 0
    assert document["means"]["macro"]["f1"] == 1
    weighted = document["area_weighted"]
    assert weighted["overall_accuracy"]["value"] == 1
    assert [e["area_m2"]["value"] for e in weighted["per_class"]] == pytest.approx(
        [2000, 1900, 800]
    )
    assert weighted["map_area_m2"] == pytest.approx(4700)


def test_few_polygons_have_no_intervals_and_a_word_says_so(folder: Path) -> None:
    write(folder, (area(0, 0, 3, 2), "roof"), (area(4, 1, 6, 3), "tree"))
    outcome = evaluate(folder)
    assert "fewer than 5 polygons of 'roof', 'tree': there are no intervals" in outcome.err
    document = json.loads(outcome.out)
    assert document["intervals"]["overall_accuracy"] is None
    assert document["area_weighted"]["overall_accuracy"]["interval_95"] is None


def test_the_parts_of_a_multipolygon_are_polygons(folder: Path) -> None:
    parts = [area(c, r, c + 1, r + 1) for c in (0, 2) for r in (0, 2, 4)]
    write(folder, (shapely.MultiPolygon(parts), "roof"))
    outcome = evaluate(folder)
    document = json.loads(outcome.out)
    assert document["intervals"]["clusters"] == 6
    assert document["per_class"][0]["producers_accuracy_95"] == [1, 1]
    assert "of only 6 polygons intervals come out too narrow" in outcome.err


def test_codes_against_names_are_told_of(folder: Path) -> None:
    write(folder, (area(0, 0, 3, 2), 1), (area(4, 1, 6, 3), 2))
    assert "its codes are compared with the map's codes" in evaluate(folder).err


def test_nothing_to_compare_is_an_error(folder: Path) -> None:
    write(folder, (area(7, 0, 8, 1), "tree"))  # where the map has no data
    refused = evaluate(folder)
    assert refused.code == 1
    assert "no pixel of it can be compared with the map (1 where the map has no data)" in (
        refused.error
    )


def test_points_that_are_gone_from_a_sample_are_told_of(folder: Path) -> None:
    sample(folder, *DESIGN)
    frame = geopandas.read_file(folder / "sample.gpkg").assign(stratum_samples=3)
    frame.drop(index=[1]).to_file(folder / "sample.gpkg", layer="sample")
    outcome = comix(folder, "evaluate", "map.tif", "--design", "sample.gpkg")
    assert "1 of 6 points of the sample are not in the file any more" in outcome.err
    frame[frame["stratum"] == 1].to_file(folder / "sample.gpkg", layer="sample")
    outcome = comix(folder, "evaluate", "map.tif", "--design", "sample.gpkg")
    assert "its strata cover 42.6 % of the map" in outcome.err
