"""Reading class maps of any program."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from maps import map_rows
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.errors import RasterError
from comix_cli.mapping.map_file import newest_map, open_map, read_classes, read_map
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend
from comix_cli.scene.windows import Window

UTM = CRS.from_epsg(32633)
PLACE = Affine(10, 0, 390000, 0, -10, 5820000)
CODES = np.array([[0, 1, 2], [3, 2, 1]], np.uint8)
NAMES = ("Unclassified", "Dach & First", "Wasser", "")


def save(path: Path, values: NDArray[Any], *, driver: str = "GTiff", **profile: Any) -> Path:
    bands = values if values.ndim == 3 else values[np.newaxis]
    count, height, width = bands.shape
    profile = {"crs": UTM, "transform": PLACE, "dtype": bands.dtype.name} | profile
    with rasterio.open(
        path, "w", driver=driver, count=count, height=height, width=width, **profile
    ) as dataset:
        dataset.write(bands)
    return path


def ours(path: Path, names: tuple[str, ...] = ("roof", "water", "tree")) -> Legend:
    legend = Legend.from_names(enumerate(names, start=1))
    grid = Grid(UTM, PLACE, 3, 2)
    with map_rows(path, grid, legend, {"COMIX_VERSION": "0.1"}) as writer:
        writer.write_rows(0, CODES)
    return legend


def category_xml(names: tuple[str, ...]) -> str:
    inner = "".join(f"<Category>{escape(name)}</Category>" for name in names)
    return f"<CategoryNames>{inner}</CategoryNames>"


def table_xml(
    columns: list[tuple[str, int, int]], rows: Sequence[tuple[object, ...]], extra: str = ""
) -> str:
    fields = "".join(
        f'<FieldDefn index="{i}"><Name>{name}</Name>'
        f"<Type>{kind}</Type><Usage>{use}</Usage></FieldDefn>"
        for i, (name, kind, use) in enumerate(columns)
    )
    body = "".join(
        f'<Row index="{i}">' + "".join(f"<F>{value}</F>" for value in row) + "</Row>"
        for i, row in enumerate(rows)
    )
    return f"<GDALRasterAttributeTable{extra}>{fields}{body}</GDALRasterAttributeTable>"


def add_sidecar(path: Path, xml: str) -> None:
    text = f'<PAMDataset><PAMRasterBand band="1">{xml}</PAMRasterBand></PAMDataset>'
    path.with_name(path.name + ".aux.xml").write_text(text, encoding="utf-8")


def named(path: Path) -> list[tuple[int, str]]:
    legend = read_map(path).legend
    assert legend is not None
    return [(entry.code, entry.name) for entry in legend]


def test_our_own_map_comes_back_whole(tmp_path: Path) -> None:
    legend = ours(tmp_path / "map.tif")
    with open_map(tmp_path / "map.tif") as found:
        assert found.legend == legend
        assert found.names_known
        assert found.nodata == 0
        assert found.tags["COMIX_VERSION"] == "0.1"
        assert found.grid.same_as(Grid(UTM, PLACE, 3, 2))
        codes = found.read()
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(codes, CODES)


def test_our_names_survive_the_loss_of_the_sidecar(tmp_path: Path) -> None:
    legend = ours(tmp_path / "map.tif")
    (tmp_path / "map.tif.aux.xml").unlink()
    assert read_map(tmp_path / "map.tif").legend == legend


def test_our_names_survive_the_loss_of_the_tag(tmp_path: Path) -> None:
    legend = ours(tmp_path / "map.tif", ("Dach & First", 'a "b" <c>', "Wälder"))
    path = save(tmp_path / "copy.tif", CODES)
    (tmp_path / "map.tif.aux.xml").rename(tmp_path / "copy.tif.aux.xml")
    assert read_map(path).legend == legend


def test_a_broken_legend_tag_gives_way_to_the_sidecar(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(COMIX_LEGEND='[{"code": 1}]')
    add_sidecar(path, category_xml(NAMES))
    assert named(path) == [(1, "Dach & First"), (2, "Wasser")]


def test_category_names_of_a_sidecar_are_read_and_code_0_is_no_class(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES)
    add_sidecar(path, category_xml(NAMES))
    assert named(path) == [(1, "Dach & First"), (2, "Wasser")]


def test_plain_codes_have_no_legend(tmp_path: Path) -> None:
    found = read_map(save(tmp_path / "map.tif", CODES))
    assert found.legend is None
    assert not found.names_known


def test_an_attribute_table_names_the_classes(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES)
    columns = [("VALUE", 0, 5), ("Histogram", 1, 1), ("Klasse", 2, 2)]
    add_sidecar(path, table_xml(columns, [(3, 9, "tree"), (0, 9, "none"), (1, 9, " roof ")]))
    assert named(path) == [(1, "roof"), (3, "tree")]


def test_columns_without_usage_are_known_by_their_names(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES)
    columns = [("Code", 0, 0), ("Class_Name", 2, 0)]
    add_sidecar(path, table_xml(columns, [(2, "water")]))
    assert named(path) == [(2, "water")]


def test_an_attribute_table_without_codes_counts_its_rows(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES)
    extra = ' Row0Min="0" BinSize="1"'
    add_sidecar(path, table_xml([("Names", 2, 2)], [("none",), ("roof",), ("water",)], extra))
    assert named(path) == [(1, "roof"), (2, "water")]


def test_an_attribute_table_of_something_else_is_no_legend(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES)
    add_sidecar(path, table_xml([("Value", 0, 5), ("Height", 1, 0)], [(1, 3.5)]))
    assert read_map(path).legend is None


def test_colours_of_an_attribute_table_are_used(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES)
    columns = [("Value", 0, 5), ("Name", 2, 2), ("R", 0, 6), ("G", 0, 7), ("B", 0, 8)]
    add_sidecar(path, table_xml(columns, [(1, "roof", 10, 20, 30), (2, "water", 0, 0, 1)]))
    legend = read_map(path).legend
    assert legend is not None
    assert [entry.color for entry in legend] == [(10, 20, 30), (0, 0, 1)]


def test_colours_that_are_no_numbers_and_codes_that_are_none_do_no_harm(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES)
    columns = [("Value", 2, 5), ("Name", 2, 2), ("R", 2, 6), ("G", 2, 7), ("B", 2, 8)]
    rows = [
        ("1", "roof", "red", "999", ""),
        ("x", "water", "1", "2", "3"),
        ("2.5", "tree", 1, 2, 3),
    ]
    add_sidecar(path, table_xml(columns, rows))
    legend = read_map(path).legend
    assert legend is not None
    assert [(entry.code, entry.color) for entry in legend] == [(1, (0, 255, 0))]


def test_colours_of_the_palette_are_used(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES, photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {1: (9, 8, 7, 255), 2: (1, 2, 3, 255)})
    add_sidecar(path, category_xml(NAMES))
    legend = read_map(path).legend
    assert legend is not None
    assert [entry.color for entry in legend] == [(9, 8, 7), (1, 2, 3)]


def test_an_envi_classification_has_names_and_colours(tmp_path: Path) -> None:
    path = save(tmp_path / "map.bsq", CODES, driver="ENVI")
    header = path.with_suffix(".hdr")
    text = header.read_text().replace("ENVI Standard", "ENVI Classification")
    header.write_text(
        text + "classes = 4\nclass lookup = {0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 99, 0}\n"
        "class names = {Unclassified, Roof, Water, Tree}\n"
    )
    assert named(path) == [(1, "Roof"), (2, "Water"), (3, "Tree")]
    legend = read_map(path).legend
    assert legend is not None
    assert [entry.color for entry in legend] == [(255, 0, 0), (0, 0, 255), (0, 99, 0)]


def test_an_erdas_imagine_map_has_names(tmp_path: Path) -> None:
    ours(tmp_path / "map.tif")
    path = tmp_path / "map.img"
    rasterio.shutil.copy(tmp_path / "map.tif", path, driver="HFA")
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(COMIX_LEGEND="")
    assert named(path) == [(1, "roof"), (2, "water"), (3, "tree")]


def test_a_vrt_over_a_map_has_the_names_written_in_it(tmp_path: Path) -> None:
    source = save(tmp_path / "map.tif", CODES)
    add_sidecar(source, category_xml(NAMES))
    rasterio.shutil.copy(source, tmp_path / "map.vrt", driver="VRT")
    assert named(tmp_path / "map.vrt") == [(1, "Dach & First"), (2, "Wasser")]


def test_the_nodata_value_is_never_a_class(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES, nodata=2)
    add_sidecar(path, category_xml(NAMES))
    assert named(path) == [(1, "Dach & First")]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
def test_codes_of_any_type_become_int32(tmp_path: Path, dtype: str) -> None:
    path = save(tmp_path / "map.tif", CODES.astype(dtype))
    with open_map(path) as found:
        codes = found.read()
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(codes, CODES)


@pytest.mark.parametrize(
    ("values", "nodata"),
    [
        (np.array([[255, 1, 2]], np.uint8), 255),
        (np.array([[-9999, 1, 2]], np.int16), -9999),
        (np.array([[-1, 1, 2]], np.int16), None),
        (np.array([[7, 1, 2]], np.float32), 7),
        (np.array([[np.nan, 1, 2]], np.float32), np.nan),
        (np.array([[np.nan, 1, 2]], np.float32), None),
        (np.array([[-3.4e38, 1, 2]], np.float32), None),
    ],
)
def test_nodata_of_any_kind_is_no_class(
    tmp_path: Path, values: NDArray[Any], nodata: float | None
) -> None:
    with open_map(save(tmp_path / "map.tif", values, nodata=nodata)) as found:
        assert found.read().tolist() == [[0, 1, 2]]


def test_an_internal_mask_is_no_class(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        save(path, CODES)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(np.array([[255, 0, 255], [255, 255, 255]], np.uint8))
    with open_map(path) as found:
        assert found.read().tolist() == [[0, 0, 2], [3, 2, 1]]


def test_a_window_is_read_where_it_lies(tmp_path: Path) -> None:
    with open_map(save(tmp_path / "map.tif", CODES)) as found:
        assert found.read(Window(1, 1, 1, 2)).tolist() == [[2, 1]]


def test_fractions_are_no_class_codes(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", np.array([[1, 0.5]], np.float32))
    with open_map(path) as found, pytest.raises(RasterError, match=r"no class codes, such as 0\.5"):
        found.read()


def test_codes_beyond_int32_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", np.array([[1, 2**32 - 1]], np.uint32))
    with open_map(path) as found, pytest.raises(RasterError, match="such as 4294967295"):
        found.read()


def test_an_image_is_not_a_class_map(tmp_path: Path) -> None:
    path = save(tmp_path / "rgb.tif", np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(RasterError, match="has 3 bands, but a class map has one"):
        read_map(path)


def test_transparency_is_not_another_band(tmp_path: Path) -> None:
    values = np.stack([CODES, np.array([[255, 0, 255], [255, 255, 255]], np.uint8)])
    path = save(tmp_path / "map.tif", values, alpha="yes")
    with open_map(path) as found:
        assert found.read().tolist() == [[0, 0, 2], [3, 2, 1]]


def test_a_map_without_crs_takes_the_one_that_is_given(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES, crs=None)
    with pytest.raises(RasterError, match=r"has no CRS; .*--src-crs"):
        read_map(path)
    assert read_map(path, src_crs="EPSG:32633").grid.crs == UTM


def test_names_can_be_read_without_a_crs(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", CODES, crs=None)
    add_sidecar(path, category_xml(NAMES))
    legend, tags = read_classes(path)
    assert legend is not None
    assert legend.codes == (1, 2)
    assert "COMIX_LEGEND" not in tags


def test_a_missing_map_and_a_text_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "map.tif").write_text("not a raster")
    for name in ("map.tif", "missing.tif"):
        with pytest.raises(RasterError, match=name):
            read_map(tmp_path / name)


def test_a_cut_off_map_cannot_be_read(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", np.ones((300, 300), np.uint8))
    path.write_bytes(path.read_bytes()[:40_000])
    with open_map(path) as found, pytest.raises(RasterError, match=r"map\.tif: cannot be read"):
        found.read()


def test_a_small_view_keeps_the_commonest_class(tmp_path: Path) -> None:
    values = np.full((40, 60), 2, np.uint8)
    values[::4, ::4] = 1
    with open_map(save(tmp_path / "map.tif", values)) as found:
        small = found.read_small(150)
        whole = found.read_small(10**6)
    assert small.shape == (10, 15)
    assert (small == 2).all()
    np.testing.assert_array_equal(whole, values)


def test_the_newest_of_our_maps_is_found_among_other_files(tmp_path: Path) -> None:
    for age, name in enumerate(("new.tif", "old.tif")):
        ours(tmp_path / name)
        os.utime(tmp_path / name, (10**9 - age, 10**9 - age))
    save(tmp_path / "foreign.tif", CODES)
    (tmp_path / "broken.tif").write_text("not a raster")
    (tmp_path / "folder.tif").mkdir()
    ours(tmp_path / "folder.tif" / "newest.tif")
    (tmp_path / ".new.partial-1-a.tif").write_bytes((tmp_path / "new.tif").read_bytes())
    assert newest_map(tmp_path) == tmp_path / "new.tif"


def test_a_folder_without_our_maps_has_no_newest(tmp_path: Path) -> None:
    save(tmp_path / "foreign.tif", CODES)
    assert newest_map(tmp_path) is None
