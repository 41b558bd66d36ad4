from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from comix_models.degradation import (
    NARROWEST,
    REACH,
    WIDEST,
    DegradationNet,
    PointSpread,
    blur_matrix,
    blurred,
    reach_in_pixels,
)
from comix_models.placement import Placement

Array = NDArray[np.float64]


def density(y: float, x: float, spread: PointSpread) -> float:
    """The bivariate normal density by the inverse of its covariance matrix, not normalised."""
    (sr, sc), tilt = spread.sigma, spread.tilt
    covariance = np.array([[sr**2, tilt * sr * sc], [tilt * sr * sc, sc**2]])
    at = np.array([y, x])
    return math.exp(-0.5 * float(at @ np.linalg.inv(covariance) @ at))


def by_loops(
    placement: Placement, spread: PointSpread, fine: tuple[int, int], coarse: tuple[int, int]
) -> tuple[Array, Array]:
    """The blur as a dense matrix, and the share inside, one weight after the other."""
    matrix = np.zeros((coarse[0] * coarse[1], fine[0] * fine[1]))
    everything = np.zeros(len(matrix))
    reach = [REACH * ratio for ratio in placement.ratio]
    for i in range(coarse[0]):
        for j in range(coarse[1]):
            y = placement.offset[0] + (i + 0.5) * placement.ratio[0] + spread.shift[0]
            x = placement.offset[1] + (j + 0.5) * placement.ratio[1] + spread.shift[1]
            for r in range(-40, fine[0] + 40):
                for c in range(-40, fine[1] + 40):
                    if abs(r + 0.5 - y) > reach[0] or abs(c + 0.5 - x) > reach[1]:
                        continue
                    weight = density(r + 0.5 - y, c + 0.5 - x, spread)
                    everything[i * coarse[1] + j] += weight
                    if 0 <= r < fine[0] and 0 <= c < fine[1]:
                        matrix[i * coarse[1] + j, r * fine[1] + c] = weight
    inside = matrix.sum(1)
    return matrix / inside[:, None], inside / everything


@pytest.mark.parametrize(
    ("placement", "spread"),
    [
        (Placement((3, 3)), PointSpread((1.3, 1.3))),
        (Placement((2.3, 3.1), (0.4, -0.7)), PointSpread((1.1, 1.9), 0.5, (0.6, -1.2))),
        (Placement((2.5, 2), (-1, 1.5)), PointSpread((0.6, 1.4), -0.8, (-0.3, 0.9))),
    ],
)
def test_the_blur_is_the_sum_over_the_density(placement: Placement, spread: PointSpread) -> None:
    fine, coarse = (9, 11), (4, 3)

    matrix, inside = blur_matrix(placement, spread, fine, coarse)

    expected, share = by_loops(placement, spread, fine, coarse)
    # A pixel whose centre lies just at the cut may or may not take part.
    np.testing.assert_allclose(matrix.to_dense(), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(inside, share, rtol=0, atol=1e-6)


def test_weights_sum_to_one_at_borders_too() -> None:
    matrix, inside = blur_matrix(
        Placement((2.6, 4), (-1.3, 0.5)), PointSpread((2.0, 1.5), 0.3), (20, 30), (8, 7)
    )

    torch.testing.assert_close(matrix.to_dense().sum(1), torch.ones(56))
    assert (inside <= 1 + 1e-6).all()
    assert inside[0] < 0.9


def test_half_of_a_gaussian_on_the_edge_is_inside() -> None:
    # The first coarse pixel's centre lies on the upper edge, at an edge between fine pixels.
    placement = Placement((4, 4), (-2, 0))

    _, inside = blur_matrix(placement, PointSpread((1.5, 1.5)), (40, 40), (9, 9))

    assert inside.reshape(9, 9)[0, 4].item() == pytest.approx(0.5)
    assert inside.reshape(9, 9)[4, 4].item() == 1


def test_a_coarse_pixel_far_outside_sees_nothing() -> None:
    matrix, inside = blur_matrix(Placement((3, 3), (-30, 0)), PointSpread((1, 1)), (9, 9), (2, 2))

    assert matrix.to_dense().abs().sum() == 0
    assert inside.tolist() == [0, 0, 0, 0]


def test_blurring_keeps_the_order_of_bands_rows_and_columns() -> None:
    image = torch.arange(2 * 6 * 9, dtype=torch.float32).reshape(2, 6, 9)
    placement = Placement((3, 3))
    # So narrow that each coarse pixel sees the fine one in its middle alone.
    matrix, _ = blur_matrix(placement, PointSpread((0.1, 0.1)), (6, 9), (2, 3))

    torch.testing.assert_close(blurred(matrix, image, (2, 3)), image[:, 1::3, 1::3])


def test_a_shift_moves_what_is_seen_down_and_across() -> None:
    image = torch.arange(54, dtype=torch.float32).reshape(1, 6, 9)
    spread = PointSpread((0.1, 0.1), shift=(1, -1))
    matrix, _ = blur_matrix(Placement((3, 3)), spread, (6, 9), (2, 3))

    torch.testing.assert_close(blurred(matrix, image, (2, 3)), image[:, 2::3, 0::3])


def test_the_reach_covers_two_coarse_pixels() -> None:
    assert reach_in_pixels((4, 2.3)) == (8, 5)


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        (PointSpread((1, 3)), (3, 1, 0)),  # wide along the columns' direction: east
        (PointSpread((3, 1)), (3, 1, -90)),  # along the rows': north-south
        (PointSpread((2, 2)), (2, 2, 0)),
        # Equal deviations and a tilt t: the axes lie at 45 degrees, with variances 1 + t, 1 - t.
        # Both grow downwards and to the right: from north-west to south-east.
        (PointSpread((1, 1), 0.44), (1.2, math.sqrt(0.56), -45)),
        (PointSpread((1, 1), -0.44), (1.2, math.sqrt(0.56), 45)),
    ],
)
def test_the_axes_on_the_ground(spread: PointSpread, expected: tuple[float, float, float]) -> None:
    assert spread.axes() == pytest.approx(expected)


