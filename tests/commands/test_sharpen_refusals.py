"""`comix sharpen`: what it refuses, in one line, leaving nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import pytest
from affine import Affine
from cli import comix, files

from comix_cli.progress import Silent
from comix_cli.sharpening import mossfuse
from comix_cli.sharpening.budget import Budget
from comix_cli.tools import sharpen as tool

SHARPEN = ("sharpen", "hsi.tif", "x.tif", "-o", "sharp.tif", "--steps", "3")


def _begun(*_: object, **__: object) -> None:
    raise AssertionError("learning has begun")


def refusal(folder: Path, *arguments: str, code: int = 1) -> str:
    """The error of a command, which comes before long work and leaves everything as it was."""
    before = {name: (folder / name).stat().st_mtime_ns for name in files(folder)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tool, "fit_mossfuse", _begun)
        outcome = comix(folder, *arguments)
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert {name: (folder / name).stat().st_mtime_ns for name in files(folder)} == before
    return outcome.error


def moved(east: float) -> Affine:
    return Affine.translation(east, 0) * pairs.fine_transform()


# The pair


def test_a_pair_without_common_ground(pair: Path) -> None:
    pairs.write_x(pair / "x.tif", pairs.painted().x, transform=moved(10_000))
    error = refusal(pair, *SHARPEN)
    assert "hsi.tif" in error
    assert "x.tif" in error


def test_a_pair_with_hardly_any_common_ground(pair: Path) -> None:
    pairs.write_x(pair / "x.tif", pairs.painted().x, transform=moved(340))
    error = refusal(pair, *SHARPEN)
    assert "are needed to learn from" in error
    assert "give images that share more ground" in error


def test_an_x_that_is_not_finer(pair: Path) -> None:
    error = refusal(pair, "sharpen", "x.tif", "hsi.tif", "-o", "sharp.tif")
    assert "hsi.tif: its pixels (20 m) are not finer than those of x.tif (5 m" in error
    assert "give the coarse HSI first" in error


def test_a_missing_file(pair: Path) -> None:
    for name in ("hsi.tif", "x.tif"):
        (pair / name).rename(pair / "away.tif")
        assert f"{name}: there is no such file" in refusal(pair, *SHARPEN)
        (pair / "away.tif").rename(pair / name)
    error = refusal(pair, *SHARPEN, "--reference", "none.tif")
    assert "none.tif: there is no such file" in error


def test_a_file_that_holds_nothing(pair: Path) -> None:
    pairs.write_x(pair / "x.tif", np.zeros((4, 96, 80), np.uint16), nodata=0)
    assert "x.tif: none of its bands holds data" in refusal(pair, *SHARPEN)


def test_an_x_that_shows_something_else(pair: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 9000, (4, 96, 80)).astype(np.uint16)
    pairs.write_x(pair / "x.tif", noise)
    error = refusal(pair, *SHARPEN)
    assert "x.tif: no band of it follows the HSI" in error
    assert "check that both show the same place" in error


def test_an_x_of_one_value(pair: Path) -> None:
    pairs.write_x(pair / "x.tif", np.full((4, 96, 80), 700, np.uint16))
    assert "x.tif: has the same value everywhere" in refusal(pair, *SHARPEN)


def test_an_hsi_of_one_value(pair: Path) -> None:
    grid = pairs.coarse_grid((96, 80))
    pairs.write_hsi(pair / "hsi.tif", np.full((30, *grid.shape), 0.2, np.float32), grid)
    assert "hsi.tif: has the same value everywhere" in refusal(pair, *SHARPEN)


# Wavelengths


def test_an_x_without_wavelengths(pair: Path) -> None:
    pairs.write_x(pair / "x.tif", pairs.painted().x, wavelengths=None, fwhm=None)
    error = refusal(pair, *SHARPEN)
    assert "x.tif: says no wavelengths" in error
    assert "needs an optical X" in error
    assert "LiDAR" in error
    assert "--x-wavelengths" in error


def test_a_ratio_for_which_there_is_no_memory(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "available_bytes", lambda: 10_000_000)
    error = refusal(pair, *SHARPEN)
    # 96 x 80 fine pixels, 30 bands.
    assert "x.tif: its pixels are 4 times as fine as those of hsi.tif" in error
    assert "takes about 0.0 GB of memory" in error
    assert "gdalwarp" in error


def test_an_hsi_without_wavelengths(pair: Path) -> None:
    values = np.ones((30, 24, 20), np.float32)
    pairs.write_hsi(
        pair / "hsi.tif", values, pairs.coarse_grid((96, 80)), wavelengths=None, fwhm=None
    )
    assert "hsi.tif: says no wavelengths of its bands" in refusal(pair, *SHARPEN)


def test_an_x_that_sees_other_light(pair: Path) -> None:
    pairs.write_x(pair / "x.tif", pairs.painted().x, wavelengths=(1600, 1700, 2100, 2200))
    error = refusal(pair, *SHARPEN)
    assert "x.tif: has 4 bands" in error
    assert "none of which the HSI covers" in error


@pytest.mark.parametrize("given", ["490,560,665", "490,560,665,842,865"])
def test_another_number_of_wavelengths(pair: Path, given: str) -> None:
    error = refusal(pair, *SHARPEN, "--x-wavelengths", given, code=2)
    assert f"--x-wavelengths names {given.count(',') + 1} wavelengths" in error
    assert "x.tif has 4 bands" in error


@pytest.mark.parametrize(
    "given",
    ["blue,green,red,nir", "490,,665,842", "0.49,0.56,0.665,0.842", "490:0,560,665,842",
     "490:-3,560,665,842", "nan,560,665,842", "490:nan,560,665,842", "inf,560,665,842",
     "490:65:1,560,665,842", " "],
)  # fmt: skip
def test_what_is_no_wavelength(pair: Path, given: str) -> None:
    error = refusal(pair, *SHARPEN, "--x-wavelengths", given, code=2)
    assert "is no wavelength in nanometres" in error
    assert "write centres" in error


# Outputs


def test_an_output_that_exists(pair: Path) -> None:
    (pair / "sharp.tif").write_text("mine")
    assert "sharp.tif: exists already; give --overwrite" in refusal(pair, *SHARPEN)


@pytest.mark.parametrize("name", ["hsi.tif", "x.tif", "truth.tif"])
def test_an_output_that_is_an_input(pair: Path, name: str) -> None:
    error = refusal(
        pair, "sharpen", "hsi.tif", "x.tif", "-o", name, "--overwrite", "--reference", "truth.tif"
    )
    assert f"{name}: is an input of this run" in error


def test_an_output_of_another_kind_or_in_no_folder(pair: Path) -> None:
    error = refusal(pair, "sharpen", "hsi.tif", "x.tif", "-o", "sharp.png")
    assert "sharp.png: does not end in .tif or .tiff; call it sharp.tif" in error
    error = refusal(pair, "sharpen", "hsi.tif", "x.tif", "-o", "none/sharp.tif")
    assert "none" in error


@pytest.mark.parametrize("options", [("--steps", "0"), ("--minutes", "0"), ("--minutes", "nan"),
                                     ("--method", "magic"), ("--seed", "-1")])  # fmt: skip
def test_options_that_cannot_be_meant(pair: Path, options: tuple[str, ...]) -> None:
    assert options[0] in refusal(pair, *SHARPEN, *options, code=2)


# The reference


def test_a_reference_with_other_bands(pair: Path) -> None:
    truth = pairs.painted().fine[:29].astype(np.float32)
    pairs.write_x(pair / "r.tif", truth, wavelengths=None, fwhm=None)
    error = refusal(pair, *SHARPEN, "--reference", "r.tif")
    assert "r.tif: has 29 usable bands, and the sharpened image 30" in error


def test_a_reference_with_other_pixels(pair: Path) -> None:
    error = refusal(pair, *SHARPEN, "--reference", "hsi.tif")
    assert "hsi.tif: has pixels of 20 m, and the sharpened image of 5 m" in error
    assert "give a reference on the grid of X" in error


@pytest.mark.parametrize("east", [10_000, 2.5])
def test_a_reference_that_lies_elsewhere(pair: Path, east: float) -> None:
    truth = pairs.painted().fine.astype(np.float32)
    pairs.write_x(pair / "r.tif", truth, wavelengths=None, fwhm=None, transform=moved(east))
    error = refusal(pair, *SHARPEN, "--reference", "r.tif")
    assert "r.tif" in error
    assert "give a reference on the grid of X" in error


# Interruptions


class Interrupting(Silent):
    """Ctrl-C once a task of some name goes on."""

    def __init__(self, description: str) -> None:
        super().__init__()
        self._description = description

    @contextmanager
    def task(self, description: str, total: float | None) -> Iterator[Any]:
        """A task that is interrupted at its first step, or at its beginning."""
        if description == self._description:
            raise KeyboardInterrupt
        with super().task(description, total) as task:
            yield task


def options_in(folder: Path) -> tool.SharpenOptions:
    return tool.SharpenOptions(
        str(folder / "hsi.tif"), str(folder / "x.tif"), folder / "sharp.tif", budget=Budget(3),
        reference=str(folder / "truth.tif"), overwrite=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "description",
    ["looking at the pair", "learning to sharpen", "sharpening", "judging the result",
     "looking at the reference", "comparing with the reference", "writing"],
)  # fmt: skip
def test_an_interrupted_run_leaves_what_was_there(pair: Path, description: str) -> None:
    (pair / "sharp.tif").write_text("older")
    before = files(pair)
    with pytest.raises(KeyboardInterrupt):
        tool.sharpen(options_in(pair), Interrupting(description))
    assert files(pair) == before
    assert (pair / "sharp.tif").read_text() == "older"


def test_ctrl_c_ends_the_command_with_its_code(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mossfuse, "_train", interrupted)
    before = files(pair)
    outcome = comix(pair, *SHARPEN)
    assert outcome.code == 130
    assert outcome.out == ""
    assert files(pair) == before
