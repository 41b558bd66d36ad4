"""What datasets are, which files they lie in, where their pixels lie and as what they are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS
from scipy.io import savemat

from comix_cli.commands.import_ import NAMES
from comix_cli.errors import InputError, LabelError, RasterError
from comix_cli.tools.importing.datasets import DATASETS
from comix_cli.tools.importing.finding import find_files
from comix_cli.tools.importing.label_sets import count_classes, legend_of
from comix_cli.tools.importing.pixels import Pixels, array_pixels, smallest_dtype
from comix_cli.tools.importing.placing import place_all

# What the publications print below their tables.
TOTALS = {
    "houston2013": {"train": 2832, "test": 12197},
    "berlin": {"train": 2820, "test": 461851},
    "dfc2018": {"train": 2018910, "test": 341729},
    "trento": {"train": 819, "test": 29395, "labels": 30214},
    "muufl": {"labels": 53687},
    "augsburg": {"train": 761, "test": 77533},
}
UTM = CRS.from_epsg(32615)
FINE = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 3_000_000.0)


def plane(height: int = 4, width: int = 6, **known: Any) -> Pixels:
    return array_pixels("a.tif", np.zeros((height, width), np.uint8), **known)


@pytest.mark.parametrize("key", NAMES)
def test_counts_by_class_add_up_to_the_published_totals(key: str) -> None:
    dataset = DATASETS[key]
    parts = [part for group in dataset.labels for part in group]
    assert {part.name: part.pixels for part in parts} == TOTALS[key]
    assert all(len(part.counts) == len(dataset.classes) for part in parts)
    assert len(set(dataset.classes)) == len(dataset.classes)


def test_the_command_knows_every_dataset() -> None:
    assert tuple(DATASETS) == NAMES


@pytest.mark.parametrize("key", NAMES)
def test_images_begin_with_the_hsi_and_centres_ascend(key: str) -> None:
    images = DATASETS[key].images
    assert [part.name for part in images].index("hsi") == 0
    assert len({part.name for part in images}) == len(images)
    for part in images:
        assert list(part.centres_nm) == sorted(set(part.centres_nm))
        assert len(part.centres_nm) in (0, part.bands)


def test_the_legend_has_the_official_names_from_1() -> None:
    legend = legend_of(DATASETS["trento"])
    assert legend.codes == (1, 2, 3, 4, 5, 6)
    assert legend.names[3] == "Woods"
    assert len({entry.color for entry in legend}) == 6


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_files_are_found_in_any_case_and_in_folders(tmp_path: Path) -> None:
    touch(tmp_path, "x/hsi.MAT", "x/lidar.mat", "y/TRLABEL.mat", "y/tslabel.mat", "._HSI.mat")
    found = find_files(DATASETS["trento"], tmp_path)
    assert [Path(path).name for path in found.paths] == [
        "hsi.MAT", "lidar.mat", "TRLABEL.mat", "tslabel.mat",
    ]  # fmt: skip
    assert found.absent == ()


def test_the_most_original_files_and_the_shallowest_are_taken(tmp_path: Path) -> None:
    touch(tmp_path, "HSI.mat", "old/HSI.mat", "old/Italy_hsi.mat", "allgrd.mat")
    found = find_files(DATASETS["trento"], tmp_path)
    assert found.images[0].path == str(tmp_path / "old/Italy_hsi.mat")
    assert [each.part.name for each in found.labels] == ["labels"]
    assert found.absent == ("test", "train")
    assert found.paths == [str(tmp_path / "old/Italy_hsi.mat"), str(tmp_path / "allgrd.mat")]


def test_what_is_missing_is_told_with_all_its_spellings(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_files(DATASETS["trento"], tmp_path)
    for name in ("Italy_hsi.mat", "HSI.mat", "HSI_Trento.mat"):
        assert name in str(caught.value)
    touch(tmp_path, "HSI.mat", "TRLabel.mat")
    with pytest.raises(InputError) as caught:
        find_files(DATASETS["trento"], tmp_path)
    assert "TSLabel.mat" in str(caught.value)
    assert "allgrd.mat" in str(caught.value)
    assert "TRLabel" not in str(caught.value)


def test_two_datasets_in_one_folder_are_told_apart_by_the_user(tmp_path: Path) -> None:
    touch(tmp_path, "a/HSI.mat", "b/HSI.mat")
    with pytest.raises(InputError, match="several files could be the hsi"):
        find_files(DATASETS["trento"], tmp_path)


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_a_folder_is_wanted(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "file")
    with pytest.raises(InputError, match="name the folder"):
        find_files(DATASETS["trento"], tmp_path / name)


def test_without_any_place_all_lie_on_a_local_grid() -> None:
    places = place_all(DATASETS["houston2013"], [plane(), plane(8, 12)])
    assert [place.is_local for place in places] == [True, True]
    assert places[0].grid.bounds == places[1].grid.bounds == (0.0, 0.0, 15.0, 10.0)
    assert places[1].grid.resolution == (1.25, 1.25)
    assert places[0].grid.crs == places[1].grid.crs
    assert not places[0].grid.crs.is_geographic


def test_a_raster_with_a_place_keeps_it_and_gives_it_to_the_others() -> None:
    placed = plane(8, 12, crs=UTM, transform=FINE)
    far = plane(3, 3, crs=UTM, transform=FINE * Affine.translation(50, 50))
    places = place_all(DATASETS["houston2013"], [placed, plane(8, 12), far])
    assert places[1].grid == places[0].grid
    assert places[2].grid.transform == far.transform
    assert places[1].origin == "same ground as a.tif"


def test_the_hsi_borrows_the_place_of_a_raster_of_its_size() -> None:
    hsi, lidar = plane(), plane(crs=UTM, transform=FINE)
    places = place_all(DATASETS["houston2013"], [hsi, plane(8, 12), lidar])
    assert places[0].grid == places[2].grid
    assert places[1].grid.resolution == (1.0, 1.0)
    assert not places[0].is_local


def test_a_documented_crs_completes_a_geotransform() -> None:
    places = place_all(DATASETS["dfc2018"], [plane(crs=UTM, transform=FINE), plane(transform=FINE)])
    assert (places[1].origin, places[1].grid.crs.to_epsg()) == ("documented CRS", 26915)


@pytest.mark.parametrize("shape", [(5, 6), (2, 3), (8, 6)])
def test_a_size_that_does_not_fit_is_refused_with_both(shape: tuple[int, int]) -> None:
    with pytest.raises(RasterError) as caught:
        place_all(DATASETS["houston2013"], [plane(), plane(*shape)])
    assert f"is {shape[1]} x {shape[0]} pixels" in str(caught.value)
    assert "is 6 x 4" in str(caught.value)


@pytest.mark.parametrize("north", [1, -1])
def test_centres_in_the_file_are_a_place(tmp_path: Path, north: int) -> None:
    path = tmp_path / "a.mat"
    axes = {"Easting": 300_000.5 + np.arange(6), "Northing": 3_300_000.5 + north * np.arange(4)}
    savemat(path, {"hsi": axes})
    (place,) = place_all(DATASETS["muufl"], [replace(plane(), path=str(path))])
    edge = 3_300_000.5 - north / 2
    assert place.grid.transform == Affine(1.0, 0.0, 300_000.0, 0.0, float(north), edge)
    assert place.grid.crs.to_epsg() == 32616


@pytest.mark.parametrize(
    "easting", [np.arange(5.0), np.zeros(6), np.array([0, 1, 2, 3, 4, 9.0]), np.full(6, np.nan)]
)
def test_centres_that_make_no_grid_are_no_place(
    tmp_path: Path, easting: NDArray[np.float64]
) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"hsi": {"Easting": easting, "Northing": -np.arange(4.0)}})
    (place,) = place_all(DATASETS["muufl"], [replace(plane(), path=str(path))])
    assert place.is_local


@given(
    st.lists(
        st.one_of(st.integers(-40_000, 70_000).map(float), st.floats(-5, 5, width=32)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_the_smallest_type_keeps_every_value(values: list[float]) -> None:
    cube = np.array(values)[:, np.newaxis]
    name = smallest_dtype(array_pixels("a", cube))
    np.testing.assert_array_equal(cube.astype(name).astype(np.float64), cube)
    whole = all(value.is_integer() for value in values)
    assert (name == "int16") == (whole and -(2**15) <= min(values) <= max(values) < 2**15)
    assert (name == "uint16") == (whole and min(values) >= 0 and 2**15 <= max(values) < 2**16)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (1, "uint8", "uint8"), (1, "uint16", "uint16"), (70_000, "int32", "float32"),
        (7, "int64", "int16"), (np.nan, "float64", "float32"), (3e38, "float32", "float32"),
    ],
)  # fmt: skip
def test_the_type_of_the_source_counts(value: float, dtype: str, expected: str) -> None:
    assert smallest_dtype(array_pixels("a", np.full((2, 2), value, dtype))) == expected


def test_only_the_bands_that_are_kept_count() -> None:
    cube = np.stack([np.ones((2, 2)), np.full((2, 2), 0.5)], axis=-1)
    assert smallest_dtype(array_pixels("a", cube), 1) == "int16"


def test_what_is_not_above_0_is_no_class() -> None:
    values = np.array([[1, 2, -1], [0, np.nan, 9], [2, 2, -99]])
    assert count_classes(array_pixels("a", values, nodata=9.0), 3) == (1, 3, 0)


@pytest.mark.parametrize("odd", [4.0, 1.5, np.inf])
def test_labels_that_are_none_of_the_classes_are_refused(odd: float) -> None:
    with pytest.raises(LabelError, match="there are 3 classes"):
        count_classes(array_pixels("a", np.array([[1.0, odd]])), 3)


def test_a_picture_of_labels_is_refused() -> None:
    with pytest.raises(LabelError, match="has 3 bands"):
        count_classes(array_pixels("a", np.ones((2, 2, 3), np.uint8)), 3)
