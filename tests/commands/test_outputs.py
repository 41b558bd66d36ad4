"""What `comix classify` writes, as a user asks for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from cli import comix, files

MAP = ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif")
COMPANIONS = {"map.tif", "map.tif.aux.xml", "map.qml"}


def test_one_run_writes_everything_that_is_asked_for(scene: Path) -> None:
    before = files(scene) - COMPANIONS
    outcome = comix(
        scene, *MAP, "--probabilities", "p.tif", "--confidence", "c.tif", "--entropy", "e.tif",
        "--min-area", "20px", "--polygons", "patches.gpkg", "--quicklook", "map.png",
        "--co", "compress=zstd",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    asked = {"p.tif", "c.tif", "e.tif", "patches.gpkg", "map.png"}
    assert files(scene) - before == COMPANIONS | asked
    with rasterio.open(scene / "map.tif") as dataset:
        codes, tags = dataset.read(1), dataset.tags()
        assert dataset.compression.name == "zstd"
    with rasterio.open(scene / "p.tif") as dataset:
        assert dataset.descriptions == ("grass", "roof", "tree")
        assert dataset.tags()["COMIX_INPUTS"] == tags["COMIX_INPUTS"]
        shares = dataset.read()
    assert np.abs(shares[:, codes > 0].sum(axis=0, dtype=int) - 250).max() <= 2
    polygons = geopandas.read_file(scene / "patches.gpkg")
    assert polygons["area_m2"].sum() == (codes > 0).sum() * 4
    assert polygons["area_m2"].min() >= 20 * 4
    assert set(polygons["class"]) <= {"grass", "roof", "tree"}


def test_evaluate_still_finds_the_map_among_the_scores(scene: Path) -> None:
    assert comix(scene, *MAP, "--confidence", "z.tif", "--float-scores", "-q").code == 0
    os.utime(scene / "z.tif", (2e9, 2e9))
    outcome = comix(scene, "evaluate", "--gt", "labels.gpkg")
    assert outcome.code == 0, outcome.err


def test_only_what_lies_inside_the_mask_is_classified(scene: Path) -> None:
    with rasterio.open(scene / "lidar.tif") as dataset:
        left, bottom, right, top = dataset.bounds
    west = shapely.box(left, bottom, left + (right - left) * 0.4, top)
    frame = geopandas.GeoDataFrame({"name": ["west"]}, geometry=[west], crs=32633).to_crs(4326)
    frame.to_file(scene / "aoi.gpkg", layer="west")
    outcome = comix(scene, *MAP, "--mask", "aoi.gpkg", "--mask-layer", "west")
    assert outcome.code == 0, outcome.err
    with rasterio.open(scene / "map.tif") as dataset:
        codes = dataset.read(1)
        x = dataset.bounds.left + 2 * np.arange(codes.shape[1]) + 1
    assert (codes[:, x > left + (right - left) * 0.4] == 0).all()
    assert (codes[:, x < left + (right - left) * 0.4] > 0).all()
    inside = int((codes > 0).sum())
    assert f"{codes.size - inside} outside the mask" in outcome.err
    assert "0 pixels without data" in outcome.err


def test_an_empty_map_names_the_band_that_has_no_data(scene: Path) -> None:
    with rasterio.open(scene / "lidar.tif", "r+") as dataset:
        dataset.write(np.full(dataset.shape, np.nan, np.float32), 1)
    outcome = comix(scene, *MAP)
    assert outcome.code == 0
    assert "the map is empty" in outcome.err
    assert "lidar.tif has no valid pixel in band 1" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-area", "5 acres"), "--min-area '5 acres' is no area"),
        (("--polygons", "map.shp"), "map.shp: does not end in .gpkg; call it map.gpkg"),
        (("--entropy", "map.tif"), "map.tif: is named for two outputs"),
        (("--confidence", "lidar.tif", "--overwrite"), "lidar.tif: is an input of this run"),
        (("--mask", "none.gpkg"), "none.gpkg: there is no such file"),
        (("--mask", "labels.gpkg", "--mask-layer", "x"), "has no layer 'x' with geometries"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_no_file(
    scene: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = files(scene)
    outcome = comix(scene, *MAP, *arguments)
    assert outcome.code in (1, 2)
    assert message in outcome.error
    assert files(scene) == before


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill outright")
def test_a_killed_run_leaves_nothing_that_looks_finished_and_the_next_one_cleans_up(
    scene: Path,
) -> None:
    before = files(scene) - COMPANIONS
    # Pixels of 10 cm in steps of one pixel: it would take hours.
    slow = ("--res", "0.1", "--window", "16", "--overlap", "15", "--probabilities", "p.tif")
    command = [sys.executable, "-m", "comix_cli.commands.app", *MAP, *slow]
    process = subprocess.Popen(command, cwd=scene, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not any(p.stat().st_size for p in scene.rglob(".*/rows.bin")):
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline, "it never began to write"
            time.sleep(0.05)
        time.sleep(0.5)
    finally:
        process.kill()
        process.wait()
    left = files(scene) - before - {"map.qml"}  # of an older map
    assert left
    assert all(name.startswith(".") for name in left)
    outcome = comix(scene, *MAP, "--probabilities", "p.tif", "-q")
    assert outcome.code == 0, outcome.err
    assert files(scene) - before == COMPANIONS | {"p.tif"}
