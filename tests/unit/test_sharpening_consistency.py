from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.consistency import Correction, lift_of, made_consistent
from comix_cli.sharpening.pair_window import PairWindow
from comix_models.degradation import PointSpread
from comix_models.placement import Placement

BANDS, RATIO, COARSE = 3, 4, 12
FINE = RATIO * COARSE
SPREAD = PointSpread((1.7, 1.7))


def uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def a_ground(seed: int) -> Tensor:
    smooth = F.interpolate(uniform(1, BANDS, 16, 16, seed=seed), size=(FINE, FINE), mode="bicubic")
    return 0.2 + smooth[0].clamp_min(0) + 0.1 * uniform(BANDS, FINE, FINE, seed=seed + 1)


def a_window(hsi: Tensor) -> PairWindow:
    """One that looks at a coarse image, whole."""
    coarse = hsi.shape[-2], hsi.shape[-1]
    fine = RATIO * coarse[0], RATIO * coarse[1]
    return PairWindow(
        hsi=hsi,
        x=torch.ones(1, *fine),
        placement=Placement((RATIO, RATIO)),
        hsi_valid=torch.ones(coarse, dtype=torch.bool),
        x_valid=torch.ones(fine, dtype=torch.bool),
    )


def a_pair() -> tuple[Tensor, PairWindow, Blur]:
    """A sharp image, the window whose HSI is that image blurred, and the blur."""
    sharp = a_ground(1)
    empty = a_window(torch.zeros(BANDS, COARSE, COARSE))
    blur = Blur(empty, SPREAD)
    return sharp, replace(empty, hsi=blur(sharp)), blur


def consistent(sharp: Tensor, window: PairWindow, blur: Blur) -> Tensor:
    correction = Correction.uniform(lift_of(window.hsi[:, window.hsi_valid]), 8)
    return made_consistent(sharp, window.hsi, correction, window, blur)


def error(sharp: Tensor, window: PairWindow, blur: Blur) -> float:
    """Root mean square error of the blurred image, as a share of the mean."""
    wrong = (blur(sharp) - window.hsi)[:, blur.usable]
    return float(wrong.square().mean().sqrt() / window.hsi.mean())


def test_an_image_that_explains_the_coarse_one_stays() -> None:
    sharp, window, blur = a_pair()

    torch.testing.assert_close(consistent(sharp, window, blur), sharp, rtol=0, atol=1e-5)


def test_an_image_that_is_nearly_right_is_made_to_explain_the_coarse_one() -> None:
    sharp, window, blur = a_pair()
    near = sharp + 0.2 * (a_ground(7) - sharp)
    before = error(near, window, blur)
    assert before > 0.05

    after = error(consistent(near, window, blur), window, blur)

    assert after < 0.01
    assert after < before / 10


def test_an_image_of_another_place_is_made_to_explain_most() -> None:
    # Rounds are few on purpose: more of them would put the coarse image's noise into the sharp one.
    _, window, blur = a_pair()
    other = a_ground(7)

    after = error(consistent(other, window, blur), window, blur)

    assert after < 0.03
    assert after < error(other, window, blur) / 10


def test_an_image_in_other_units_is_brought_back() -> None:
    sharp, window, blur = a_pair()

    found = consistent(3 * sharp, window, blur)

    # At the borders, where no coarse pixel may be used, the units stay wrong.
    assert error(found, window, blur) < 0.02
    inner = (slice(None), slice(16, -16), slice(16, -16))
    assert (found - sharp)[inner].abs().mean() < 0.02 * sharp.mean()


def test_darkness_stays_dark_and_nothing_falls_below_zero() -> None:
    sharp, window, blur = a_pair()
    shadow = a_ground(7)
    shadow[:, 20:22, 20:22] = 0
    shadow[:, 30, 30] = -1

    found = consistent(shadow, window, blur)

    least = 0.01 * window.hsi.mean()  # what is added before quotients are taken
    assert found[:, 20:22, 20:22].max() < 0.1 * sharp.mean()
    assert found.min() > -least * 1.1
    assert found.mean() == pytest.approx(float(sharp.mean()), rel=0.02)


def test_a_band_around_zero_keeps_what_it_has_below() -> None:
    sharp, window, blur = a_pair()
    middle = sharp.mean((1, 2), keepdim=True)
    around = replace(window, hsi=window.hsi - middle)  # the blur of `sharp - middle`
    near = sharp - middle + 0.2 * (a_ground(7) - sharp)
    size = around.hsi.abs().mean()

    found = consistent(near, around, blur)

    wrong = (blur(found) - around.hsi)[:, blur.usable].square().mean().sqrt()
    assert wrong < 0.05 * size
    assert found.mean().abs() < 0.05 * size


def test_values_are_lifted_by_what_lies_below_zero() -> None:
    above = torch.linspace(1, 3, 2001)
    below = torch.linspace(-1, 1, 2001)

    lift = lift_of(torch.stack([above, below]))

    # A hundredth of the mean size, 2 and 1/2; and two outliers of 2001 may lie lower.
    torch.testing.assert_close(lift, torch.tensor([0.02, 0.005 + 0.998]), rtol=0, atol=1e-5)


