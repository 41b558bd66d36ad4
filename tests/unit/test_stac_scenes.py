"""Scenes from STAC documents that pystac has written."""

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pystac
import pytest

from comix_cli.errors import InputError, UsageError
from comix_cli.tools.scene_table import SceneRow
from comix_cli.tools.stac_links import gdal_name
from comix_cli.tools.stac_scenes import read_stac_scenes

WHEN = datetime(2020, 1, 1, tzinfo=UTC)
POINT = {"type": "Point", "coordinates": [13.0, 52.0]}


def item(name: str, assets: dict[str, str] | None = None, **properties: Any) -> pystac.Item:
    found = pystac.Item(name, POINT, [13, 52, 13, 52], WHEN, properties)
    for key, href in (assets or {"hsi": "./hsi.tif", "x": "./lidar.tif"}).items():
        found.add_asset(key, pystac.Asset(href))
    return found


def save(folder: Path, *items: pystac.Item) -> str:
    """Items as files of their own; the last one's path."""
    for each in items:
        path = folder / f"{each.id}.json"
        path.write_text(json.dumps(each.to_dict(include_self_link=False)))
    return str(path)


def collection(folder: Path, *items: pystac.Item) -> str:
    """A self-contained collection below a catalog, as pystac lays them out; the catalog's path."""
    extent = pystac.Extent(
        pystac.SpatialExtent([0, 0, 1, 1]), pystac.TemporalExtent([[WHEN, WHEN]])
    )
    inner = pystac.Collection("inner", "inner", extent)
    inner.add_items(items)
    outer = pystac.Catalog("outer", "outer")
    outer.add_child(inner)
    outer.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return str(folder / "catalog.json")


def item_collection(path: Path, *items: pystac.Item, **more: Any) -> str:
    features = [each.to_dict(include_self_link=True) for each in items]
    document = {"type": "FeatureCollection", "features": features, **more}
    path.write_text(json.dumps(document))
    return str(path)


def test_an_item_is_a_scene(tmp_path: Path) -> None:
    path = save(tmp_path, item("a"))
    assert read_stac_scenes(path, {}) == [
        SceneRow(
            id="a",
            where=path,
            cells={"hsi": (str(tmp_path / "hsi.tif"),), "x": (str(tmp_path / "lidar.tif"),)},
        )
    ]


def test_children_are_followed_in_order(tmp_path: Path) -> None:
    path = collection(tmp_path, item("b"), item("a"))
    rows = read_stac_scenes(path, {})
    assert [row.id for row in rows] == ["b", "a"]
    place = tmp_path / "inner" / "b"
    assert rows[0].where == str(place / "b.json")
    assert rows[0].cells["hsi"] == (str(place / "hsi.tif"),)


def test_relative_paths_of_an_item_collection_are_its_own(tmp_path: Path) -> None:
    published = item("b")
    published.set_self_href("https://a.org/items/b.json")
    path = item_collection(tmp_path / "items.json", item("a"), published)
    first, second = read_stac_scenes(path, {})
    assert first.where == f"{path}, item a"
    assert first.cells["hsi"] == (str(tmp_path / "hsi.tif"),)
    assert second.cells["hsi"] == ("/vsicurl/https://a.org/items/hsi.tif",)


def test_assets_are_named_for_columns(tmp_path: Path) -> None:
    keys = ("image", "height", "radar", "optical", "truth", "dtm")
    path = save(tmp_path, item("a", {key: f"{key}.tif" for key in keys}))

    def cells(assets: dict[str, str]) -> dict[str, tuple[str, ...]]:
        (row,) = read_stac_scenes(path, assets)
        return {key: tuple(Path(p).stem for p in value) for key, value in row.cells.items()}

    asked = {"hsi": "image", "x": "height, radar", "gt": "truth"}
    assert cells(asked) == {
        "dtm": ("dtm",), "hsi": ("image",), "x": ("height", "radar"), "gt": ("truth",),
    }  # fmt: skip
    assert cells({"x10": "radar", "x2": "height", "x": "optical"})["x"] == (
        "optical", "height", "radar",
    )  # fmt: skip


