"""The report of `comix sharpen` of a real scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from cli import comix
from pages import pictures, words
from scenes import needs_real_data, real_data


@needs_real_data
def test_the_page_of_a_real_scene(tmp_path: Path) -> None:
    berlin = real_data() / "berlin_urban_gradient"
    names = [berlin / f"{sensor}_BerlinUrbanGradient.bsq" for sensor in ("EnMAP", "HighResolution")]
    outcome = comix(
        tmp_path, "sharpen", *names, "-o", "sharp.tif", "--method", "bicubic", "--no-quality",
        "--report", "r.html", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    told, text = json.loads(outcome.out), (tmp_path / "r.html").read_text()
    found = pictures(text)
    assert [picture.shape for picture in found] == [(659, 493, 3)] * 3 + [(300, 300, 3)] * 3
    # Smooth as it is, it resembles the HSI and not X.
    coarse, smooth, x = (picture.mean(2).ravel() for picture in found[:3])
    assert np.corrcoef(coarse, smooth)[0, 1] > np.corrcoef(coarse, x)[0, 1] > 0.4
    seen = words(text)
    assert f"{177 - told['bands_seen_by_x']} of the 177 bands" in seen
    assert "It was not judged" in seen