def test_the_axes_count_the_size_of_pixels() -> None:
    assert PointSpread((1, 1)).axes((10, 30)) == pytest.approx((30, 10, 0))
    assert PointSpread((3, 1)).axes((10, 30)) == pytest.approx((30, 30, 0))


def test_the_axes_are_those_of_the_covariance_matrix() -> None:
    spread = PointSpread((1.7, 2.9), 0.35)
    north, east = -1.7, 2.9  # rows count downwards
    covariance = np.array([[east**2, 0.35 * east * north], [0.35 * east * north, north**2]])
    values, vectors = np.linalg.eigh(covariance)
    direction = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))

    larger, smaller, angle = spread.axes()

    assert (larger, smaller) == pytest.approx((math.sqrt(values[1]), math.sqrt(values[0])))
    assert (angle - direction) % 180 == pytest.approx(0, abs=1e-9)
    assert -90 <= angle < 90


PRIOR = torch.tensor([[0.5, 0.3, 0.2, 0], [0, 0, 0.4, 0.6]], dtype=torch.float64)


def a_net(ratio: tuple[float, float] = (4, 3)) -> DegradationNet:
    return DegradationNet(PRIOR, ratio)


def test_a_new_net_says_what_is_expected() -> None:
    net = a_net()

    torch.testing.assert_close(net.response, PRIOR)
    assert net.departure().item() == pytest.approx(0, abs=1e-12)
    # Half of the largest value is reached at sqrt(2 ln 2) standard deviations, to both sides.
    half = math.sqrt(2 * math.log(2))
    assert net.spread().sigma == pytest.approx((4 / (2 * half), 3 / (2 * half)))
    assert net.spread().tilt == 0
    assert net.spread().shift == (0, 0)


@torch.no_grad()
def test_whatever_is_learnt_the_response_stays_one() -> None:
    net = a_net()
    net.log_response.normal_(0, 5, generator=torch.Generator().manual_seed(1))

    assert (net.response >= 0).all()
    torch.testing.assert_close(net.response.sum(1), torch.ones(2, dtype=torch.float64))
    assert (net.response[PRIOR == 0] == 0).all()


@torch.no_grad()
def test_the_departure_is_the_mean_divergence() -> None:
    net = a_net()
    net.log_response[0, :3] = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()
    divergence = 0.5 * math.log(0.5 / 0.2) + 0.2 * math.log(0.2 / 0.5)

    assert net.departure().item() == pytest.approx(divergence / 2)


@torch.no_grad()
def test_a_point_spread_stays_within_what_a_cut_gaussian_can_say() -> None:
    net = a_net()
    net.log_sigma.copy_(torch.tensor([-20.0, 20.0]))
    net.raw_tilt.fill_(1e6)
    net.raw_shift.copy_(torch.tensor([1e6, -1e6]))

    spread = net.spread()

    assert spread.sigma == pytest.approx((NARROWEST, WIDEST * 3))
    assert spread.tilt == pytest.approx(0.95)
    assert spread.shift == pytest.approx((4, -3))


@torch.no_grad()
def test_mixing_weighs_bands_then_scales() -> None:
    net = a_net()
    net.gain.copy_(torch.tensor([10.0, 1.0]))
    net.offset.copy_(torch.tensor([0.0, -3.0]))

    mixed = net.mixed(torch.tensor([[1, 2, 3, 4]], dtype=torch.float64))

    torch.testing.assert_close(mixed, torch.tensor([[17, 0.6]], dtype=torch.float64))


@torch.no_grad()
def test_the_net_blurs_as_the_matrix_does() -> None:
    # Narrow, so that nothing is left where one of them cuts the Gaussian and the other does not.
    net = a_net((4, 3))
    net.log_sigma.copy_(torch.tensor([1.2, 0.9]).log())
    net.raw_tilt.fill_(-0.4)
    net.raw_shift.copy_(torch.tensor([0.1, -0.2]))
    image = torch.rand(2, 24, 21, dtype=torch.float64)
    placement, coarse = Placement((4, 3), (0.3, 0.4)), (5, 6)
    matrix, _ = blur_matrix(placement, net.spread(), (24, 21), coarse)
    expected = blurred(matrix.double(), image, coarse)[:, 2, 3]

    centre = placement.centres(0, 1, 2)[0], placement.centres(1, 1, 3)[0]
    corner = torch.tensor([[0.5 - centre[0], 0.5 - centre[1]]], dtype=torch.float64)
    found = net.blurred(image[None], corner)[0]

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
