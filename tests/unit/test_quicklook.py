"""A picture of a map to look at."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from maps import map_rows
from matplotlib.image import imread
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.errors import OutputError, RasterError
from comix_cli.mapping.quicklook import (
    colored,
    draw_map,
    map_inches,
    occurring,
    round_length,
    save_quicklook,
)
from comix_cli.scene.grid import Grid, ground_size_m
from comix_cli.scene.legend import ClassEntry, Legend

UTM = CRS.from_epsg(32633)
LEGEND = Legend((ClassEntry(1, "roof", (200, 0, 0)), ClassEntry(2, "cost in $ and $", (0, 0, 200))))


def grid(height: int, width: int, crs: CRS = UTM, step: float = 10.0) -> Grid:
    return Grid(crs, Affine(step, 0, 10, 0, -step, 52), width, height)


def save_map(path: Path, codes: NDArray[np.uint8]) -> Path:
    height, width = codes.shape
    with map_rows(path, grid(height, width), LEGEND) as writer:
        writer.write_rows(0, codes)
    return path


def legend_texts(codes: NDArray[np.int32], legend: Legend | None) -> list[str]:
    figure = draw_map(codes, grid(*codes.shape), legend)
    drawn = figure.axes[0].get_legend()
    assert drawn is not None
    return [text.get_text() for text in drawn.get_texts()]


def test_the_picture_shows_the_classes_where_they_are(tmp_path: Path) -> None:
    codes = np.ones((20, 30), np.uint8)
    codes[:, 15:] = 2
    save_quicklook(save_map(tmp_path / "map.tif", codes), tmp_path / "map.png", title="A $ map $")
    picture = (imread(tmp_path / "map.png")[..., :3] * 255).round()
    red = np.argwhere((picture == (200, 0, 0)).all(axis=-1))
    blue = np.argwhere((picture == (0, 0, 200)).all(axis=-1))
    assert len(red) > 50_000
    assert np.median(red[:, 1]) < np.median(blue[:, 1])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "map.png", "map.qml", "map.tif", "map.tif.aux.xml"
    ]  # fmt: skip


def test_only_classes_that_occur_are_in_the_legend() -> None:
    codes = np.array([[2, 2], [2, 2]], np.int32)
    assert legend_texts(codes, LEGEND) == ["cost in $ and $"]


def test_gaps_are_in_the_legend() -> None:
    assert legend_texts(np.array([[0, 1]], np.int32), LEGEND) == ["roof", "no data"]


def test_a_map_of_nothing_is_drawn() -> None:
    assert legend_texts(np.zeros((3, 3), np.int32), LEGEND) == ["no data"]


def test_classes_without_names_are_called_by_their_codes() -> None:
    assert legend_texts(np.array([[1, 9]], np.int32), None) == ["class 1", "class 9"]


def test_a_legend_of_very_many_classes_says_how_many_more_there_are() -> None:
    texts = legend_texts(np.arange(1, 301, dtype=np.int32).reshape(20, 15), None)
    assert len(texts) == 41
    assert texts[-1] == "and 260 more"


def test_pixels_have_the_colour_of_their_class() -> None:
    codes = np.array([[0, 1], [2, 70000]], np.int32)
    picture = colored(codes, occurring(codes, LEGEND))
    assert picture[0, 1].tolist() == [200, 0, 0]
    assert picture[1, 0].tolist() == [0, 0, 200]
    assert picture[1, 1].tolist() == picture[0, 0].tolist()


@pytest.mark.parametrize(
    ("most", "expected"), [(1, 1), (1.99, 1), (2, 2), (4.9, 2), (5, 5), (999, 500), (0.03, 0.02)]
)
def test_lengths_of_the_scale_bar_are_round(most: float, expected: float) -> None:
    assert round_length(most) == pytest.approx(expected)


def test_the_ground_is_measured_in_metres() -> None:
    assert ground_size_m(grid(20, 30)) == pytest.approx((300, 200))


def test_feet_are_converted() -> None:
    feet = CRS.from_epsg(2263)  # New York Long Island, US survey feet
    assert ground_size_m(grid(20, 30, feet)) == pytest.approx((300 * 0.3048006, 200 * 0.3048006))


def test_degrees_get_shorter_towards_the_pole() -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(0.001, 0, 13, 0, -0.001, 60.0005), 1, 1)
    width, height = ground_size_m(degrees)
    assert height == pytest.approx(111.195, abs=1e-3)
    assert width == pytest.approx(height / 2, rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (300, 80)])
def test_maps_of_any_shape_fit_on_a_page(shape: tuple[int, int]) -> None:
    width, height = map_inches(grid(*shape))
    assert max(width, height) == 7.5
    assert min(width, height) >= 1.5


def test_a_map_that_is_not_there_leaves_no_picture(tmp_path: Path) -> None:
    with pytest.raises(RasterError):
        save_quicklook(tmp_path / "map.tif", tmp_path / "map.png")
    assert not (tmp_path / "map.png").exists()


def test_a_picture_needs_its_folder(tmp_path: Path) -> None:
    path = save_map(tmp_path / "map.tif", np.ones((2, 2), np.uint8))
    with pytest.raises(OutputError, match="does not exist"):
        save_quicklook(path, tmp_path / "nowhere" / "map.png")
