"""Vector ground truth as it arrives, and its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio.crs
import shapely
from affine import Affine
from burning import rasterize, rivals_of
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize as gdal_rasterize
from scenes import ORIGIN, make_scene, write_raster, write_vector
from shapely import LineString, MultiPolygon, Point, Polygon, box

from comix_cli.errors import LabelError, UsageError
from comix_cli.scene.class_field import natural_key
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import GroundTruth, read_ground_truth
from comix_cli.scene.windows import Window, tile_windows

X0, Y0 = ORIGIN
GRID = Grid(rasterio.crs.CRS.from_epsg(32633), Affine(1, 0, X0, 0, -1, Y0), 50, 40)


def square(col: float, row: float, width: float, height: float | None = None) -> Polygon:
    """A rectangle in pixels of `GRID`."""
    height = width if height is None else height
    return box(X0 + col, Y0 - row - height, X0 + col + width, Y0 - row)


def read(path: Path, field: str | None = "class", **options: Any) -> GroundTruth:
    return read_ground_truth(path, field, GRID, **options)


def truth_of(path: Path, *rows: tuple[Any, Any]) -> GroundTruth:
    return read(write_vector(path, [(shape, {"class": value}) for shape, value in rows]))


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson", ".fgb"])
def test_common_formats_are_read(tmp_path: Path, suffix: str) -> None:
    crs = "EPSG:4326" if suffix == ".geojson" else "EPSG:32633"
    frame = geopandas.GeoSeries([square(2, 3, 10)], crs="EPSG:32633").to_crs(crs)
    path = write_vector(tmp_path / f"a{suffix}", [(frame[0], {"class": "tree"})], crs)
    truth = read(path)
    assert truth.classes == ((1, "tree"),)
    labels, _ = rasterize(truth, GRID)
    assert labels.sum() == 100


def test_names_are_stripped_sorted_naturally_and_numbered(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path / "a.gpkg", (square(0, 0, 5), "plot 10"), (square(9, 0, 5), " plot 2 "),
        (square(20, 0, 5), "Acre"),
    )  # fmt: skip
    assert truth.classes == ((1, "Acre"), (2, "plot 2"), (3, "plot 10"))
    assert truth.codes.tolist() == [3, 2, 1]
    assert not truth.integer_field


def test_natural_sorting_ignores_case_and_knows_numbers() -> None:
    names = ["b", "A10", "a2", "B", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "a2", "A10", "B", "b"]


def test_whole_numbers_are_codes_themselves(tmp_path: Path) -> None:
    truth = truth_of(tmp_path / "a.gpkg", (square(0, 0, 5), 7), (square(9, 0, 5), 300))
    assert truth.classes == ((7, "7"), (300, "300"))
    assert truth.codes.tolist() == [7, 300]
    assert truth.integer_field


def test_whole_numbers_in_a_decimal_field_are_codes_too(tmp_path: Path) -> None:
    truth = truth_of(tmp_path / "a.gpkg", (square(0, 0, 5), 2.0), (square(9, 0, 5), 5.0))
    assert truth.classes == ((2, "2"), (5, "5"))


def test_features_without_class_or_geometry_are_counted(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path / "a.gpkg", (square(0, 0, 5), 1), (square(9, 0, 5), 0), (square(9, 9, 5), -3),
        (square(20, 0, 5), None), (None, 2), (Polygon(), 2),
    )  # fmt: skip
    assert truth.dropped_null == 5
    assert truth.classes == ((1, "1"), (2, "2"))
    assert truth.codes.tolist() == [1]


def test_empty_names_are_no_class(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path / "a.gpkg",
        (square(0, 0, 5), "a"),
        (square(9, 0, 5), "  "),
        (square(9, 9, 5), None),
    )
    assert truth.dropped_null == 2
    assert truth.classes == ((1, "a"),)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, 2.0], "1.5, which is no whole number"),
        ([70_000, 2], "70000, but a map's codes end at 65535"),
        (["2024-05-01T10:00:00", "2024-05-02T10:00:00"], "datetime"),
    ],
)
def test_fields_that_cannot_be_classes_are_refused(
    tmp_path: Path, values: list[Any], message: str
) -> None:
    frame = geopandas.GeoDataFrame(
        {"class": values}, geometry=[square(0, 0, 5), square(9, 0, 5)], crs="EPSG:32633"
    )
    if message == "datetime":
        frame["class"] = frame["class"].astype("datetime64[ms]")
    path = tmp_path / "a.gpkg"
    frame.to_file(path)
    with pytest.raises(LabelError, match=message):
        read(path)


def test_a_field_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    path = write_vector(tmp_path / "a.gpkg", [(square(0, 0, 5), {"kind": "a", "id": 1})])
    with pytest.raises(LabelError, match="has no field 'class'; its fields are kind, id"):
        read(path)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"kind": "a"}, "kind"),
        ({"id": 1, "Class": "a"}, "Class"),
        ({"id": 1, "LABEL": "a", "note": "b"}, "LABEL"),
        ({"label": "a", "class": "b"}, "class"),
    ],
)
def test_the_class_field_is_found_by_its_name(
    tmp_path: Path, attributes: dict[str, Any], expected: str
) -> None:
    path = write_vector(tmp_path / "a.gpkg", [(square(0, 0, 5), attributes)])
    assert read(path, None).field == expected


def test_a_class_field_that_cannot_be_guessed_is_asked_for(tmp_path: Path) -> None:
    path = write_vector(tmp_path / "a.gpkg", [(square(0, 0, 5), {"a": "x", "b": "y"})])
    with pytest.raises(LabelError, match="its fields are a, b; name one with --field"):
        read(path, None)


def test_a_missing_file_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"a\.gpkg: there is no such file"):
        read(tmp_path / "a.gpkg")


def test_a_file_of_another_kind_is_no_vector(tmp_path: Path) -> None:
    text = tmp_path / "a.gpkg"
    text.write_text("nothing")
    with pytest.raises(LabelError, match=r"a\.gpkg: "):
        read(text)
    raster = write_raster(tmp_path / "a.tif", np.ones((1, 3, 3), np.uint8))
    with pytest.raises(LabelError, match=r"a\.tif: is not a vector file"):
        read(raster)


def test_a_table_without_geometries_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("class,b\n1,2\n")
    with pytest.raises(LabelError, match="holds no geometries"):
        read(path)


def test_a_file_without_features_is_refused(tmp_path: Path) -> None:
    path = write_vector(tmp_path / "a.gpkg", [(square(0, 0, 5), {"class": 1})])
    geopandas.read_file(path).iloc[:0].to_file(path)
    with pytest.raises(LabelError, match="holds no features"):
        read(path)


def test_of_several_layers_one_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write_vector(path, [(square(0, 0, 5), {"class": "a"})], layer="train")
    write_vector(path, [(square(0, 0, 5), {"class": "b"})], layer="test")
    with pytest.raises(LabelError, match="several layers; name one of train, test with --layer"):
        read(path)
    assert read(path, layer="test").classes == ((1, "b"),)
    with pytest.raises(LabelError, match="has no layer 'other'"):
        read(path, layer="other")


def test_a_missing_crs_is_assumed_to_be_the_rasters_with_a_warning(tmp_path: Path) -> None:
    path = write_vector(tmp_path / "a.shp", [(square(1, 1, 5), {"class": 1})], None)
    truth = read(path)
    (warning,) = truth.warnings
    assert str(path) in warning
    assert "--gt-crs" in warning
    assert "EPSG:32633" in warning
    assert rasterize(truth, GRID)[0].sum() == 25


def test_a_given_crs_serves_a_file_without_one(tmp_path: Path) -> None:
    there = geopandas.GeoSeries([square(1, 1, 5)], crs="EPSG:32633").to_crs("EPSG:25832")[0]
    path = write_vector(tmp_path / "a.shp", [(there, {"class": 1})], None)
    truth = read(path, gt_crs="EPSG:25832")
    assert truth.warnings == ()
    assert truth.crs == GRID.crs
    assert truth.source_crs.to_epsg() == 25832
    assert rasterize(truth, GRID)[0].sum() == 25


def test_a_given_crs_does_not_override_the_files_own(tmp_path: Path) -> None:
    path = write_vector(tmp_path / "a.gpkg", [(square(1, 1, 5), {"class": 1})])
    (warning,) = read(path, gt_crs="EPSG:25832").warnings
    assert "carries EPSG:32633, which is used" in warning
    assert read(path, gt_crs="EPSG:32633").warnings == ()
    with pytest.raises(UsageError, match="--gt-crs 12: not a CRS"):
        read(path, gt_crs="12")


def test_another_crs_is_reprojected(tmp_path: Path) -> None:
    there = geopandas.GeoSeries([square(10, 10, 7)], crs="EPSG:32633").to_crs("EPSG:3035")[0]
    path = write_vector(tmp_path / "a.gpkg", [(there, {"class": 1})], "EPSG:3035")
    labels, _ = rasterize(read(path), GRID)
    assert labels[10:17, 10:17].all()
    assert labels.sum() == 49


def test_invalid_polygons_are_repaired_and_counted(tmp_path: Path) -> None:
    bow_tie = Polygon([(X0, Y0), (X0 + 10, Y0 - 10), (X0 + 10, Y0), (X0, Y0 - 10)])
    truth = truth_of(tmp_path / "a.gpkg", (bow_tie, 1), (square(20, 20, 5), 1))
    assert truth.repaired == 1
    labels, _ = rasterize(truth, GRID)
    assert labels[4, 0] == labels[4, 9] == 1
    assert labels[1, 5] == 0
    assert shapely.area(truth.geometries).sum() == pytest.approx(50 + 25)


def test_overlapping_parts_of_one_feature_keep_their_ground(tmp_path: Path) -> None:
    twice = MultiPolygon([square(0, 0, 6), square(3, 0, 6)])
    truth = truth_of(tmp_path / "a.gpkg", (twice, 1))
    labels, overlap = rasterize(truth, GRID)
    assert truth.repaired == 1
    assert labels[:6, :9].all()
    assert not overlap.any()


def test_repair_leaves_no_lines_of_a_polygon(tmp_path: Path) -> None:
    places = [(0, 0), (5, 0), (20, 0), (5, 0), (5, 5), (0, 5)]
    spike = Polygon([(X0 + col, Y0 - row) for col, row in places])
    truth = truth_of(tmp_path / "a.gpkg", (spike, 1))
    assert truth.repaired == 1
    assert {g.geom_type for g in truth.geometries} == {"Polygon"}
    assert rasterize(truth, GRID, all_touched=False)[0].sum() == 25


def test_what_lies_outside_is_counted_by_feature(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path / "a.gpkg",
        (square(0, 0, 5), "a"),
        (square(60, 0, 5), "a"),
        (MultiPolygon([square(48, 0, 9), square(80, 0, 5), square(10, 10, 2)]), "b"),
        (square(45, 38, 30), "c"),
        (square(-10, -10, 5), "d"),
    )
    assert truth.outside == 2
    assert truth.features.tolist() == [0, 1, 2, 2, 2, 3, 4]
    assert truth.classes == ((1, "a"), (2, "b"), (3, "c"), (4, "d"))


def test_ground_truth_elsewhere_is_refused_with_both_extents(tmp_path: Path) -> None:
    with pytest.raises(LabelError) as caught:
        truth_of(tmp_path / "a.gpkg", (square(500, 0, 5), 1))
    assert "x 400500..400505, y 5799995..5800000" in caught.value.message
    assert "x 400000..400050, y 5799960..5800000" in caught.value.message


def test_nothing_usable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no feature has both a geometry and a class"):
        truth_of(tmp_path / "a.gpkg", (square(0, 0, 5), 0), (None, 1))


def test_points_and_lines_are_burnt_too(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path / "a.gpkg",
        (Point(X0 + 3.2, Y0 - 7.9), 4),
        (LineString([(X0 + 10.5, Y0 - 2.5), (X0 + 10.5, Y0 - 12.5)]), 5),
    )
    labels, _ = rasterize(truth, GRID)
    assert labels[7, 3] == 4
    assert labels[3:12, 10].tolist() == [5] * 9


def test_heights_of_vertices_do_not_matter(tmp_path: Path) -> None:
    lifted = shapely.force_3d(square(0, 0, 5), 12.0)
    assert rasterize(truth_of(tmp_path / "a.gpkg", (lifted, 1)), GRID)[0].sum() == 25


def test_pixels_know_their_features(tmp_path: Path) -> None:
    two = MultiPolygon([square(0, 0, 3), square(20, 5, 4)])
    truth = truth_of(tmp_path / "a.gpkg", (two, 7), (square(2, 0, 3), 7), (square(40, 30, 2), 9))
    burnt = truth.burn(GRID)
    expected = np.full(GRID.shape, -1, np.int32)
    expected[0:3, 0:3], expected[5:9, 20:24], expected[30:32, 40:42] = 0, 0, 2
    expected[0:3, 2:5] = 1  # the last of the two that share a column
    np.testing.assert_array_equal(burnt.features, expected)
    np.testing.assert_array_equal(rivals_of(burnt) >= 0, expected >= 0)
    np.testing.assert_array_equal(burnt.labelled, burnt.labels > 0)
    window = Window(1, 2, 10, 30)
    part = truth.burn(GRID, window).features
    np.testing.assert_array_equal(part, expected[window.slices])
    some = truth.burn(GRID, codes={9: 1}).features
    np.testing.assert_array_equal(some, np.where(expected == 2, 2, -1))


def test_pixels_that_classes_dispute_know_both_features(tmp_path: Path) -> None:
    truth = truth_of(tmp_path / "a.gpkg", (square(0, 0, 6), 9), (square(4, 0, 6), 3))
    burnt = truth.burn(GRID)
    disputed = burnt.overlap
    assert disputed.sum() == 2 * 6
    assert set(burnt.features[disputed]) == {0}  # of the higher code
    assert set(rivals_of(burnt)[disputed]) == {1}


def test_pixels_where_different_classes_overlap_belong_to_none(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path / "a.gpkg", (square(0, 0, 6), 2), (square(4, 0, 6), 3), (square(4, 4, 6), 1),
        (square(20, 0, 6), 2), (square(22, 2, 6), 2),
    )  # fmt: skip
    labels, overlap = rasterize(truth, GRID)
    covering = {
        code: np.asarray(
            gdal_rasterize(
                truth.geometries[truth.codes == code], GRID.shape, transform=GRID.transform
            )
        )
        for code in (1, 2, 3)
    }
    count = sum(covering.values())
    np.testing.assert_array_equal(overlap, count > 1)
    for code, mask in covering.items():
        np.testing.assert_array_equal(labels == code, (mask == 1) & (count == 1))


def test_codes_can_be_replaced_and_classes_left_out(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path / "a.gpkg", (square(0, 0, 6), 2), (square(4, 0, 6), 3), (square(20, 0, 4), 7)
    )
    labels, overlap = rasterize(truth, GRID, codes={2: 5, 7: 1})
    assert not overlap.any()
    assert (labels[:6, :6] == 5).all()
    assert (labels[:6, 6:10] == 0).all()
    merged, overlap = rasterize(truth, GRID, codes={2: 5, 3: 5})
    assert (merged[:6, :10] == 5).all()
    assert not overlap.any()
    assert not rasterize(truth, GRID, codes={})[0].any()


def test_all_touched_burns_every_pixel_touched(tmp_path: Path) -> None:
    truth = truth_of(tmp_path / "a.gpkg", (square(2.6, 2.6, 0.8), 1))
    assert rasterize(truth, GRID)[0].sum() == 0
    assert rasterize(truth, GRID, all_touched=True)[0][2:4, 2:4].sum() == 4


def hull(places: list[tuple[float, float]]) -> Polygon:
    """The convex hull of places given in pixels of `GRID`."""
    shape = shapely.MultiPoint([(X0 + col, Y0 - row) for col, row in places]).convex_hull
    return shape if isinstance(shape, Polygon) else square(0, 0, 3)


def truth_in_memory(shapes: list[tuple[Polygon, int]]) -> GroundTruth:
    return GroundTruth(
        path="", field="", crs=GRID.crs, classes=(),
        geometries=np.array([s for s, _ in shapes], dtype=object),
        codes=np.array([c for _, c in shapes], np.int32), features=np.arange(len(shapes)),
        repaired=0, dropped_null=0, outside=0, warnings=(), integer_field=True,
        source_crs=GRID.crs,
    )  # fmt: skip


def places_in(coordinate: st.SearchStrategy[float]) -> st.SearchStrategy[Polygon]:
    return st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=7).map(hull)


# On half pixels edges run through pixel centres, where rounding would decide.
HALVES = places_in(st.integers(-10, 110).map(lambda n: n / 2))
ANYWHERE = places_in(st.integers(-5_000, 55_000).map(lambda n: n / 1000 + 0.00037))


@pytest.mark.parametrize(("polygons", "all_touched"), [(HALVES, False), (ANYWHERE, True)])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_windows_are_parts_of_the_whole(
    data: st.DataObject, polygons: st.SearchStrategy[Polygon], all_touched: bool
) -> None:
    rows = st.lists(st.tuples(polygons, st.integers(1, 4)), min_size=1, max_size=5)
    truth = truth_in_memory(data.draw(rows))
    labels, overlap = rasterize(truth, GRID, all_touched=all_touched)
    for window in tile_windows(GRID.shape, 19):
        part, part_overlap = rasterize(truth, GRID, window, all_touched=all_touched)
        np.testing.assert_array_equal(part, labels[window.slices])
        np.testing.assert_array_equal(part_overlap, overlap[window.slices])


@settings(max_examples=40, deadline=None)
@given(st.floats(-5, 50), st.floats(-5, 40), st.floats(0.5, 20), st.integers(3, 9))
def test_pixels_are_those_of_gdals_pixel_centre_rule(
    col: float, row: float, radius: float, sides: int
) -> None:
    angles = np.arange(sides) * 2 * np.pi / sides + 0.1234
    ring = np.c_[X0 + col + radius * np.cos(angles), Y0 - row + radius * np.sin(angles)]
    shape = Polygon(ring)
    truth = truth_in_memory([(shape, 3)])
    expected = gdal_rasterize([(shape, 3)], GRID.shape, transform=GRID.transform, dtype="int32")
    np.testing.assert_array_equal(rasterize(truth, GRID)[0], expected)


def test_polygons_of_very_many_vertices_are_cut_to_the_window_without_a_trace(
    tmp_path: Path,
) -> None:
    round_one = Point(X0 + 25, Y0 - 20).buffer(17.3, quad_segs=2000)
    truth = truth_of(tmp_path / "a.gpkg", (round_one, 1))
    labels, _ = rasterize(truth, GRID)
    expected = gdal_rasterize([(round_one, 1)], GRID.shape, transform=GRID.transform)
    np.testing.assert_array_equal(labels, expected)
    for window in tile_windows(GRID.shape, 9):
        np.testing.assert_array_equal(rasterize(truth, GRID, window)[0], labels[window.slices])


def test_a_window_far_from_all_labels_is_empty(tmp_path: Path) -> None:
    truth = truth_of(tmp_path / "a.gpkg", (square(0, 0, 5), 1))
    labels, overlap = rasterize(truth, GRID, Window(20, 20, 6, 7))
    assert labels.shape == overlap.shape == (6, 7)
    assert labels.dtype == np.int32
    assert not labels.any()


def test_the_made_scenes_labels_lie_on_its_classes(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    grid = Grid(GRID.crs, Affine(2, 0, X0, 0, -2, Y0), 48, 48)
    labels, overlap = rasterize(read_ground_truth(scene.labels, "class", grid), grid)
    assert not overlap.any()
    assert (labels > 0).mean() > 0.3
    np.testing.assert_array_equal(labels[labels > 0] - 1, scene.labels_fine[labels > 0])
