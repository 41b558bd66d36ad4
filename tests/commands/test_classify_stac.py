"""`comix classify --stac`, as a user asks for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from cli import comix, files
from pystac.extensions.mlm import MLMExtension
from stacs import checked

from comix_cli.scene.checksum import checksum
from comix_cli.tools import stac_item

MAP = ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--overwrite")
COMPANIONS = {"map.tif", "map.tif.aux.xml", "map.qml"}


def test_a_map_comes_with_its_item_and_the_one_of_its_model(scene: Path) -> None:
    before = files(scene) - COMPANIONS
    outcome = comix(scene, *MAP, "--stac", "map.json", "--confidence", "c.tif", "-q")
    assert outcome.code == 0, outcome.err
    assert files(scene) - before == COMPANIONS | {"map.json", "map.model.json", "c.tif"}
    item = checked(scene / "map.json")
    assert item.id == "map"
    assert set(item.assets) == {"map", "sidecar", "style", "confidence"}
    with rasterio.open(scene / "map.tif") as dataset:
        tags, codes = dataset.tags(), dataset.read(1)
    classes = item.assets["map"].extra_fields["classification:classes"]
    assert [each["title"] for each in classes] == ["no class", "grass", "roof", "tree"]
    assert [each["count"] for each in classes] == np.bincount(codes.ravel()).tolist()
    assert item.assets["map"].extra_fields["comix:options"] == json.loads(tags["COMIX_OPTIONS"])
    model = MLMExtension.ext(checked(scene / "map.model.json"))
    assert model.architecture == "CoMiX"
    assert model.input[0].bands[-1] == "hsi_12"
    weights = checked(scene / "map.model.json").assets["model"]
    assert weights.href == "./model.safetensors"
    sha256 = checksum(scene / "model.safetensors")
    assert sha256 is not None
    assert weights.extra_fields["file:checksum"] == "1220" + sha256.removeprefix("sha256:")


def test_gdal_opens_a_collection_of_items(scene: Path) -> None:
    assert comix(scene, *MAP, "--stac", "map.json", "-q").code == 0
    # GDAL takes relative names for those of the current folder.
    item = checked(scene / "map.json")
    item.make_asset_hrefs_absolute()
    items = pystac.ItemCollection([item])
    items.save_object(str(scene / "items.json"))
    with (
        rasterio.open(f'STACIT:"{scene / "items.json"}":asset=map') as mosaic,
        rasterio.open(scene / "map.tif") as dataset,
    ):
        assert mosaic.crs == dataset.crs
        assert mosaic.transform == dataset.transform
        np.testing.assert_array_equal(mosaic.read(1), dataset.read(1))


def test_a_missing_time_is_warned_of_once(scene: Path) -> None:
    outcome = comix(scene, *MAP, "--stac", "map.json")
    assert outcome.err.count("no input tells when it was taken") == 1
    with rasterio.open(scene / "hsi.tif", "r+") as dataset:
        dataset.update_tags(ACQUISITIONDATETIME="2009-08-20T10:11:12Z")
    outcome = comix(scene, *MAP, "--stac", "map.json")
    assert "no input tells" not in outcome.err
    assert checked(scene / "map.json").properties["datetime"] == "2009-08-20T10:11:12Z"


def test_an_item_elsewhere_leads_back_to_the_files(scene: Path) -> None:
    (scene / "catalog").mkdir()
    assert comix(scene, *MAP, "--stac", "catalog/town.json", "-q").code == 0
    item = checked(scene / "catalog" / "town.json")
    assert item.assets["map"].href == "../map.tif"
    assert item.get_links("derived_from")[0].target == "../hsi.tif"
    assert item.get_links("derived_from")[-1].target == "./town.model.json"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stac", "map.xml"), "map.xml: does not end in .json; call it map.json"),
        (("--stac", "old.json"), "old.json: exists already; give --overwrite to replace it"),
        (("--stac", "new.json"), "new.model.json: exists already; give --overwrite to replace it"),
        (("--stac", ""), "the name of the STAC item is empty"),
        (("--stac", "none/map.json"), "the folder none does not exist"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_no_file(
    scene: Path, arguments: tuple[str, ...], message: str
) -> None:
    (scene / "old.json").touch()
    (scene / "new.model.json").touch()
    before = files(scene)
    outcome = comix(scene, "classify", "hsi.tif", "lidar.tif", "-o", "new.tif", *arguments)
    assert outcome.code == 1
    assert message in outcome.error
    assert files(scene) == before


def test_a_map_whose_item_fails_is_not_published(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stac_item, "model_item", full)
    before = {name: (scene / name).stat().st_mtime_ns for name in files(scene)}
    outcome = comix(scene, *MAP, "--stac", "map.json")
    assert outcome.code == 1
    assert "map.json: the disk is full" in outcome.error
    assert {name: (scene / name).stat().st_mtime_ns for name in files(scene)} == before
