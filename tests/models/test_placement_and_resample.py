from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from comix_models.placement import Placement
from comix_models.resample import cubic_weights, upsampled

Array = NDArray[np.float64]
ratios = st.floats(1, 8, allow_nan=False)
offsets = st.floats(-6, 6, allow_nan=False)


def test_centres_lie_in_the_middle_of_coarse_pixels() -> None:
    placement = Placement((4, 2.5), (1, -0.5))

    assert placement.centres(0, 3) == [3, 7, 11]
    assert placement.centres(1, 2) == [0.75, 3.25]


def test_centres_may_begin_at_a_later_pixel() -> None:
    placement = Placement((4, 2.5), (1, -0.5))

    assert placement.centres(0, 1, first=2) == placement.centres(0, 3)[2:]


@pytest.mark.parametrize("ratio", [0.5, 0.0, -3.0, math.nan, math.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_ratio_that_makes_nothing_finer_is_refused(ratio: float, axis: int) -> None:
    both = [3.0, 3.0]
    both[axis] = ratio

    with pytest.raises(ValueError, match="makes nothing finer"):
        Placement((both[0], both[1]))


def test_pixels_of_one_size_are_allowed() -> None:
    assert Placement((1, 1)).centres(0, 2) == [0.5, 1.5]


@given(ratios, offsets, st.integers(0, 30), st.integers(0, 9))
def test_a_part_has_its_centres_where_the_whole_has_them(
    ratio: float, offset: float, fine: int, coarse: int
) -> None:
    whole = Placement((ratio, 2), (offset, 0))
    part = whole.part((fine, 0), (coarse, 0))

    expected = [centre - fine for centre in whole.centres(0, 4, first=coarse)]
    np.testing.assert_allclose(part.centres(0, 4), expected, rtol=0, atol=1e-9)


def keys(distance: float) -> float:
    """Keys' kernel with a = -1/2, as its two polynomials are printed."""
    d = abs(distance)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def by_loops(coarse: Array, placement: Placement, fine: tuple[int, int]) -> Array:
    """Bicubic interpolation, one fine pixel after the other."""
    result = np.zeros(fine)
    for j in range(fine[0]):
        for k in range(fine[1]):
            y = (j + 0.5 - placement.offset[0]) / placement.ratio[0] - 0.5
            x = (k + 0.5 - placement.offset[1]) / placement.ratio[1] - 0.5
            for r in range(math.floor(y) - 1, math.floor(y) + 3):
                for c in range(math.floor(x) - 1, math.floor(x) + 3):
                    row = min(max(r, 0), coarse.shape[0] - 1)
                    col = min(max(c, 0), coarse.shape[1] - 1)
                    result[j, k] += keys(y - r) * keys(x - c) * coarse[row, col]
    return result


@pytest.mark.parametrize(
    "placement",
    [
        Placement((3, 3)),
        Placement((2, 4), (1, -2)),
        Placement((2.7, 3.1), (0.4, -1.3)),
        Placement((1, 1), (0.5, 0.25)),
    ],
)
def test_interpolation_is_keys_convolution(placement: Placement) -> None:
    image = np.random.default_rng(0).normal(size=(5, 4))
    fine = (13, 15)

    found = upsampled(torch.from_numpy(image), placement, fine)

    np.testing.assert_allclose(found, by_loops(image, placement, fine), rtol=0, atol=1e-12)


@settings(max_examples=30)
@given(
    st.tuples(ratios, ratios),
    st.tuples(offsets, offsets),
    st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5)),
)
def test_a_plane_stays_a_plane_away_from_the_edges(
    ratio: tuple[float, float],
    offset: tuple[float, float],
    slope: tuple[float, float, float, float],
) -> None:
    placement, coarse, fine = Placement(ratio, offset), (9, 8), (40, 37)
    constant, down, across, both = slope

    def plane(y: Array, x: Array) -> Array:
        return constant + down * y[:, None] + across * x + both * y[:, None] * x

    places = [np.array(placement.centres(axis, coarse[axis])) for axis in (0, 1)]
    found = upsampled(torch.from_numpy(plane(places[0], places[1])), placement, fine).numpy()

    wanted = [np.arange(side, dtype=np.float64) + 0.5 for side in fine]
    # Two coarse pixels on each side of a fine one take part.
    inner = [
        (at >= place[1] + 1e-6) & (at <= place[-2] - 1e-6)
        for at, place in zip(wanted, places, strict=True)
    ]
    expected = plane(wanted[0], wanted[1])
    np.testing.assert_allclose(found[np.ix_(*inner)], expected[np.ix_(*inner)], rtol=0, atol=1e-8)


def test_a_constant_stays_constant_even_beyond_the_edges() -> None:
    found = upsampled(torch.full((2, 3, 3), 7.0), Placement((2.5, 2.5), (4.0, -9.0)), (20, 20))

    torch.testing.assert_close(found, torch.full((2, 20, 20), 7.0))


def test_weights_of_coarse_pixels_sum_to_one() -> None:
    weights = cubic_weights(Placement((3.3, 1), (-2, 0)), 0, 25, 6)

    assert weights.shape == (25, 6)
    torch.testing.assert_close(weights.sum(1), torch.ones(25, dtype=torch.float64))


def test_one_coarse_pixel_is_repeated() -> None:
    found = upsampled(torch.tensor([[[5.0]]]), Placement((4, 4)), (4, 4))

    torch.testing.assert_close(found, torch.full((1, 4, 4), 5.0))


def test_parts_with_a_margin_of_two_coarse_pixels_make_the_whole() -> None:
    placement = Placement((2.6, 3), (0.7, -1.1))
    image = torch.rand(2, 16, 9, dtype=torch.float64)
    whole = upsampled(image, placement, (40, 24))

    made = []
    for top, bottom in ((0, 17), (17, 40)):
        # The coarse rows that the fine ones need, two more on each side.
        at = [(row + 0.5 - 0.7) / 2.6 - 0.5 for row in (top, bottom - 1)]
        first, last = max(0, math.floor(at[0]) - 1), min(15, math.floor(at[1]) + 2)
        part = placement.part((top, 0), (first, 0))
        made.append(upsampled(image[:, first : last + 1], part, (bottom - top, 24)))

    torch.testing.assert_close(torch.cat(made, 1), whole)