def test_each_band_is_corrected_as_often_as_it_is_said_to() -> None:
    _, window, blur = a_pair()
    near = a_ground(7)
    lift = lift_of(window.hsi.flatten(1))
    twice, often = Correction.uniform(lift, 2).steps, Correction.uniform(lift, 4).steps
    steps = torch.zeros(4, BANDS)
    steps[:2, 1], steps[:, 2] = twice[:, 1], often[:, 2]

    found = made_consistent(near, window.hsi, Correction(lift, steps), window, blur)

    torch.testing.assert_close(found[0], near[0], rtol=0, atol=1e-6)
    for band, alike in ((1, twice), (2, often)):
        other = made_consistent(near, window.hsi, Correction(lift, alike), window, blur)
        torch.testing.assert_close(found[band], other[band])


def test_the_images_given_are_not_changed() -> None:
    _, window, blur = a_pair()
    other = a_ground(7)
    kept, hsi = other.clone(), window.hsi.clone()

    consistent(other, window, blur)

    assert torch.equal(other, kept)
    assert torch.equal(window.hsi, hsi)


def test_where_the_coarse_image_is_invalid_nothing_is_corrected() -> None:
    _, window, _ = a_pair()
    nowhere = replace(window, hsi_valid=torch.zeros(COARSE, COARSE, dtype=torch.bool))
    nowhere.hsi_valid[0, 0] = True  # so that the bands have a mean
    other = a_ground(7)

    found = consistent(other, nowhere, Blur(nowhere, SPREAD))

    # Bicubic and Gaussian weights of the one corner pixel reach a few coarse pixels.
    far = (slice(None), slice(16, None), slice(16, None))
    torch.testing.assert_close(found[far], other[far], rtol=0, atol=1e-5)


def test_a_pixel_is_usable_where_both_images_are_valid_in_all_its_reach() -> None:
    window = a_window(torch.ones(BANDS, COARSE, COARSE))
    window.hsi_valid[6, 2] = False
    window.x_valid[6 * RATIO + 1, 8 * RATIO + 1] = False

    usable = Blur(window, PointSpread((1.0, 1.0))).usable

    # The Gaussian is narrow, so that pixels at the borders keep 99 % but for their own half.
    assert not usable[6, 2]
    assert not usable[6, 8]
    assert usable[6, 5]
    assert usable[2, 8]
    assert not usable[0].any()


def test_what_goes_back_is_the_mean_of_the_coarse_pixels_that_see_a_fine_one() -> None:
    # So narrow that each coarse pixel of three by three sees its middle alone.
    window = PairWindow(
        hsi=torch.tensor([[[2.0, 5.0]]]),
        x=torch.ones(1, 3, 6),
        placement=Placement((3, 3)),
        hsi_valid=torch.ones(1, 2, dtype=torch.bool),
        x_valid=torch.ones(3, 6, dtype=torch.bool),
    )
    blur = Blur(window, PointSpread((0.05, 0.05)))

    found = blur.back(window.hsi.flatten(1).T).T.reshape(1, 3, 6)

    expected = torch.zeros(1, 3, 6)
    # Weights of the others are too small for float32.
    expected[0, 1, 1], expected[0, 1, 4] = 2.0, 5.0
    torch.testing.assert_close(found, expected)


def test_what_goes_back_is_weighted_as_it_is_seen() -> None:
    window = a_window(uniform(BANDS, 3, 3, seed=3))
    blur = Blur(window, SPREAD)
    # Each column is what the coarse pixels see of one fine pixel.
    size = RATIO * 3
    points = torch.eye(size * size).reshape(-1, size, size)
    matrix = blur(points).flatten(1)

    found = blur.back(window.hsi.flatten(1).T).T

    expected = window.hsi.flatten(1) @ matrix.T / matrix.sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_pixel_by_pixel_it_is_the_same_blur() -> None:
    sharp, window, blur = a_pair()

    found = blur.of_pixels(sharp.flatten(1).T.contiguous())

    torch.testing.assert_close(found.T.reshape(window.hsi.shape), blur(sharp))


def test_a_constant_stays_constant_in_both_directions() -> None:
    _, _, blur = a_pair()

    torch.testing.assert_close(
        blur(torch.full((2, FINE, FINE), 3.0)), torch.full((2, COARSE, COARSE), 3.0)
    )
    torch.testing.assert_close(
        blur.back(torch.full((COARSE**2, 2), 3.0)), torch.full((FINE**2, 2), 3.0)
    )


def test_a_lake_far_below_all_others_spoils_nothing() -> None:
    # So few pixels that they are left out of what can be told, as over-corrected water is.
    sharp, window, blur = a_pair()
    sharp, hsi = sharp.clone(), window.hsi.clone()
    sharp[1, 8:24, 8:24], hsi[1, 2:6, 2:6] = -5, -5
    lift = lift_of(window.hsi.flatten(1))

    found = made_consistent(sharp, hsi, Correction.uniform(lift, 8), window, blur)

    assert found.isfinite().all()
    assert found[1, 12:20, 12:20].max() <= 0
    far = (slice(None), slice(34, None), slice(34, None))
    torch.testing.assert_close(found[far], sharp[far], rtol=0.02, atol=0.02)


def test_a_band_that_is_left_alone_keeps_its_values_whatever_they_are() -> None:
    sharp, window, blur = a_pair()
    sharp = sharp.clone()
    sharp[0, 20, 20] = -3
    steps = Correction.uniform(torch.ones(BANDS), 2).steps.clone()
    steps[:, 0] = 0

    found = made_consistent(
        sharp, window.hsi, Correction(lift_of(window.hsi.flatten(1)), steps), window, blur
    )

    assert torch.equal(found[0], sharp[0])
