"""`--sharpen` in `comix train`, `classify` and `benchmark`: sharpened first, and kept."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from cli import comix
from pairs import GSD, fine_transform, painted, write_pair, write_x
from scenes import CRS, ORIGIN

from comix_cli.progress import Progress
from comix_cli.sharpening.budget import Budget
from comix_cli.tools import sharp_hsi
from comix_cli.tools.sharp_hsi import FOLDER
from comix_cli.tools.sharpen import SharpenOptions, sharpen

SCENE = ("hsi.tif", "x.tif", "--threads", "1")
TRAIN = ("train", *SCENE, "--gt", "labels.gpkg", "--field", "class", "--preset", "nano",
         "--steps", "2", "--validation", "none", "--window", "32", "--chip", "32")  # fmt: skip


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> list[SharpenOptions]:
    """Sharpen with little learning; the list tells how often."""
    calls: list[SharpenOptions] = []

    def quick(options: SharpenOptions, progress: Progress) -> dict[str, Any]:
        calls.append(options)
        return sharpen(replace(options, budget=Budget(1)), progress)

    monkeypatch.setattr(sharp_hsi, "sharpen", quick)
    return calls


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_pair(tmp_path, painted())
    left, top = ORIGIN
    halves = [
        shapely.box(left, top - 80 * GSD, left + 30 * GSD, top),
        shapely.box(left + 45 * GSD, top - 80 * GSD, left + 80 * GSD, top),
    ]
    frame = geopandas.GeoDataFrame({"class": ["a", "b"]}, geometry=halves, crs=CRS)
    frame.to_file(tmp_path / "labels.gpkg")
    return tmp_path


def test_the_sharp_hsi_is_made_once_and_the_map_says_where_it_came_from(
    place: Path, few_steps: list[SharpenOptions]
) -> None:
    assert comix(place, *TRAIN, "-o", "m.safetensors", "--sharpen").code == 0
    kept = list((place / FOLDER).iterdir())
    assert [path.suffix for path in kept] == [".tif"]
    with rasterio.open(kept[0]) as sharp:
        assert sharp.transform.almost_equals(fine_transform())
        assert sharp.count == 30
    done = comix(place, "classify", *SCENE, "-m", "m.safetensors", "-o", "map.tif", "--sharpen")
    assert done.code == 0, done.err
    assert len(few_steps) == 1
    with rasterio.open(place / "map.tif") as found:
        first, second = json.loads(found.tags()["COMIX_INPUTS"])
    assert first["sharpened_from"] == "hsi.tif"
    assert Path(first["path"]).name == kept[0].name
    assert second["path"] == "x.tif"


def test_a_changed_image_is_sharpened_anew(place: Path, few_steps: list[SharpenOptions]) -> None:
    assert comix(place, *TRAIN, "-o", "m.safetensors", "--sharpen").code == 0
    x = painted().x
    x[:, 0, 0] += 1
    write_x(place / "x.tif", x)
    assert comix(place, *TRAIN, "-o", "n.safetensors", "--sharpen").code == 0
    assert len(few_steps) == 2
    assert len(list((place / FOLDER).iterdir())) == 2


def test_a_model_of_a_sharp_hsi_wants_one(place: Path) -> None:
    assert comix(place, *TRAIN, "-o", "m.safetensors", "--sharpen").code == 0
    refused = comix(place, "classify", *SCENE, "-m", "m.safetensors", "-o", "map.tif")
    assert refused.code == 1
    assert "was trained on a sharpened HSI" in refused.err
    assert "--sharpen" in refused.err
    sharp = next((place / FOLDER).iterdir())
    given = (str(sharp), "x.tif", "--threads", "1")
    assert comix(place, "classify", *given, "-m", "m.safetensors", "-o", "map.tif").code == 0


def test_a_model_of_a_coarse_hsi_warns_of_a_sharp_one(place: Path) -> None:
    assert comix(place, *TRAIN, "-o", "m.safetensors").code == 0
    done = comix(place, "classify", *SCENE, "-m", "m.safetensors", "-o", "map.tif", "--sharpen")
    assert done.code == 0
    assert "is a sharpened HSI, and the model was trained on one that was not" in done.err


def test_without_an_optical_x_it_says_why(place: Path, few_steps: list[SharpenOptions]) -> None:
    write_x(place / "x.tif", painted().x[:1], wavelengths=None, fwhm=None)
    refused = comix(place, *TRAIN, "-o", "m.safetensors", "--sharpen")
    assert refused.code == 2
    assert "sharpening needs an optical X" in refused.err
    assert "sharpening" in refused.error
    assert not few_steps


def test_all_methods_of_a_benchmark_see_the_sharp_hsi(
    place: Path, few_steps: list[SharpenOptions]
) -> None:
    done = comix(
        place, "benchmark", *SCENE, "--gt", "labels.gpkg", "--field", "class", "--test",
        "labels.gpkg", "-o", "out", "--seeds", "1", "--models", "random-forest", "--method",
        "hsi: --model random-forest --hsi-only", "--train-options", "--validation none",
        "--sharpen",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert len(few_steps) == 1
    with rasterio.open(place / "out" / "hsi" / "seed-0" / "map.tif") as found:
        assert json.loads(found.tags()["COMIX_INPUTS"])[0]["sharpened_from"] == "hsi.tif"


def test_what_cannot_be_told_from_its_name_is_not_kept(
    place: Path, few_steps: list[SharpenOptions]
) -> None:
    with zipfile.ZipFile(place / "scene.zip", "w") as archive:
        archive.write(place / "hsi.tif", "hsi.tif")
    inside = f"/vsizip/{place / 'scene.zip'}/hsi.tif"
    refused = comix(place, "train", inside, *TRAIN[2:], "-o", "m.safetensors", "--sharpen")
    assert refused.code == 2
    assert "sharpen it with 'comix sharpen'" in refused.error
    assert not few_steps


def test_a_link_stays_a_link_and_an_old_sidecar_goes(place: Path) -> None:
    (place / "real.tif").write_bytes(b"old")
    (place / "real.tif.aux.xml").write_text("<PAMDataset><Metadata/></PAMDataset>")
    (place / "sharp.tif").symlink_to("real.tif")
    done = comix(
        place, "sharpen", "hsi.tif", "x.tif", "-o", "sharp.tif", "--method", "gsa", "--overwrite"
    )
    assert done.code == 0, done.err
    assert (place / "sharp.tif").is_symlink()
    assert not (place / "real.tif.aux.xml").exists()
    with rasterio.open(place / "real.tif") as sharp:
        assert sharp.count == 30


def test_the_band_that_does_not_follow_is_named(place: Path) -> None:
    """The first band lies where the HSI has none, the third is noise."""
    x = painted().x
    noise = np.random.default_rng(0).integers(100, 5000, x.shape[1:]).astype(x.dtype)
    write_x(
        place / "x.tif",
        np.stack([x[0], x[1], noise, x[3]]),
        wavelengths=(2200.0, 560.0, 665.0, 842.0),
    )
    done = comix(place, "sharpen", "hsi.tif", "x.tif", "-o", "s.tif", "--method", "gsa", "--json")
    assert done.code == 0, done.err
    assert "x.tif: band 3 hardly follows the HSI" in done.err
    assert [channel["band"] for channel in json.loads(done.out)["channels"]] == [2, 4]
