"""What `comix classify` can be told about memory, windows and time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from benchmarks.big_scene import write_big_scene
from cli import comix, files
from numpy.typing import NDArray
from scenes import write_vector

CLASSIFY = ("classify", "hsi.tif", "lidar.tif", "--window", "20", "--overlap", "7", "-q")


def codes(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as dataset:
        found: NDArray[np.uint8] = dataset.read(1)
    return found


@pytest.mark.parametrize(
    "options",
    [
        ("--batch-size", "1"),
        ("--batch-size", "7"),
        ("--threads", "3"),
        ("--ram", "4000"),
        ("--threads", "2", "--batch-size", "2", "--ram", "2000"),
    ],
)
def test_the_map_is_the_same_bit_for_bit_however_it_is_computed(
    scene: Path, options: tuple[str, ...]
) -> None:
    assert comix(scene, *CLASSIFY, "-o", "one.tif", "--threads", "1").code == 0
    outcome = comix(scene, *CLASSIFY, "-o", "other.tif", *options)
    assert outcome.code == 0, outcome.err
    np.testing.assert_array_equal(codes(scene / "one.tif"), codes(scene / "other.tif"))


def test_pieces_of_the_scene_with_a_halo_make_the_same_map(scene: Path) -> None:
    assert comix(scene, *CLASSIFY, "-o", "whole.tif").code == 0
    with rasterio.open(scene / "whole.tif") as dataset:
        left, _, right, top = dataset.bounds
        res = dataset.res[0]
        whole = dataset.read(1)
    middle, halo = round(len(whole) / 2), 20
    for name, above, below in (("north.tif", 0, middle), ("south.tif", middle, len(whole))):
        first, last = max(0, above - halo), min(len(whole), below + halo)
        bounds = (left, top - last * res, right, top - first * res)
        outcome = comix(scene, *CLASSIFY, "-o", name, "--bounds", *map(repr, map(float, bounds)))
        assert outcome.code == 0, outcome.err
        piece = codes(scene / name)
        np.testing.assert_array_equal(piece[above - first : below - first], whole[above:below])


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(scene: Path) -> None:
    before = files(scene)
    outcome = comix(scene, *CLASSIFY, "-o", "map.tif", "--dry-run")
    assert outcome.code == 0, outcome.err
    lines = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert lines["grid"].startswith("47 x 47 pixels of 2 m, EPSG:32633")
    assert "of 20 x 20 pixels" in lines["windows"]
    assert "MB" in lines["memory"]
    assert lines["time"].startswith("about ")
    assert files(scene) == before


def test_a_scene_that_cannot_fit_says_so_before_it_starts(scene: Path) -> None:
    outcome = comix(scene, *CLASSIFY, "-o", "map.tif", "--ram", "20")
    assert outcome.code == 2
    assert "more than the 20 MB allowed" in outcome.error
    assert "--ram" in outcome.error
    assert "map.tif" not in files(scene)


def test_with_the_least_memory_that_is_accepted_the_map_is_the_same(scene: Path) -> None:
    assert comix(scene, *CLASSIFY, "-o", "one.tif", "--threads", "3").code == 0
    refused = comix(scene, *CLASSIFY, "-o", "least.tif", "--threads", "3", "--ram", "20")
    least = int(re.search(r"--ram (\d+)", refused.error)[1])  # type: ignore[index]
    # What the process holds before differs a little from run to run.
    ram = ("--threads", "3", "--ram", str(least + 20))
    forecast = comix(scene, *CLASSIFY, "-o", "least.tif", *ram, "--dry-run")
    assert f"of {least + 20} MB allowed" in forecast.out
    outcome = comix(scene, *CLASSIFY, "-o", "least.tif", *ram)
    assert outcome.code == 0, outcome.err
    np.testing.assert_array_equal(codes(scene / "one.tif"), codes(scene / "least.tif"))


# The most that a process has held; what `resource` tells of a child counts its parent's memory too.
PEAK = (
    "import atexit, sys; from pathlib import Path; from comix_cli.commands.app import main; "
    "atexit.register(lambda: print(Path('/proc/self/status').read_text(), file=sys.stderr)); main()"
)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc tells of memory here")
def test_the_process_keeps_within_the_memory_that_it_is_given(tmp_path: Path) -> None:
    scene = write_big_scene(tmp_path, (400, 1600), window=64)
    command = [sys.executable, "-c", PEAK, "classify", "hsi.tif", "x.tif", "-o", "map.tif"]

    def run(ram: int) -> tuple[str, float]:
        options = ["--threads", "2", "-q", "--ram", str(ram)]
        done = subprocess.run(
            [*command, *options], cwd=scene.folder, capture_output=True, text=True, check=False
        )
        peak = re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
        assert peak is not None, done.stderr
        return done.stderr, int(peak[1]) * 1024 / 1e6

    refusal, _ = run(20)
    least = int(re.search(r"--ram (\d+)", refusal)[1])  # type: ignore[index]
    said, held = run(least + 25)
    assert "Error" not in said
    assert held <= least + 25


def test_a_number_type_that_the_processor_lacks_is_refused(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comix_cli.learning import device

    monkeypatch.setattr(device, "has_bfloat16", lambda _: False)
    outcome = comix(scene, *CLASSIFY, "-o", "map.tif", "--precision", "bfloat16")
    assert outcome.code == 2
    assert "slower than float32" in outcome.error


def test_half_precision_makes_nearly_the_same_map(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comix_cli.learning import device

    monkeypatch.setattr(device, "has_bfloat16", lambda _: True)
    assert comix(scene, *CLASSIFY, "-o", "single.tif").code == 0
    outcome = comix(scene, *CLASSIFY, "-o", "half.tif", "--precision", "bfloat16")
    assert outcome.code == 0, outcome.err
    assert (codes(scene / "single.tif") == codes(scene / "half.tif")).mean() > 0.97


def test_values_in_another_unit_are_told_of(scene: Path) -> None:
    with rasterio.open(scene / "hsi.tif") as dataset:
        profile, values = dataset.profile | {"dtype": "float32"}, dataset.read()
        tags = [dataset.tags(band) for band in dataset.indexes]
    with rasterio.open(scene / "share.tif", "w", **profile) as dataset:
        dataset.write(values / 10_000)
        for band, tag in enumerate(tags, start=1):
            dataset.update_tags(band, **tag)
    told = comix(scene, "classify", "share.tif", "lidar.tif", "-o", "a.tif")
    assert told.code == 0
    assert "are they in another unit?" in told.err
    assert "unit" not in comix(scene, "classify", "hsi.tif", "lidar.tif", "-o", "b.tif").err


def test_a_dry_run_counts_the_windows_in_the_mask(scene: Path) -> None:
    with rasterio.open(scene / "lidar.tif") as dataset:
        left, _, _, top = dataset.bounds
    write_vector(scene / "aoi.gpkg", [(shapely.box(left, top - 20, left + 20, top), {"name": "a"})])
    outcome = comix(scene, *CLASSIFY, "-o", "map.tif", "--mask", "aoi.gpkg", "--dry-run")
    assert outcome.code == 0, outcome.err
    assert re.search(r"windows +16 of .*, [1-4] of them in the mask", outcome.out), outcome.out
    alone = comix(scene, *CLASSIFY, "-o", "map.tif", "--mask-layer", "west")
    assert (alone.code, "no --mask" in alone.error) == (2, True)
