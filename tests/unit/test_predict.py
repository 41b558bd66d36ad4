"""From windows to finished rows, with networks whose answer is known."""

from __future__ import annotations

import numpy as np
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.mapping.predict import Predictor, class_codes, predict_rows
from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import Window, plan_windows

LEGEND = Legend.from_names([(3, "a"), (7, "b"), (200, "c")])


class Scene:
    """Three bands in memory, and a count of the windows that are read."""

    def __init__(self, height: int, width: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.grid = Grid(CRS.from_epsg(32633), Affine(1, 0, 0, 0, -1, 0), width, height)
        self.values = rng.normal(size=(3, height, width)).astype(np.float32)
        self.valid = rng.random((height, width)) > 0.2

    def read(self, window: Window) -> Block:
        rows, columns = window.slices
        return Block(
            self.values[:, rows, columns],
            np.zeros((0, *window.shape), np.float32),
            self.valid[rows, columns],
        )

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        return self.valid[window.slices]


class Echo(torch.nn.Module):
    """Logits are the bands themselves: the answer of a pixel does not depend on its window."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, hsi: torch.Tensor, x: torch.Tensor | None) -> torch.Tensor:
        assert x is None
        self.seen.append(len(hsi))
        return hsi


def plain(block: Block) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return block.hsi, block.x


def predictor(size: int, network: torch.nn.Module | None = None) -> Predictor:
    return Predictor(network or Echo(), plain, 3, (size, size), torch.device("cpu"))


def map_of(
    scene: Scene, size: int, overlap: int, batch_size: int = 4
) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
    plan = plan_windows(scene.grid.shape, size, overlap)
    codes, probabilities = [], []
    expected_row = 0
    for row, values, valid in predict_rows(scene, predictor(size), plan, batch_size, Silent()):
        assert row == expected_row
        expected_row += values.shape[1]
        codes.append(class_codes(values, valid, LEGEND))
        probabilities.append(values)
    return np.concatenate(codes), np.concatenate(probabilities, axis=1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 17), st.data())
@settings(max_examples=40)
def test_every_pixel_gets_the_class_of_its_largest_band_and_nodata_stays_nodata(
    height: int, width: int, size: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    scene = Scene(height, width)
    codes, probabilities = map_of(scene, size, overlap)
    expected = np.asarray(LEGEND.codes)[scene.values.argmax(axis=0)]
    np.testing.assert_array_equal(codes, np.where(scene.valid, expected, 0))
    total = np.exp(scene.values).sum(axis=0)
    known = np.broadcast_to(~_lost(scene, size, overlap), probabilities.shape)
    np.testing.assert_allclose(
        probabilities[known], (np.exp(scene.values) / total)[known], rtol=2e-5, atol=2e-6
    )


def _lost(scene: Scene, size: int, overlap: int) -> NDArray[np.bool_]:
    """Pixels that some window without a single valid pixel covers."""
    lost = np.zeros(scene.grid.shape, np.bool_)
    for window in plan_windows(scene.grid.shape, size, overlap):
        if not scene.valid[window.slices].any():
            lost[window.slices] = True
    return lost


def test_the_map_does_not_depend_on_the_batch_size() -> None:
    scene = Scene(50, 37)
    first, _ = map_of(scene, 16, 5, batch_size=1)
    for batch_size in (2, 3, 100):
        np.testing.assert_array_equal(first, map_of(scene, 16, 5, batch_size)[0])


def test_windows_without_a_valid_pixel_never_reach_the_network() -> None:
    scene = Scene(32, 32)
    scene.valid[:] = False
    scene.valid[20:24, 20:24] = True
    network = Echo()
    plan = plan_windows((32, 32), 8, 0)
    for row, values, valid in predict_rows(scene, predictor(8, network), plan, 4, Silent()):
        codes = class_codes(values, valid, LEGEND)
        np.testing.assert_array_equal(codes > 0, scene.valid[row : row + values.shape[1]])
    assert sum(network.seen) == 1


def test_an_empty_scene_is_nodata_and_asks_nothing() -> None:
    scene = Scene(20, 20)
    scene.valid[:] = False
    codes, _ = map_of(scene, 16, 4)
    assert not codes.any()


def test_codes_beyond_255_are_kept() -> None:
    legend = Legend.from_names([(1, "a"), (4000, "b")])
    probabilities = np.array([[[0.1, 0.9]], [[0.9, 0.1]]], np.float32)
    codes = class_codes(probabilities, np.ones((1, 2), np.bool_), legend)
    assert codes.tolist() == [[4000, 1]]
    assert codes.dtype == np.uint16
