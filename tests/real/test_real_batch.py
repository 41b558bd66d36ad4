"""A batch on the Berlin-Urban-Gradient scene: in parts and as a whole, mapped and judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from alone import HereCrew
from cli import comix, files
from scenes import needs_real_data, real_data


@needs_real_data
def test_a_scene_in_parts_and_a_piece_of_it_are_the_map_that_classify_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comix_cli.tools.batch_crew.ProcessCrew", HereCrew)
    berlin = real_data() / "berlin_urban_gradient"
    before = files(berlin)
    rasters = (
        berlin / "EnMAP_BerlinUrbanGradient.bsq",
        berlin / "HighResolution_BerlinUrbanGradient.bsq",
    )
    truth = ("--gt", berlin / "train_north.gpkg", "--field", "Level_2", "--validation", "none")
    quick = ("--preset", "nano", "--steps", "2", "--batch-size", "1", "--window", "64")
    assert comix(tmp_path, "train", *rasters, *truth, *quick).code == 0
    assert comix(tmp_path, "classify", *rasters, "-o", "whole.tif", "-q").code == 0
    row = ",".join(map(str, rasters))
    (tmp_path / "s.csv").write_text(f"hsi,x,out\n{row},map.tif\n")
    model = ("-m", "model.safetensors", "-q")
    done = comix(tmp_path, "batch", "s.csv", *model, "--parts", "5")
    assert done.code == 0, done.err
    with (
        rasterio.open(tmp_path / "whole.tif") as whole,
        rasterio.open(tmp_path / "map.tif") as map_,
    ):
        assert np.array_equal(whole.read(), map_.read())
    (tmp_path / "j.csv").write_text(f"map,gt,out\nmap.tif,{berlin / 'test_south.gpkg'},r.json\n")
    judged = comix(tmp_path, "batch", "j.csv", "--command", "evaluate", "-q", "--json")
    assert judged.code == 0, judged.err
    (result,) = json.loads(judged.out)["results"]
    assert result["figures"]["pixels"] > 25_000
    assert files(berlin) == before
