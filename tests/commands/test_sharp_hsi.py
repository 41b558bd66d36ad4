"""`--sharpen` in `comix train`, `classify` and `benchmark`: sharpened first, and kept."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cli import comix
from pairs import fine_transform, painted, write_x
from sharp import SCENE, TRAIN

from comix_cli.tools.sharp_hsi import FOLDER
from comix_cli.tools.sharpen import SharpenOptions

pytestmark = pytest.mark.usefixtures("few_steps")


def test_the_sharp_hsi_is_made_once_and_the_map_says_where_it_came_from(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    assert comix(sharp_place, *TRAIN, "-o", "m.safetensors", "--sharpen").code == 0
    kept = list((sharp_place / FOLDER).iterdir())
    assert [path.suffix for path in kept] == [".tif"]
    with rasterio.open(kept[0]) as sharp:
        assert sharp.transform.almost_equals(fine_transform())
        assert sharp.count == 30
    done = comix(
        sharp_place, "classify", *SCENE, "-m", "m.safetensors", "-o", "map.tif", "--sharpen"
    )
    assert done.code == 0, done.err
    assert len(few_steps) == 1
    with rasterio.open(sharp_place / "map.tif") as found:
        first, second = json.loads(found.tags()["COMIX_INPUTS"])
    assert first["sharpened_from"] == "hsi.tif"
    assert Path(first["path"]).name == kept[0].name
    assert second["path"] == "x.tif"


def test_a_changed_image_is_sharpened_anew(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    assert comix(sharp_place, *TRAIN, "-o", "m.safetensors", "--sharpen").code == 0
    x = painted().x
    x[:, 0, 0] += 1
    write_x(sharp_place / "x.tif", x)
    assert comix(sharp_place, *TRAIN, "-o", "n.safetensors", "--sharpen").code == 0
    assert len(few_steps) == 2
    assert len(list((sharp_place / FOLDER).iterdir())) == 2


def test_a_model_of_a_sharp_hsi_wants_one(sharp_place: Path) -> None:
    assert comix(sharp_place, *TRAIN, "-o", "m.safetensors", "--sharpen").code == 0
    refused = comix(sharp_place, "classify", *SCENE, "-m", "m.safetensors", "-o", "map.tif")
    assert refused.code == 1
    assert "was trained on a sharpened HSI" in refused.err
    assert "--sharpen" in refused.err
    sharp = next((sharp_place / FOLDER).iterdir())
    given = (str(sharp), "x.tif", "--threads", "1")
    assert comix(sharp_place, "classify", *given, "-m", "m.safetensors", "-o", "map.tif").code == 0


def test_a_model_of_a_coarse_hsi_warns_of_a_sharp_one(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    assert comix(sharp_place, *TRAIN, "-o", "m.safetensors").code == 0
    task = ("-m", "m.safetensors", "-o", "map.tif")
    refused = comix(sharp_place, "classify", *SCENE, *task, "--sharpen")
    assert refused.code == 2
    assert "was trained on an HSI that was not sharpened; leave --sharpen out" in refused.error
    assert not few_steps  # not even once
    done = comix(sharp_place, "sharpen", "hsi.tif", "x.tif", "-o", "sharp.tif", "--method", "gsa")
    assert done.code == 0, done.err
    given = ("sharp.tif", "x.tif", "--threads", "1")
    done = comix(sharp_place, "classify", *given, *task)
    assert done.code == 0, done.err
    assert "is a sharpened HSI, and the model was trained on one that was not" in done.err


def test_all_methods_of_a_benchmark_see_the_sharp_hsi(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    done = comix(
        sharp_place, "benchmark", *SCENE, "--gt", "labels.gpkg", "--field", "class", "--test",
        "labels.gpkg", "-o", "out", "--seeds", "1", "--models", "random-forest", "--method",
        "hsi: --model random-forest --hsi-only", "--train-options", "--validation none",
        "--sharpen",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert len(few_steps) == 1
    with rasterio.open(sharp_place / "out" / "hsi" / "seed-0" / "map.tif") as found:
        assert json.loads(found.tags()["COMIX_INPUTS"])[0]["sharpened_from"] == "hsi.tif"


def test_what_cannot_be_told_from_its_name_is_not_kept(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    with zipfile.ZipFile(sharp_place / "scene.zip", "w") as archive:
        archive.write(sharp_place / "hsi.tif", "hsi.tif")
    inside = f"/vsizip/{sharp_place / 'scene.zip'}/hsi.tif"
    refused = comix(sharp_place, "train", inside, *TRAIN[2:], "-o", "m.safetensors", "--sharpen")
    assert refused.code == 2
    assert "sharpen it with 'comix sharpen'" in refused.error
    assert not few_steps


def test_a_link_stays_a_link_and_an_old_sidecar_goes(sharp_place: Path) -> None:
    (sharp_place / "real.tif").write_bytes(b"old")
    (sharp_place / "real.tif.aux.xml").write_text("<PAMDataset><Metadata/></PAMDataset>")
    (sharp_place / "sharp.tif").symlink_to("real.tif")
    done = comix(
        sharp_place,
        "sharpen",
        "hsi.tif",
        "x.tif",
        "-o",
        "sharp.tif",
        "--method",
        "gsa",
        "--overwrite",
    )
    assert done.code == 0, done.err
    assert (sharp_place / "sharp.tif").is_symlink()
    assert not (sharp_place / "real.tif.aux.xml").exists()
    with rasterio.open(sharp_place / "real.tif") as sharp:
        assert sharp.count == 30


def test_the_band_that_does_not_follow_is_named(sharp_place: Path) -> None:
    """The first band lies where the HSI has none, the third is noise."""
    x = painted().x
    noise = np.random.default_rng(0).integers(100, 5000, x.shape[1:]).astype(x.dtype)
    write_x(
        sharp_place / "x.tif",
        np.stack([x[0], x[1], noise, x[3]]),
        wavelengths=(2200.0, 560.0, 665.0, 842.0),
    )
    done = comix(
        sharp_place, "sharpen", "hsi.tif", "x.tif", "-o", "s.tif", "--method", "gsa", "--json"
    )
    assert done.code == 0, done.err
    assert "x.tif: band 3 hardly follows the HSI" in done.err
    assert [channel["band"] for channel in json.loads(done.out)["channels"]] == [2, 4]
