"""Models of single pixels on the Berlin-Urban-Gradient scene, beside what others reach on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli import comix
from scenes import needs_real_data, real_data


@needs_real_data
@pytest.mark.parametrize("model", ["random-forest", "svm"])
def test_a_model_of_single_pixels_does_as_well_as_that_of_other_tools(
    tmp_path: Path, model: str
) -> None:
    berlin = real_data() / "berlin_urban_gradient"
    rasters = (
        berlin / "EnMAP_BerlinUrbanGradient.bsq",
        berlin / "HighResolution_BerlinUrbanGradient.bsq",
    )
    truth = ("--gt", berlin / "train_north.gpkg", "--field", "Level_2")
    few = ("--samples-per-class", "500", "--validation", "none", "--threads", "1")
    trained = comix(tmp_path, "train", *rasters, *truth, "--model", model, *few)
    assert trained.code == 0, trained.err
    mapped = comix(tmp_path, "classify", *rasters, "-o", "map.tif", "--threads", "1")
    assert mapped.code == 0, mapped.err
    report = comix(tmp_path, "evaluate", "--gt", berlin / "test_south.gpkg", "--json")
    # Orfeo ToolBox: a forest of 200 trees and 1500 pixels of each class reaches 0.532.
    assert 0.48 < json.loads(report.out)["overall_accuracy"] < 0.62
