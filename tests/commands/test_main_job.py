"""train -> classify -> evaluate, as a user types them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import rasterio
import torch
from burning import rasterize
from cli import comix, files
from safetensors.torch import load_file
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import read_ground_truth

TRAIN = ("train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class")
QUICK = ("--preset", "nano", "--steps", "2", "--batch-size", "1", "--window", "32")


def evaluate_json(folder: Path, *arguments: str) -> dict[str, object]:
    outcome = comix(folder, "evaluate", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    document: dict[str, object] = json.loads(outcome.out)
    return document


def test_the_map_is_better_than_chance_after_a_few_steps(finished: Path) -> None:
    document = evaluate_json(finished, "--gt", "labels.gpkg")
    assert isinstance(document["kappa"], float)
    assert document["kappa"] > 0.5


def test_the_report_is_equal_to_scikit_learns(finished: Path) -> None:
    document = evaluate_json(finished, "map.tif", "--gt", "labels.gpkg", "--field", "class")
    with rasterio.open(finished / "map.tif") as dataset:
        predicted = dataset.read(1)
        grid = Grid(dataset.crs, dataset.transform, dataset.width, dataset.height)
    truth = read_ground_truth(finished / "labels.gpkg", "class", grid)
    reference, _ = rasterize(truth, grid)
    used = (reference > 0) & (predicted > 0)
    matrix = confusion_matrix(reference[used], predicted[used], labels=[1, 2, 3])
    assert document["confusion_matrix"]["counts"] == matrix.tolist()  # type: ignore[index]
    assert document["kappa"] == cohen_kappa_score(reference[used], predicted[used])
    assert document["excluded"]["nodata"] == int((reference > 0).sum() - used.sum())  # type: ignore[index]


def test_json_and_csv_leave_stdout_to_the_document(finished: Path) -> None:
    outcome = comix(finished, "evaluate", "--gt", "labels.gpkg", "--csv")
    rows = list(csv.reader(io.StringIO(outcome.out)))
    assert rows[0][0] == "code"
    assert {row[1] for row in rows[1:4]} == {"grass", "roof", "tree"}


def test_the_map_carries_grid_palette_names_and_provenance(finished: Path) -> None:
    with rasterio.open(finished / "map.tif") as dataset:
        tags = dataset.tags()
        assert dataset.nodata == 0
        assert dataset.dtypes == ("uint8",)
        assert dataset.crs.to_epsg() == 32633
        assert dataset.res == (2.0, 2.0)
        assert dataset.is_tiled
        assert len({dataset.colormap(1)[code] for code in (1, 2, 3)}) == 3
    names = [entry["name"] for entry in json.loads(tags["COMIX_LEGEND"])]
    assert names == ["grass", "roof", "tree"]
    inputs = json.loads(tags["COMIX_INPUTS"])
    assert [Path(item["path"]).name for item in inputs] == ["hsi.tif", "lidar.tif"]
    assert all(item["checksum"].startswith("sha256:") for item in inputs)


def test_a_second_run_with_the_same_seed_gives_the_same_model_and_map(scene: Path) -> None:
    maps, weights = [], []
    for name in ("one", "two"):
        assert comix(scene, *TRAIN, *QUICK, "-o", f"{name}.safetensors").code == 0
        mapped = ("classify", "hsi.tif", "lidar.tif", "-m", f"{name}.safetensors")
        assert comix(scene, *mapped, "-o", f"{name}.tif").code == 0
        weights.append(load_file(scene / f"{name}.safetensors"))
        with rasterio.open(scene / f"{name}.tif") as dataset:
            maps.append(dataset.read(1))
    np.testing.assert_array_equal(*maps)
    assert weights[0].keys() == weights[1].keys()
    for key, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][key]), key


def test_a_folder_with_a_project_file_needs_no_arguments(scene: Path) -> None:
    (scene / "model.safetensors").unlink()
    init = ("init", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class")
    assert comix(scene, *init).code == 0
    assert comix(scene, "train", *QUICK).code == 0
    assert comix(scene, "classify").code == 0
    outcome = comix(scene, "evaluate")
    assert outcome.code == 0, outcome.err
    assert "overall accuracy" in outcome.out


def test_the_hsi_alone_is_enough_and_the_model_says_so(scene: Path) -> None:
    alone = ("train", "hsi.tif", "--gt", "labels.gpkg", "--field", "class", "--overwrite")
    assert comix(scene, *alone, *QUICK).code == 0
    assert comix(scene, "classify", "hsi.tif", "-o", "map.tif").code == 0
    assert "HSI alone" in comix(scene, "info", "model.safetensors").out


def test_x_may_be_several_rasters(scene: Path) -> None:
    with rasterio.open(scene / "lidar.tif") as dataset:
        profile, height = dataset.profile | {"count": 2}, dataset.read(1)
    with rasterio.open(scene / "sar.tif", "w", **profile) as dataset:
        dataset.write(np.stack([height**2, -height]))
    both = ("hsi.tif", "lidar.tif", "sar.tif")
    train = ("train", *both, "--gt", "labels.gpkg", "--field", "class", "--overwrite")
    assert comix(scene, *train, *QUICK).code == 0
    assert comix(scene, "classify", *both, "-o", "map.tif").code == 0
    swapped = comix(scene, "classify", "hsi.tif", "sar.tif", "lidar.tif", "-o", "other.tif")
    assert swapped.code == 1
    assert "sar.tif: has 2 bands, but the model was trained on 1 band (" in swapped.error


def test_a_budget_of_time_is_kept(scene: Path) -> None:
    arguments = (*TRAIN, "--preset", "nano", "--window", "32", "--steps", "100000")
    outcome = comix(scene, *arguments, "--max-minutes", "0.02", "--overwrite")
    assert outcome.code == 0, outcome.err
    info = json.loads(comix(scene, "info", "model.safetensors", "--json").out)
    assert 1 <= info["training"]["steps"] < 100000


@pytest.mark.parametrize(
    ("options", "place", "value"),
    [
        (("--spectral-depth", "2"), ("spec", "spectral_depth"), 2),
        (("--hsi-blocks", "2d"), ("spec", "hsi_blocks"), "2d"),
        (("--x-blocks", "attention"), ("spec", "x_blocks"), "attention"),
        (("--cmfex", "spatial"), ("spec", "cmfex"), "spatial"),
        (("--cmfex", "none", "--fusion", "average"), ("spec", "fusion"), "average"),
        (("--resampling", "x=nearest"), ("inputs", 1, "resampling"), "nearest"),
        (("--resampling", "bilinear"), ("inputs", 0, "resampling"), "bilinear"),
        (("--res", "3", "--all-touched"), ("gsd_m",), 3.0),
        (("--learning-rate", "0.01"), ("training", "recipe", "learning_rate"), 0.01),
    ],
)
def test_options_reach_the_model(
    scene: Path, options: tuple[str, ...], place: tuple[str | int, ...], value: object
) -> None:
    outcome = comix(scene, *TRAIN, *QUICK, *options, "--overwrite")
    assert outcome.code == 0, outcome.err
    found = json.loads(comix(scene, "info", "model.safetensors", "--json").out)
    for key in place:
        found = found[key]
    assert found == value
    assert comix(scene, "classify", "hsi.tif", "lidar.tif", "-o", "map.tif").code == 0


def test_the_window_of_the_map_may_differ_from_the_trainings(scene: Path) -> None:
    arguments = ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--window", "20")
    outcome = comix(scene, *arguments, "--overlap", "7", "--batch-size", "3", "--threads", "1")
    assert outcome.code == 0, outcome.err


def test_a_map_of_another_program_is_evaluated_by_its_codes(finished: Path, tmp_path: Path) -> None:
    with rasterio.open(finished / "map.tif") as dataset:
        profile = dataset.profile | {"driver": "GTiff", "dtype": "int16"}
        codes = dataset.read(1).astype(np.int16)
    profile.pop("photometric", None)
    with rasterio.open(tmp_path / "foreign.tif", "w", **profile) as dataset:
        dataset.write(codes, 1)
    truth = read_labels_with_codes(finished, tmp_path)
    foreign = evaluate_json(tmp_path, "foreign.tif", "--gt", truth, "--field", "code")
    ours = evaluate_json(finished, "map.tif", "--gt", "labels.gpkg", "--field", "class")
    assert foreign["overall_accuracy"] == ours["overall_accuracy"]


def read_labels_with_codes(finished: Path, folder: Path) -> str:
    import geopandas

    frame = geopandas.read_file(finished / "labels.gpkg")
    frame["code"] = frame["class"].map({"grass": 1, "roof": 2, "tree": 3})
    frame.to_file(folder / "codes.gpkg")
    return "codes.gpkg"


def test_codes_without_a_name_are_errors_and_not_forgotten(finished: Path, tmp_path: Path) -> None:
    with rasterio.open(finished / "map.tif") as dataset:
        profile = dataset.profile | {"driver": "GTiff"}
        codes, tags = dataset.read(1), dataset.tags()
    profile.pop("photometric", None)
    codes[: codes.shape[0] // 2] = 200
    with rasterio.open(tmp_path / "odd.tif", "w", **profile) as dataset:
        dataset.write(codes, 1)
        dataset.update_tags(COMIX_LEGEND=tags["COMIX_LEGEND"])
    truth = ("--gt", str(finished / "labels.gpkg"), "--field", "class")
    odd, whole = evaluate_json(tmp_path, "odd.tif", *truth), evaluate_json(finished, *truth)
    assert odd["confusion_matrix"]["codes"] == [1, 2, 3, 200]  # type: ignore[index]
    assert total(odd) == total(whole)
    assert float(odd["overall_accuracy"]) < float(whole["overall_accuracy"])  # type: ignore[arg-type]


def total(document: dict[str, object]) -> int:
    """Every labelled pixel: compared, or left out for some cause."""
    return document["pixels"] + sum(document["excluded"].values())  # type: ignore[attr-defined,operator]


def test_ground_truth_of_a_whole_country_is_counted_by_area(finished: Path, tmp_path: Path) -> None:
    import geopandas
    from shapely.geometry import box

    frame = geopandas.read_file(finished / "labels.gpkg")[["class", "geometry"]]
    country = geopandas.GeoDataFrame(
        {"class": ["grass"]}, geometry=[box(410_000, 5_500_000, 710_000, 5_800_000)], crs=frame.crs
    )
    pandas.concat([frame, country]).to_file(tmp_path / "country.gpkg")
    document = evaluate_json(tmp_path, str(finished / "map.tif"), "--gt", "country.gpkg")
    assert document["excluded"]["outside"] == pytest.approx(150_000**2, rel=1e-4)  # type: ignore[index]
    assert document["provenance"]["ground_truth"]["outside_estimated_by_area"]  # type: ignore[index]
    near = evaluate_json(finished, "--gt", "labels.gpkg", "--field", "class")
    assert document["confusion_matrix"] == near["confusion_matrix"]


def test_pixels_left_out_are_counted_by_cause(finished: Path, tmp_path: Path) -> None:
    import geopandas
    from shapely.affinity import translate
    from shapely.geometry import box

    frame = geopandas.read_file(finished / "labels.gpkg")[["class", "geometry"]]
    roof = frame[frame["class"] == "roof"].geometry.iloc[0]
    x, y = roof.centroid.coords[0]
    rows = [
        ("roof", roof),
        ("tree", box(x - 2, y - 2, x + 2, y + 2)),  # 4 m square on a roof
        ("volcano", translate(roof, xoff=-2000)),
        ("grass", translate(roof, xoff=3000)),
        ("volcano", frame[frame["class"] == "tree"].geometry.iloc[0]),
    ]
    changed = geopandas.GeoDataFrame(
        {"class": [name for name, _ in rows]}, geometry=[g for _, g in rows], crs=frame.crs
    )
    changed.to_file(tmp_path / "changed.gpkg")
    document = evaluate_json(tmp_path, str(finished / "map.tif"), "--gt", "changed.gpkg")
    excluded = document["excluded"]
    assert isinstance(excluded, dict)
    assert excluded["overlap"] == 4
    assert excluded["unmapped_class"] > 0
    assert excluded["outside"] > 0


def test_the_report_file_appears_beside_the_table(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    outcome = comix(finished, "evaluate", "--gt", "labels.gpkg", "-o", target)
    assert outcome.code == 0
    assert json.loads(target.read_text())["pixels"] > 0
    assert "overall accuracy" in outcome.out
    again = comix(finished, "evaluate", "--gt", "labels.gpkg", "-o", target)
    assert again.code == 1
    assert "--overwrite" in again.error


def test_quiet_is_quiet_and_verbose_says_more(scene: Path) -> None:
    arguments = ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--overwrite")
    quiet = comix(scene, *arguments, "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert "windows" in comix(scene, *arguments).err


def test_nothing_but_the_named_outputs_appears(finished: Path) -> None:
    assert files(finished) == {
        "hsi.tif",
        "lidar.tif",
        "labels.gpkg",
        "model.safetensors",
        "map.tif",
        "map.tif.aux.xml",
        "map.qml",
    }