def test_assets_of_a_columns_name_need_no_mapping(tmp_path: Path) -> None:
    names = ("x2", "mask", "x1", "hsi", "like", "gt", "thumbnail", "x10")
    path = save(tmp_path, item("a", {name: f"{name}.tif" for name in names}))
    (row,) = read_stac_scenes(path, {})
    assert {key: [Path(p).stem for p in value] for key, value in row.cells.items()} == {
        "hsi": ["hsi"], "x": ["x1", "x2", "x10"], "gt": ["gt"], "mask": ["mask"], "like": ["like"],
    }  # fmt: skip


def test_properties_are_options(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "comix:res": 2.5,
        "comix:resampling": ["hsi=cubic", "x=nearest"],
        "comix:sharpen": True,
        "comix:dtm": None,
        "other:res": 1,
    }
    (row,) = read_stac_scenes(save(tmp_path, item("a", **options)), {})
    assert row.cells["res"] == ("2.5",)
    assert row.cells["resampling"] == ("hsi=cubic", "x=nearest")
    assert row.cells["sharpen"] == ("true",)
    assert set(row.cells) == {"res", "resampling", "sharpen", "hsi", "x"}


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("https://a.org/b.tif?sig=%2F1", "/vsicurl/https://a.org/b.tif?sig=%2F1"),
        ("s3://bucket/a/b.tif", "/vsis3/bucket/a/b.tif"),
        ("gs://bucket/b.tif", "/vsigs/bucket/b.tif"),
        ("az://box/b.tif", "/vsiaz/box/b.tif"),
        ("abfs://box@account.dfs.core.windows.net/a/b.tif", "/vsiaz/box/a/b.tif"),
        ("file:///data/a%20b.tif", "/data/a b.tif"),
        ("/data/b.tif", "/data/b.tif"),
        ("../b.tif", "/data/b.tif"),
        ("/vsizip/a.zip/b.tif", "/vsizip/a.zip/b.tif"),
        ('NETCDF:"a.nc":v', 'NETCDF:"a.nc":v'),
    ],
)
def test_references_become_names_that_gdal_reads(href: str, expected: str) -> None:
    assert gdal_name(href, "/data/stac/item.json") == expected


def test_references_of_a_document_in_the_web_are_beside_it() -> None:
    assert gdal_name("../b.tif", "https://a.org/c/d/e.json") == "/vsicurl/https://a.org/c/b.tif"


def test_escaped_names_are_found(tmp_path: Path) -> None:
    (tmp_path / "a b.tif").touch()
    assert gdal_name("./a%20b.tif", str(tmp_path / "i.json")) == str(tmp_path / "a b.tif")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder on a web server of this machine; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_catalogs_are_read_over_http(tmp_path: Path) -> None:
    collection(tmp_path, item("a b"))
    with served(tmp_path) as address:
        (row,) = read_stac_scenes(f"{address}/catalog.json", {})
        assert row.cells["hsi"] == (f"/vsicurl/{address}/inner/a b/hsi.tif",)
        with pytest.raises(InputError, match=r"nothing.json: cannot be read: .* 404 File not fou"):
            read_stac_scenes(f"{address}/nothing.json", {})


def test_the_pages_of_a_server_are_followed(tmp_path: Path) -> None:
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
    document = {
        "type": "Collection", "id": "c", "stac_version": "1.0.0", "description": "c",
        "license": "other", "extent": extent, "links": [{"rel": "items", "href": "./1.json"}],
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(document))
    further = [{"rel": "next", "href": "./2.json"}]
    first = item_collection(tmp_path / "1.json", item("a"), links=further)
    item_collection(tmp_path / "2.json", item("b"))
    with served(tmp_path) as address:
        rows = read_stac_scenes(f"{address}/c.json", {})
    assert [row.id for row in rows] == ["a", "b"]
    assert [row.id for row in read_stac_scenes(first, {})] == ["a"]


