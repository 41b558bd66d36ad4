"""Tables of scenes are read as people and spreadsheets write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from comix_cli.errors import InputError
from comix_cli.tools.scene_table import SceneRow, column_name, read_scene_table


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "scenes.csv"
    path.write_bytes(text.encode(encoding))
    return path


def rows(folder: Path, text: str, encoding: str = "utf-8") -> list[SceneRow]:
    return read_scene_table(table(folder, text, encoding))


def test_a_row_has_its_place_its_cells_and_the_folder_that_paths_are_meant_from(
    tmp_path: Path,
) -> None:
    (row,) = rows(tmp_path, "hsi,x,out\na/hsi.tif,a/lidar.tif,maps/a.tif\n")
    assert row == SceneRow(
        "a",
        f"{tmp_path / 'scenes.csv'}, line 2",
        {"hsi": ("a/hsi.tif",), "x": ("a/lidar.tif",), "out": ("maps/a.tif",)},
        tmp_path,
    )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_are_parted_as_spreadsheets_of_any_language_do(
    tmp_path: Path, separator: str
) -> None:
    text = "hsi,x1,x2,out\nh.tif,l.tif,s.tif,m.tif\n".replace(",", separator)
    (row,) = rows(tmp_path, text, "utf-8-sig")
    assert row.cells == {"hsi": ("h.tif",), "x": ("l.tif", "s.tif"), "out": ("m.tif",)}


def test_empty_cells_are_not_given_and_empty_lines_and_comments_are_no_scenes(
    tmp_path: Path,
) -> None:
    found = rows(
        tmp_path, "hsi,x,out,mask\n\n# the east\nh.tif,,m.tif,\n  \nk.tif,l.tif,n.tif,a.shp"
    )
    assert [set(row.cells) for row in found] == [{"hsi", "out"}, {"hsi", "x", "out", "mask"}]
    assert [row.where[-6:] for row in found] == ["line 4", "line 6"]


def test_a_cell_in_quotes_may_hold_the_separator(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, 'hsi,out\n"NETCDF:""a,b.nc"":v",m.tif\n')
    assert row.cells["hsi"] == ('NETCDF:"a,b.nc":v',)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("--Min-Area ", "min_area"), ("X", "x"), ("x1", "x"), ("x_12", "x"), ("min area", "min_area")],
)
def test_names_of_columns_are_those_of_options(written: str, meant: str) -> None:
    assert column_name(written) == meant


@pytest.mark.parametrize(
    ("outs", "ids"),
    [
        (("maps/a.tif", "maps/b.tif"), ["a", "b"]),
        (("a/map.tif", "b/map.tif"), ["a-map", "b-map"]),
        (("x/a/map.tif", "y/a/map.tif", "x/b/map.tif"), ["x-a-map", "y-a-map", "b-map"]),
        (("my map (1).tif", "my map [1].tif"), ["my-map-1", "my-map-1-2"]),
    ],
)
def test_scenes_are_called_what_tells_their_outputs_apart(
    tmp_path: Path, outs: tuple[str, ...], ids: list[str]
) -> None:
    text = "hsi,out\n" + "".join(f"h.tif,{out}\n" for out in outs)
    assert [row.id for row in rows(tmp_path, text)] == ids


def test_an_id_of_its_own_stays_and_nobody_else_gets_it(tmp_path: Path) -> None:
    found = rows(tmp_path, "id,hsi,out\na,h.tif,m.tif\n,k.tif,a.tif\n")
    assert [row.id for row in found] == ["a", "a-2"]
    assert "id" not in found[0].cells


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no header; begin with a line such as hsi,x,out"),
        ("hsi,out\n", "holds no scene; give a line for each, below the header"),
        ("hsi,out\na,b,c\n", "line 2: has 3 cells, and the header 2"),
        ("hsi,\na,b\n", "line 2: 'b' is in a column without a name"),
        ('hsi,out\n"a,b\n', "line 2: unexpected end of data; close the quotes in the same line"),
        ("id,hsi\na,h\na,k\n", "more than one scene has the id 'a'; give each its own"),
        ("id,hsi\na/b,h\n", "the id 'a/b' cannot be the name of a file"),
    ],
)
def test_what_is_no_table_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_scene_table(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_what_is_no_text_or_not_there_is_said(tmp_path: Path) -> None:
    path = table(tmp_path, "hsi,out\nStraße,m\n", "latin-1")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        read_scene_table(path)
    with pytest.raises(InputError, match="there is no such file"):
        read_scene_table(tmp_path / "none.csv")
