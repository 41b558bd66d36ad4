"""`--sharpen` in other commands: mistakes do not wait for it, and a dry run does without it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cli import Outcome, comix, files
from pairs import FWHM, WAVELENGTHS, coarse_grid, painted, seen_by, write_hsi, write_x
from rasterio.enums import ColorInterp
from scenes import write_raster
from sharp import LABELS, NANO, SCENE, TRAIN, write_labels, write_place

from comix_cli.progress import Progress
from comix_cli.sharpening.budget import Budget
from comix_cli.tools import sharp_hsi
from comix_cli.tools.sharp_hsi import FOLDER
from comix_cli.tools.sharpen import SharpenOptions, sharpen

pytestmark = pytest.mark.usefixtures("few_steps")

CLASSIFY = ("classify", *SCENE, "-m", "m.safetensors", "-o", "map.tif", "--sharpen")
BENCHMARK = (
    "benchmark", *SCENE, *LABELS, "--test", "labels.gpkg", "-o", "out", "--seeds", "1", "--method",
    "forest: --model random-forest --trees 5 --validation none",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of the sharpened scene, and the sharp HSI; look only."""
    folder = write_place(tmp_path_factory.mktemp("trained"))
    # Its last band is bad, so that the sharp one has one band less.
    write_hsi(
        folder / "hsi.tif",
        seen_by(painted(), coarse_grid((96, 80))).astype(np.float32),
        coarse_grid((96, 80)),
        bad_bands=[30],
    )
    with pytest.MonkeyPatch.context() as patch:

        def quick(options: SharpenOptions, progress: Progress) -> object:
            return sharpen(replace(options, budget=Budget(1)), progress)

        patch.setattr(sharp_hsi, "sharpen", quick)
        done = comix(folder, *TRAIN, "-o", "m.safetensors", "--sharpen")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def kept(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to do anything with."""
    return Path(shutil.copytree(trained, tmp_path / "kept"))


@pytest.fixture
def unkept(kept: Path) -> Path:
    """The same, and the sharp HSI has gone."""
    shutil.rmtree(kept / FOLDER)
    return kept


def refused_before(folder: Path, sharpened: list[SharpenOptions], *arguments: str) -> Outcome:
    """Run what has to be refused without sharpening anything or leaving anything."""
    before = files(folder)
    outcome = comix(folder, *arguments)
    assert outcome.code in (1, 2), outcome.err
    assert not sharpened
    assert files(folder) == before
    return outcome


def one_class(folder: Path) -> None:
    write_labels(folder / "labels.gpkg", ("a", "a"))


def elsewhere(folder: Path) -> None:
    write_labels(folder / "labels.gpkg", shift=1e5)


def gone(folder: Path) -> None:
    (folder / "labels.gpkg").unlink()


def as_it_is(folder: Path) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("command", "change", "more", "message"),
    [
        (TRAIN, gone, (), "labels.gpkg: there is no such file"),
        (TRAIN, elsewhere, (), "labels.gpkg"),
        (TRAIN, one_class, (), "only one class ('a') has labelled pixels"),
        (TRAIN, as_it_is, ("--field", "kind"), "kind"),
        (TRAIN, as_it_is, ("--validation", "other.gpkg"), "other.gpkg: there is no such file"),
        (TRAIN, as_it_is, ("--x", "third.tif"), "third.tif: there is no such file"),
        (TRAIN, as_it_is, ("--device", "cuda:7"), "--device cuda:7"),
        (TRAIN, as_it_is, ("--spectral-depth", "99"), "this network cannot be built"),
        (TRAIN, as_it_is, ("--accumulate", "3"), "cannot be shared out"),
        (TRAIN, as_it_is, ("-o", "no/m.safetensors"), "no/m.safetensors"),
        (TRAIN, as_it_is, ("--bounds", "0", "0", "1", "1"), "--bounds"),
        (BENCHMARK, gone, (), "labels.gpkg: there is no such file"),
        (BENCHMARK, one_class, (), "only one class ('a') has labelled pixels"),
        (BENCHMARK, as_it_is, ("--test-field", "kind"), "kind"),
        (BENCHMARK, as_it_is, ("-o", "."), "holds files, and none of a benchmark"),
    ],
)
def test_what_stops_the_work_is_met_before_the_sharpening(
    sharp_place: Path,
    few_steps: list[SharpenOptions],
    command: tuple[str, ...],
    change: Callable[[Path], None],
    more: tuple[str, ...],
    message: str,
) -> None:
    change(sharp_place)
    refused = refused_before(sharp_place, few_steps, *command, "--sharpen", *more)
    assert message in refused.error


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--x", "x.tif"), "trained with 2 rasters"),
        (("--overlap", "500"), "--overlap 500"),
        (("--mask", "nowhere.gpkg"), "nowhere.gpkg"),
        (("--ram", "1"), "--ram"),
    ],
)
def test_what_stops_a_classification_is_met_before_the_sharpening(
    unkept: Path, few_steps: list[SharpenOptions], more: tuple[str, ...], message: str
) -> None:
    assert message in refused_before(unkept, few_steps, *CLASSIFY, *more).error


def test_other_bands_than_the_model_knows_are_met_before(
    unkept: Path, few_steps: list[SharpenOptions]
) -> None:
    write_x(unkept / "x.tif", painted().x[:2])
    assert "x.tif" in refused_before(unkept, few_steps, *CLASSIFY).error


def test_the_kept_file_is_no_output(kept: Path, few_steps: list[SharpenOptions]) -> None:
    (sharp,) = (kept / FOLDER).iterdir()
    before = sharp.read_bytes()
    output = f"{FOLDER}/{sharp.name}"
    refused = refused_before(kept, few_steps, *CLASSIFY, "-o", output, "--overwrite")
    assert "is an input of this run" in refused.error
    assert sharp.read_bytes() == before


def test_a_dry_run_sharpens_nothing_and_plans_on_the_fine_grid(
    unkept: Path, few_steps: list[SharpenOptions]
) -> None:
    before = files(unkept)
    told = comix(unkept, *CLASSIFY, "--dry-run")
    assert told.code == 0, told.err
    assert not few_steps
    assert files(unkept) == before
    assert "HSI        to be sharpened first: hsi.tif with x.tif" in told.out
    assert "80 x 96 pixels of 5 m" in told.out
    done = comix(unkept, *CLASSIFY)
    assert done.code == 0, done.err
    with rasterio.open(unkept / "map.tif") as found:
        assert found.shape == (96, 80)
    again = comix(unkept, *CLASSIFY, "--dry-run", "--overwrite")
    assert f"HSI        sharpened before: hsi.tif with x.tif, kept in {FOLDER}/hsi-" in again.out
    assert "80 x 96 pixels of 5 m" in again.out
    assert len(few_steps) == 1


def test_a_rehearsal_warns_once_and_of_nothing_that_sharpening_mends(
    unkept: Path, few_steps: list[SharpenOptions]
) -> None:
    """The sharp HSI lacks the bad band; the grid is twice as coarse as in training."""
    done = comix(unkept, *CLASSIFY, "--res", "10")
    assert done.code == 0, done.err
    assert len(few_steps) == 1
    warnings = [line for line in done.err.splitlines() if line.startswith("Warning: ")]
    assert len(warnings) == 1, done.err
    assert "the common grid has pixels of 10 m" in warnings[0]


def test_runs_without_a_sharp_hsi_are_not_mixed_with_those_of_one(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    assert comix(sharp_place, *BENCHMARK).code == 0
    refused = refused_before(sharp_place, few_steps, *BENCHMARK, "--sharpen")
    assert "had other inputs or options" in refused.error


def test_finished_runs_need_no_sharp_hsi(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    hsi_too = ("--method", "hsi: --model random-forest --trees 5 --validation none --hsi-only")
    first = comix(sharp_place, *BENCHMARK, *hsi_too, "--sharpen")
    assert first.code == 0, first.err
    shutil.rmtree(sharp_place / FOLDER)
    again = comix(sharp_place, *BENCHMARK, *hsi_too, "--sharpen")
    assert again.out == first.out
    assert len(few_steps) == 1
    assert not (sharp_place / FOLDER).exists()


def write_lidar(path: Path) -> None:
    write_raster(path, np.ones((1, 96, 80), np.float32), res=5.0)


def test_the_first_x_that_can_guide_does(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    """Heights, an image as coarse as the HSI, one of the far infrared, and one with transparency
    and an empty band, neither of which says a wavelength."""
    write_lidar(sharp_place / "lidar.tif")
    write_hsi(
        sharp_place / "coarse.tif",
        seen_by(painted(), coarse_grid((96, 80)))[:4].astype(np.float32),
        coarse_grid((96, 80)),
        wavelengths=WAVELENGTHS[:4],
        fwhm=FWHM[:4],
    )
    write_x(sharp_place / "far.tif", painted().x, wavelengths=(9e3, 1e4, 1.1e4, 1.2e4))
    x = painted().x
    more = np.stack([*x, np.zeros_like(x[0]), np.full_like(x[0], 65535)])
    write_x(sharp_place / "six.tif", more, wavelengths=(490.0, 560.0, 665.0, 842.0, 1.0, 1.0),
            fwhm=(50.0,) * 6, nodata=0, alpha=True)  # fmt: skip
    with rasterio.open(sharp_place / "six.tif", "r+") as six:
        assert six.colorinterp[5] == ColorInterp.alpha
        for band in (5, 6):
            six.update_tags(band, wavelength="", fwhm="")
    others = ("lidar.tif", "coarse.tif", "far.tif")
    done = comix(
        sharp_place, "train", "hsi.tif", *others, "six.tif", *LABELS, *NANO, "--threads", "1",
        "-o", "m.safetensors", "--sharpen",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert [Path(options.x).name for options in few_steps] == ["six.tif"]

    few_steps.clear()
    refused = refused_before(
        sharp_place, few_steps, "train", "hsi.tif", *others, *LABELS, "--sharpen", "-o",
        "n.safetensors",
    )  # fmt: skip
    assert refused.code == 2
    assert "lidar.tif: says no wavelengths" in refused.error
    assert "coarse.tif: its pixels (20 m) are not finer than those of hsi.tif" in refused.error
    assert "far.tif: has 4 bands, 9000..12000 nm, none of which the HSI covers" in refused.error


def test_without_any_x_nothing_can_be_sharpened(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    refused = refused_before(sharp_place, few_steps, "train", "hsi.tif", *LABELS, "--sharpen")
    assert refused.code == 2
    assert "no X is given" in refused.error


def test_an_hsi_without_wavelengths_is_named_itself(
    sharp_place: Path, few_steps: list[SharpenOptions]
) -> None:
    hsi = seen_by(painted(), coarse_grid((96, 80))).astype(np.float32)
    write_hsi(sharp_place / "hsi.tif", hsi, coarse_grid((96, 80)), wavelengths=None, fwhm=None)
    refused = refused_before(sharp_place, few_steps, *TRAIN, "--sharpen")
    assert refused.error.startswith("Error: hsi.tif: says no wavelengths")


def test_what_is_sharp_already_is_not_sharpened(
    kept: Path, few_steps: list[SharpenOptions]
) -> None:
    (sharp,) = (kept / FOLDER).iterdir()
    shutil.copy(sharp, kept / "sharp.tif")
    given = ("sharp.tif", "x.tif", "-m", "m.safetensors", "-o", "map.tif", "--sharpen")
    refused = refused_before(kept, few_steps, "classify", *given)
    assert refused.code == 2
    assert "sharp.tif is sharpened already; leave --sharpen out" in refused.error