def test_circles_end(tmp_path: Path) -> None:
    save(tmp_path, item("a"))
    for one, other in (("b", "c"), ("c", "b")):
        links = [{"rel": "child", "href": f"./{other}.json"}, {"rel": "item", "href": "./a.json"}]
        document = {
            "type": "Catalog", "id": one, "stac_version": "1.1.0", "description": one,
            "links": links,
        }  # fmt: skip
        (tmp_path / f"{one}.json").write_text(json.dumps(document))
    assert [row.id for row in read_stac_scenes(str(tmp_path / "b.json"), {})] == ["a"]


def wrong(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)


OLD: dict[str, Any] = {
    "type": "Feature",
    "id": "a",
    "geometry": None,
    "properties": {},
    "assets": {},
    "links": [],
}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("hsi,x\na.tif,b.tif\n", "is no STAC: no JSON"),
        ("\xff\xfe", "is no STAC: no JSON"),
        ([], "is no STAC, but a JSON document without a type"),
        ({"type": "Feature"}, "is no STAC, but JSON of type 'Feature' without a stac_version"),
        ({"type": "Topology", "stac_version": "1.0.0"}, "is no STAC, but JSON of type 'Topology'"),
        (
            {"type": "FeatureCollection", "features": [{"type": "Feature"}]},
            "is no STAC, but GeoJSON whose feature 1 is no STAC item",
        ),
        ({"type": "FeatureCollection", "features": []}, "there is no STAC item in it"),
        (
            {"type": "Catalog", "stac_version": "2.0.0", "links": []},
            "is of STAC version 2.0.0, and this comix reads versions up to 1.x; upgrade comix",
        ),
        ({"type": "Catalog", "stac_version": "1.1.0", "links": []}, "there is no STAC item in it"),
        ({"type": "Feature", "stac_version": "1.1.0"}, "is damaged as a STAC item"),
        ({**OLD, "stac_version": "1.1.0"}, "is damaged as a STAC item"),
        (
            {**OLD, "stac_version": "1.1.0", "properties": {"datetime": "2020-01-01T00:00:00Z"}},
            "item 'a' has no asset called hsi or x; it has none",
        ),
    ],
)
def test_what_is_no_stac_is_one_line(document: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "scenes.json"
    path.write_bytes(wrong(document).encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read_stac_scenes(str(path), {})
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_asset_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    path = save(tmp_path, item("a", {"image": "a.tif", "thumbnail": "a.png"}))
    with pytest.raises(InputError) as caught:
        read_stac_scenes(path, {"hsi": "image", "x": "lidar"})
    assert caught.value.message == (
        f"{path}: item 'a' has no asset called 'lidar', which is to be x; it has 'image', "
        "'thumbnail'; say which asset is which"
    )
    with pytest.raises(UsageError, match="no asset is named for 'x'"):
        read_stac_scenes(path, {"hsi": "image", "x": " , "})


def test_two_items_of_one_id_are_refused(tmp_path: Path) -> None:
    path = item_collection(tmp_path / "items.json", item("a"), item("b"), item("a"))
    with pytest.raises(InputError, match="two items are called 'a'"):
        read_stac_scenes(path, {})


def test_a_broken_link_names_both_ends(tmp_path: Path) -> None:
    path = collection(tmp_path, item("a"), item("b"))
    gone = tmp_path / "inner" / "b" / "b.json"
    gone.unlink()
    with pytest.raises(InputError) as caught:
        read_stac_scenes(path, {})
    assert caught.value.message == (
        f"{gone}: cannot be read: there is no such file; "
        f"{tmp_path / 'inner' / 'collection.json'} links to it"
    )


def test_a_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory; check the name"):
        read_stac_scenes(str(tmp_path), {})
    with pytest.raises(InputError, match="cannot be read: there is no such file; check the name"):
        read_stac_scenes(str(tmp_path / "none.json"), {})
