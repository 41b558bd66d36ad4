"""Judging finished files: from any layout, in blocks of any size, in parts that hold something."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from comix_cli.accuracy.image_quality import FullReference
from comix_cli.progress import Silent, Task
from comix_cli.scene.reader import NativeReader
from comix_cli.scene.windows import Window
from comix_cli.sharpening.pair import Pair, open_pair
from comix_cli.sharpening.sharpener import Lesson
from comix_cli.sharpening.study import Calibration, Study
from comix_cli.sharpening.windows import CoarseAgain
from comix_cli.tools import sharpen_quality
from comix_cli.tools.sharpen_quality import against_reference, without_reference
from comix_models.degradation import PointSpread

# Few of the bands of a pair, and where they are told of.
FEW = slice(0, None, 5)
SPECTRUM = {"wavelengths": pairs.WAVELENGTHS[FEW], "fwhm": pairs.FWHM[FEW]}
BANDS = len(SPECTRUM["wavelengths"])
TILED: dict[str, Any] = {"tiled": True, "blockxsize": 16, "blockysize": 16}


class Counting(Silent):
    """Notes the tasks that are begun, and how far they come."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, list[float]] = {}

    @contextmanager
    def task(self, description: str, total: float | None) -> Iterator[Task]:
        """A task that is counted."""
        steps = self.tasks[description] = [total or 0.0, 0.0]

        class Steps:
            def advance(self, amount: float = 1, *, status: str = "") -> None:  # noqa: ARG002
                steps[1] += amount

        yield Steps()


def rewrite(path: Path, hole: tuple[slice, slice] | None = None, **profile: Any) -> None:
    """Store an image in another layout, and without the pixels of a hole."""
    with rasterio.open(path) as dataset:
        data, tags = dataset.read(), [dataset.tags(i) for i in dataset.indexes]
        found = {"driver": "GTiff", "width": dataset.width, "height": dataset.height,
                 "count": dataset.count, "dtype": dataset.dtypes[0], "crs": dataset.crs,
                 "transform": dataset.transform}  # fmt: skip
    if hole is not None:
        data[:, *hole] = -9999
        found["nodata"] = -9999
    path.unlink()
    with rasterio.open(path, "w", **found, **profile) as dataset:
        dataset.write(data)
        for i, tag in enumerate(tags, 1):
            dataset.update_tags(i, **tag)


