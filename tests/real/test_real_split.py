"""Real ground truth in disjoint sets: invalid multipolygons without a CRS, and points."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import geopandas
import pytest
from cli import Outcome, comix
from scenes import needs_real_data, real_data

BERLIN = real_data() / "berlin_urban_gradient"
LABELS = BERLIN / "LandCov_BerlinUrbanGradient.shp"
HSI = BERLIN / "EnMAP_BerlinUrbanGradient.bsq"
FINE = BERLIN / "HighResolution_BerlinUrbanGradient.bsq"
STEMS = real_data() / "neon_harv" / "stems.shp"


def report(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def least_distance(folder: Path, document: dict[str, Any]) -> float:
    frames = [geopandas.read_file(folder / "s" / entry["file"]) for entry in document["sets"]]
    grounds = [frame.geometry.union_all() for frame in frames]
    return min(one.distance(other) for one, other in combinations(grounds, 2))


@needs_real_data
def test_berlin_is_cut_into_blocks_that_lie_apart(tmp_path: Path) -> None:
    outcome = comix(tmp_path, "split", LABELS, "--field", "Level_2", "-o", "s", "--like", FINE,
                    "--json")  # fmt: skip
    document = report(outcome)
    reach = document["autocorrelation"]["classes"]["range_m"]
    assert 20 < reach < 45
    assert reach <= document["parameters"]["buffer_m"] <= reach + 1
    assert least_distance(tmp_path, document) >= document["parameters"]["buffer_m"]
    assert document["buffer_loss"][0]["share"] < 0.25
    for entry in document["sets"]:
        shares = {each["name"]: each["share"] for each in entry["per_class"]}
        for common in ("Low vegetation", "Pavement", "Roof", "Tree"):
            assert shares[common] > 0.6 * entry["asked_share"]
        assert entry["pixels"] * 3.6**2 == pytest.approx(entry["area_m2"], rel=0.05)


@needs_real_data
def test_berlins_image_is_alike_over_longer_distances_than_its_classes(tmp_path: Path) -> None:
    outcome = comix(tmp_path, "split", LABELS, "--field", "Level_2", "-o", "s", "--hsi", HSI,
                    "--json")  # fmt: skip
    document = report(outcome)
    ranges = {name: each["range_m"] for name, each in document["autocorrelation"].items()}
    assert ranges["image"] > 2 * ranges["classes"]
    assert "what fits" in document["parameters"]["buffer_from"]
    assert "shorter than the autocorrelation range" in document["warnings"][0]


@needs_real_data
def test_berlins_features_all_touch_each_other(tmp_path: Path) -> None:
    outcome = comix(tmp_path, "split", LABELS, "--field", "Level_2", "-o", "s", "--method",
                    "polygons")  # fmt: skip
    assert outcome.code == 1
    assert "--method blocks where features touch each other" in outcome.error


@needs_real_data
def test_stems_are_points(tmp_path: Path) -> None:
    outcome = comix(tmp_path, "split", STEMS, "--field", "taxonID", "-o", "s", "--shares",
                    "0.5,0,0.5", "--buffer", "1", "--json")  # fmt: skip
    document = report(outcome)
    assert document["autocorrelation"]["classes"]["reason"] == "there are only 19 points"
    kept = sum(entry["points"] for entry in document["sets"])
    assert 10 <= kept <= 19
    assert least_distance(tmp_path, document) >= 1
