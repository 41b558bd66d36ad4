"""Where labelled pixels are, and chips around them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from burning import rasterize
from numpy.typing import NDArray
from scenes import make_scene, write_vector

from comix_cli.errors import RasterError
from comix_cli.learning.augment import Augmentation
from comix_cli.learning.normalise import BlockNormaliser, Normalisation
from comix_cli.learning.samples import (
    IGNORE_INDEX,
    TILE,
    Chip,
    ChipSampler,
    LabelReader,
    MemoryLabels,
    MemoryScene,
    index_labels,
    sample_values,
)
from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import GroundTruth, read_ground_truth
from comix_cli.scene.legend import Legend
from comix_cli.scene.stack import Block, SourceSpec, open_stack
from comix_cli.scene.windows import Window


class Ramp:
    """A scene whose only HSI band counts the pixels, invalid in its first column."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def read(self, window: Window) -> Block:
        rows, columns = np.mgrid[window.slices]
        values = (rows * self.grid.width + columns)[None].astype(np.float32)
        return Block(values, np.zeros((0, *window.shape), np.float32), columns > 0)

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        return self.read(window).valid


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    scene = make_scene(tmp_path / "scene", size=100)
    with open_stack(SourceSpec(str(scene.lidar), "hsi"), []) as stack:
        return replace(stack.grid, width=100, height=90)


def truth_of(grid: Grid, folder: Path, boxes: dict[str, tuple[int, int, int, int]]) -> GroundTruth:
    """Ground truth of rectangles (row, column, height, width) in pixels."""
    rows = []
    for name, (row, col, height, width) in boxes.items():
        bounds = grid.window_bounds(Window(row, col, height, width))
        rows.append((shapely.box(*bounds), {"class": name}))
    path = write_vector(folder / "truth.gpkg", rows)
    return read_ground_truth(path, "class", grid)


def plain(block: Block) -> tuple[np.ndarray, np.ndarray]:
    return block.hsi, block.x


def sampler(
    grid: Grid, truth: GroundTruth, *, window: int, class_power: float = 0.5
) -> ChipSampler:
    legend = Legend.from_names(truth.classes)
    labels = LabelReader(truth, grid, legend)
    scene = Ramp(grid)
    index = index_labels(labels, scene, len(legend), Silent())
    return ChipSampler(scene, labels, index, plain, window=window, class_power=class_power)


