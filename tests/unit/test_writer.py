"""The map on disk."""

import json
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from maps import map_rows
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli import files
from comix_cli.errors import OutputError, UsageError
from comix_cli.mapping import cog, finish, row_file
from comix_cli.mapping.map_file import open_map, read_map
from comix_cli.mapping.writer import open_map_rows
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend

LEGEND = Legend.from_names([(1, "roof"), (2, 'a & b <"é">'), (7, "water")])
UTM = CRS.from_epsg(32633)
TAGS = {"COMIX_VERSION": "0.1", "TIFFTAG_SOFTWARE": "comix 0.1"}


def grid(height: int, width: int, crs: CRS = UTM) -> Grid:
    step = 0.25 if crs.is_geographic else 30.0
    return Grid(crs, Affine(step, 0, 10.5, 0, -step, 50.25), width, height)


def random_codes(height: int, width: int, legend: Legend = LEGEND) -> NDArray[Any]:
    rng = np.random.default_rng(3)
    return rng.choice((0, *legend.codes), (height, width)).astype(legend.dtype)


def write(
    path: Path,
    codes: NDArray[Any],
    legend: Legend = LEGEND,
    *,
    crs: CRS = UTM,
    tags: Mapping[str, str] = TAGS,
    step: int = 100,
    **options: Any,
) -> None:
    height, width = codes.shape
    where = grid(height, width, crs)
    with map_rows(path, where, legend, tags=tags, **options) as rows:
        for start in range(0, len(codes), step):
            rows.write_rows(start, codes[start : start + step])


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files may not grow beyond `size` bytes: the closest thing to a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 30))
@settings(deadline=None, max_examples=15)
def test_a_map_of_any_size_in_any_strips_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, step: int
) -> None:
    path = tmp_path_factory.mktemp("maps") / "map.tif"
    codes = random_codes(height, width)
    write(path, codes, step=step)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), codes)


