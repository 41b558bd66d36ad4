"""A map as a STAC item, judged by pystac, rasterio and what the published schemas demand."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.projection import ProjectionExtension
from rasterio.crs import CRS
from scenes import write_raster
from stacs import CHECKSUM, DATE, GRID, LEGEND, card, checked, made, probabilities

from comix_cli.learning.model_file import ModelCard
from comix_cli.progress import Silent
from comix_cli.scene.checksum import checksum
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend
from comix_cli.tools.stac_classes import class_objects
from comix_cli.tools.stac_collection import bounding, write_collection
from comix_cli.tools.stac_links import gdal_name, reference
from comix_cli.tools.stac_model import model_item, model_name
from comix_models.forest import ForestSpec
from comix_models.svm import SvmSpec
from comix_models.unet import UNetSpec

LOCAL = 'LOCAL_CS["mine",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]'
# A projection that no authority has a number for.
CUSTOM = "+proj=tmerc +lat_0=52 +lon_0=13.37 +k=1 +x_0=400000 +y_0=5800000 +ellps=GRS80 +units=m"
CREATED = datetime.fromisoformat(DATE)


def everything(folder: Path) -> dict[str, Any]:
    scores = {name: folder / f"{name}.tif" for name in ("probabilities", "confidence", "entropy")}
    return {**scores, "polygons": folder / "p.gpkg", "quicklook": folder / "q.png"}


def image(path: Path, **tags: str) -> dict[str, Any]:
    """A raster, as provenance names it."""
    write_raster(path, np.ones((1, 4, 4), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**tags)
    return {"path": str(path), "checksum": checksum(path)}


def links(item: pystac.Item) -> list[dict[str, Any]]:
    return [link.to_dict(transform_href=False) for link in item.get_links("derived_from")]


def test_every_file_is_an_asset_with_its_size_and_checksum(tmp_path: Path) -> None:
    item = made(tmp_path, **everything(tmp_path))
    described = {"map.json", "map.model.json"}
    assert {Path(asset.href).name for asset in item.assets.values()} == {
        path.name for path in tmp_path.iterdir() if path.name not in described
    }
    for asset in item.assets.values():
        data = (tmp_path / asset.href).read_bytes()
        assert asset.href.startswith("./")
        assert FileExtension.ext(asset).size == len(data)
        assert FileExtension.ext(asset).checksum == "1220" + hashlib.sha256(data).hexdigest()
    assert item.assets["map"].media_type == pystac.MediaType.COG
    assert item.assets["polygons"].media_type == pystac.MediaType.GEOPACKAGE
    assert item.assets["quicklook"].roles == ["overview"]


def test_the_projection_is_that_of_the_map(tmp_path: Path) -> None:
    item = made(tmp_path, quicklook=tmp_path / "q.png")
    projection = ProjectionExtension.ext(item.assets["map"])
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert projection.epsg == dataset.crs.to_epsg()
        assert projection.shape == [*dataset.shape]
        assert projection.transform == [*dataset.transform][:6]
        assert projection.bbox == [*dataset.bounds]
    assert item.properties["gsd"] == 2
    assert item.assets["quicklook"].extra_fields["proj:code"] is None
    assert "proj:shape" not in item.assets["quicklook"].extra_fields


def test_a_crs_without_a_number_is_spelled_out(tmp_path: Path) -> None:
    item = made(tmp_path, grid=replace(GRID, crs=CRS.from_proj4(CUSTOM)))
    assert item.properties["proj:code"] is None
    assert CRS.from_wkt(item.properties["proj:wkt2"]).to_proj4().startswith("+proj=tmerc")
    assert item.bbox is not None
    assert item.bbox[0] == pytest.approx(13.37, abs=0.01)


def test_a_map_that_lies_nowhere_on_earth_has_no_geometry(tmp_path: Path) -> None:
    item = made(tmp_path, grid=replace(GRID, crs=CRS.from_wkt(LOCAL)))
    assert item.geometry is None
    assert item.bbox is None


def test_classes_are_counted(tmp_path: Path) -> None:
    item = made(tmp_path)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        counts = np.bincount(dataset.read(1).ravel(), minlength=8)
    fields = item.assets["map"].extra_fields
    assert fields["nodata"] == 0
    assert fields["data_type"] == "uint8"
    found = fields["classification:classes"]
    assert [each["value"] for each in found] == [0, 1, 2, 7]
    assert [each["count"] for each in found] == counts[[0, 1, 2, 7]].tolist()
    assert found[0]["nodata"] is True
    assert sum(each.get("percentage", 0) for each in found) == pytest.approx(100, abs=0.001)
    assert fields["statistics"]["valid_percent"] == pytest.approx(
        100 * (1 - counts[0] / counts.sum()), abs=0.001
    )
    classes = ClassificationExtension.ext(item.assets["map"]).classes
    assert classes is not None
    assert [each.color_hint for each in classes[1:]] == [
        "".join(f"{channel:02X}" for channel in entry.color) for entry in LEGEND
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("bare soil / gravel", "Straße"), ("bare_soil_gravel", "Strae")),
        (("水", "道路"), ("class_1", "class_2")),
        (("Wood", "wood", "wood_2"), ("Wood", "wood_2", "wood_2_3")),
        (("no class", "class 1"), ("no_class_1", "class_1")),
    ],
)
def test_class_names_are_as_the_extension_wants_them(
    names: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    found = class_objects(Legend.from_names(enumerate(names, 1)))
    assert tuple(each["name"] for each in found) == expected
    assert tuple(each["title"] for each in found) == names
    for each in found:
        assert re.fullmatch("[0-9A-Za-z-_]+", each["name"])
        assert re.fullmatch("[0-9A-F]{6}", each["color_hint"])


@pytest.mark.parametrize("as_float", [False, True])
def test_scores_say_how_to_read_them(tmp_path: Path, as_float: bool) -> None:
    item = made(tmp_path, **everything(tmp_path), float_scores=as_float)
    fields = item.assets["probabilities"].extra_fields
    assert [band["name"] for band in fields["bands"]] == [*LEGEND.names]
    with rasterio.open(tmp_path / "probabilities.tif") as dataset:
        stored = dataset.read()
        assert {fields["data_type"]} == set(dataset.dtypes)
        assert float(fields["nodata"]) == pytest.approx(dataset.nodata, nan_ok=True)
    shares, valid = probabilities()
    values = stored * fields.get("raster:scale", 1) + fields.get("raster:offset", 0)
    np.testing.assert_allclose(values[:, valid], shares[:, valid], atol=0.00201)


def test_without_a_time_in_the_inputs_it_is_that_of_the_map(tmp_path: Path) -> None:
    progress = Silent()
    plain = image(tmp_path / "hsi.tif", TIFFTAG_DATETIME="2001:02:03 04:05:06")
    item = made(tmp_path, [plain], progress=progress)
    assert item.datetime == CREATED
    assert item.common_metadata.created == CREATED
    assert "start_datetime" not in item.properties
    assert any("no input tells when it was taken" in text for text in progress.warnings)


def test_the_time_is_that_of_the_inputs(tmp_path: Path) -> None:
    progress = Silent()
    hsi = image(tmp_path / "hsi.tif", ACQUISITIONDATETIME="2009-08-20T10:11:12Z")
    lidar = image(tmp_path / "lidar.tif", ACQUISITIONDATETIME="2011-03-01T00:00:00+02:00")
    mask = {**image(tmp_path / "m.tif", ACQUISITIONDATETIME="1999-01-01T00:00Z"), "role": "mask"}
    item = made(tmp_path, [hsi, lidar, mask], progress=progress)
    assert item.datetime == datetime(2009, 8, 20, 10, 11, 12, tzinfo=UTC)
    assert item.common_metadata.start_datetime == item.datetime
    assert item.common_metadata.end_datetime == datetime(2011, 2, 28, 22, tzinfo=UTC)
    assert item.common_metadata.created == CREATED
    assert not progress.warnings


def test_the_time_of_a_sharpened_image_is_that_of_the_image_itself(tmp_path: Path) -> None:
    original = image(tmp_path / "hsi.tif", ACQUISITIONDATETIME="2009-08-20T10:11:12Z")
    sharp = {**image(tmp_path / "sharp.tif"), "sharpened_from": original["path"]}
    item = made(tmp_path, [sharp])
    assert item.datetime == datetime(2009, 8, 20, 10, 11, 12, tzinfo=UTC)
    assert [link["href"] for link in links(item)] == [
        "./sharp.tif", "./hsi.tif", "./map.model.json",
    ]  # fmt: skip


def test_links_lead_to_every_input_with_its_checksum(tmp_path: Path) -> None:
    there = tmp_path / "in" / "images"
    there.mkdir(parents=True)
    (tmp_path / "out").mkdir()
    hsi = image(there / "hsi.tif")
    envi = write_raster(there / "x.dat", np.ones((1, 4, 4), np.uint8), driver="ENVI")
    x = {"path": str(envi), "checksum": checksum(envi)}
    remote = {"path": "/vsis3/bucket/dtm.tif", "checksum": None, "role": "dtm"}
    asked: dict[str, Any] = {
        "map": tmp_path / "out" / "map.tif",
        "stac": tmp_path / "out" / "map.json",
    }
    first, second, third, model = links(made(tmp_path, [hsi, x, remote], **asked))
    data = (there / "hsi.tif").read_bytes()
    assert first["href"] == "../in/images/hsi.tif"
    assert first["file:checksum"] == "1220" + hashlib.sha256(data).hexdigest()
    assert first["file:size"] == len(data)
    # An ENVI image is two files, and its checksum no file's own.
    assert second["comix:checksum"] == x["checksum"]
    assert "file:checksum" not in second
    assert third == {
        "rel": "derived_from",
        "href": "s3://bucket/dtm.tif",
        "type": "image/tiff; application=geotiff",
        "title": "terrain model",
    }
    assert model["href"] == "./map.model.json"
    assert model["mlm:name"] == "model"
    pystac.Item.from_file(str(tmp_path / "out" / model["href"]))


def test_processing_is_told(tmp_path: Path) -> None:
    item = made(tmp_path, [image(tmp_path / "hsi.tif")])
    told = item.properties
    assert told["processing:level"] == "L4"
    assert told["processing:software"] == {"comix": "0.1.0", "torch": "2.4.0"}
    assert told["processing:datetime"] == "2024-05-06T07:08:09Z"
    assert told["processing:lineage"] == (
        "hsi.tif classified in 4 windows by the model model.safetensors into 3 classes."
    )
    assert told["processing:expression"] == {
        "format": "stac-mlm", "expression": "./map.model.json",
    }  # fmt: skip
    # It is no model: the extension would want it to be one.
    assert not MLMExtension.has_extension(item)


def test_the_model_has_an_item_of_its_own(tmp_path: Path) -> None:
    made(tmp_path)
    item = checked(tmp_path / "map.model.json")
    model = MLMExtension.ext(item)
    assert model.mlm_name == "model"
    assert model.architecture == "CoMiX"
    assert model.tasks == ["semantic-segmentation"]
    assert [each.name for each in model.input] == ["hsi", "x1"]
    assert model.input[0].bands == ["hsi_1", "hsi_2", "hsi_3", "hsi_4"]
    assert model.input[0].input.shape == [-1, 4, 32, 32]
    assert model.output[0].result.shape == [-1, 3, 32, 32]
    (asset,) = item.assets.values()
    assert asset.extra_fields["file:checksum"] == "1220" + CHECKSUM.removeprefix("sha256:")
    assert asset.roles is not None
    assert "mlm:model" in asset.roles
    bands = asset.extra_fields["eo:bands"]
    assert [band["name"] for band in bands] == ["hsi_1", "hsi_2", "hsi_3", "hsi_4", "x1_1"]
    assert bands[0]["center_wavelength"] == 0.45
    assert bands[0]["full_width_half_max"] == 0.008
    assert "full_width_half_max" not in bands[1]


@pytest.mark.parametrize(
    ("described", "architecture"),
    [
        (card(UNetSpec(hsi_bands=4, x_channels=0, classes=3)), "U-Net"),
        (card(ForestSpec(4, 1, 3, depths=(2, 0), nodes=6, leaves=4)), "Random Forest"),
        (card(SvmSpec(4, 1, 3, support=(2, 1, 1))), "Support Vector Machine"),
    ],
)
def test_models_of_every_kind_can_be_described(
    described: ModelCard, architecture: str, tmp_path: Path
) -> None:
    item = model_item(described, "model.safetensors", None, tmp_path)
    told = item.properties
    assert told["mlm:architecture"] == architecture
    assert all(re.fullmatch("[0-9a-zA-Z_.-]+", key) for key in told["mlm:hyperparameters"])
    assert json.dumps(item.to_dict(), allow_nan=False)


@pytest.mark.parametrize("stem", ["model", "1", "x", "Straße 5", "水", "_", "a-b_c.v2"])
def test_model_names_are_as_the_extension_wants_them(stem: str) -> None:
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", model_name(f"{stem}.safetensors"))


def test_the_time_of_a_model_is_when_it_was_trained(tmp_path: Path) -> None:
    trained = card(training={"date": "2023-01-02T03:04:05+00:00", "versions": {"torch": "2.4.0"}})
    item = model_item(trained, "model.safetensors", CHECKSUM, tmp_path)
    assert item.datetime == datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert item.properties["mlm:framework_version"] == "2.4.0"
    assert item.id == "model-0123456789ab"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/vsicurl/https://a.org/b.tif?x=1", "https://a.org/b.tif?x=1"),
        ("/vsigs/bucket/b.tif", "gs://bucket/b.tif"),
        ("/vsiaz/box/b.tif", "az://box/b.tif"),
        ("https://a.org/b.tif", "https://a.org/b.tif"),
        ("/vsizip/in.zip/b.tif", "/vsizip/in.zip/b.tif"),
        ('NETCDF:"a.nc":reflectance', 'NETCDF:"a.nc":reflectance'),
    ],
)
def test_names_of_gdal_become_urls_where_there_are_such(name: str, expected: str) -> None:
    assert reference(name, Path("/data/maps")) == expected


def test_references_are_relative_where_files_lie_near(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert reference(folder / "map.tif", folder) == "./map.tif"
    assert reference(folder / "c" / "map.tif", folder) == "./c/map.tif"
    assert reference(tmp_path / "x.tif", folder) == "../../x.tif"
    far = tmp_path / "1" / "2" / "3" / "4"
    assert reference(tmp_path / "x.tif", far) == str(tmp_path / "x.tif")
    assert reference("/elsewhere/x.tif", folder) == "/elsewhere/x.tif"


@pytest.mark.parametrize("name", ["map.tif", "a b.tif", "a%20b.tif", "50%.tif", "Ü#1.tif"])
def test_what_is_written_is_found_again(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    written = reference(tmp_path / name, tmp_path)
    assert gdal_name(written, str(tmp_path / "map.json")) == str(tmp_path / name)


def test_a_collection_holds_its_items(tmp_path: Path) -> None:
    places = []
    for i, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        grid = Grid(GRID.crs, GRID.transform.translation(500 * i, 0) * GRID.transform, 40, 30)
        stac = tmp_path / name / f"{name}.json"
        made(tmp_path, grid=grid, map=stac.with_suffix(".tif"), stac=stac)
        places.append(stac)
    target = tmp_path / "collection.json"
    before = [place.read_bytes() for place in places]
    write_collection(places, target, name="town")
    assert [place.read_bytes() for place in places] == before
    checked_collection(target)
    collection = pystac.Collection.from_file(str(target))
    assert collection.id == "town"
    items = [*collection.get_items()]
    assert [item.id for item in items] == ["a", "b"]
    boxes = np.array([item.bbox for item in items])
    (box,) = collection.extent.spatial.bboxes
    assert box == pytest.approx([*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)])
    assert collection.extent.temporal.intervals == [[CREATED, CREATED]]
    assert collection.summaries.get_list("proj:code") == ["EPSG:32633"]
    told = json.loads(target.read_text())
    assert [link["href"] for link in told["links"][1:]] == ["./a/a.json", "./b/b.json"]
    classes = told["item_assets"]["map"]["classification:classes"]
    assert [each["title"] for each in classes[1:]] == [*LEGEND.names]
    assert all("count" not in each for each in classes)


def checked_collection(path: Path) -> None:
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    document = json.loads(path.read_text())
    JsonSchemaSTACValidator().validate_core(
        document, pystac.STACObjectType.COLLECTION, document["stac_version"], str(path)
    )


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(13, 50, 14, 51), (15, 49, 16, 52)], (13, 49, 16, 52)),
        ([(170, 0, 175, 1), (-175, 2, -170, 3)], (170, 0, -170, 3)),
        ([(178, 0, -178, 1)], (178, 0, -178, 1)),
        ([(178, 0, -178, 1), (-60, 0, -50, 1)], (178, 0, -50, 1)),
        ([(-180, -90, 180, 90), (1, 2, 3, 4)], (-180, -90, 180, 90)),
        ([(-180, 0, -170, 1), (170, 0, 180, 1)], (170, 0, -170, 1)),
    ],
)
def test_the_box_around_boxes_may_cross_the_antimeridian(
    boxes: list[tuple[float, float, float, float]], expected: tuple[float, ...]
) -> None:
    assert bounding(boxes) == expected
