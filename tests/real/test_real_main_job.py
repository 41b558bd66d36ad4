"""The three commands on the Berlin-Urban-Gradient scene, with its files as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rasterio
from cli import comix, files
from scenes import needs_real_data, real_data


@needs_real_data
def test_the_main_job_runs_on_the_files_as_they_are(tmp_path: Path) -> None:
    berlin = real_data() / "berlin_urban_gradient"
    before = files(berlin)
    rasters = (
        berlin / "EnMAP_BerlinUrbanGradient.bsq",
        berlin / "HighResolution_BerlinUrbanGradient.bsq",
    )
    landcover = berlin / "LandCov_BerlinUrbanGradient.shp"
    truth = ("--gt", landcover, "--field", "Level_2")
    quick = ("--preset", "nano", "--steps", "6", "--batch-size", "2", "--window", "64")

    trained = comix(tmp_path, "train", *rasters, *truth, *quick)
    assert trained.code == 0, trained.err
    assert "LandCov_BerlinUrbanGradient.shp: has no CRS" in trained.err
    assert "--gt-crs" in trained.err
    assert "3 invalid geometries were repaired" in trained.err

    mapped = comix(tmp_path, "classify", *rasters, "-o", "map.tif")
    assert mapped.code == 0, mapped.err
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.crs.to_epsg() == 32633
        assert dataset.res == pytest.approx((3.6, 3.6))
        assert dataset.shape == (659, 493)

    evaluated = comix(tmp_path, "evaluate", "--gt", berlin / "test_south.gpkg", "--json")
    document = json.loads(evaluated.out)
    assert document["provenance"]["ground_truth"]["field"] == "Level_2"
    assert document["pixels"] > 25_000
    assert document["excluded"]["outside"] >= 0
    assert files(berlin) == before


@needs_real_data
def test_the_class_that_the_model_never_saw_and_what_lies_outside_are_counted(
    tmp_path: Path,
) -> None:
    berlin = real_data() / "berlin_urban_gradient"
    rasters = (
        berlin / "EnMAP_BerlinUrbanGradient.bsq",
        berlin / "HighResolution_BerlinUrbanGradient.bsq",
    )
    quick = ("--preset", "nano", "--steps", "1", "--batch-size", "1", "--window", "32")
    train = ("train", *rasters, "--gt", berlin / "train_north.gpkg", "--field", "Level_2")
    assert comix(tmp_path, *train, *quick).code == 0
    assert comix(tmp_path, "classify", *rasters, "-o", "map.tif", "--overlap", "0").code == 0
    everything = berlin / "LandCov_BerlinUrbanGradient.shp"
    document = json.loads(comix(tmp_path, "evaluate", "--gt", everything, "--json").out)
    assert document["excluded"]["unmapped_class"] > 100  # 'Other'
    assert document["excluded"]["outside"] > 0
    assert document["excluded"]["overlap"] == 31
    assert document["provenance"]["ground_truth"]["repaired"] == 3