def test_rows_may_come_in_any_order(tmp_path: Path) -> None:
    codes = random_codes(10, 4)
    with map_rows(tmp_path / "map.tif", grid(10, 4), LEGEND) as rows:
        rows.write_rows(6, codes[6:])
        rows.write_rows(0, codes[:6])
    with rasterio.open(tmp_path / "map.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), codes)


def test_grid_type_nodata_and_layout_are_as_promised(tmp_path: Path) -> None:
    write(tmp_path / "map.tif", random_codes(600, 1100))
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert (dataset.crs, dataset.transform) == (UTM, grid(1, 1).transform)
        assert (dataset.dtypes, dataset.nodata) == (("uint8",), 0)
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.compression.name == "deflate"
        assert dataset.overviews(1) == [2, 4]
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


@pytest.mark.parametrize("epsg", [4326, 31467, 2193])
def test_a_crs_with_northing_first_keeps_its_place(tmp_path: Path, epsg: int) -> None:
    crs = CRS.from_epsg(epsg)
    write(tmp_path / "map.tif", random_codes(3, 5), crs=crs)
    assert read_map(tmp_path / "map.tif").grid.same_as(grid(3, 5, crs))


def test_a_rotated_grid_keeps_its_place(tmp_path: Path) -> None:
    where = Grid(UTM, Affine(1.7, 1.0, 4e5, 1.0, -1.7, 5e6), 4, 3)
    with map_rows(tmp_path / "map.tif", where, LEGEND) as rows:
        rows.write_rows(0, random_codes(3, 4))
    assert read_map(tmp_path / "map.tif").grid.same_as(where)


def test_overviews_hold_the_commonest_class(tmp_path: Path) -> None:
    codes = np.full((1024, 1024), 2, np.uint8)
    codes[::2, ::2] = 7
    write(tmp_path / "map.tif", codes)
    with rasterio.open(tmp_path / "map.tif", overview_level=0) as dataset:
        assert (dataset.read(1) == 2).all()


def test_the_palette_is_inside_the_file(tmp_path: Path) -> None:
    write(tmp_path / "map.tif", random_codes(3, 5))
    (tmp_path / "map.tif.aux.xml").unlink()
    with rasterio.open(tmp_path / "map.tif") as dataset:
        palette = dataset.colormap(1)
    assert palette[0][3] == 0
    for entry in LEGEND:
        assert palette[entry.code] == (*entry.color, 255)


def test_names_and_counts_are_in_the_sidecar(tmp_path: Path) -> None:
    codes = random_codes(30, 50)
    write(tmp_path / "map.tif", codes)
    band = ET.parse(tmp_path / "map.tif.aux.xml").find("PAMRasterBand")
    assert band is not None
    names = [category.text or "" for category in band.findall("CategoryNames/Category")]
    assert [names[code] for code in LEGEND.codes] == list(LEGEND.names)
    assert names[3:7] == [""] * 4
    rows = [[f.text for f in row] for row in band.findall("GDALRasterAttributeTable/Row")]
    expected = [
        [str(e.code), str((codes == e.code).sum()), e.name, *map(str, e.color)] for e in LEGEND
    ]
    assert rows == expected


def test_the_legend_is_in_the_tags_too(tmp_path: Path) -> None:
    write(tmp_path / "map.tif", random_codes(3, 5))
    (tmp_path / "map.tif.aux.xml").unlink()
    with rasterio.open(tmp_path / "map.tif") as dataset:
        tag = json.loads(dataset.tags()["COMIX_LEGEND"])
    assert Legend.from_json(tag) == LEGEND


def test_tags_reach_the_final_file(tmp_path: Path) -> None:
    tags = {**TAGS, "COMIX_INPUTS": '[{"path": "Dächer & <x>.tif"}]', "COMIX_ODD": "a\x00b"}
    write(tmp_path / "map.tif", random_codes(3, 5), tags=tags)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        found = dataset.tags()
    assert found["COMIX_INPUTS"] == tags["COMIX_INPUTS"]
    assert found["TIFFTAG_SOFTWARE"] == "comix 0.1"
    assert found["COMIX_ODD"] == "a b"


def test_more_than_255_classes_become_uint16_with_palette_and_names(tmp_path: Path) -> None:
    legend = Legend.from_names([(code, f"class {code}") for code in range(5, 6000, 20)])
    codes = random_codes(40, 50, legend)
    write(tmp_path / "map.tif", codes, legend)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), codes)
        assert dataset.dtypes == ("uint16",)
        palette = dataset.colormap(1)
    assert all(palette[e.code] == (*e.color, 255) for e in legend)
    assert read_map(tmp_path / "map.tif").legend == legend


def test_nothing_but_the_map_and_its_sidecars_is_left(tmp_path: Path) -> None:
    write(tmp_path / "map.tif", random_codes(600, 700))
    assert left_in(tmp_path) == ["map.qml", "map.tif", "map.tif.aux.xml"]


def test_an_existing_map_needs_overwrite(tmp_path: Path) -> None:
    write(tmp_path / "map.tif", random_codes(3, 5))
    with pytest.raises(OutputError, match="exists already; give --overwrite"):
        write(tmp_path / "map.tif", random_codes(4, 5))
    write(tmp_path / "map.tif", random_codes(4, 5), overwrite=True)
    assert read_map(tmp_path / "map.tif").grid.shape == (4, 5)


def test_a_style_of_somebody_else_needs_overwrite(tmp_path: Path) -> None:
    (tmp_path / "map.qml").write_text("<qgis/>")
    with pytest.raises(OutputError, match=r"map\.qml: exists already; give --overwrite"):
        write(tmp_path / "map.tif", random_codes(3, 5))
    assert left_in(tmp_path) == ["map.qml"]
    write(tmp_path / "map.tif", random_codes(3, 5), overwrite=True)
    assert 'label="roof"' in (tmp_path / "map.qml").read_text(encoding="utf-8")


