"""Images of one place by two sensors, known distances apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import ORIGIN, write_raster

from comix_cli.progress import Silent
from comix_cli.scene.shift import Shift, estimate_shift
from comix_cli.scene.stack import Block
from comix_cli.tools.alignment import Offset, offset
from comix_cli.tools.inputs import SceneInputs, check_alignment, open_for_training

COARSE, FINE = 10.0, 2.0


def fields(size: int, count: int, seed: int) -> NDArray[np.float64]:
    """`(size, size)`: rectangles of random size, place and value, one over the other."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size))
    for _ in range(count):
        row, col = rng.integers(-10, size, 2)
        height, width = rng.integers(6, 60, 2)
        image[max(row, 0) : row + height, max(col, 0) : col + width] = rng.uniform(0, 10)
    return image


def scene(folder: Path, east: float, south: float, modality: str, side: int = 60) -> SceneInputs:
    """An HSI of 10 m and an X of 2 m that is placed `east` and `south` coarse pixels off."""
    rng = np.random.default_rng(7)
    ratio = int(COARSE / FINE)
    ground = fields(side * ratio, side * side // 6, 3)
    bands = [ground, 20 - ground, ground**2]
    hsi = [band.reshape(side, ratio, side, ratio).mean(axis=(1, 3)) for band in bands]
    seen = {
        "alike": ground,
        "inverted": -ground,
        "other": np.abs(ground - 5) + 0.3 * fields(side * ratio, 200, 4),
        "unrelated": fields(side * ratio, side * side // 6, 99),
    }[modality]
    x = seen + rng.normal(0, 0.3, seen.shape)
    placed = (ORIGIN[0] + east * COARSE, ORIGIN[1] - south * COARSE)
    noisy = np.array(hsi) + rng.normal(0, 0.2, np.shape(hsi))
    write_raster(folder / "hsi.tif", noisy.astype(np.float32), res=COARSE)
    write_raster(folder / "x.tif", x[np.newaxis].astype(np.float32), res=FINE, origin=placed)
    return SceneInputs(str(folder / "hsi.tif"), (str(folder / "x.tif"),))


def found(inputs: SceneInputs) -> tuple[Offset | None, list[str]]:
    progress = Silent()
    with open_for_training(inputs) as stack:
        check_alignment(inputs, stack, progress)
        return offset(stack, 0, inputs.src_crs), progress.warnings


@pytest.mark.parametrize("modality", ["alike", "inverted", "other"])
@pytest.mark.parametrize(
    ("east", "south"), [(0, 0), (0.5, 0), (0, -0.5), (2.3, -1.1), (-2.3, 0), (0, 4), (4, -4)]
)
def test_a_known_shift_is_recovered_and_told_of(
    tmp_path: Path, modality: str, east: float, south: float
) -> None:
    answer, warnings = found(scene(tmp_path, east, south, modality))
    assert answer is not None
    assert answer.east_m / COARSE == pytest.approx(east, abs=0.3)
    assert -answer.north_m / COARSE == pytest.approx(south, abs=0.3)
    assert len(warnings) == int(max(abs(east), abs(south)) > 1)


def test_the_warning_names_files_metres_and_directions(tmp_path: Path) -> None:
    _, (warning,) = found(scene(tmp_path, 3, -2, "inverted"))
    assert "x.tif seems to lie 3" in warning
    for part in (" m east and ", " m north of ", "hsi.tif, 3.", " pixels of 10 m"):
        assert part in warning


def test_unrelated_images_give_no_warning(tmp_path: Path) -> None:
    answer, warnings = found(scene(tmp_path, 0, 0, "unrelated"))
    assert answer is None
    assert warnings == []


@pytest.mark.parametrize("seed", range(20))
def test_noise_of_any_coarseness_gives_no_answer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(40, 160))
    images = [smooth_noise(rng, size, rng.uniform(0.5, 6)) for _ in range(2)]
    if seed % 2:  # rows of crops, of one width in both
        rows = np.sin(np.arange(size) * rng.uniform(0.3, 1.0))
        images = [image + 3 * image.std() * rows for image in images]
    hsi, x = (image[np.newaxis].astype(np.float32) for image in images)
    assert estimate_shift([Block(hsi, x, np.ones((size, size), bool))], 16) is None


def smooth_noise(rng: np.random.Generator, size: int, width: float) -> NDArray[np.float64]:
    rows, cols = np.fft.fftfreq(size)[:, np.newaxis], np.fft.rfftfreq(size)
    kernel = np.exp(-2 * (np.pi * width) ** 2 * (rows**2 + cols**2))
    noise: NDArray[np.float64] = np.fft.irfft2(
        np.fft.rfft2(rng.normal(size=(size, size))) * kernel, (size, size)
    )
    return noise


def test_holes_are_left_out_of_the_comparison() -> None:
    image = fields(120, 400, 1)
    valid = np.ones((100, 100), bool)
    valid[20:50, 30:70] = False
    hsi, x = image[10:110, 10:110].copy(), 5 - image[6:106, 13:113]
    hsi[~valid], x[~valid] = 0, 1e6
    block = Block(hsi[np.newaxis].astype(np.float32), x[np.newaxis].astype(np.float32), valid)
    answer = estimate_shift([block], 16)
    assert answer is not None
    # What lies at row 10 of the first lies at row 14 of the second.
    assert (answer.rows, answer.cols) == pytest.approx((4, -3), abs=0.1)


def test_an_image_without_edges_gives_no_answer() -> None:
    flat = np.full((1, 80, 80), 3, np.float32)
    busy = fields(80, 300, 2)[np.newaxis].astype(np.float32)
    valid = np.ones((80, 80), bool)
    assert estimate_shift([Block(flat, busy, valid)], 16) is None
    assert estimate_shift([Block(busy, flat, valid)], 16) is None


def test_a_scene_that_is_too_small_gives_no_answer() -> None:
    busy = fields(20, 30, 2)[np.newaxis].astype(np.float32)
    assert estimate_shift([Block(busy, busy, np.ones((20, 20), bool))], 16) is None
    assert estimate_shift([], 16) is None


def test_patches_that_disagree_give_no_answer() -> None:
    def block(moved: int, seed: int) -> Block:
        image = fields(120, 400, seed)
        x = image[10 + moved : 110 + moved, 10:110]
        valid = np.ones((100, 100), bool)
        return Block(
            image[np.newaxis, 10:110, 10:110].astype(np.float32),
            x[np.newaxis].astype(np.float32),
            valid,
        )

    agreeing = estimate_shift([block(5, 1), block(5, 2), block(5, 3)], 16)
    assert isinstance(agreeing, Shift)
    assert agreeing.rows == pytest.approx(-5, abs=0.1)
    assert estimate_shift([block(5, 1), block(-5, 2), block(0, 3)], 16) is None
