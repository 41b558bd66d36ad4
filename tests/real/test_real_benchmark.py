"""A benchmark on the Berlin-Urban-Gradient scene: what the second sensor adds to a forest."""

from __future__ import annotations

import json
from pathlib import Path

from cli import comix
from scenes import needs_real_data, real_data


@needs_real_data
def test_the_second_sensor_adds_to_a_forest_on_the_same_pixels(tmp_path: Path) -> None:
    berlin = real_data() / "berlin_urban_gradient"
    outcome = comix(
        tmp_path, "benchmark", berlin / "EnMAP_BerlinUrbanGradient.bsq",
        berlin / "HighResolution_BerlinUrbanGradient.bsq", "--gt", berlin / "train_north.gpkg",
        "--field", "Level_2", "--test", berlin / "test_south.gpkg", "--models", "random-forest",
        "--method", "HSI alone: --model random-forest --hsi-only", "--seeds", "1", "--threads", "1",
        "--train-options", "--trees 20 --samples-per-class 300 --validation none", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    both, alone = document["methods"]
    # scikit-learn on the same rasters: 0.58 of both, 0.44 of the HSI alone
    assert 0.45 < both["overall_accuracy"]["mean"] < 0.62
    assert 0.36 < alone["overall_accuracy"]["mean"] < 0.48
    assert len({run["record"]["figures"]["pixels"] for run in document["runs"]}) == 1
