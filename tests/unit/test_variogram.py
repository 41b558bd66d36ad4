"""Semivariograms against hand-computed cases and fields whose range is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from truths import truth_of

from comix_cli.scene.autocorrelation import image_variogram, label_variogram, points_on
from comix_cli.scene.grid import Grid
from comix_cli.scene.stack import Block
from comix_cli.scene.variogram import (
    MODELS,
    Semivariance,
    class_semivariance,
    first_component,
    fit_variogram,
    lag_edges,
    value_semivariance,
)
from comix_cli.scene.windows import Window

Floats = NDArray[np.float64]


def field(size: int, practical_range: float, seed: int) -> Floats:
    """A periodic Gaussian field with covariance exp(-3 h / range), `(size, size)`."""
    step = np.minimum(np.arange(size), size - np.arange(size))
    covariance = np.exp(-3 * np.hypot(step[:, None], step[None, :]) / practical_range)
    spectrum = np.fft.fft2(covariance).real.clip(0)
    noise = np.random.default_rng(seed).normal(size=(size, size))
    return np.fft.ifft2(np.fft.fft2(noise) * np.sqrt(spectrum)).real


def by_hand(points: Floats, squares: list[float]) -> list[tuple[float, float]]:
    """Half the mean squared difference in each class of distance that holds a pair."""
    edges = lag_edges(points)
    lengths = [float(np.hypot(*(a - b))) for a, b in combinations(points, 2)]
    place = np.searchsorted(edges, lengths)  # edges[i - 1] < length <= edges[i]
    return [
        ((edges[i - 1] + edges[i]) / 2, float(np.mean(np.array(squares)[place == i])) / 2)
        for i in range(1, len(edges))
        if (place == i).any()
    ]


def test_semivariances_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comix_cli.scene.variogram.LEAST_PAIRS", 1)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (60, 2))
    classes = rng.integers(1, 4, 60)
    found = class_semivariance(points, classes)
    differ = [float(a != b) for a, b in combinations(classes, 2)]
    np.testing.assert_allclose(np.stack([found.lags, found.values], 1), by_hand(points, differ))
    values = rng.normal(size=60)
    z = (values - values.mean()) / values.std()
    found = value_semivariance(points, values)
    squares = [float((a - b) ** 2) for a, b in combinations(z, 2)]
    np.testing.assert_allclose(np.stack([found.lags, found.values], 1), by_hand(points, squares))
    assert found.pairs.sum() == sum(np.linalg.norm(a - b) <= lag_edges(points)[-1]
                                    for a, b in combinations(points, 2))  # fmt: skip


def test_a_case_that_fits_on_a_finger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comix_cli.scene.variogram.LEAST_PAIRS", 1)
    points = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [9.0, 0.0]])
    # At lag 1: (a, a) and (a, b). At lag 2: (a, b). Longer lags than 3 are not looked at.
    found = class_semivariance(points, np.array([1, 1, 2, 2]))
    assert found.values.tolist() == [0.25, 0.5]
    assert found.pairs.tolist() == [2, 1]


@pytest.mark.parametrize("true_range", [20.0, 40.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_range_of_a_field_is_found(true_range: float, seed: int) -> None:
    values = field(512, true_range, seed)
    row, col = np.random.default_rng(seed).integers(0, 512, (2, 4000))
    points = np.stack([col, row], axis=1).astype(np.float64)
    found = fit_variogram(value_semivariance(points, values[row, col]))
    assert found.range == pytest.approx(true_range, rel=0.18)
    assert found.nugget == pytest.approx(0, abs=0.1)
    assert found.sill == pytest.approx(1, abs=0.1)


def test_the_range_of_classes_along_a_line_is_found() -> None:
    # Between two classes that change at random, on average every 10 m, the share of pairs that
    # differ is (1 - exp(-2 h / 10)) / 2: a practical range of 15 m.
    rng = np.random.default_rng(5)
    changes = np.cumsum(rng.exponential(10.0, 1000))
    x = rng.uniform(0, changes[-1], 5000)
    points = np.stack([x, np.zeros_like(x)], axis=1)
    found = fit_variogram(class_semivariance(points, np.searchsorted(changes, x) % 2))
    assert found.model == "exponential"
    assert found.range == pytest.approx(15, rel=0.15)
    assert found.sill == pytest.approx(0.25, rel=0.05)


def test_models_are_fitted_exactly_to_themselves() -> None:
    lags = np.geomspace(1, 100, 20)
    pairs = lags**2
    for model, name in ((m, n) for n, m in MODELS.items()):
        found = fit_variogram(Semivariance(lags, model(lags, 0.2, 0.7, 30.0), pairs))
        assert found.model == name
        assert (found.nugget, found.sill, found.range) == pytest.approx((0.2, 0.9, 30.0), rel=1e-3)
        assert found.fitted is not None
        np.testing.assert_allclose(found.fitted, found.measured.values, rtol=1e-4)


def test_no_range_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (2000, 2))
    noise = fit_variogram(value_semivariance(points, rng.normal(size=2000)))
    assert noise.range is None
    assert "no more alike" in str(noise.reason)
    trend = fit_variogram(value_semivariance(points, points[:, 0]))
    assert trend.range is None
    assert trend.longer_than is not None
    assert "longer than" in str(trend.reason)
    few = fit_variogram(value_semivariance(points[:5], rng.normal(size=5)))
    assert few.reason == "there are too few pairs of points"


def test_labels_without_a_variogram_say_why() -> None:
    rng = np.random.default_rng(0)
    boxes = [shapely.box(x, 0, x + 1, 1) for x in range(5)]
    assert label_variogram(truth_of(boxes), rng).reason == "there is only one class"
    points = [shapely.Point(x, 0) for x in range(5)]
    assert (
        label_variogram(truth_of(points, [1, 2, 1, 2, 1]), rng).reason == "there are only 5 points"
    )


def test_points_spread_evenly_over_the_ground() -> None:
    ring = shapely.box(0, 0, 10, 10).difference(shapely.box(2, 2, 8, 8))
    shapes = np.array([ring, shapely.box(20, 0, 28, 8), shapely.box(30, 0, 30.5, 0.5)], object)
    points, numbers = points_on(shapes, 4000, np.random.default_rng(0))
    assert all(shapely.intersects_xy(shapes[numbers], *points.T))
    shares = np.bincount(numbers, minlength=3) / 4000
    np.testing.assert_allclose(shares, np.array([64, 64, 0.25]) / 128.25, atol=0.02)
    left = points[numbers == 1][:, 0] < 24
    assert left.mean() == pytest.approx(0.5, abs=0.04)


def test_points_on_lines_follow_their_length() -> None:
    shapes = np.array([shapely.LineString([(0, 0), (30, 0)]), shapely.LineString([(0, 5), (10, 5)]),
                       shapely.Point(3, 3)], object)  # fmt: skip
    points, numbers = points_on(shapes, 3000, np.random.default_rng(0))
    assert (numbers == 2).sum() == 1
    assert (numbers == 0).sum() / 2000 == pytest.approx(0.75, abs=0.03)
    assert points[numbers == 0][:, 0].mean() == pytest.approx(15, abs=0.8)


def test_the_first_component_is_the_direction_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    strength = rng.normal(size=500)
    spectra = np.outer(strength, [3.0, 4.0, 0.0]) + rng.normal(0, 0.01, (500, 3)) + 7
    found = first_component(spectra)
    assert abs(np.corrcoef(found, strength)[0, 1]) > 0.999
    assert found.std() == pytest.approx(5 * strength.std(), rel=0.01)


class Image:
    """A field as an image of three bands, on pixels of 2 m."""

    def __init__(self, values: Floats) -> None:
        from affine import Affine

        self._values = values
        height, width = values.shape
        crs = CRS.from_epsg(32633)
        self.grid = Grid(crs, Affine(2, 0, 400_000, 0, -2, 5_800_000), width, height)

    def read(self, window: Window) -> Block:
        part = self._values[window.slices].astype(np.float32)
        valid = part < 2.5
        hsi = np.stack([part, 2 * part, -part]) * valid
        return Block(hsi, np.zeros((0, *part.shape), np.float32), valid)

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        return self.read(window).valid


def test_the_range_of_an_image_is_in_metres() -> None:
    found = image_variogram(
        Image(field(320, 20.0, 7)), CRS.from_epsg(32633), np.random.default_rng(0)
    )
    assert found.range == pytest.approx(40, rel=0.2)


def test_an_image_of_one_colour_has_no_range() -> None:
    found = image_variogram(
        Image(np.ones((40, 40))), CRS.from_epsg(32633), np.random.default_rng(0)
    )
    assert found.reason == "all pixels are the same"
