"""comix sample: the points, the design they follow, and what is refused."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from cli import Outcome, comix, files
from numpy.typing import NDArray
from scenes import needs_real_data, real_data, write_raster, write_vector
from shapely.geometry import box

COLUMNS = [
    "sample_id", "class", "stratum", "stratum_name", "stratum_pixels", "stratum_samples",
    "inclusion_probability", "row", "col", "lon", "lat",
]  # fmt: skip


def write_map(path: Path, codes: NDArray[Any] | None = None, **options: Any) -> NDArray[Any]:
    """A map without names: 1 in the west, 4 in the east, 9 in a corner, no data in a row."""
    if codes is None:
        codes = np.ones((60, 80), np.uint8)
        codes[:, 50:] = 4
        codes[:5, :8] = 9
        codes[30] = 0
    write_raster(path, codes[np.newaxis], **{"nodata": 0, **options})
    return codes


def sample(folder: Path, *more: str | Path) -> Outcome:
    return comix(folder, "sample", "m.tif", "-o", "s.gpkg", *more)


def document(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def epsg(frame: geopandas.GeoDataFrame) -> int | None:
    return None if frame.crs is None else frame.crs.to_epsg()


def points(folder: Path) -> geopandas.GeoDataFrame:
    return geopandas.read_file(folder / "s.gpkg", layer="sample")


def refused(folder: Path, *more: str | Path, code: int = 2) -> str:
    """The error line of a sample that must not be drawn, nor leave anything."""
    before = files(folder)
    outcome = sample(folder, *more)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert files(folder) == before
    return outcome.error


def test_points_are_pixels_of_their_stratum_with_their_probability(tmp_path: Path) -> None:
    codes = write_map(tmp_path / "m.tif")
    found = document(sample(tmp_path, "--size", "100", "--json"))
    frame = points(tmp_path)
    assert list(frame.columns) == [*COLUMNS, "geometry"]
    assert frame["sample_id"].tolist() == list(range(1, 101))
    assert frame["class"].isna().all()
    assert codes[frame["row"], frame["col"]].tolist() == frame["stratum"].tolist()
    assert not frame.duplicated(["row", "col"]).any()
    assert epsg(frame) == 32633
    for stratum in found["strata"]:
        rows = frame[frame["stratum"] == stratum["code"]]
        pixels = int((codes == stratum["code"]).sum())
        assert stratum["pixels"] == pixels
        assert len(rows) == stratum["samples"]
        assert (rows["stratum_pixels"] == pixels).all()
        assert (rows["stratum_samples"] == len(rows)).all()
        assert (rows["stratum_name"] == str(stratum["code"])).all()
        assert rows["inclusion_probability"].tolist() == [len(rows) / pixels] * len(rows)


def test_points_lie_at_the_centres_of_their_pixels(tmp_path: Path) -> None:
    turned = Affine(8, 6, 400_000, 6, -8, 5_800_000)
    codes = write_map(tmp_path / "m.tif", transform=turned)
    assert sample(tmp_path, "--size", "50").code == 0
    frame = points(tmp_path)
    x, y = frame.geometry.x, frame.geometry.y
    with rasterio.open(tmp_path / "m.tif") as dataset:
        values = [int(v[0]) for v in dataset.sample(list(zip(x, y, strict=True)))]
    assert values == codes[frame["row"], frame["col"]].tolist()
    first = turned * (frame["col"][0] + 0.5, frame["row"][0] + 0.5)
    assert (x[0], y[0]) == pytest.approx(first)
    degrees = frame.to_crs(4326).geometry
    assert frame["lon"].tolist() == pytest.approx(degrees.x.tolist(), abs=1e-9)
    assert frame["lat"].tolist() == pytest.approx(degrees.y.tolist(), abs=1e-9)


def test_the_table_says_the_same_with_coordinates(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif")
    assert sample(tmp_path, "--size", "30", "--csv", "s.csv").code == 0
    frame = points(tmp_path)
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [*COLUMNS, "x", "y"]
    assert [int(row["row"]) for row in rows] == frame["row"].tolist()
    assert [float(row["x"]) for row in rows] == frame.geometry.x.tolist()
    assert [float(row["lon"]) for row in rows] == frame["lon"].tolist()
    assert {row["class"] for row in rows} == {""}


def test_the_design_is_told(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif")
    expected = ("--expected-ua", "0.7", "--expected-ua", "9=0.5")
    outcome = sample(tmp_path, "--size", "200", "--allocation", "equal", *expected)
    assert outcome.code == 0, outcome.err
    corner = next(line for line in outcome.out.splitlines() if line.startswith("│ 9 "))
    # 40 pixels are all of the stratum: its accuracy will be known for certain
    assert [cell.strip() for cell in corner.strip("│").split("│")] == [
        "9", "9", "40", "0.85", "40", "50.00", "0.00",
    ]  # fmt: skip
    found = document(sample(tmp_path, "--size", "200", *expected, "--json", "--overwrite"))
    assert (found["kind"], found["samples"], found["pixels"]) == ("sample", 200, 59 * 80)
    assert found["target_standard_error"] is None
    assert found["provenance"]["map"]["checksum"].startswith("sha256:")
    variance = sum(
        s["share"] ** 2
        * s["expected_users_accuracy"]
        * (1 - s["expected_users_accuracy"])
        * (1 / s["samples"] - 1 / s["pixels"])
        for s in found["strata"]
    )
    assert found["expected_standard_error"] == pytest.approx(variance**0.5)


def test_the_size_follows_from_the_standard_error(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif")
    # 0.8 x 0.2 / 0.02^2 = 400, of 4720 pixels: 400 / (1 + 400 / 4720) = 368.75
    found = document(sample(tmp_path, "--target-se", "0.02", "--json"))
    assert found["samples"] == 369
    assert found["expected_standard_error"] == pytest.approx(0.02, rel=0.01)
    assert document(sample(tmp_path, "--json", "--overwrite"))["target_standard_error"] == 0.01


def test_an_allocation_that_misses_the_target_says_what_would_reach_it(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif")
    target = ("--target-se", "0.02", "--allocation", "equal", "--json", "--overwrite")
    outcome = sample(tmp_path, *target)
    assert "have a standard error of 0.02 where they are allocated optimally" in outcome.err
    size = outcome.err.split("--size ")[1].split()[0]
    equal = ("--size", size, "--allocation", "equal", "--json", "--overwrite")
    assert document(sample(tmp_path, *equal))["expected_standard_error"] <= 0.02


def test_a_seed_fixes_the_sample_however_the_map_is_stored(tmp_path: Path) -> None:
    codes = write_map(tmp_path / "m.tif")
    assert sample(tmp_path, "--size", "60", "--seed", "3").code == 0
    first = points(tmp_path)
    stored = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    write_map(tmp_path / "m.tif", codes.astype(np.int32), **stored)
    again = ("--size", "60", "--overwrite", "--seed")
    assert sample(tmp_path, *again, "3").code == 0
    assert points(tmp_path).equals(first)
    assert sample(tmp_path, *again, "4").code == 0
    assert not points(tmp_path).equals(first)


def test_the_order_of_the_points_tells_nothing_of_their_stratum(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif")
    assert sample(tmp_path, "--size", "400").code == 0
    strata = points(tmp_path)["stratum"].to_numpy()
    changes = int((np.diff(strata) != 0).sum())
    assert changes > 130  # 2 in sorted order; 187 are expected of 63 % and 37 %


def test_classes_are_known_by_the_names_of_the_map(finished: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "s.gpkg", "--size", "40", "--json")
    named = ("--expected-ua", "ROOF=0.95", "--expected-ua", "3=0.6")
    found = document(comix(finished, "sample", "map.tif", *out, *named))
    assert {s["name"]: s["expected_users_accuracy"] for s in found["strata"]} == {
        "grass": 0.8, "roof": 0.95, "tree": 0.6,
    }  # fmt: skip
    assert set(points(tmp_path)["stratum_name"]) == {"grass", "roof", "tree"}


def test_without_a_map_the_newest_one_is_sampled(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "map.tif").write_bytes((finished / "map.tif").read_bytes())
    found = document(comix(tmp_path, "sample", "-o", "s.gpkg", "--size", "9", "--json"))
    assert found["provenance"]["map"]["path"].endswith("map.tif")
    write_map(tmp_path / "m.tif")
    (tmp_path / "comix.toml").write_text(
        '[evaluate]\nmap = "m.tif"\ngt = "x.shp"\n[sample]\nsize = 12\n'
    )
    found = document(comix(tmp_path, "sample", "-o", "s.gpkg", "--overwrite", "--json"))
    assert (found["provenance"]["map"]["path"], found["samples"]) == ("m.tif", 12)


def test_no_map_at_all_is_said(tmp_path: Path) -> None:
    outcome = comix(tmp_path, "sample", "-o", "s.gpkg")
    assert outcome.code == 1
    assert "no map is named" in outcome.error


def test_strata_of_another_raster(tmp_path: Path) -> None:
    codes = write_map(tmp_path / "m.tif")
    regions = np.repeat(np.array([1, 2, 0], np.uint8), [20, 30, 10])[:, np.newaxis]
    write_map(tmp_path / "regions.tif", np.repeat(regions, 80, axis=1))
    outcome = sample(tmp_path, "--strata", "regions.tif", "--size", "50", "--json")
    found = document(outcome)
    pixels = {s["code"]: s["pixels"] for s in found["strata"]}
    assert pixels == {1: 20 * 80, 2: 29 * 80}  # a row of the map has no data
    assert "regions.tif: 800 pixels of the map lie in no stratum" in outcome.err
    assert found["provenance"]["strata"]["path"] == "regions.tif"
    frame = points(tmp_path)
    assert (codes[frame["row"], frame["col"]] > 0).all()
    assert ((frame["row"] >= 20) + 1 == frame["stratum"]).all()


def test_strata_on_another_grid_are_refused(tmp_path: Path) -> None:
    codes = write_map(tmp_path / "m.tif")
    write_map(tmp_path / "regions.tif", codes, origin=(400_005.0, 5_800_000.0))
    line = refused(tmp_path, "--strata", "regions.tif", code=1)
    assert "regions.tif: the strata" in line
    assert "are not on the grid of the map" in line


def test_only_the_inside_of_a_mask_is_sampled(tmp_path: Path) -> None:
    codes = write_map(tmp_path / "m.tif")
    # columns 40 to 59, all rows
    write_vector(tmp_path / "aoi.gpkg", [(box(400_400, 5_799_000, 400_600, 5_800_000), {})])
    found = document(sample(tmp_path, "--mask", "aoi.gpkg", "--size", "60", "--json"))
    inside = codes[:, 40:60]
    pixels = {s["code"]: s["pixels"] for s in found["strata"]}
    assert pixels == {1: int((inside == 1).sum()), 4: int((inside == 4).sum())}
    assert points(tmp_path)["col"].between(40, 59).all()


def test_maps_in_degrees_are_sampled_by_pixels(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif", crs="EPSG:4326", origin=(13.0, 52.0), res=0.001)
    assert sample(tmp_path, "--size", "20").code == 0
    frame = points(tmp_path)
    assert frame["lon"].tolist() == pytest.approx(frame.geometry.x.tolist())
    assert frame["lat"].tolist() == pytest.approx(frame.geometry.y.tolist())


def test_a_map_without_crs_takes_one_that_is_given(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif", crs=None)
    assert "m.tif: has no CRS; give one with --src-crs" in refused(tmp_path, code=1)
    assert sample(tmp_path, "--size", "20", "--src-crs", "EPSG:32633").code == 0
    assert epsg(points(tmp_path)) == 32633


def test_a_place_that_is_nowhere_on_earth_has_no_longitude(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif", crs='LOCAL_CS["plan",UNIT["metre",1]]')
    assert sample(tmp_path, "--size", "20", "--csv", "s.csv").code == 0
    assert points(tmp_path)["lon"].isna().all()


def test_one_class_and_one_pixel(tmp_path: Path) -> None:
    codes = np.full((3, 3), 7, np.uint8)
    codes[0, 0] = 200
    write_map(tmp_path / "m.tif", codes)
    outcome = sample(tmp_path, "--json")  # one in a hundred takes them all
    found = document(outcome)
    assert [s["samples"] for s in found["strata"]] == [8, 1]
    assert found["expected_standard_error"] == 0
    assert "a single sample of '200'" in outcome.err


def test_the_package_tells_where_it_comes_from(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif")
    assert sample(tmp_path, "--size", "20", "--seed", "5").code == 0
    with closing(sqlite3.connect(tmp_path / "s.gpkg")) as package:
        (text,) = package.execute("select metadata from gpkg_metadata").fetchone()
        (layers,) = package.execute("select group_concat(table_name) from gpkg_contents").fetchone()
    assert layers == "sample"
    for fact in ("COMIX_MAP_CHECKSUM", "sha256:", "COMIX_SEED", ">5<", "proportional"):
        assert fact in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "9", "--target-se", "0.1"), "--size and --target-se both say"),
        (("--size", "4721"), "m.tif has 4720 pixels of any class"),
        (("--size", "29", "--min-per-class", "10"), "--min-per-class 10 takes 30 samples"),
        (("--target-se", "0"), "--target-se"),
        (("--expected-ua", "1.0"), "lies between 0 and 1"),
        (("--expected-ua", "4=0"), "lies between 0 and 1"),
        (("--expected-ua", "good"), "--expected-ua good"),
        (("--expected-ua", "0.8", "--expected-ua", "0.9"), "this is said twice"),
        (("--expected-ua", "4=0.8", "--expected-ua", " 4=0.9"), "the class is named twice"),
        (("--expected-ua", "lawn=0.9"), "m.tif has no class 'lawn'"),
        (("--expected-ua", "5=0.9"), "has no class '5'; its classes are '1', '4', '9'"),
        (("--mask-layer", "a"), "there is no --mask"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    write_map(tmp_path / "m.tif")
    assert message in refused(tmp_path, *options)


def test_a_map_of_nothing_is_refused(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif", np.zeros((4, 4), np.uint8))
    assert "m.tif: has no pixel of any class" in refused(tmp_path, code=1)


def test_a_raster_that_is_no_map_is_refused(tmp_path: Path) -> None:
    heights = np.arange(1, 2001, dtype=np.int16).reshape(40, 50)
    write_map(tmp_path / "m.tif", heights)
    assert "holds more than 1000 different codes" in refused(tmp_path, code=1)


def test_outputs_are_checked_before_the_map_is_read(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif")
    assert sample(tmp_path, "--size", "20").code == 0
    assert "s.gpkg: exists already" in refused(tmp_path, "--size", "20", code=1)
    assert "call it t.csv" in refused(tmp_path, "--overwrite", "--csv", "t.txt", code=1)
    assert "nowhere does not exist" in refused(
        tmp_path, "--overwrite", "--csv", "nowhere/t.csv", code=1
    )
    named = comix(tmp_path, "sample", "m.tif", "-o", "s.shp")
    assert "call it s.gpkg" in named.error


def test_a_mask_is_not_overwritten(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif")
    write_vector(tmp_path / "s.gpkg", [(box(400_400, 5_799_000, 400_600, 5_800_000), {})])
    line = refused(tmp_path, "--mask", "s.gpkg", "--overwrite", code=1)
    assert "s.gpkg: is an input of this run" in line


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@needs_real_data
def test_a_real_label_raster_is_sampled(tmp_path: Path) -> None:
    labels = real_data() / "houston2013" / "Samples_VA.tif"
    out = ("-o", "s.gpkg", "--src-crs", "EPSG:26915", "--size", "300", "--min-per-class", "10")
    found = document(comix(tmp_path, "sample", labels, *out, "--json"))
    assert (found["pixels"], found["samples"], len(found["strata"])) == (12_197, 300, 15)
    with rasterio.open(labels) as dataset:
        codes = dataset.read(1)
    frame = points(tmp_path)
    assert codes[frame["row"], frame["col"]].tolist() == frame["stratum"].tolist()