def test_label_counts_leave_out_invalid_and_disputed_pixels(grid: Grid, tmp_path: Path) -> None:
    boxes = {"a": (0, 0, 10, 20), "b": (5, 10, 10, 40), "c": (70, 70, 4, 4)}
    truth = truth_of(grid, tmp_path, boxes)
    labels = LabelReader(truth, grid, Legend.from_names(truth.classes))
    index = index_labels(labels, Ramp(grid), 3, Silent())
    disputed = 5 * 10
    assert index.overlap == disputed
    assert index.invalid == 10
    assert index.class_pixels.tolist() == [200 - 10 - disputed, 400 - disputed, 16]
    lonely = index.classes == 2
    assert index.tiles[lonely].tolist() == [(70 // TILE) * 4 + 70 // TILE]
    assert index.counts[lonely].tolist() == [16]


def test_labels_in_memory_are_those_of_the_file_in_any_window(grid: Grid, tmp_path: Path) -> None:
    grid = replace(grid, height=1200)  # more than is burnt at once
    truth = truth_of(grid, tmp_path, {"a": (500, 3, 30, 50), "b": (900, 10, 200, 80)})
    labels = LabelReader(truth, grid, Legend.from_names(truth.classes))
    kept = MemoryLabels(labels, grid.shape)
    for window in (Window(0, 0, 1200, 100), Window(505, 20, 60, 40), Window(1190, 99, 10, 1)):
        np.testing.assert_array_equal(kept.read(window)[0], labels.read(window)[0])
    assert (kept.read(Window(500, 3, 1, 1))[0] == 0).all()


def test_a_class_that_the_legend_lacks_is_unlabelled(grid: Grid, tmp_path: Path) -> None:
    truth = truth_of(grid, tmp_path, {"a": (10, 10, 5, 5), "b": (40, 40, 5, 5)})
    labels = LabelReader(truth, grid, Legend.from_names([(2, "b")]))
    indices, _ = labels.read(Window(0, 0, 90, 100))
    assert (indices == 0).sum() == 25
    assert (indices != IGNORE_INDEX).sum() == 25


def test_every_chip_holds_what_lies_at_its_place(grid: Grid, tmp_path: Path) -> None:
    truth = truth_of(grid, tmp_path, {"a": (10, 5, 30, 30), "b": (50, 60, 30, 30)})
    whole, _ = rasterize(truth, grid)
    draw = sampler(grid, truth, window=24)
    rng = np.random.default_rng(0)
    for _ in range(30):
        chip = draw.draw(rng)
        row, col = divmod(int(chip.hsi[0, 0, 0]), grid.width)
        expected = whole[row : row + 24, col : col + 24].astype(np.int64) - 1
        expected[:, np.arange(col, col + 24) == 0] = IGNORE_INDEX
        np.testing.assert_array_equal(chip.labels, expected)


def test_rare_classes_are_drawn_as_often_as_asked(grid: Grid, tmp_path: Path) -> None:
    truth = truth_of(grid, tmp_path, {"common": (0, 1, 30, 60), "rare": (80, 90, 2, 2)})
    rng = np.random.default_rng(0)
    shares = []
    for power in (0.0, 1.0):
        draw = sampler(grid, truth, window=16, class_power=power)
        shares.append(np.mean([(draw.draw(rng).labels == 1).any() for _ in range(300)]))
    assert shares[0] == pytest.approx(0.5, abs=0.08)
    assert shares[1] < 0.02


def test_every_chip_holds_a_labelled_pixel_however_lonely(grid: Grid, tmp_path: Path) -> None:
    truth = truth_of(grid, tmp_path, {"a": (40, 40, 1, 1), "b": (89, 99, 1, 1)})
    draw = sampler(grid, truth, window=8)
    rng = np.random.default_rng(0)
    assert all((draw.draw(rng).labels != IGNORE_INDEX).any() for _ in range(200))


def test_some_classes_of_an_index_are_numbered_anew(grid: Grid, tmp_path: Path) -> None:
    boxes = {"a": (0, 0, 10, 20), "b": (50, 10, 10, 40), "c": (70, 70, 4, 4)}
    truth = truth_of(grid, tmp_path, boxes)
    labels = LabelReader(truth, grid, Legend.from_names(truth.classes))
    some = index_labels(labels, Ramp(grid), 3, Silent()).only([0, 2])
    assert some.class_pixels.tolist() == [190, 16]
    assert [int(some.counts[some.classes == c].sum()) for c in (0, 1)] == [190, 16]


def test_a_scene_smaller_than_the_window_is_mirrored_without_labels(
    grid: Grid, tmp_path: Path
) -> None:
    truth = truth_of(grid, tmp_path, {"a": (0, 0, 90, 50), "b": (0, 50, 90, 50)})
    chip = sampler(grid, truth, window=128).draw(np.random.default_rng(0))
    assert chip.hsi.shape == (1, 128, 128)
    assert (chip.labels[90:] == IGNORE_INDEX).all()
    assert (chip.labels[:, 100:] == IGNORE_INDEX).all()
    assert (chip.labels[:90, 1:100] != IGNORE_INDEX).all()
    np.testing.assert_array_equal(chip.hsi[0, 90], chip.hsi[0, 88])


def test_a_scene_in_memory_reads_like_the_files(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, size=300, ratio=4)
    with open_stack(
        SourceSpec(str(scene.hsi), "hsi"), [SourceSpec(str(scene.lidar), "continuous")]
    ) as stack:
        memory = MemoryScene(stack, Silent())
        for window in (Window(0, 0, 10, 10), Window(250, 130, 40, 150), Window(290, 1, 9, 9)):
            ours, theirs = memory.read(window), stack.read(window)
            np.testing.assert_array_equal(ours.hsi, theirs.hsi)
            np.testing.assert_array_equal(ours.x, theirs.x)
            np.testing.assert_array_equal(ours.valid, theirs.valid)


def test_values_are_sampled_from_valid_pixels_only(grid: Grid) -> None:
    hsi, x = sample_values(Ramp(grid), seed=0)
    assert x.shape == (0, hsi.shape[1])
    assert (hsi[0].astype(int) % grid.width > 0).all()
    assert len(np.unique(hsi)) == hsi.shape[1]


def test_a_scene_without_a_valid_pixel_is_refused(grid: Grid) -> None:
    class Empty(Ramp):
        def read(self, window: Window) -> Block:
            block = super().read(window)
            return Block(block.hsi, block.x, np.zeros(window.shape, np.bool_))

    with pytest.raises(RasterError, match="no pixel of the common grid has valid data"):
        sample_values(Empty(grid), seed=0)


def test_flips_move_labels_and_values_together() -> None:
    labels = np.arange(16).reshape(4, 4)
    chip = Chip(labels[None].astype(np.float32), labels[None].astype(np.float32), labels)
    augment = Augmentation(flips=True)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        changed = augment.turned(chip, rng)
        np.testing.assert_array_equal(changed.hsi[0], changed.labels)
        np.testing.assert_array_equal(changed.x[0], changed.labels)
        seen.add(changed.labels.tobytes())
    assert len(seen) == 8  # the symmetries of a square


def test_radiometric_changes_leave_labels_and_the_original_alone() -> None:
    chip = Chip(
        np.ones((3, 4, 4), np.float32), np.ones((1, 4, 4), np.float32), np.ones((4, 4), int)
    )
    changed = Augmentation(flips=False, gain=0.1, noise=0.1)(chip, np.random.default_rng(0))
    assert changed.hsi.dtype == np.float32
    assert (chip.hsi == 1).all()
    assert (changed.hsi != 1).all()
    np.testing.assert_array_equal(changed.labels, chip.labels)


def test_a_normaliser_fits_a_sampler(grid: Grid, tmp_path: Path) -> None:
    truth = truth_of(grid, tmp_path, {"a": (10, 5, 30, 30), "b": (50, 60, 30, 30)})
    legend = Legend.from_names(truth.classes)
    labels = LabelReader(truth, grid, legend)
    normalise = BlockNormaliser(Normalisation((0.0,), (9000.0,), "a"), Normalisation((), (), "b"))
    index = index_labels(labels, Ramp(grid), 2, Silent())
    draw = ChipSampler(Ramp(grid), labels, index, normalise, window=16, class_power=1)
    chip = draw.draw(np.random.default_rng(0))
    assert 0 <= chip.hsi.min() <= chip.hsi.max() <= 1
