"""comix import: small files of the structure in which the benchmarks go around."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from cli import Outcome, comix, files
from numpy.typing import NDArray
from scipy.io import savemat

from comix_cli.mapping.map_file import newest_map, read_map
from comix_cli.tools.importing.datasets import DATASETS

SHAPE = (24, 40)
LABEL_FILES = {"test.tif", "test.tif.aux.xml", "test.qml", "train.tif", "train.tif.aux.xml",
               "train.qml"}  # fmt: skip
UTM = Affine(1.0, 0.0, 272_056.0, 0.0, -1.0, 3_290_290.0)


def codes(classes: int, *, first: bool, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    """Every class in stripes, on the upper or on the lower half of the rows."""
    found = np.zeros(shape, np.uint8)
    half = slice(0, shape[0] // 2) if first else slice(shape[0] // 2, shape[0])
    found[half] = np.arange(shape[1]) % classes + 1
    return found


def trento(folder: Path, **changed: NDArray[Any]) -> Path:
    """Trento as the toolboxes have it: one variable a file."""
    rng = np.random.default_rng(0)
    arrays = {
        "HSI": rng.integers(0, 9000, (*SHAPE, 63)).astype(np.float64),
        "LiDAR": rng.random(SHAPE).astype(np.float32),
        "TRLabel": codes(6, first=True),
        "TSLabel": codes(6, first=False),
        **changed,
    }
    folder.mkdir()
    for name, values in arrays.items():
        savemat(folder / f"{name}.mat", {name: values}, do_compression=True)
    return folder


def s2fl(folder: Path, classes: int, bands: int, **others: NDArray[Any]) -> Path:
    """Berlin and Augsburg as their publication has them; test labels are real numbers."""
    folder.mkdir()
    arrays = {
        "data_HS_LR": np.random.default_rng(0).integers(0, 60_000, (*SHAPE, bands), np.uint16),
        "data_SAR_HR": np.random.default_rng(1).normal(size=(*SHAPE, 4)),
        "TrainImage": codes(classes, first=True),
        "TestImage": codes(classes, first=False).astype(np.float32),
        **others,
    }
    for name, values in arrays.items():
        savemat(folder / f"{name}.mat", {name: values})
    return folder


def run(folder: Path, dataset: str, *options: str) -> Outcome:
    return comix(folder, "import", dataset, "in", "-o", "out", "--any-counts", *options)


def report(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def pixels(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        found: NDArray[Any] = file.read()
    return found


def test_matlab_files_become_rasters_on_a_local_grid(tmp_path: Path) -> None:
    trento(tmp_path / "in")
    outcome = run(tmp_path, "trento", "--json")
    document = report(outcome)
    assert files(tmp_path / "out") == LABEL_FILES | {"hsi.tif", "lidar.tif", "import.json"}
    assert json.loads((tmp_path / "out/import.json").read_text()) == document
    assert "carry no place" in outcome.err
    assert [(image["crs"], image["place"]) for image in document["images"]] == [(None, "local")] * 2
    with rasterio.open(tmp_path / "out/hsi.tif") as file:
        assert (file.count, file.dtypes[0], file.shape) == (63, "int16", SHAPE)
        assert file.transform == Affine(1.0, 0.0, 0.0, 0.0, -1.0, 24.0)
        assert file.interleaving.value == "BAND"
        grid = file.crs, file.transform
    expected = np.random.default_rng(0).integers(0, 9000, (*SHAPE, 63))
    np.testing.assert_array_equal(pixels(tmp_path / "out/hsi.tif"), np.moveaxis(expected, -1, 0))
    for name in ("lidar.tif", "train.tif", "test.tif"):
        with rasterio.open(tmp_path / "out" / name) as file:
            assert (file.crs, file.transform) == grid
    np.testing.assert_array_equal(pixels(tmp_path / "out/test.tif")[0], codes(6, first=False))


def test_labels_have_the_official_names_and_are_taken_for_no_map(tmp_path: Path) -> None:
    trento(tmp_path / "in")
    assert run(tmp_path, "trento", "-q").code == 0
    legend = read_map(tmp_path / "out/train.tif").legend
    assert legend is not None
    assert legend.names == DATASETS["trento"].classes
    assert newest_map(tmp_path / "out") is None


def test_what_is_imported_trains_maps_and_is_judged(tmp_path: Path) -> None:
    trento(tmp_path / "in")
    assert run(tmp_path, "trento", "-q").code == 0
    out = tmp_path / "out"
    trained = comix(
        out, "train", "hsi.tif", "lidar.tif", "--gt", "train.tif", "--preset", "nano", "--steps",
        "2", "--batch-size", "1", "--window", "32", "--threads", "1", "-q",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert comix(out, "classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "-q").code == 0
    judged = report(comix(out, "evaluate", "--gt", "test.tif", "--json"))
    assert judged["pixels"] == SHAPE[0] * SHAPE[1] // 2


def test_the_table_shows_found_and_official_pixels(tmp_path: Path) -> None:
    trento(tmp_path / "in")
    outcome = run(tmp_path, "trento")
    row = next(line for line in outcome.out.splitlines() if "4 Woods" in line)
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    half = SHAPE[0] // 2
    found = str(half * int((codes(6, first=True)[0] == 4).sum()))
    assert cells == ["4 Woods", found, "154", "differs", found, "8969", "differs"]
    assert "local grid, metres" in outcome.out
    assert "please cite: P. Ghamisi" in outcome.err


def test_other_counts_than_the_official_ones_are_an_error_with_both(tmp_path: Path) -> None:
    trento(tmp_path / "in")
    refused = comix(tmp_path, "import", "trento", "in", "-o", "out")
    assert refused.code == 1
    assert "train has 480 labelled pixels (official 819)" in refused.error
    assert "'Woods' 84 (official 154)" in refused.error
    assert "--any-counts" in refused.error
    assert not (tmp_path / "out").exists()


def test_an_image_of_another_size_is_told_with_both(tmp_path: Path) -> None:
    trento(tmp_path / "in", HSI=np.zeros((*SHAPE, 62)))
    warned = run(tmp_path, "trento").err
    assert "hsi is 40 x 24 pixels (official 600 x 166)" in warned
    assert "hsi has 62 bands (official 63)" in warned


def test_a_cube_that_does_not_fit_its_labels_leaves_nothing(tmp_path: Path) -> None:
    trento(tmp_path / "in", HSI=np.zeros((40, 24, 63)))
    refused = run(tmp_path, "trento")
    assert refused.code == 1
    assert "has no place of its own" in refused.error
    assert not (tmp_path / "out").exists()


def test_an_import_is_replaced_on_demand_only_and_as_a_whole(tmp_path: Path) -> None:
    source = trento(tmp_path / "in")
    assert run(tmp_path, "trento", "-q").code == 0
    refused = run(tmp_path, "trento")
    assert (refused.code, "--overwrite" in refused.error) == (1, True)
    for name in ("TRLabel", "TSLabel", "LiDAR"):
        (source / f"{name}.mat").unlink()
    savemat(source / "allgrd.mat", {"mask_test": codes(6, first=True)})
    again = run(tmp_path, "trento", "--overwrite")
    assert again.code == 0, again.err
    assert files(tmp_path / "out") >= {"hsi.tif", "labels.tif", "labels.qml", "import.json"}
    assert files(tmp_path / "out").isdisjoint({"train.tif", "test.tif", "lidar.tif"})
    assert "no official split was found" in again.err
    assert "no other sensor was found" in again.err


def test_a_fault_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    source = trento(tmp_path / "in")
    content = (source / "LiDAR.mat").read_bytes()
    (source / "LiDAR.mat").write_bytes(content[: len(content) // 2])
    refused = run(tmp_path, "trento")
    assert refused.code == 1
    assert "LiDAR.mat: cannot be read" in refused.error
    assert files(tmp_path) == {"in", *(f"in/{path.name}" for path in source.iterdir())}


def test_an_image_that_comes_back_changed_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trento(tmp_path / "in")
    monkeypatch.setattr("comix_cli.tools.importing.writing._checksum", lambda _: -1)
    refused = run(tmp_path, "trento")
    assert refused.error.startswith("Error: out/hsi.tif: cannot be written (it came back")
    assert files(tmp_path / "out") == set()


def test_a_folder_without_the_dataset_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    refused = run(tmp_path, "houston2013")
    assert refused.code == 1
    assert "2013_IEEE_GRSS_DF_Contest_CASI.tif or" in refused.error
    wrong = comix(tmp_path, "import", "indianpines", "in", "-o", "out")
    assert (wrong.code, "'indianpines'" in wrong.error) == (2, True)


def test_berlin_and_augsburg(tmp_path: Path) -> None:
    for name, classes, bands, others in (
        ("berlin", 8, 5, {}),
        ("augsburg", 7, 4, {"data_DSM": np.ones(SHAPE)}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        s2fl(folder / "in", classes, bands, **others)
        document = report(run(folder, name, "--json"))
        assert [(image["name"], image["dtype"]) for image in document["images"]] == [
            ("hsi", "uint16"), ("sar", "float32"), *(("dsm", "int16") for _ in others),
        ]  # fmt: skip
        assert document["images"][0]["pixel_size"] == [DATASETS[name].pixel_m] * 2
        np.testing.assert_array_equal(
            pixels(folder / "out/test.tif")[0], codes(classes, first=False)
        )


def test_muufl_is_one_struct_with_its_own_place_and_centres(tmp_path: Path) -> None:
    labels = codes(11, first=True).astype(np.int16)
    labels[labels == 0] = -1
    lidar = np.empty(2, object)
    lidar[:] = [{"z": np.ones((*SHAPE, 2))}, {"z": np.zeros((*SHAPE, 2))}]
    struct = {
        "Data": np.random.default_rng(0).random((*SHAPE, 4), np.float32),
        "Easting": 300_000.5 + np.arange(SHAPE[1]),
        "Northing": 3_360_000.5 - np.arange(SHAPE[0]),
        "info": {"wavelength": [375.0, 500.5, 700.0, 1000.0]},
        "Lidar": lidar,
        "sceneLabels": {"labels": labels, "Materials_Type": "trees"},
    }
    (tmp_path / "in").mkdir()
    savemat(tmp_path / "in/muufl_gulfport_campus_1_hsi_220_label.mat", {"hsi": struct})
    outcome = run(tmp_path, "muufl", "--json")
    document = report(outcome)
    assert [each["name"] for each in document["sets"]] == ["labels"]
    assert {each["crs"] for each in (*document["images"], *document["sets"])} == {"EPSG:32616"}
    assert document["images"][0]["wavelengths_nm"] == [375.0, 1000.0]
    assert "no place" not in outcome.err
    with rasterio.open(tmp_path / "out/hsi.tif") as file:
        assert file.transform == Affine(1.0, 0.0, 300_000.0, 0.0, -1.0, 3_360_001.0)
        assert file.tags(2)["wavelength"] == "500.5"
    assert pixels(tmp_path / "out/lidar.tif").shape == (2, *SHAPE)
    np.testing.assert_array_equal(pixels(tmp_path / "out/labels.tif")[0], np.maximum(labels, 0))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_houston2013_takes_the_contests_rasters_and_lists_of_pixels(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    place = {"crs": "EPSG:32615", "transform": UTM * Affine.scale(2.5)}
    size = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1]}
    start = tmp_path / "in/2013_IEEE_GRSS_DF_Contest_"
    with rasterio.open(f"{start}CASI.tif", "w", count=144, dtype="uint16", **size, **place) as file:
        file.write(np.ones((144, *SHAPE), np.uint16))
    with rasterio.open(f"{start}LiDAR.tif", "w", count=1, dtype="float32", **size) as file:
        file.write(np.ones((1, *SHAPE), np.float32) / 3)
    for name, first in (("TR", True), ("VA", False)):
        Path(f"{start}Samples_{name}.txt").write_text(regions(codes(15, first=first)))
    document = report(run(tmp_path, "houston2013", "--json"))
    assert [image["place"].split()[0] for image in document["images"]] == ["file", "same"]
    assert {each["crs"] for each in (*document["images"], *document["sets"])} == {"EPSG:32615"}
    assert document["images"][0]["wavelengths_nm"] == [364.0, 1046.1]
    for name, first in (("train", True), ("test", False)):
        np.testing.assert_array_equal(
            pixels(tmp_path / f"out/{name}.tif")[0], codes(15, first=first)
        )


def regions(labels: NDArray[np.uint8]) -> str:
    """What ENVI writes for a label raster: all headers, then the pixels of each region."""
    lines = ["; ENVI Output of ROIs (5.0)", f"; File Dimension: {SHAPE[1]} x {SHAPE[0]}", ";"]
    blocks = []
    for code in range(1, int(labels.max()) + 1):
        rows, columns = np.nonzero(labels == code)
        lines += [f"; ROI name: class{code}", "; ROI rgb value: {1, 2, 3}"]
        lines.append(f"; ROI npts: {len(rows)}")
        blocks += [
            f"{i} {c + 1} {r + 1} 0.0" for i, (r, c) in enumerate(zip(rows, columns, strict=True))
        ]
        blocks.append("")
    return "\n".join([*lines, ";   ID   X   Y   B1", *blocks])


def dfc2018(folder: Path) -> Path:
    """Full HSI of 50 bands at 1 m; heights at 0.5 m with huge values; training labels on a part
    of the ground whose place is a world file."""
    folder.mkdir()
    size = {"height": SHAPE[0], "width": SHAPE[1]}
    with rasterio.open(
        folder / "20170218_UH_CASI_S4_NAD83.pix", "w", driver="PCIDSK", count=50, dtype="uint16",
        crs="EPSG:26915", transform=UTM, **size,
    ) as file:  # fmt: skip
        file.write(np.arange(50, dtype=np.uint16)[:, None, None] * np.ones(SHAPE, np.uint16))
    fine = {"driver": "GTiff", "height": 2 * SHAPE[0], "width": 2 * SHAPE[1]}
    heights = np.full((1, 2 * SHAPE[0], 2 * SHAPE[1]), 12.5, np.float32)
    heights[0, 0, 0] = 3.4e38
    (folder / "Lidar GeoTiff Rasters/DSM_C12").mkdir(parents=True)
    with rasterio.open(
        folder / "Lidar GeoTiff Rasters/DSM_C12/UH17c_GEF051.tif", "w", count=1, dtype="float32",
        crs="EPSG:26915", transform=UTM * Affine.scale(0.5), **fine,
    ) as file:  # fmt: skip
        file.write(heights)
    part = codes(20, first=True, shape=SHAPE)
    labels = folder / "2018_IEEE_GRSS_DFC_GT_TR.tif"
    with rasterio.open(labels, "w", driver="GTiff", count=1, dtype="uint8", **size) as file:
        file.write(part[np.newaxis])
    labels.with_suffix(".tfw").write_text("0.5\n0\n0\n-0.5\n272060.25\n3290279.75\n")
    return folder


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_dfc2018_keeps_its_places_and_its_48_bands(tmp_path: Path) -> None:
    dfc2018(tmp_path / "in")
    outcome = run(tmp_path, "dfc2018", "--json")
    document = report(outcome)
    assert [(image["name"], image["bands"]) for image in document["images"]] == [
        ("hsi", 48), ("lidar", 1),
    ]  # fmt: skip
    assert document["images"][0]["wavelengths_nm"] == [374.4, 1047.1]
    assert [one["place"] for one in document["sets"]] == ["documented CRS"]
    assert "no labels were found for test (looked for" in outcome.err
    heights = pixels(tmp_path / "out/lidar.tif")[0]
    assert np.isnan(heights[0, 0])
    assert np.isnan(heights).sum() == 1
    with rasterio.open(tmp_path / "out/train.tif") as file:
        assert file.bounds[0] == 272_060.0
        assert file.bounds[3] == 3_290_280.0
        assert file.crs.to_epsg() == 26915
    assert pixels(tmp_path / "out/hsi.tif")[47].max() == 47


def test_help_names_the_datasets_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from comix_cli.commands.app import main_group\n"
        "try: main_group(['import', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'rasterio', 'scipy', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in DATASETS:
        assert name in done.stdout