def write(folder: Path, shape: tuple[int, int]) -> Path:
    """hsi.tif, x.tif, truth.tif, and sharp.tif, which is the truth with noise."""
    canvas = pairs.painted(shape)
    few, grid = pairs.Canvas(canvas.values[FEW], shape), pairs.coarse_grid(shape)
    noise = np.random.default_rng(0).normal(0, 0.01, few.fine.shape)
    pairs.write_x(folder / "x.tif", canvas.x)
    pairs.write_hsi(
        folder / "hsi.tif", pairs.seen_by(few, grid).astype(np.float32), grid, **SPECTRUM
    )
    pairs.write_x(folder / "truth.tif", few.fine.astype(np.float32), **SPECTRUM)
    pairs.write_x(folder / "sharp.tif", (few.fine + noise).astype(np.float32), **SPECTRUM)
    rewrite(folder / "sharp.tif", **TILED)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to look at only; the sharp image has a hole."""
    folder = write(tmp_path_factory.mktemp("written"), (96, 80))
    rewrite(folder / "sharp.tif", (slice(50, 62), slice(20, 31)), **TILED)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of it to do anything with."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


def with_reference(folder: Path, progress: Silent | None = None) -> dict[str, Any]:
    sharp, truth = folder / "sharp.tif", str(folder / "truth.tif")
    return against_reference(sharp, truth, BANDS, 4.0, None, progress or Silent())


def study_of(pair: Pair) -> Study:
    """What would have been found out: each channel sees the band closest to its centre."""
    response = torch.zeros(len(pairs.X_WAVELENGTHS), len(pair.hsi.bands))
    for channel, centre in enumerate(pairs.X_WAVELENGTHS):
        response[channel, int(np.argmin(np.abs(np.array(SPECTRUM["wavelengths"]) - centre)))] = 1
    channels = len(response)
    gain, offset = torch.full((channels,), pairs.X_GAIN), torch.full((channels,), pairs.X_OFFSET)
    calibration = Calibration(tuple(range(channels)), gain, offset, (0.0, 0.0))
    spread = PointSpread((1.0, 1.0), 0.0)
    return Study(Lesson([], response, spread), calibration, (1.0,) * channels, {})


def blurred_again(folder: Path, pair: Pair, valid: NDArray[np.bool_]) -> CoarseAgain:
    """The HSI itself with noise, and four of its bands."""
    rng = np.random.default_rng(1)
    height, width = pair.coarse.shape
    hsi = pair.read_hsi(Window(0, 0, height, width))[0].numpy()
    again = CoarseAgain(folder, len(hsi), len(pairs.X_WAVELENGTHS), pair.coarse)
    again.sharp[:] = np.where(valid, hsi + rng.normal(0, 0.01, hsi.shape), np.nan)
    again.x[:] = np.where(valid, hsi[[0, 1, 2, 4]], np.nan)
    again.valid[:] = valid
    again.consistency.pixels = int(valid.sum())
    return again


def alone(folder: Path, progress: Silent | None = None, *, edge: int = 0) -> dict[str, Any]:
    with open_pair(str(folder / "hsi.tif"), str(folder / "x.tif")) as pair:
        valid = np.ones(pair.coarse.shape, np.bool_)
        valid[:edge] = False
        again = blurred_again(folder, pair, valid)
        sharp = folder / "sharp.tif"
        return without_reference(sharp, pair, study_of(pair), again, progress or Silent())


@pytest.mark.parametrize("layout", [TILED, {"tiled": False, "blockysize": 1}])
@pytest.mark.parametrize("side", [16, 40])
def test_neither_blocks_nor_the_layout_of_files_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, side: int, layout: dict[str, Any]
) -> None:
    whole = with_reference(folder), alone(folder, edge=2)
    for name in ("truth.tif", "hsi.tif", "x.tif"):
        rewrite(folder / name, **layout)
    monkeypatch.setattr(sharpen_quality, "_SIDE", side)
    in_parts = with_reference(folder), alone(folder, edge=2)
    assert in_parts[0] == pytest.approx(whole[0], rel=1e-12)
    assert in_parts[1] == pytest.approx(whole[1], rel=1e-12)
    hole = np.zeros((96, 80), np.bool_)
    hole[50:62, 20:31] = True
    around = np.zeros_like(hole)
    around[45:67, 15:36] = True
    assert whole[0]["pixels"] == (~hole).sum()
    assert whole[0]["windows"] == whole[1]["fine_windows"] == 86 * 70 - around.sum()
    assert whole[1]["coarse_windows"] == (24 - 2 - 10) * (20 - 10)


def test_the_range_of_ssim_is_that_of_the_whole_reference(folder: Path) -> None:
    with rasterio.open(folder / "truth.tif") as dataset:
        truth = dataset.read()
    with rasterio.open(folder / "sharp.tif") as dataset:
        sharp, valid = dataset.read(), dataset.read_masks(1) > 0
    sums = FullReference(np.ptp(truth.reshape(BANDS, -1).astype(np.float64), axis=1))
    sums.add(truth, sharp, valid, (slice(0, 96), slice(0, 80)))
    assert with_reference(folder)["ssim"] == pytest.approx(sums.result(4).ssim, rel=1e-6)


def test_a_file_is_read_about_once_and_only_where_there_is_something(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(folder / "sharp.tif", (slice(0, 96), slice(0, 42)), **TILED)
    rewrite(folder / "x.tif", **TILED)
    reads: dict[str, NDArray[np.int64]] = {}
    read = NativeReader.read

    def noted(reader: NativeReader, window: Window) -> Any:
        path = Path(reader._native._path).name
        reads.setdefault(path, np.zeros((96, 80), np.int64))[window.slices] += 1
        return read(reader, window)

    monkeypatch.setattr(NativeReader, "read", noted)
    monkeypatch.setattr(sharpen_quality, "_SIDE", 32)
    alone(folder)
    # Four blocks meet in a corner; each reads HALO pixels beyond what counts.
    assert reads["sharp.tif"].min() == 1
    assert reads["sharp.tif"].mean() < 2
    assert not reads["x.tif"][:, :17].any()
    assert reads["x.tif"][:, 42:].all()


def test_every_pass_tells_how_far_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharpen_quality, "_SIDE", 16)
    progress = Counting()
    with_reference(folder, progress)
    alone(folder, progress)
    passes = ["looking at the reference", "comparing with the reference", "judging the result"]
    assert list(progress.tasks) == passes
    assert all(done == total > 1 for total, done in progress.tasks.values())


@pytest.mark.parametrize(("width", "rows"), [(3, 256), (800, 256), (3000, 87), (1 << 20, 10)])
def test_blocks_of_whole_rows_are_no_larger_than_memory_allows(width: int, rows: int) -> None:
    assert sharpen_quality._few_rows(width) == (rows, max(width, 256))


def test_an_hsi_smaller_than_a_window_has_no_figures(tmp_path: Path) -> None:
    write(tmp_path, (40, 80))
    told = alone(tmp_path)
    assert (told["d_lambda"], told["d_s"], told["qnr"]) == (None, None, None)
    assert (told["coarse_windows"], told["fine_windows"]) == (0, 30 * 70)


def test_an_hsi_without_a_whole_window_has_no_figures(folder: Path) -> None:
    told = alone(folder, edge=14)
    assert (told["d_lambda"], told["d_s"], told["qnr"], told["coarse_windows"]) == (None,) * 3 + (
        0,
    )
