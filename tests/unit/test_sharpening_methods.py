"""Known methods of sharpening on scenes whose sharp image is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from comix_cli.errors import TrainingError
from comix_cli.sharpening.bicubic import Bicubic
from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.cnmf import fit_cnmf, purest
from comix_cli.sharpening.gsa import fit_gsa
from comix_cli.sharpening.pair_window import PairWindow
from comix_cli.sharpening.sharpener import Lesson, Sharpener
from comix_models.degradation import PointSpread, blur_matrix, blurred
from comix_models.placement import Placement

RATIO = 4
SPREAD = PointSpread((1.7, 1.7))
FITS: dict[str, Callable[[Lesson], Sharpener]] = {
    "bicubic": lambda _: Bicubic(),
    "gsa": fit_gsa,
    "cnmf": fit_cnmf,
}


def patchwork(count: int, side: int, seed: int = 0) -> Tensor:
    """`(count, side, side)`: fields of 6 pixels, each mostly of one material; shares sum to 1."""
    torch.manual_seed(seed)
    cells = -(-side // 6)
    pure = torch.rand(count, cells, cells) ** 4 + 1e-3
    fields = (pure / pure.sum(0)).repeat_interleave(6, 1).repeat_interleave(6, 2)
    return fields[:, :side, :side]


def pair(sharp: Tensor, response: Tensor, ratio: int = RATIO) -> Lesson:
    """What two noiseless sensors make of a sharp image."""
    fine = (sharp.shape[1], sharp.shape[2])
    coarse = (fine[0] // ratio, fine[1] // ratio)
    placement = Placement((ratio, ratio))
    matrix, _ = blur_matrix(placement, SPREAD, fine, coarse)
    window = PairWindow(
        blurred(matrix, sharp, coarse),
        torch.tensordot(response, sharp, 1),
        placement,
        torch.ones(coarse, dtype=torch.bool),
        torch.ones(fine, dtype=torch.bool),
    )
    return Lesson([window], response, SPREAD)


def sharpened(method: str, lesson: Lesson) -> Tensor:
    return image(FITS[method](lesson), lesson.windows[0])


def image(learnt: Sharpener, window: PairWindow) -> Tensor:
    return learnt.sharpen(window, Blur(window, SPREAD))


def angle(one: Tensor, other: Tensor) -> float:
    """Mean spectral angle in degrees, away from the edges."""
    one, other = (image[:, 8:-8, 8:-8].flatten(1).double() for image in (one, other))
    cosine = torch.cosine_similarity(one, other, 0).clamp(-1, 1)
    return float(torch.rad2deg(torch.arccos(cosine)).mean())


def mixture(
    bands: int = 12, materials: int = 3, channels: int = 4, side: int = 64
) -> tuple[Tensor, Tensor]:
    """A sharp image of a few materials, and a response whose channels each see some bands."""
    torch.manual_seed(1)
    spectra = torch.rand(bands, materials) + 0.05
    response = torch.zeros(channels, bands)
    for channel, group in enumerate(torch.arange(bands).tensor_split(channels)):
        response[channel, group] = 1 / len(group)
    return torch.tensordot(spectra, patchwork(materials, side), 1), response


def test_bicubic_ignores_the_other_sensor_and_keeps_planes() -> None:
    rows, cols = torch.meshgrid(torch.arange(40.0), torch.arange(48.0), indexing="ij")
    plane = (3 + 0.5 * rows - 0.25 * cols)[None]
    window = pair(plane, torch.ones(1, 1)).windows[0]
    dark = replace(window, x=torch.zeros_like(window.x))
    sharp = image(Bicubic(), dark)
    inside = (slice(None), slice(16, -16), slice(16, -16))
    torch.testing.assert_close(sharp[inside], plane[inside])


def test_gsa_is_exact_where_every_band_is_a_multiple_of_one_channel() -> None:
    grey = 1 + patchwork(2, 64)[:1]
    factors = torch.tensor([0.5, 1.0, 3.0])[:, None, None]
    lesson = pair(factors * grey, torch.tensor([[0.0, 1.0, 0.0]]))
    torch.testing.assert_close(sharpened("gsa", lesson), factors * grey, rtol=1e-4, atol=1e-4)


def test_gsa_takes_each_band_s_detail_from_the_channel_that_it_resembles() -> None:
    first, second = 1 + patchwork(3, 64)[:2]
    sharp = torch.stack([first, 2 * second, 3 * first, second])
    response = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    lesson = pair(sharp, response)
    assert fit_gsa(lesson).channel.tolist() == [0, 1, 0, 1]
    torch.testing.assert_close(sharpened("gsa", lesson), sharp, rtol=1e-3, atol=1e-3)


def test_cnmf_finds_the_spectra_of_a_few_materials() -> None:
    sharp, response = mixture()
    lesson = pair(sharp, response)
    assert angle(sharpened("bicubic", lesson), sharp) > 5
    assert angle(sharpened("gsa", lesson), sharp) < 3
    assert angle(sharpened("cnmf", lesson), sharp) < 1.5


@pytest.mark.parametrize("method", FITS)
def test_nothing_to_sharpen_stays_as_it_is(method: str) -> None:
    spectrum = torch.tensor([100.0, 0.0, 2500.0, 40.0])[:, None, None]
    sharp = spectrum.expand(4, 32, 32)
    lesson = pair(sharp, torch.full((2, 4), 0.25))
    torch.testing.assert_close(sharpened(method, lesson), sharp, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("method", FITS)
def test_an_image_of_zeros_stays_zero(method: str) -> None:
    lesson = pair(torch.zeros(4, 32, 32), torch.full((2, 4), 0.25))
    assert sharpened(method, lesson).abs().max() == 0


@pytest.mark.parametrize("method", FITS)
def test_one_panchromatic_channel_helps(method: str) -> None:
    sharp, _ = mixture()
    lesson = pair(sharp, torch.full((1, 12), 1 / 12))
    error = (sharpened(method, lesson) - sharp).square().mean().sqrt()
    floor = (sharpened("bicubic", lesson) - sharp).square().mean().sqrt()
    assert torch.isfinite(error)
    assert method == "bicubic" or error < floor


@pytest.mark.parametrize("method", FITS)
def test_halves_with_margins_are_the_whole(method: str) -> None:
    sharp, response = mixture()
    lesson = pair(sharp, response)
    whole, learnt = lesson.windows[0], FITS[method](lesson)
    left = cut(whole, 0, 11)
    right = cut(whole, 5, 16)
    halves = [image(learnt, left)[:, :, :32], image(learnt, right)[:, :, 12:]]
    torch.testing.assert_close(torch.cat(halves, 2), image(learnt, whole), rtol=1e-4, atol=1e-5)


def cut(window: PairWindow, begin: int, end: int) -> PairWindow:
    """Some coarse columns of a window and the fine ones that they cover."""
    coarse, fine = slice(begin, end), slice(begin * RATIO, end * RATIO)
    return PairWindow(
        window.hsi[:, :, coarse],
        window.x[:, :, fine],
        window.placement.part((0, fine.start), (0, coarse.start)),
        window.hsi_valid[:, coarse],
        window.x_valid[:, fine],
    )


@pytest.mark.parametrize("method", ["gsa", "cnmf"])
def test_what_is_invalid_teaches_nothing(method: str) -> None:
    sharp, response = mixture()
    lesson = pair(sharp, response)
    clean = lesson.windows[0]
    hsi, x = clean.hsi.clone(), clean.x.clone()
    hsi_valid, x_valid = clean.hsi_valid.clone(), clean.x_valid.clone()
    hsi[:, 2:4, 2:4], hsi_valid[2:4, 2:4] = 1e6, False
    x[:, 40:48, 40:48], x_valid[40:48, 40:48] = -1e6, False
    spoilt = Lesson([PairWindow(hsi, x, clean.placement, hsi_valid, x_valid)], response, SPREAD)
    learnt = image(FITS[method](spoilt), clean)
    assert angle(learnt, sharp) < 3


@pytest.mark.parametrize("method", ["gsa", "cnmf"])
def test_a_lesson_without_pixels_says_so(method: str) -> None:
    lesson = pair(*mixture())
    blind = replace(lesson.windows[0], x_valid=torch.zeros(64, 64, dtype=torch.bool))
    with pytest.raises(TrainingError, match="no pixel of the hyperspectral image"):
        FITS[method](replace(lesson, windows=[blind]))


def test_cnmf_takes_negative_values_as_zero() -> None:
    sharp, response = mixture()
    lesson = pair(sharp, response)
    whole = lesson.windows[0]
    learnt = fit_cnmf(lesson)
    noisy, cleared = whole.hsi.clone(), whole.hsi.clone()
    noisy[:, 5, 5], cleared[:, 5, 5] = -0.3, 0.0
    result = image(learnt, replace(whole, hsi=noisy))
    assert result.min() >= 0
    torch.testing.assert_close(result, image(learnt, replace(whole, hsi=cleared)))
    taught = fit_cnmf(replace(lesson, windows=[replace(whole, hsi=noisy)]))
    assert torch.isfinite(taught.endmembers).all()
    assert taught.endmembers.min() >= 0


def test_gsa_gives_a_window_of_negative_values_back() -> None:
    sharp, response = mixture()
    lesson = pair(sharp - 5, response)
    torch.testing.assert_close(
        sharpened("gsa", lesson) + 5,
        sharpened("gsa", pair(sharp, response)),
        rtol=1e-3,
        atol=1e-3,
    )


def test_the_purest_pixels_are_the_corners_of_all_mixtures() -> None:
    corners = torch.tensor([[4.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 2.0], [1.0, 1.0, 1.0]])
    shares = torch.distributions.Dirichlet(torch.full((3,), 2.0)).sample((50,)).T
    pixels = torch.cat([corners @ shares, corners], 1)
    found = purest(pixels, 40)
    assert found.shape == (4, 3)
    torch.testing.assert_close(found.sort(1).values, corners.sort(1).values)


def test_cnmf_gets_by_with_fewer_pixels_than_endmembers() -> None:
    sharp, response = mixture(side=24)
    learnt = fit_cnmf(pair(sharp, response))
    assert learnt.endmembers.shape[1] <= 4 * 4
    assert learnt.mixed.shape == (4, learnt.endmembers.shape[1])
