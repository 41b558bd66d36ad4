"""A class with a single labelled pixel trains, whatever the model."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pytest
import rasterio
import shapely
from cli import Outcome, comix
from quick_models import MODELS, quick
from scenes import ORIGIN, make_scene

TRAIN = ("train", "hsi.tif", "lidar.tif", "--gt", "rare.gpkg", "--field", "class", "--threads",
         "1", "--overwrite")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene in which one pixel of 2 m, in the middle, is labelled `rare`."""
    folder = tmp_path_factory.mktemp("rare")
    make_scene(folder, size=200)
    frame = geopandas.read_file(folder / "labels.gpkg")
    left, top = ORIGIN[0] + 200, ORIGIN[1] - 200
    pixel = shapely.box(left, top - 2, left + 2, top)
    frame["geometry"] = frame.geometry.difference(pixel.buffer(3))
    rare = geopandas.GeoDataFrame({"class": ["rare"]}, geometry=[pixel], crs=frame.crs)
    both = geopandas.pd.concat([frame[["class", "geometry"]], rare])
    both.to_file(folder / "rare.gpkg")
    return folder


def train(folder: Path, model: str, *more: str) -> Outcome:
    return comix(folder, *TRAIN, *quick(model, steps=3, batch_size=2), *more)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("more", [(), ("--validation", "none"), ("--label-fraction", "0.01")])
def test_a_class_of_one_pixel_trains_and_is_mapped(
    place: Path, model: str, more: tuple[str, ...]
) -> None:
    outcome = train(place, model, *more)
    assert outcome.code == 0, outcome.err
    card = json.loads(comix(place, "info", "model.safetensors", "--json").out)
    assert card["training"]["labelled_pixels"]["rare"] == 1
    mapped = comix(place, "classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--overwrite")
    assert mapped.code == 0, mapped.err
    with rasterio.open(place / "map.tif") as made:
        assert set(made.read(1).ravel().tolist()) <= {1, 2, 3, 4}


@pytest.mark.parametrize("model", ["random-forest", "svm"])
def test_a_search_of_settings_copes_with_it(place: Path, model: str) -> None:
    outcome = train(place, model, "--grid-search", "--samples-per-class", "30")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("model", ["unet", "random-forest", "svm"])
def test_one_pixel_of_each_of_two_classes_is_a_training(place: Path, model: str) -> None:
    frame = geopandas.read_file(place / "rare.gpkg")
    one = frame[frame["class"] == "rare"]
    other = one.assign(**{"class": "other"}, geometry=one.translate(40, 40))
    geopandas.pd.concat([one, other]).to_file(place / "two.gpkg")
    outcome = train(place, model, "--gt", "two.gpkg")
    assert outcome.code == 0, outcome.err
    assert "2 classes" in outcome.err
    if model != "unet":
        refused = train(place, model, "--gt", "two.gpkg", "--grid-search")
        assert refused.code == 1
        assert "the labelled pixels do not suffice for a grid search" in refused.error