def test_our_own_style_of_a_map_that_is_gone_is_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path / "map.tif", random_codes(3, 5))
    (tmp_path / "map.tif").unlink()
    write(tmp_path / "map.tif", random_codes(3, 5))


def test_overviews_of_an_older_map_do_not_outlive_it(tmp_path: Path) -> None:
    (tmp_path / "map.tif").touch()
    (tmp_path / "map.tif.ovr").touch()
    write(tmp_path / "map.tif", random_codes(3, 5), overwrite=True)
    assert left_in(tmp_path) == ["map.qml", "map.tif", "map.tif.aux.xml"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_the_work_is_broken_off(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fail() -> None:
        with map_rows(tmp_path / "map.tif", grid(9, 5), LEGEND) as rows:
            rows.write_rows(0, random_codes(3, 5))
            raise error

    with pytest.raises(error):
        fail()
    assert left_in(tmp_path) == []


def test_an_older_map_survives_when_the_work_is_broken_off(tmp_path: Path) -> None:
    codes = random_codes(3, 5)
    write(tmp_path / "map.tif", codes)

    def fail() -> None:
        with map_rows(tmp_path / "map.tif", grid(9, 5), LEGEND, overwrite=True) as rows:
            rows.write_rows(0, random_codes(9, 5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with open_map(tmp_path / "map.tif") as old:
        np.testing.assert_array_equal(old.read(), codes)
        assert old.legend == LEGEND


def test_a_disk_without_room_for_the_map_is_noticed_before_the_work(tmp_path: Path) -> None:
    def begin() -> None:
        with map_rows(tmp_path / "map.tif", grid(1000, 1000), LEGEND):
            pytest.fail("the work began")

    with largest_file(100_000), pytest.raises(OutputError, match=r"map\.tif: .*; write elsewhere"):
        begin()
    assert left_in(tmp_path) == []


def test_a_disk_that_fills_up_under_the_rows_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_file, "reserve", lambda *_: None)
    with largest_file(100_000), pytest.raises(OutputError, match=r"map\.tif: .*; write elsewhere"):
        write(tmp_path / "map.tif", random_codes(1000, 1000), step=10)
    assert left_in(tmp_path) == []


def test_a_disk_that_fills_up_under_the_finished_map_leaves_nothing(tmp_path: Path) -> None:
    # GDAL writes this one, and tells of the trouble late or not at all.
    legend = Legend.from_names([(code, str(code)) for code in range(1, 256)])
    codes = random_codes(1000, 1000, legend)
    with largest_file(1_000_100), pytest.raises(OutputError, match=r"map\.tif: .*write"):
        write(tmp_path / "map.tif", codes, legend)
    assert left_in(tmp_path) == []


def test_a_full_disk_is_named_when_gdal_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "is_nearly_full", lambda _: True)
    legend = Legend.from_names([(code, str(code)) for code in range(1, 256)])
    codes = random_codes(1000, 1000, legend)
    with largest_file(1_000_100), pytest.raises(OutputError, match="the disk is full"):
        write(tmp_path / "map.tif", codes, legend)


@pytest.mark.parametrize(
    "damage", ["truncate", "zeros", "pixels", "size", "sidecar", "cut sidecar"]
)
def test_a_map_that_is_damaged_on_the_disk_never_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    def damaging_copy(source: Path, finished: Path, *rest: Any) -> None:
        cog.copy_to_cog(source, finished, *rest)
        data = finished.read_bytes()
        sidecar = finished.with_name(finished.name + ".aux.xml")
        if damage == "truncate":
            finished.write_bytes(data[: len(data) - 2000])
        elif damage == "zeros":
            finished.write_bytes(data[:-5000] + bytes(5000))
        elif damage in {"pixels", "size"}:
            names = sidecar.read_bytes()  # GDAL removes it with the file that it belongs to
            size = {"width": 700 if damage == "pixels" else 70, "height": 600}
            place = grid(1, 1).transform
            profile = {"count": 1, "dtype": "uint8", "transform": place, **size}
            rasterio.open(finished, "w", "GTiff", **profile).close()
            sidecar.write_bytes(names)
        elif damage == "sidecar":
            sidecar.unlink()
        else:
            sidecar.write_bytes(sidecar.read_bytes()[:50])

    monkeypatch.setattr(finish, "copy_to_cog", damaging_copy)
    with pytest.raises(OutputError, match=r"map\.tif: cannot be written"):
        write(tmp_path / "map.tif", random_codes(600, 700))
    assert left_in(tmp_path) == []


def test_gdal_failing_to_copy_is_an_output_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing.vrt"
    with pytest.raises(OutputError, match=r"map\.tif: cannot be written \(.*missing"):
        cog.copy_to_cog(missing, tmp_path / "out.tif", {}, tmp_path / "map.tif")


def test_a_sidecar_without_its_map_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.replace

    def interrupted(partial: Path, target: Path) -> Path:
        if partial.suffix == ".tif":
            raise KeyboardInterrupt
        return original(partial, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "map.tif", random_codes(3, 5))
    assert left_in(tmp_path) == []


def test_the_sidecar_is_written_whatever_the_environment_says(
    tmp_path: Path,
) -> None:
    with rasterio.Env(GDAL_PAM_ENABLED="NO"):
        write(tmp_path / "map.tif", random_codes(3, 5))
    assert (tmp_path / "map.tif.aux.xml").exists()


def test_creation_options_go_before_ours(tmp_path: Path) -> None:
    options = {"compress": "LZW", "BLOCKSIZE": "256"}
    write(tmp_path / "map.tif", random_codes(300, 300), creation_options=options)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.compression.name == "lzw"
        assert dataset.block_shapes == [(256, 256)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("COMPRESS", "FOO"),
        ("BLOCKSIZE", "abc"),  # GDAL would end the process
        ("BLOCKSIZE", "100"),
        ("COLOUR", "YES"),
        ("COMPRESS", "JPEG"),
        ("TILING_SCHEME", "GoogleMapsCompatible"),
    ],
)
def test_a_wrong_creation_option_is_refused_before_the_work(
    tmp_path: Path, key: str, value: str
) -> None:
    def begin() -> None:
        with map_rows(tmp_path / "map.tif", grid(3, 5), LEGEND, creation_options={key: value}):
            pytest.fail("the work began")

    with pytest.raises(UsageError, match=f"--co {key}={value}: "):
        begin()
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("row", "codes", "message"),
    [
        (2, np.ones((2, 5), np.uint8), "do not fit"),
        (-1, np.ones((1, 5), np.uint8), "do not fit"),
        (0, np.ones((1, 4), np.uint8), "do not fit"),
        (1, np.ones((1, 5), np.uint8), "written before"),
        (0, np.full((1, 5), 3, np.uint8), "code 3 is not in the legend"),
        (0, np.full((1, 5), 300, np.uint16), "code 300 is not in the legend"),
    ],
)
def test_rows_that_cannot_be_right_are_refused(
    tmp_path: Path, row: int, codes: NDArray[Any], message: str
) -> None:
    with open_map_rows(tmp_path, grid(3, 5), LEGEND) as rows:
        rows.write_rows(1, np.ones((1, 5), np.uint8))
        with pytest.raises(ValueError, match=message):
            rows.write_rows(row, codes)


def test_a_missing_row_is_noticed(tmp_path: Path) -> None:
    def fail() -> None:
        with map_rows(tmp_path / "map.tif", grid(3, 5), LEGEND) as rows:
            rows.write_rows(0, np.ones((2, 5), np.uint8))

    with pytest.raises(ValueError, match="row 2 of the map was never written"):
        fail()
    assert left_in(tmp_path) == []
