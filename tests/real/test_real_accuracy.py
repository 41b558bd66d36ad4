"""Accuracy on a real scene, against scikit-learn and Orfeo ToolBox."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from cli import comix
from jsonschema import Draft202012Validator
from numpy.typing import NDArray
from rasterio.features import rasterize as gdal_rasterize
from scenes import needs_real_data, real_data
from sklearn import metrics

from comix_cli.accuracy.report_schema import report_schema

BERLIN = real_data() / "berlin_urban_gradient"
OTB = "otbcli_ComputeConfusionMatrix"
CLASSES = 6


def rough_map(real: Path, path: Path) -> NDArray[np.int32]:
    """A map of the scene's classes that is often wrong: by brightness and greenness alone."""
    with rasterio.open(real / "HighResolution_BerlinUrbanGradient.bsq") as image:
        blue, _, red, infrared = image.read().astype(np.float64)
        greenness = (infrared - red) / (infrared + red + 1e-9)
        codes = 1 + np.digitize(blue, np.nanquantile(blue, [0.3, 0.6]))
        codes[greenness > np.quantile(greenness, 0.6)] = 4
        codes[greenness > np.quantile(greenness, 0.8)] = 5
        codes[:5] = 0
        profile = {**image.profile, "driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 0}
        for key in ("interleave", "tiled", "blockxsize", "blockysize"):
            profile.pop(key, None)
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(codes.astype(np.uint8), 1)
    found: NDArray[np.int32] = codes.astype(np.int32)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`map.tif`, and `truth.shp`: the test polygons but for those that overlap others."""
    codes = rough_map(BERLIN, tmp_path / "map.tif")
    frame = geopandas.read_file(BERLIN / "test_south.gpkg")
    frame.to_file(tmp_path / "all.shp")
    overlaps = report(tmp_path, "all.shp")["overlaps"]
    assert overlaps["pairs"] == len(overlaps["listed"]) > 0
    lost = {feature for each in overlaps["listed"] for feature in each["features"]}
    frame.drop(index=list(lost)).to_file(tmp_path / "truth.shp")
    np.save(tmp_path / "codes.npy", codes)
    return tmp_path


def report(folder: Path, truth: str) -> dict[str, Any]:
    outcome = comix(
        folder, "evaluate", "map.tif", "--gt", truth, "--field", "Level_2_ID", "--json", "-q"
    )
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    Draft202012Validator(report_schema()).validate(found)
    return found


@needs_real_data
def test_all_figures_are_those_of_scikit_learn(folder: Path) -> None:
    found = report(folder, "truth.shp")
    assert found["excluded"]["overlap"] == 0
    frame = geopandas.read_file(folder / "truth.shp")
    with rasterio.open(folder / "map.tif") as raster:
        shapes = zip(frame.geometry, frame["Level_2_ID"].astype(int), strict=True)
        reference = gdal_rasterize(shapes, raster.shape, transform=raster.transform)
    predicted = np.load(folder / "codes.npy")
    used = (reference > 0) & (predicted > 0)
    y, z, codes = reference[used], predicted[used], found["confusion_matrix"]["codes"]
    expected = metrics.confusion_matrix(y, z, labels=codes)
    np.testing.assert_array_equal(found["confusion_matrix"]["counts"], expected)
    assert found["excluded"]["nodata"] == ((reference > 0) & (predicted == 0)).sum()
    assert found["overall_accuracy"] == metrics.accuracy_score(y, z)
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(y, z), abs=1e-14)
    assert found["average_accuracy"] == pytest.approx(
        metrics.recall_score(y, z, labels=np.unique(y), average="macro", zero_division=0)
    )
    pairs = {"producers_accuracy": metrics.recall_score, "users_accuracy": metrics.precision_score,
             "f1": metrics.f1_score, "iou": metrics.jaccard_score}  # fmt: skip
    for key, score in pairs.items():
        theirs = score(y, z, labels=codes, average=None, zero_division=0)
        ours = [row[key] or 0.0 for row in found["per_class"]]
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    seen = np.unique(y)
    weighted = metrics.recall_score(y, z, labels=seen, average="weighted", zero_division=0)
    assert found["means"]["weighted"]["producers_accuracy"] == pytest.approx(weighted)


@needs_real_data
@pytest.mark.skipif(shutil.which(OTB) is None, reason=f"needs {OTB} (Debian package otb-bin)")
def test_the_matrix_is_that_of_orfeo_toolbox(folder: Path) -> None:
    found = report(folder, "truth.shp")["confusion_matrix"]
    command = [OTB, "-in", "map.tif", "-out", "otb.csv", "-ref", "vector", "-ref.vector.in",
               "truth.shp", "-ref.vector.field", "Level_2_ID", "-nodatalabel", "0"]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (folder / "otb.csv").read_text().splitlines()
    rows, columns = (
        [int(label) for label in line.split(":", 1)[1].split(",")] for line in lines[:2]
    )
    theirs = np.array([[int(cell) for cell in row] for row in csv.reader(lines[2:])])
    place = {code: k for k, code in enumerate(found["codes"])}
    ours = np.array(found["counts"])
    np.testing.assert_array_equal(
        ours[np.ix_([place[c] for c in rows], [place[c] for c in columns])], theirs
    )
    assert ours.sum() == theirs.sum()
