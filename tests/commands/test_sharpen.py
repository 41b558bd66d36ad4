"""`comix sharpen`: what it writes, from pairs whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import pytest
import rasterio
from affine import Affine
from cli import Outcome, comix, files
from numpy.typing import NDArray

from comix_cli.scene.grid import Grid
from comix_cli.scene.raster import inspect_raster
from comix_cli.sharpening import windows
from comix_cli.tools.sharpen_words import METHODS

FEW = ("--steps", "3")


def sharpen(folder: Path, *options: str, output: str = "sharp.tif") -> Outcome:
    return comix(folder, "sharpen", "hsi.tif", "x.tif", "-o", output, *FEW, *options)


def document(folder: Path, *options: str, output: str = "sharp.tif") -> dict[str, Any]:
    outcome = sharpen(folder, "--json", *options, output=output)
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def values_of(path: Path) -> NDArray[np.float64]:
    """Physical values `(bands, H, W)`, NaN where there are none."""
    with rasterio.open(path) as dataset:
        stored = dataset.read(masked=True).astype(np.float64).filled(np.nan)
        scales, offsets = (np.array(v)[:, None, None] for v in (dataset.scales, dataset.offsets))
    found: NDArray[np.float64] = stored * scales + offsets
    return found


def same_grid(one: Grid, other: Grid) -> bool:
    return (one.crs, one.shape) == (other.crs, other.shape) and one.transform.almost_equals(
        other.transform, 1e-9
    )


def test_every_method_comes_closer_to_the_truth_than_interpolation(pair: Path) -> None:
    truth = ("--reference", "truth.tif")
    found = {
        method: document(pair, "--method", method, *truth, output=f"{method}.tif")
        for method in METHODS
    }
    psnr = {method: told["reference"]["psnr_db"] for method, told in found.items()}
    assert psnr["mossfuse"] > psnr["cnmf"] > psnr["gsa"] > psnr["bicubic"] + 8
    assert found["mossfuse"]["reference"]["sam_degrees"] < 1
    assert found["mossfuse"]["consistency"]["relative_rmse"] < 0.01
    # The document tells of the file: PSNR with the largest value of each band, as NumPy finds it.
    truth_values, sharp = values_of(pair / "truth.tif"), values_of(pair / "mossfuse.tif")
    peak = truth_values.max((1, 2))
    error = np.sqrt(((sharp - truth_values) ** 2).mean((1, 2)))
    assert psnr["mossfuse"] == pytest.approx((20 * np.log10(peak / error)).mean(), abs=0.01)


def test_the_sensors_are_found_out(pair: Path) -> None:
    told = document(pair, "--method", "bicubic")
    spread = told["point_spread"]
    assert spread["fwhm"] == pytest.approx([20, 20], rel=0.02)
    assert (spread["shift_down"], spread["shift_across"]) == pytest.approx((0, 0), abs=0.1)
    assert spread["unit"] == "metre"
    channels = told["channels"]
    assert [channel["band"] for channel in channels] == [1, 2, 3, 4]
    assert [channel["centre_nm"] for channel in channels] == pytest.approx(
        pairs.X_WAVELENGTHS, abs=6
    )
    for channel in channels:
        assert channel["gain"] == pytest.approx(pairs.X_GAIN, rel=0.02)
        assert channel["offset"] == pytest.approx(pairs.X_OFFSET, abs=20)
        assert channel["correlation"] > 0.999


def test_the_document_says_what_was_done(pair: Path) -> None:
    told = document(pair, "--seed", "7", "--no-quality")
    assert told["kind"] == "sharpening"
    assert (told["output"], told["method"], told["seed"]) == ("sharp.tif", "mossfuse", 7)
    assert told["inputs"] == {"hsi": "hsi.tif", "x": "x.tif"}
    assert told["ratio"] == {"down": 4.0, "across": 4.0}
    assert told["size"] == {"width": 80, "height": 96}
    assert told["bands"] == len(pairs.WAVELENGTHS)
    assert told["dropped_bands"] == {}
    assert told["options"]["budget"] == {"steps": 3, "minutes": None}
    assert told["no_reference"] is None
    assert told["reference"] is None
    assert {"created", "versions"} <= set(told)


def test_quality_without_a_reference_is_told_unless_refused(pair: Path) -> None:
    figures = {
        method: document(pair, "--method", method, output=f"{method}.tif")["no_reference"]
        for method in ("mossfuse", "bicubic")
    }
    assert 0.9 < figures["mossfuse"]["qnr"] <= 1
    assert figures["bicubic"]["qnr"] < figures["mossfuse"]["qnr"]


def test_an_hsi_too_small_to_be_judged_is_said_to_be_so(tmp_path: Path) -> None:
    pairs.write_pair(tmp_path, pairs.painted((40, 96)))  # an HSI of 10 rows; a window has 11
    told = document(tmp_path, "--method", "gsa")["no_reference"]
    assert (told["qnr"], told["d_lambda"], told["d_s"]) == (None, None, None)
    outcome = sharpen(tmp_path, "--method", "gsa", output="again.tif")
    assert "Without reference: nothing to say, the scene is too small" in outcome.out


def test_stdout_holds_results_and_nothing_else(pair: Path) -> None:
    outcome = sharpen(pair, "--reference", "truth.tif", "-v")
    assert outcome.code == 0, outcome.err
    assert "What X sees of the HSI" in outcome.out
    assert "Against the reference: PSNR (dB) " in outcome.out
    assert "Without reference: HQNR " in outcome.out
    assert "differs from the HSI by 0." in outcome.out
    assert "learning" not in outcome.out
    assert "learning to sharpen: 100 %" in outcome.err
    assert "sharp.tif: 30 bands, mossfuse" in outcome.err
    quiet = sharpen(pair, "-q", output="quiet.tif")
    assert quiet.code == 0
    assert quiet.err == ""


def test_only_the_image_is_left(pair: Path) -> None:
    before = files(pair)
    assert sharpen(pair).code == 0
    assert files(pair) - before == {"sharp.tif"}


def test_an_output_is_replaced_when_told_to(pair: Path) -> None:
    (pair / "sharp.tif").write_text("old")
    assert sharpen(pair, "--overwrite", "--method", "gsa").code == 0
    assert inspect_raster(pair / "sharp.tif").count == len(pairs.WAVELENGTHS)


def test_two_runs_of_one_seed_are_equal(pair: Path) -> None:
    for name, seed in (("a.tif", "1"), ("b.tif", "1"), ("c.tif", "2")):
        assert sharpen(pair, "--seed", seed, output=name).code == 0
    a, b, c = (values_of(pair / f"{name}.tif") for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_minutes_end_the_learning(pair: Path) -> None:
    outcome = comix(
        pair, "sharpen", "hsi.tif", "x.tif", "-o", "s.tif", "--steps", "1000000",
        "--minutes", "0.005", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["consistency"]["relative_rmse"] < 0.01


# What is in the file


@pytest.mark.parametrize(
    ("dtype", "scale", "offset", "nodata", "kept"),
    [
        ("int16", 1e-4, 0.0, -9999.0, -9999.0),
        ("int16", 5e-5, 0.2, None, -32768.0),
        ("uint16", 1e-4, None, None, 65535.0),
        ("float32", None, None, None, np.nan),
        ("float32", None, None, -1.0, -1.0),
    ],
)
def test_the_image_is_stored_as_the_hsi_is(
    pair: Path,
    dtype: str,
    scale: float | None,
    offset: float | None,
    nodata: float | None,
    kept: float,
) -> None:
    physical = values_of(pair / "hsi.tif")
    values = (physical - (offset or 0)) / (scale or 1)
    stored = (np.rint(values) if scale else values).astype(dtype)
    grid = pairs.coarse_grid((96, 80))
    pairs.write_hsi(pair / "hsi.tif", stored, grid, scale=scale, offset=offset, nodata=nodata)
    told = document(pair, "--method", "gsa", "--reference", "truth.tif")
    assert told["reference"]["psnr_db"] > 35
    info = inspect_raster(pair / "sharp.tif")
    assert info.dtype == dtype
    assert info.nodata == pytest.approx(kept, nan_ok=True)
    assert same_grid(info.grid, inspect_raster(pair / "x.tif").grid)
    with rasterio.open(pair / "sharp.tif") as dataset:
        assert dataset.scales == pytest.approx([scale or 1.0] * 30)
        assert dataset.offsets == pytest.approx([offset or 0.0] * 30)
    assert np.isfinite(values_of(pair / "sharp.tif")).all()


def test_bands_without_data_are_left_out_and_the_others_keep_what_they_are_called(
    pair: Path,
) -> None:
    hsi = np.rint(values_of(pair / "hsi.tif") * 1e4).astype(np.int16)
    hsi[9] = -9999
    grid = pairs.coarse_grid((96, 80))
    pairs.write_hsi(pair / "hsi.tif", hsi, grid, nodata=-9999, bad_bands=(3,), scale=1e-4)
    names = [f"channel {i}" for i in range(1, 31)]
    with rasterio.open(pair / "hsi.tif", "r+") as dataset:
        dataset.descriptions = names
    told = document(pair)
    assert told["dropped_bands"] == {"3": "bad-band list", "10": "all nodata"}
    assert told["bands"] == 28
    left = [i for i in range(30) if i not in (2, 9)]
    table = inspect_raster(pair / "sharp.tif").bands
    assert table.names == tuple(names[i] for i in left)
    assert table.wavelengths_nm == tuple(pairs.WAVELENGTHS[i] for i in left)
    assert table.fwhm_nm == tuple(pairs.FWHM[i] for i in left)
    assert all(table.good)
    # The bands are those: each differs from its truth by far less than from its neighbours'.
    difference = np.abs(values_of(pair / "sharp.tif") - values_of(pair / "truth.tif")[left])
    assert difference.mean((1, 2)).max() < 0.01


@pytest.mark.parametrize("kind", ["nodata", "mask", "alpha"])
@pytest.mark.parametrize("method", ["mossfuse", "cnmf", "gsa"])
def test_holes_stay_holes_and_nothing_else_becomes_one(pair: Path, kind: str, method: str) -> None:
    hsi = values_of(pair / "hsi.tif").astype(np.float32)
    hsi[:, 5:8, 10:12] = -1
    pairs.write_hsi(pair / "hsi.tif", hsi, pairs.coarse_grid((96, 80)), nodata=-1)
    x = pairs.painted().x
    valid = np.ones((96, 80), bool)
    valid[60:71, 3:14] = False
    x[:, ~valid] = 0
    if kind == "nodata":
        pairs.write_x(pair / "x.tif", x, nodata=0)
    elif kind == "mask":
        pairs.write_x(pair / "x.tif", x, mask=valid)
    else:
        opaque = np.where(valid, 65535, 0).astype(np.uint16)[None]
        pairs.write_x(
            pair / "x.tif", np.concatenate([x, opaque]), alpha=True,
            wavelengths=None, fwhm=None,
        )  # fmt: skip
    given = ",".join(f"{c:g}:{w:g}" for c, w in zip(pairs.X_WAVELENGTHS, pairs.X_FWHM, strict=True))
    told = document(
        pair, "--method", method, "--x-wavelengths", given, "--reference", "truth.tif"
    )  # fmt: skip
    expected = valid.copy()
    expected[20:32, 40:48] = False
    sharp = values_of(pair / "sharp.tif")
    assert np.array_equal(np.isfinite(sharp), np.broadcast_to(expected, sharp.shape))
    assert told["reference"]["pixels"] == expected.sum()
    assert told["reference"]["psnr_db"] > 30


# Where it lies


def test_grids_need_not_fit_each_other(tmp_path: Path) -> None:
    grid = pairs.coarse_grid((96, 80), 3.6, (5.5, -3.3))
    pairs.write_pair(tmp_path, pairs.painted(), grid, 3.6)
    truth = ("--reference", "truth.tif")
    sharp = document(tmp_path, *truth)
    smooth = document(tmp_path, "--method", "bicubic", *truth, output="smooth.tif")
    assert sharp["ratio"] == {"down": pytest.approx(3.6), "across": pytest.approx(3.6)}
    assert sharp["reference"]["psnr_db"] > smooth["reference"]["psnr_db"] + 8
    assert sharp["consistency"]["relative_rmse"] < 0.01
    # Whole pixels of X that lie in the HSI: it begins in the sixth row.
    info = inspect_raster(tmp_path / "sharp.tif")
    assert info.grid.shape == (90, 80)
    assert info.grid.transform.almost_equals(pairs.fine_transform() * Affine.translation(0, 6))
    difference = values_of(tmp_path / "sharp.tif") - values_of(tmp_path / "truth.tif")[:, 6:]
    assert np.sqrt((difference**2).mean()) < 0.01


def test_an_hsi_that_is_off_its_place_is_put_right(tmp_path: Path) -> None:
    canvas = pairs.painted()
    grid = pairs.coarse_grid(canvas.shape)
    pairs.write_pair(tmp_path, canvas)
    # The file says that its pixels lie 3 fine pixels (15 m) farther east than they do.
    wrong = Affine.translation(15, 0) * grid.transform
    pairs.write_hsi(
        tmp_path / "hsi.tif",
        pairs.seen_by(canvas, grid).astype(np.float32),
        pairs.CoarseGrid(grid.crs, wrong, grid.shape),
    )
    outcome = sharpen(tmp_path, "--reference", "truth.tif", "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert abs(told["point_spread"]["shift_across"]) == pytest.approx(15, abs=1)
    assert told["reference"]["psnr_db"] > 35
    assert "of its pixels off" in outcome.err


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_an_hsi_in_another_crs_comes_out_where_x_lies(tmp_path: Path, crs: str) -> None:
    rows, cols = slice(40, 52), slice(30, 42)
    canvas = pairs.with_square(rows, cols)
    pairs.write_pair(tmp_path, canvas, pairs.grid_in(crs, canvas.shape))
    told = document(tmp_path, "--reference", "truth.tif")
    info = inspect_raster(tmp_path / "sharp.tif")
    assert same_grid(info.grid, inspect_raster(tmp_path / "x.tif").grid)
    bright = np.nan_to_num(values_of(tmp_path / "sharp.tif").mean(0)) > 0.6
    expected = np.zeros_like(bright)
    expected[rows, cols] = True
    assert (bright ^ expected).sum() <= 6
    assert told["reference"]["psnr_db"] > 28


def test_rasters_without_crs_are_placed_by_the_one_given(pair: Path) -> None:
    with rasterio.open(pair / "hsi.tif") as dataset:
        hsi = dataset.read()
    place = pairs.coarse_grid((96, 80)).transform
    pairs.write_hsi(pair / "hsi.tif", hsi, pairs.CoarseGrid(None, place, (24, 20)))  # type: ignore[arg-type]
    refused = sharpen(pair)
    assert refused.code == 1
    assert "hsi.tif: has no CRS" in refused.error
    assert sharpen(pair, "--src-crs", "EPSG:32633").code == 0


def test_blocks_leave_no_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.write_pair(tmp_path, pairs.painted((64, 160)))
    for method in METHODS:
        options = ("--method", method, "--no-quality")
        whole = document(tmp_path, *options, output=f"{method}-whole.tif")
        with monkeypatch.context() as patch:
            patch.setattr(windows, "CORE", 32)
            parts = document(tmp_path, *options, output=f"{method}-parts.tif")
        one, many = (values_of(tmp_path / f"{method}-{kind}.tif") for kind in ("whole", "parts"))
        assert np.abs(one - many).max() < 2e-3 * one.mean(), method
        assert parts["consistency"]["pixels"] == whole["consistency"]["pixels"], method


# The spectrum of X


def test_x_may_be_told_its_wavelengths(pair: Path) -> None:
    known = document(pair, "--method", "gsa")
    pairs.write_x(pair / "x.tif", pairs.painted().x, wavelengths=None, fwhm=None)
    told = document(
        pair, "--method", "gsa", "--x-wavelengths", "490:66, 560:36, 665:32, 842:106",
        output="told.tif",
    )  # fmt: skip
    assert told["channels"] == known["channels"]
    rough = document(pair, "--x-wavelengths", "490,560,665,842", "--reference", "truth.tif",
                     output="rough.tif")  # fmt: skip
    assert rough["reference"]["psnr_db"] > 35


def test_an_hsi_may_be_told_its_wavelengths(pair: Path) -> None:
    known = document(pair, "--method", "gsa")
    grid = pairs.coarse_grid(pairs.painted().shape)
    values = pairs.seen_by(pairs.painted(), grid).astype(np.float32)
    pairs.write_hsi(pair / "hsi.tif", values, grid, wavelengths=None, fwhm=None)

    told = document(pair, "--method", "gsa", "--hsi-wavelengths", "450..1030", output="told.tif")

    for one, other in zip(told["channels"], known["channels"], strict=True):
        assert one["gain"] == pytest.approx(other["gain"], rel=0.01)
    bands = inspect_raster(str(pair / "told.tif")).bands
    assert bands.wavelengths_nm == pytest.approx(pairs.WAVELENGTHS)


def test_bands_that_look_elsewhere_are_named(pair: Path) -> None:
    assert "check the order" not in sharpen(pair, "--method", "gsa").err
    # Green and red are taken for each other.
    outcome = sharpen(pair, "--method", "gsa", "--x-wavelengths", "490,665,560,842",
                      output="other.tif")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "check the order of its wavelengths" in outcome.err


def test_bands_of_noise_are_named(pair: Path) -> None:
    grid = pairs.coarse_grid(pairs.painted().shape)
    values = pairs.seen_by(pairs.painted(), grid).astype(np.float32)
    values[[4, 5, 9]] = np.random.default_rng(0).choice(
        [0, 1], values[[4, 5, 9]].shape, p=[0.9, 0.1]
    )
    pairs.write_hsi(pair / "hsi.tif", values, grid)

    outcome = sharpen(pair, "--report", "r.html")
    again = document(pair, "--overwrite")["consistency"]

    assert "Bands 5-6, 10 differ by more than 10 %" in outcome.out
    assert "Bands 5-6, 10 of the HSI: blurred again" in (pair / "r.html").read_text()
    assert again["unexplained_bands"] == [5, 6, 10]
    assert len(again["by_band"]) == len(pairs.WAVELENGTHS)
    assert again["median_band"] < 0.01 < again["relative_rmse"]


def test_a_shift_that_may_be_larger_than_can_be_found_is_told(tmp_path: Path) -> None:
    canvas = pairs.painted()
    grid = pairs.coarse_grid(canvas.shape)
    pairs.write_pair(tmp_path, canvas)
    wrong = Affine.translation(26, 0) * grid.transform  # 1.3 coarse pixels
    values = pairs.seen_by(canvas, grid).astype(np.float32)
    pairs.write_hsi(tmp_path / "hsi.tif", values, pairs.CoarseGrid(grid.crs, wrong, grid.shape))

    outcome = sharpen(tmp_path, "--method", "gsa")

    assert outcome.code == 0, outcome.err
    assert "or more, and no more can be found out: bring the two into register" in outcome.err


def test_a_panchromatic_x_will_do(pair: Path) -> None:
    x = pairs.painted().x[1:2]
    pairs.write_x(pair / "x.tif", x, wavelengths=(560,), fwhm=(36,))
    for method in METHODS:
        told = document(pair, "--method", method, output=f"{method}.tif")
        assert len(told["channels"]) == 1


def test_bands_of_x_beside_the_hsi_or_unlike_it_do_not_guide(pair: Path) -> None:
    x = pairs.painted().x
    noise = np.random.default_rng(1).integers(100, 5000, (1, 96, 80), np.uint16)
    both = np.concatenate([x[:2], noise, x[2:], x[:1]])
    pairs.write_x(
        pair / "x.tif", both, wavelengths=(490, 560, 620, 665, 842, 2200),
        fwhm=(66, 36, 32, 32, 106, 180),
    )  # fmt: skip
    outcome = sharpen(pair, "--json", "-v")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert [channel["band"] for channel in told["channels"]] == [1, 2, 4, 5]
    assert all(channel["correlation"] > 0.99 for channel in told["channels"])
    assert "x.tif: band 3 hardly follows the HSI" in outcome.err
    assert "x.tif: band 6 (2200 nm) lies where the HSI has no bands" in outcome.err
