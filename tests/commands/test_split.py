"""comix split: files, report, table, warnings and refusals."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from cli import Outcome, comix, files
from rasterio.features import rasterize
from scenes import CRS, ORIGIN, write_raster, write_vector

NAMES = ("train", "validation", "test")
CLASSES = ("grass", "roof", "tree")
WRITTEN = {"s", "s/split.json", *(f"s/{name}.gpkg" for name in NAMES)}


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """A folder with labels.fgb, 144 fields of 80 m, and grid.tif, which covers their west."""
    rng = np.random.default_rng(0)
    rows: list[tuple[Any, dict[str, Any]]] = []
    for number, kind in enumerate(rng.permutation(np.arange(144) % 3)):
        x, y = ORIGIN[0] + 100 * (number % 12), ORIGIN[1] - 100 * (number // 12)
        attributes = {"class": CLASSES[kind], "plot": f"p{number}", "fid": 7}
        rows.append((shapely.box(x, y - 80, x + 80, y), attributes))
    write_vector(tmp_path / "labels.fgb", rows)
    write_raster(tmp_path / "grid.tif", np.zeros((1, 300, 150), np.uint8), res=4.0)
    return tmp_path


def split(folder: Path, *more: str | Path, labels: str = "labels.fgb") -> Outcome:
    return comix(folder, "split", labels, "--field", "class", "-o", "s", *more)


def report(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def sets(folder: Path, *names: str) -> list[geopandas.GeoDataFrame]:
    return [geopandas.read_file(folder / "s" / f"{name}.gpkg") for name in names or NAMES]


def least_distance(frames: list[geopandas.GeoDataFrame]) -> float:
    grounds = [frame.geometry.union_all() for frame in frames]
    return min(one.distance(other) for one, other in combinations(grounds, 2))


def test_sets_hold_the_features_and_their_attributes(town: Path) -> None:
    before = files(town)
    outcome = split(town, "--buffer", "0", "--block", "150")
    assert outcome.code == 0, outcome.err
    assert files(town) - before == WRITTEN
    source = geopandas.read_file(town / "labels.fgb")
    parts = sets(town)
    for frame in parts:
        assert frame.crs == source.crs
        whose = source.iloc[frame["source_feature"] - 1].reset_index(drop=True)
        for name in ("class", "plot", "fid"):
            assert frame[name].tolist() == whose[name].tolist()
        beyond = frame.geometry.difference(geopandas.GeoSeries(whose.geometry))
        assert beyond.area.max() < 1e-6
    assert sum(frame.area.sum() for frame in parts) == pytest.approx(source.area.sum())
    blocks = [set(frame["split_group"]) for frame in parts]
    assert not any(one & other for one, other in combinations(blocks, 2))


def test_the_report_tells_what_is_in_the_files(town: Path) -> None:
    document = report(split(town, "--buffer", "30", "--json"))
    assert json.loads((town / "s" / "split.json").read_text()) == document
    assert document["kind"] == "split"
    parts = sets(town)
    for entry, frame in zip(document["sets"], parts, strict=True):
        assert entry["features"] == frame["source_feature"].nunique()
        assert entry["area_m2"] == pytest.approx(frame.area.sum())
        for each in entry["per_class"]:
            mine = frame[frame["class"] == each["name"]]
            assert each["area_m2"] == pytest.approx(mine.area.sum())
            assert each["share"] == pytest.approx(mine.area.sum() / (48 * 6400))
    assert 30 <= least_distance(parts) == min(each["minimum_m"] for each in document["distances"])
    lost = 1 - sum(entry["area_m2"] for entry in document["sets"]) / (144 * 6400)
    assert document["buffer_loss"][0]["share"] == pytest.approx(lost)
    assert document["provenance"]["ground_truth"]["checksum"].startswith("sha256:")


def test_two_runs_with_one_seed_are_the_same(town: Path) -> None:
    one = report(split(town, "--json", "--seed", "3"))
    again = report(split(town, "--json", "--seed", "3", "--overwrite"))
    for document in (one, again):
        del document["provenance"]
    assert one == again


def test_the_buffer_follows_the_autocorrelation(town: Path) -> None:
    document = report(split(town, "--json"))
    reach = document["autocorrelation"]["classes"]["range_m"]
    assert 70 < reach < 130  # fields are 80 m wide and 100 m apart
    buffer = document["parameters"]["buffer_m"]
    assert buffer == pytest.approx(min(reach, 1180 / 20), rel=0.1)
    assert document["parameters"]["block_m"] >= 4 * buffer


def test_a_short_buffer_is_told_of(town: Path) -> None:
    outcome = split(town, "--buffer", "5")
    assert "the buffer of 5 m is shorter than the autocorrelation range" in outcome.err
    assert "m in the classes" in outcome.err
    assert "autocorrelation range of the classes" in outcome.out
    assert "to the buffer" in outcome.out
    assert "blocks of 120 m, buffer of 5 m (given), seed 0" in outcome.out


def test_a_set_that_is_not_wanted_is_not_written(town: Path) -> None:
    document = report(split(town, "--shares", "70,0,30", "--buffer", "0", "--json"))
    assert {path.name for path in (town / "s").iterdir()} == {
        "train.gpkg", "test.gpkg", "split.json"
    }  # fmt: skip
    reached = [[c["share"] for c in entry["per_class"]] for entry in document["sets"]]
    np.testing.assert_allclose(reached, [[0.7] * 3, [0.3] * 3], atol=0.03)


def test_whole_features_stay_whole(town: Path) -> None:
    outcome = split(town, "--method", "polygons", "--buffer", "0", "--json")
    document = report(outcome)
    assert document["parameters"]["block_m"] is None
    parts = sets(town)
    assert sum(len(frame) for frame in parts) == 144
    assert all((frame.area - 6400).abs().max() < 1e-6 for frame in parts)
    for entry in document["sets"]:
        assert all(c["share"] == pytest.approx(entry["asked_share"], abs=0.03)
                   for c in entry["per_class"])  # fmt: skip


def test_folds_test_everything_once(town: Path) -> None:
    document = report(split(town, "--folds", "4", "--buffer", "25", "--json"))
    names = [entry["name"] for entry in document["sets"]]
    assert names == [f"fold_{i}_{part}" for i in range(1, 5) for part in ("train", "test")]
    parts = sets(town, *names)
    tested = sum(frame.area.sum() for frame in parts[1::2])
    assert tested == pytest.approx(144 * 6400)
    for train, test in zip(parts[::2], parts[1::2], strict=True):
        assert least_distance([train, test]) >= 25
    # Fewer folds leave no file of the older ones.
    again = split(town, "--folds", "2", "--buffer", "25", "--overwrite")
    assert again.code == 0
    assert "fold_2_test" in again.out
    assert len(list((town / "s").iterdir())) == 5


def test_pixels_of_a_raster_are_counted_and_the_rest_is_left_out(town: Path) -> None:
    document = report(split(town, "--like", "grid.tif", "--buffer", "20", "--json"))
    with rasterio.open(town / "grid.tif") as dataset:
        transform, shape, bounds = dataset.transform, dataset.shape, dataset.bounds
    for entry, frame in zip(document["sets"], sets(town), strict=True):
        assert frame.total_bounds[2] <= bounds.right
        burnt = rasterize(frame.geometry, shape, transform=transform)
        assert entry["pixels"] == int(burnt.sum()) == sum(c["pixels"] for c in entry["per_class"])


def test_random_pixels_come_with_a_warning(town: Path) -> None:
    outcome = split(town, "--method", "random", "--like", "grid.tif")
    assert outcome.code == 0
    assert "a random split puts neighbouring pixels into different sets" in outcome.err
    assert "likeness reaches" in outcome.err
    parts = sets(town)
    document = json.loads((town / "s" / "split.json").read_text())
    corners = (np.concatenate([p.get_coordinates() for p in parts]) - ORIGIN) / 4 - 0.5
    np.testing.assert_allclose(corners, corners.round(), atol=1e-6)
    assert len(np.unique(corners.round(), axis=0)) == sum(map(len, parts))
    source = geopandas.read_file(town / "labels.fgb")
    for frame, entry in zip(parts, document["sets"], strict=True):
        whose = source.iloc[frame["source_feature"] - 1].reset_index(drop=True)
        assert frame["class"].tolist() == whose["class"].tolist()
        assert frame.within(geopandas.GeoSeries(whose.geometry)).all()
        assert entry["pixels"] == len(frame)
        assert all(c["share"] == pytest.approx(entry["asked_share"], abs=1e-3)
                   for c in entry["per_class"])  # fmt: skip


def test_the_image_has_an_autocorrelation_too(town: Path) -> None:
    size = 60
    waves = np.add.outer(np.sin(np.arange(size) / 4), np.cos(np.arange(size) / 5))
    noise = np.random.default_rng(0).normal(0, 0.1, (4, size, size))
    write_raster(town / "hsi.tif", (waves + noise).astype(np.float32), res=20.0)
    outcome = split(town, "--hsi", "hsi.tif", "--json")
    found = report(outcome)["autocorrelation"]["image"]
    assert 60 < found["range_m"] < 600
    assert len(found["lags_m"]) == len(found["semivariance"]) == len(found["fitted"])


def test_degrees_keep_their_crs(town: Path) -> None:
    frame = geopandas.read_file(town / "labels.fgb").to_crs(4326)
    frame.to_file(town / "degrees.geojson")
    outcome = split(town, "--buffer", "40", labels="degrees.geojson")
    assert outcome.code == 0, outcome.err
    parts = sets(town)
    assert all(part.crs == 4326 for part in parts)
    assert least_distance([part.to_crs(CRS) for part in parts]) >= 40 * 0.999


def test_no_crs_is_taken_as_metres_and_told_of(town: Path) -> None:
    frame = geopandas.read_file(town / "labels.fgb")
    pairs = zip(frame.geometry, frame["class"], strict=True)
    write_vector(town / "nowhere.shp", [(shape, {"class": name}) for shape, name in pairs])
    (town / "nowhere.prj").unlink()
    outcome = split(town, "--buffer", "40", labels="nowhere.shp")
    assert outcome.code == 0, outcome.err
    assert "nowhere.shp: has no CRS; its coordinates are taken as metres" in outcome.err
    assert least_distance(sets(town)) >= 40
    assert json.loads((town / "s" / "split.json").read_text())["crs"] is None
    (town / "s" / "split.json").unlink()
    placed = split(town, "--like", "grid.tif", "--overwrite", labels="nowhere.shp")
    assert "the raster's (EPSG:32633) is assumed" in placed.err
    assert sets(town)[0].crs == CRS


def test_points_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(shapely.Point(*(np.array(ORIGIN) + p)), {"class": CLASSES[i % 3]})
            for i, p in enumerate(rng.uniform(0, 1000, (90, 2)))]  # fmt: skip
    write_vector(tmp_path / "stems.gpkg", rows)
    outcome = split(tmp_path, "--buffer", "10", labels="stems.gpkg")
    assert outcome.code == 0, outcome.err
    assert "Ground of each class (points)" in outcome.out
    parts = sets(tmp_path)
    assert all((part.geom_type == "Point").all() for part in parts)
    assert 60 < sum(map(len, parts)) <= 90


def test_a_class_that_cannot_be_divided_is_named(town: Path) -> None:
    frame = geopandas.read_file(town / "labels.fgb")
    frame.loc[50, "class"] = "water"
    frame.to_file(town / "rare.fgb")
    outcome = split(town, "--method", "polygons", "--buffer", "0", labels="rare.fgb")
    assert "has nothing of class 'water'" in outcome.err
    assert "all that is left of it lies in 1 group" in outcome.err


def test_lists_and_names_that_differ_by_case_can_be_written(town: Path) -> None:
    geopandas.read_file(town / "labels.fgb").to_file(town / "odd.geojson")
    document = json.loads((town / "odd.geojson").read_text())
    for feature in document["features"]:
        feature["properties"] |= {"seen": [2019, 2020], "Plot": 1, "geom": "square"}
    (town / "odd.geojson").write_text(json.dumps(document))
    outcome = split(town, "--buffer", "0", labels="odd.geojson")
    assert outcome.code == 0, outcome.err
    frame = sets(town)[0]
    assert json.loads(frame["seen"].iloc[0]) == [2019, 2020]
    assert {"plot", "Plot_2", "geom"} <= set(frame.columns)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shares", "0.5,0.2"), "add up to 1"),
        (("--shares", "a,b,c"), "add up to 1"),
        (("--shares", "0,0.5,0.5"), "--shares need training ground"),
        (("--shares", "1,0,0"), "--shares need training ground"),
        (("--shares", "0.8,0,0.2", "--folds", "3"), "leave --shares out"),
        (("--method", "random"), "there is no raster that has any"),
        (("--method", "random", "--like", "grid.tif", "--buffer", "3"), "neither blocks nor a buf"),
        (("--method", "polygons", "--block", "3"), "--block is for --method blocks"),
        (("--block", "50", "--buffer", "40"), "give blocks of at least 160 m"),
        (("--block", "0.01"), "choose larger blocks"),
        (("--block", "0"), "--block"),
    ],
)
def test_options_that_cannot_be_meant(town: Path, options: tuple[str, ...], message: str) -> None:
    before = files(town)
    outcome = split(town, *options)
    assert outcome.code == 2, outcome.err
    assert message in outcome.error
    assert files(town) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--field", "kind"), "has no field 'kind'"),
        (("--method", "polygons", "--folds", "99", "--buffer", "700"), "leaves nothing of a set"),
        (("--block", "5000", "--buffer", "0"), "cannot be divided, and 3 sets are wanted"),
        (("--like", "nowhere.tif"), "there is no such file"),
        (("-o", "labels.fgb"), "labels.fgb"),
    ],
)
def test_what_cannot_be_done_leaves_nothing(
    town: Path, options: tuple[str, ...], message: str
) -> None:
    before = files(town)
    outcome = split(town, *options)
    assert outcome.code in (1, 2), outcome.err
    assert message in outcome.error
    assert files(town) == before


def test_coordinates_that_may_be_degrees_need_a_crs(tmp_path: Path) -> None:
    write_vector(tmp_path / "d.shp", [(shapely.box(13, 52, 14, 53), {"class": "a"})])
    (tmp_path / "d.prj").unlink()
    outcome = split(tmp_path, labels="d.shp")
    assert outcome.code == 1
    assert "has no CRS, and its coordinates may be degrees" in outcome.error
    assert "give the CRS with --gt-crs" in outcome.error


def test_metres_called_degrees_are_refused(town: Path) -> None:
    geopandas.read_file(town / "labels.fgb").to_file(town / "old.geojson")
    document = json.loads((town / "old.geojson").read_text())
    del document["crs"]  # which makes degrees of them
    (town / "old.geojson").write_text(json.dumps(document))
    outcome = split(town, labels="old.geojson")
    assert outcome.code == 1
    assert "its coordinates are no degrees (x 400000..401180" in outcome.error


def test_existing_sets_are_kept_unless_told_otherwise(town: Path) -> None:
    assert split(town, "--buffer", "0").code == 0
    before = (town / "s" / "train.gpkg").read_bytes()
    refused = split(town, "--buffer", "0")
    assert refused.code == 1
    assert "train.gpkg: exists already; give --overwrite" in refused.error
    assert (town / "s" / "train.gpkg").read_bytes() == before
    itself = comix(town / "s", "split", "train.gpkg", "-o", ".", "--overwrite", "--field", "class")
    assert "train.gpkg: is an input of this run" in itself.error
    again = ("--folds", "2", "--overwrite", "--field", "class")  # which would remove the older sets
    older = comix(town / "s", "split", "test.gpkg", "-o", ".", *again)
    assert "test.gpkg: is an input of this run" in older.error
    assert (town / "s" / "train.gpkg").read_bytes() == before
    assert split(town, "--buffer", "0", "--overwrite", "-q").err == ""


def test_a_project_file_knows_split(town: Path) -> None:
    (town / "comix.toml").write_text('[split]\nfield = "class"\nbuffer = 12\noutput = "s"\n')
    outcome = comix(town, "split", "labels.fgb", "--json")
    assert report(outcome)["parameters"]["buffer_m"] == 12
