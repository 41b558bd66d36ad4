"""All that a classification writes, together or not at all."""

import json
import os
import resource
import shutil
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import sieve

from comix_cli.errors import OutputError, UsageError
from comix_cli.mapping import cog, finish
from comix_cli.mapping.map_file import newest_map, open_map
from comix_cli.mapping.scores import entropy, normalised
from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend
from comix_cli.tools.output_files import OutputOptions
from comix_cli.tools.outputs import bytes_per_row, open_outputs

LEGEND = Legend.from_names([(1, "roof"), (2, 'a & b <"é">'), (7, "water")])
TAGS = {"COMIX_VERSION": "0.1", "COMIX_INPUTS": "[]"}
SCORES = ("probabilities", "confidence", "entropy")
SIZE = (70, 90)


def grid(height: int, width: int) -> Grid:
    return Grid(CRS.from_epsg(32633), Affine(10, 0, 4e5, 0, -10, 5.8e6), width, height)


def scene(height: int = SIZE[0], width: int = SIZE[1]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Probabilities `(3, H, W)` that sum to one, and validity with gaps."""
    rng = np.random.default_rng(11)
    probabilities = rng.dirichlet((0.6, 0.6, 0.6), (height, width)).astype(np.float32)
    valid = rng.random((height, width)) > 0.1
    return np.moveaxis(probabilities, -1, 0), valid


def everything(folder: Path, **more: Any) -> OutputOptions:
    files = {name: folder / f"{name}.tif" for name in SCORES}
    drawn = {"polygons": folder / "patches.gpkg", "quicklook": folder / "map.png"}
    return OutputOptions(**{"map": folder / "map.tif", **files, **drawn, **more})


def write(
    options: OutputOptions, probabilities: NDArray[Any], valid: NDArray[Any], step: int = 30
) -> NDArray[np.int64]:
    place = grid(*valid.shape)
    with open_outputs(options, place, LEGEND, lambda: TAGS, Silent()) as outputs:
        for row in range(0, len(valid), step):
            rows = slice(row, row + step)
            outputs.write_rows(row, probabilities[:, rows], valid[rows])
    return outputs.counts


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


ALL_FILES = [
    "confidence.tif", "entropy.tif", "map.png", "map.qml", "map.tif", "map.tif.aux.xml",
    "patches.gpkg", "probabilities.tif",
]  # fmt: skip


def test_everything_that_is_asked_for_appears_and_nothing_else(tmp_path: Path) -> None:
    write(everything(tmp_path), *scene())
    assert left_in(tmp_path) == ALL_FILES
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_bytes_are_the_scores_within_half_a_step(tmp_path: Path) -> None:
    probabilities, valid = scene()
    write(everything(tmp_path), probabilities, valid)
    p = probabilities.astype(np.float64)
    expected = {
        "probabilities": p,
        "confidence": p.max(axis=0, keepdims=True),
        "entropy": -(p * np.log(np.maximum(p, 1e-30))).sum(axis=0, keepdims=True) / np.log(3),
    }
    for name, values in expected.items():
        with rasterio.open(tmp_path / f"{name}.tif") as dataset:
            assert set(dataset.dtypes) == {"uint8"}
            assert set(dataset.nodatavals) == {255}
            assert (set(dataset.scales), set(dataset.offsets)) == ({0.004}, {0})
            stored = dataset.read()
        assert (stored[:, ~valid] == 255).all()
        np.testing.assert_allclose((stored * 0.004)[:, valid], values[:, valid], atol=0.00201)


def test_float_scores_are_the_scores_themselves(tmp_path: Path) -> None:
    probabilities, valid = scene()
    write(everything(tmp_path, float_scores=True), probabilities * 0.5, valid)
    with rasterio.open(tmp_path / "probabilities.tif") as dataset:
        assert set(dataset.dtypes) == {"float32"}
        assert np.isnan(dataset.nodata)
        assert set(dataset.scales) == {1}
        shares = dataset.read()
    assert np.isnan(shares[:, ~valid]).all()
    np.testing.assert_allclose(shares[:, valid], probabilities[:, valid], atol=1e-6)


def test_shares_of_a_pixel_do_not_depend_on_the_pixels_beside_it() -> None:
    rng = np.random.default_rng(4)
    probabilities = rng.random((40, 30, 20), np.float32)
    expected = normalised(probabilities)
    for row, col in ((0, 0), (7, 3), (29, 19)):
        alone = normalised(probabilities[:, row : row + 1, col : col + 1])
        assert alone.tobytes() == expected[:, row, col].tobytes()
    right = normalised(probabilities[:, 3:, 11:])
    assert right.tobytes() == expected[:, 3:, 11:].tobytes()
    assert entropy(right).tobytes() == entropy(expected)[3:, 11:].tobytes()


def test_scores_carry_names_and_provenance_and_are_no_maps(tmp_path: Path) -> None:
    options = everything(tmp_path)
    write(options, *scene())
    for name in SCORES:
        with rasterio.open(tmp_path / f"{name}.tif") as dataset:
            names = LEGEND.names if name == "probabilities" else (name,)
            assert dataset.descriptions == names
            tags = dataset.tags()
        assert tags["COMIX_VERSION"] == "0.1"
        assert tags["COMIX_CONTENT"] == name
        os.utime(tmp_path / f"{name}.tif", (2e9, 2e9))
    assert newest_map(tmp_path) == tmp_path / "map.tif"


@pytest.mark.parametrize("float_scores", [False, True])
def test_every_raster_is_cloud_optimised(tmp_path: Path, float_scores: bool) -> None:
    options = everything(tmp_path, float_scores=float_scores, polygons=None, quicklook=None)
    write(options, *scene(530, 1100))
    for name in ("map", *SCORES):
        path = tmp_path / f"{name}.tif"
        with rasterio.open(path) as dataset:
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert set(dataset.block_shapes) == {(512, 512)}
            assert dataset.overviews(1) == [2, 4]
        if find_spec("rio_cogeo"):
            assert import_module("rio_cogeo").cog_validate(path, strict=True)[0], path


def test_overviews_of_scores_are_averages_without_nodata(tmp_path: Path) -> None:
    probabilities = np.zeros((3, 1024, 1024), np.float32)
    probabilities[0] = 0.8
    probabilities[0, ::2] = 0.4
    probabilities[1] = 1 - probabilities[0]
    valid = np.ones((1024, 1024), np.bool_)
    valid[:512:2] = False
    write(everything(tmp_path, quicklook=None), probabilities, valid, step=1024)
    with rasterio.open(tmp_path / "probabilities.tif", overview_level=0) as dataset:
        share = dataset.read(1) * 0.004
    np.testing.assert_allclose(share[:256], 0.8)
    np.testing.assert_allclose(share[256:], 0.6)


def test_the_sieved_map_is_what_is_counted_and_drawn(tmp_path: Path) -> None:
    probabilities, valid = scene()
    counts = write(everything(tmp_path, min_area="400"), probabilities, valid)
    likeliest = np.array(LEGEND.codes)[probabilities.argmax(axis=0)]
    expected, before = np.where(valid, likeliest, 0).astype(np.uint8), None
    while before is None or (expected != before).any():
        before, expected = expected, sieve(expected, 4, mask=expected != 0)
    with open_map(tmp_path / "map.tif") as found:
        np.testing.assert_array_equal(found.read(), expected)
        assert found.legend == LEGEND
    np.testing.assert_array_equal(counts, np.bincount(expected.ravel(), minlength=8))
    sidecar = (tmp_path / "map.tif.aux.xml").read_text(encoding="utf-8")
    assert all(f"<F>{counts[code]}</F>" in sidecar for code in LEGEND.codes)
    polygons = geopandas.read_file(tmp_path / "patches.gpkg")
    for code in LEGEND.codes:
        assert polygons[polygons["code"] == code]["area_m2"].sum() == counts[code] * 100
    with rasterio.open(tmp_path / "confidence.tif") as dataset:  # not sieved
        confidence = probabilities.max(axis=0)
        np.testing.assert_array_equal(
            dataset.read(1), np.where(valid, np.rint(confidence * 250), 255)
        )


def test_creation_options_are_for_every_raster(tmp_path: Path) -> None:
    write(everything(tmp_path, creation_options={"COMPRESS": "LZW"}), *scene())
    for name in ("map", *SCORES):
        with rasterio.open(tmp_path / f"{name}.tif") as dataset:
            assert dataset.compression.name == "lzw"


def test_companions_of_older_files_do_not_outlive_them(tmp_path: Path) -> None:
    for name in ("confidence.tif", "confidence.tif.aux.xml", "confidence.tif.ovr", "map.tif.ovr"):
        (tmp_path / name).touch()
    write(everything(tmp_path, overwrite=True), *scene())
    assert left_in(tmp_path) == ALL_FILES


@pytest.mark.parametrize("name", [*SCORES, "polygons", "quicklook"])
def test_an_existing_output_needs_overwrite(tmp_path: Path, name: str) -> None:
    options = everything(tmp_path)
    target: Path = getattr(options, name)
    target.write_text("old")
    with pytest.raises(OutputError, match=f"{target.name}: exists already; give --overwrite"):
        options.check(())
    everything(tmp_path, overwrite=True).check(())
    with pytest.raises(OutputError, match=f"{target.name}: is an input"):
        everything(tmp_path, overwrite=True).check([str(target)])
    assert left_in(tmp_path) == [target.name]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"map": "map"}, r"map: does not end in \.tif or \.tiff; call it map\.tif"),
        ({"map": "map.png", "quicklook": "q.png"}, r"map\.png: does not end in \.tif"),
        ({"confidence": "c.png"}, r"c\.png: does not end in \.tif or \.tiff; call it c\.tif"),
        ({"polygons": "p.shp"}, r"p\.shp: does not end in \.gpkg; call it p\.gpkg"),
        ({"quicklook": "q.jpg"}, r"q\.jpg: does not end in \.png"),
        ({"confidence": "map.tif"}, r"map\.tif: is named for two outputs; give each a name"),
        ({"confidence": "entropy.tif"}, r"entropy\.tif: is named for two outputs"),
        ({"entropy": "no/e.tif"}, r"e\.tif: the folder .*no does not exist"),
        ({"map": "."}, "is a folder; name a file in it"),
        ({"polygons": "."}, "is a folder; name a file in it"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(
    tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    options = everything(tmp_path, **{key: tmp_path / name for key, name in changed.items()})
    with pytest.raises(OutputError, match=message):
        options.check(())


@pytest.mark.parametrize("what", ["map", "polygons", "quicklook", *SCORES])
def test_an_output_whose_name_is_empty_is_called_by_what_it_is(tmp_path: Path, what: str) -> None:
    options = everything(tmp_path, **{what: Path()})
    with pytest.raises(OutputError, match=f"the name of the {what} is empty, or '.'; name a file"):
        options.check(())


def test_an_area_that_is_none_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--min-area 'much' is no area"):
        everything(tmp_path, min_area="much").check(())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_appears_when_the_work_is_broken_off(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fail() -> None:
        with open_outputs(everything(tmp_path), grid(*SIZE), LEGEND, lambda: TAGS, Silent()):
            assert all(name.startswith(".") for name in left_in(tmp_path))
            raise error

    with pytest.raises(error):
        fail()
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("number", range(1, 5))
def test_nothing_appears_when_one_raster_cannot_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    original, calls = cog.copy_to_cog, []

    def fail_once(source: Path, finished: Path, *rest: Any) -> None:
        calls.append(finished.name)
        if len(calls) == number:
            raise OSError(28, os.strerror(28))
        original(source, finished, *rest)

    monkeypatch.setattr(finish, "copy_to_cog", fail_once)
    with pytest.raises(OutputError, match="the disk is full") as caught:
        write(everything(tmp_path), *scene())
    assert caught.value.path == str(tmp_path / calls[-1])
    assert left_in(tmp_path) == []


def test_rows_may_come_from_another_thread(tmp_path: Path) -> None:
    probabilities, valid = scene()
    options = everything(tmp_path)
    with open_outputs(options, grid(*SIZE), LEGEND, lambda: TAGS, Silent()) as outputs:
        thread = threading.Thread(target=outputs.write_rows, args=(0, probabilities, valid))
        thread.start()
        thread.join()
    assert left_in(tmp_path) == ALL_FILES


def test_memory_for_rows_is_what_is_promised(tmp_path: Path) -> None:
    probabilities, valid = scene(200, 2000)
    options = everything(tmp_path, float_scores=True, polygons=None, quicklook=None)
    with open_outputs(options, grid(200, 2000), LEGEND, lambda: TAGS, Silent()) as outputs:
        tracemalloc.start()
        outputs.write_rows(0, probabilities, valid)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 200 * bytes_per_row(options, grid(200, 2000), LEGEND) + 100_000


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of `size` bytes; skips where nobody may mount one."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("only root may mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("size", [400_000, 2_600_000, 3_600_000, 4_400_000])
def test_a_disk_that_is_really_full_leaves_nothing(tmp_path: Path, size: int) -> None:
    # Rows take 2.5 MB; what is made of noise at the end takes as much again.
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet((1, 1, 1), (500, 1000)).astype(np.float32)
    probabilities = np.moveaxis(probabilities, -1, 0)
    valid = np.ones((500, 1000), np.bool_)
    with small_disk(tmp_path, size) as disk:
        with pytest.raises(OutputError, match="the disk is full; free some space"):
            write(everything(disk, quicklook=None, entropy=None), probabilities, valid, step=100)
        assert left_in(disk) == []
        assert shutil.disk_usage(disk).used == 0


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="there is no gdalinfo here")
def test_gdals_own_tool_reads_grid_palette_names_table_and_scale(tmp_path: Path) -> None:
    counts = write(everything(tmp_path), *scene())

    def told(name: str) -> dict[str, Any]:
        command = ["gdalinfo", "-json", "-nomd", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    found = told("map.tif")
    assert found["size"] == [SIZE[1], SIZE[0]]
    assert found["geoTransform"] == [4e5, 10, 0, 5.8e6, 0, -10]
    band = found["bands"][0]
    assert (band["noDataValue"], band["colorInterpretation"]) == (0, "Palette")
    entries = band["colorTable"]["entries"]
    assert all(tuple(entries[e.code]) == (*e.color, 255) for e in LEGEND)
    text = subprocess.run(
        ["gdalinfo", str(tmp_path / "map.tif")], capture_output=True, text=True, check=True
    ).stdout
    assert "    7: water" in text.partition("Categories:")[2]
    assert f"<F>{counts[7]}</F>" in text.partition("<GDALRasterAttributeTable")[2]
    bands = told("probabilities.tif")["bands"]
    assert [b["description"] for b in bands] == list(LEGEND.names)
    assert {(b["scale"], b["offset"], b["noDataValue"]) for b in bands} == {(0.004, 0, 255)}


def test_the_largest_file_allowed_is_a_limit_too(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match="write elsewhere"):
            write(everything(tmp_path), *scene(400, 400))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_in(tmp_path) == []
