"""`comix sharpen`: reports, what the file says of its making, creation options, threads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import pytest
import rasterio
import torch
from cli import Outcome, comix, files
from pages import pictures, words
from scenes import write_raster

from comix_cli.mapping.map_file import newest_map
from comix_cli.mapping.writer import VERSION_TAG
from comix_cli.progress import Silent
from comix_cli.tools import sharpen as tool
from comix_cli.tools.sharpen import SharpenOptions

PALE = (236, 236, 232)


def sharpen(folder: Path, *options: str, method: str = "gsa") -> Outcome:
    return comix(
        folder, "sharpen", "hsi.tif", "x.tif", "-o", "sharp.tif", "--method", method, *options
    )


def page(folder: Path, *options: str, method: str = "gsa") -> str:
    outcome = sharpen(folder, "--report", "r.html", *options, method=method)
    assert outcome.code == 0, outcome.err
    return (folder / "r.html").read_text()


def tags_of(path: Path) -> dict[str, str]:
    with rasterio.open(path) as dataset:
        return dict(dataset.tags())


# The page


def test_a_page_needs_no_other_file_and_no_network(pair: Path) -> None:
    text = page(pair, "--reference", "truth.tif")
    assert text.startswith("<!DOCTYPE html>")
    assert "default-src 'none'" in text
    linked = re.findall(r'(?:src|href)="([^"]{5})', text)
    assert len(linked) == 5
    assert set(linked) == {"data:"}
    assert "<script" not in text


def test_a_page_tells_what_the_document_tells(pair: Path) -> None:
    outcome = sharpen(pair, "--reference", "truth.tif", "--report", "r.html", "--json",
                      "--co", "compress=zstd", method="bicubic")  # fmt: skip
    assert outcome.code == 0, outcome.err
    told, seen = json.loads(outcome.out), words((pair / "r.html").read_text())
    for figures, keys in (
        (told["reference"], ("psnr_db", "ssim", "sam_degrees", "ergas", "uiqi")),
        (told["no_reference"], ("qnr", "d_lambda", "d_s")),
    ):
        for key in keys:
            assert f" {figures[key]:.4g} " in seen, key
    assert f"{100 * told['consistency']['relative_rmse']:.3g} %" in seen
    for channel in told["channels"]:
        assert f"{channel['correlation']:.3f}" in seen
        assert f"{channel['gain']:.4g}" in seen
    for fact in (
        *told["checksums"].values(), "bicubic interpolation", "30 bands of 20 × 20 m",
        "5 × 5 m", "80 × 96 pixels in EPSG:32633", "nearly round", "COMPRESS=zstd",
        "lies 0.00 of its pixels across and 0.00 down",
        f"comix {told['versions']['comix']}", "Seed 0",
    ):  # fmt: skip
        assert fact in seen, fact


def test_what_to_look_at_twice(pair: Path) -> None:
    x = pairs.painted().x
    noise = np.random.default_rng(1).integers(100, 5000, (1, 96, 80), np.uint16)
    pairs.write_x(
        pair / "x.tif", np.concatenate([x[:2], noise]),
        wavelengths=(490, 560, 665), fwhm=(66, 36, 32),
    )  # fmt: skip
    outcome = sharpen(pair, "--report", "r.html", "--json")
    assert outcome.code == 0, outcome.err
    told, seen = json.loads(outcome.out), words((pair / "r.html").read_text())
    assert [channel["band"] for channel in told["ignored_channels"]] == [3]
    assert "Band 3 of X: it hardly follows the HSI" in seen
    assert 0 < told["bands_seen_by_x"] < 15
    assert f"{30 - told['bands_seen_by_x']} of the 30 bands: no band of X sees" in seen
    assert "more than half a pixel" not in seen
    assert "Compared with the reference" not in seen


def test_names_of_files_are_text_and_nothing_else(pair: Path) -> None:
    name = '<b onclick="x()">&amp;.tif'
    (pair / "hsi.tif").rename(pair / name)
    outcome = comix(pair, "sharpen", name, "x.tif", "-o", "sharp.tif", "--method", "gsa",
                    "--report", "r.html", "--report", "r.json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    text = (pair / "r.html").read_text()
    assert "<b onclick" not in text
    assert f"Sharpening of {name}" in words(text)
    assert json.loads((pair / "r.json").read_text())["inputs"]["hsi"] == name


def test_the_response_is_told_where_x_may_see(pair: Path) -> None:
    told = json.loads(sharpen(pair, "--json").out)
    for channel, centre, width in zip(
        told["channels"], pairs.X_WAVELENGTHS, pairs.X_FWHM, strict=True
    ):
        response = {key: np.array(values) for key, values in channel["response"].items()}
        for weights in (response["found"], response["expected"]):
            assert weights.sum() == pytest.approx(1, abs=1e-4)
        # What X really saw with, as pairs.py makes it.
        nm = np.array(pairs.WAVELENGTHS)
        truth = np.exp(-0.5 * ((nm - centre) * 2 * np.sqrt(2 * np.log(2)) / width) ** 2)
        truth = (truth / truth.sum())[np.isin(nm, response["wavelengths_nm"])]
        assert np.abs(response["found"] - truth).max() < 0.1


# Pictures


def test_the_pictures_show_one_place_in_the_same_colours(pair: Path) -> None:
    text = page(pair, "--steps", "3", method="mossfuse")
    coarse, sharp, x = pictures(text)
    assert coarse.shape == sharp.shape == x.shape == (96, 80, 3)
    # The sharp image is X in the colours of the HSI.
    assert np.abs(sharp - x).mean() < 8
    assert np.abs(coarse - x).mean() > 25
    # The coarse one shows its own pixels.
    assert (np.ptp(coarse.reshape(24, 4, 20, 4, 3), axis=(1, 3)) == 0).all()
    # In each band of the sharp one 2 % are black and 2 % are white.
    assert (sharp == 0).mean((0, 1)) == pytest.approx([0.02] * 3, abs=0.01)
    assert (sharp == 255).mean((0, 1)) == pytest.approx([0.02] * 3, abs=0.01)
    assert "red 670 nm, green 570 nm, blue 490 nm" in text
    assert "A part of it at full size" not in text


def test_a_large_scene_is_shown_small_and_a_part_of_it_at_full_size(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = pairs.painted().x
    x[:, :, 60:] = 0
    pairs.write_x(pair / "x.tif", x, nodata=0)
    monkeypatch.setattr("comix_cli.tools.sharpen_pictures.WHOLE_SIDE", 48)
    monkeypatch.setattr("comix_cli.tools.sharpen_pictures.CUT_SIDE", 20)
    text = page(pair)
    found = pictures(text)
    assert [picture.shape for picture in found] == [(48, 40, 3)] * 3 + [(20, 20, 3)] * 3
    for picture in found[1:3]:
        # Smoothing cannot make up data: the last quarter of the columns is empty.
        assert (picture[:, 31:] == PALE).all()
        assert not (picture[:, :29] == PALE).all(2).any()
    assert not (found[4] == PALE).all(2).any()
    assert "Pale grey: no data" in text
    # The part is the middle of what has data, around row 47 and column 29: 670 nm are red.
    with rasterio.open(pair / "sharp.tif") as dataset:
        part = dataset.read(12)[37:57, 19:39]
    low, high = np.percentile(part, (2, 98))
    red = 255 * np.clip((part - low) / (high - low), 0, 1)
    assert np.abs(found[4][..., 0] - red).max() < 0.51


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_an_hsi_in_another_crs_is_shown_where_x_lies(tmp_path: Path, crs: str) -> None:
    canvas = pairs.with_square(slice(40, 60), slice(30, 50))
    pairs.write_pair(tmp_path, canvas, pairs.grid_in(crs, canvas.shape))
    for picture in pictures(page(tmp_path)):
        bright = picture.mean(2)
        assert bright[44:56, 34:46].mean() > 1.5 * bright.mean()


def test_a_panchromatic_x_is_grey(pair: Path) -> None:
    pairs.write_x(pair / "x.tif", pairs.painted().x[1:2], wavelengths=(560,), fwhm=(36,))
    text = page(pair)
    _, sharp, x = pictures(text)
    assert (np.ptp(x, axis=2) == 0).all()
    assert np.ptp(sharp, axis=2).max() > 50
    assert "grey: 560 nm" in text


def test_a_scene_in_degrees_has_a_page(pair: Path) -> None:
    # Pixels of 5 m at this latitude, as degrees of both axes.
    for name, size in (("x.tif", 4.5e-5), ("hsi.tif", 1.8e-4)):
        with rasterio.open(pair / name, "r+") as dataset:
            dataset.crs = "EPSG:4326"
            dataset.transform = rasterio.Affine(size, 0, 13, 0, -size, 52)
    seen = words(page(pair))
    assert "30 bands of 0.00018 × 0.00018 °" in seen
    assert "nearly round" in seen


# The files


def test_reports_are_written_together_and_named(pair: Path) -> None:
    before = files(pair)
    outcome = sharpen(pair, "--report", "r.html", "--report", "r.json", "--json")
    assert outcome.code == 0, outcome.err
    assert files(pair) - before == {"sharp.tif", "r.html", "r.json"}
    assert (pair / "r.json").read_text() == outcome.out
    again = sharpen(pair, "--report", "r.html", "--overwrite")
    assert again.code == 0
    assert "sharp.tif: 30 bands, gsa\nr.html: report\n" in again.err


def test_a_link_to_a_report_stays_one(pair: Path) -> None:
    (pair / "real.json").write_text("old")
    (pair / "r.json").symlink_to("real.json")
    assert sharpen(pair, "--report", "r.json", "--overwrite").code == 0
    assert (pair / "r.json").is_symlink()
    assert json.loads((pair / "real.json").read_text())["kind"] == "sharpening"


def refusal(folder: Path, *options: str, code: int) -> str:
    """The error of a command that has learnt nothing and left everything as it was."""
    before = {name: (folder / name).stat().st_mtime_ns for name in files(folder)}

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("work has begun")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tool, "study", begun)
        outcome = sharpen(folder, *options)
    assert outcome.code == code, outcome.err
    assert {name: (folder / name).stat().st_mtime_ns for name in files(folder)} == before
    return outcome.error


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--report", "old.html"), 1, "old.html: exists already; give --overwrite"),
        (("--report", "none/r.html"), 1, "none"),
        (("--report", "in.json", "--reference", "in.json", "--overwrite"), 1, "is an input of"),
        (("--report", "r.pdf"), 2, "--report r.pdf: a report is written as .json, .html, .htm"),
        (("--report", "r.html", "--report", "./r.html"), 2, "--report names one file twice"),
        (("--co", "COMPRESS=MAGIC"), 2, "--co COMPRESS=MAGIC"),
        (("--co", "BLOCKSIZE=100"), 2, "BLOCKSIZE must be a multiple of 16"),
        (("--co", "COMPRESS"), 2, "'COMPRESS' is not KEY=VALUE"),
        (("--threads", "0"), 2, "--threads"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(
    pair: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    (pair / "old.html").write_text("mine")
    (pair / "truth.tif").rename(pair / "in.json")
    assert message in refusal(pair, *options, code=code)


class Interrupting(Silent):
    """Ctrl-C when reports are written."""

    @contextmanager
    def task(self, description: str, total: float | None) -> Iterator[Any]:
        """A task that is interrupted as soon as its work is done."""
        with super().task(description, total) as task:
            yield task
            if description == "writing reports":
                raise KeyboardInterrupt


def test_an_interrupted_report_leaves_what_was_there(pair: Path) -> None:
    (pair / "r.html").write_text("older")
    before = files(pair)
    options = SharpenOptions(
        str(pair / "hsi.tif"), str(pair / "x.tif"), pair / "sharp.tif", method="gsa",
        reports=(pair / "r.html",), overwrite=True,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        tool.sharpen(options, Interrupting())
    assert files(pair) == before
    assert (pair / "r.html").read_text() == "older"


# What the image says of its making


def test_the_image_says_what_made_it_as_maps_do(pair: Path) -> None:
    outcome = sharpen(pair, "--seed", "7", "--threads", "1", "--json")
    assert outcome.code == 0, outcome.err
    told, tags = json.loads(outcome.out), tags_of(pair / "sharp.tif")
    assert tags["COMIX_SHARPENED"] == "gsa"
    assert tags[VERSION_TAG] == told["versions"]["comix"]
    assert tags["TIFFTAG_SOFTWARE"] == f"comix {told['versions']['comix']}"
    assert tags["COMIX_DATE"] == told["created"]
    assert json.loads(tags["COMIX_INPUTS"]) == [
        {
            "path": name,
            "checksum": f"sha256:{hashlib.sha256((pair / name).read_bytes()).hexdigest()}",
            "role": role,
        }
        for name, role in (("hsi.tif", "hsi"), ("x.tif", "x"))
    ]
    given = json.loads(tags["COMIX_OPTIONS"])
    assert (given["method"], given["seed"], given["threads"]) == ("gsa", 7, 1)
    assert json.loads(tags["COMIX_VERSIONS"]) == told["versions"]


def test_a_sharp_image_is_not_taken_for_the_newest_map(pair: Path) -> None:
    write_raster(pair / "map.tif", np.ones((1, 4, 4), np.uint8))
    with rasterio.open(pair / "map.tif", "r+") as dataset:
        dataset.update_tags(**{VERSION_TAG: "0.1"})
    assert sharpen(pair).code == 0
    assert newest_map(pair) == pair / "map.tif"


def test_creation_options_are_those_of_the_image(pair: Path) -> None:
    assert sharpen(pair, "--co", "compress=ZSTD", "--co", "BLOCKSIZE=256").code == 0
    with rasterio.open(pair / "sharp.tif") as dataset:
        assert dataset.compression.name == "zstd"
        assert dataset.block_shapes[0] == (256, 256)


def test_threads_are_those_asked_for(pair: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert sharpen(pair, "--threads", "1").code == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
