from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.consistency import Correction, chebyshev_steps
from comix_cli.sharpening.discrepancy import fit_correction, noise_of
from comix_cli.sharpening.pair_window import PairWindow
from comix_models.degradation import PointSpread
from comix_models.placement import Placement

SIDE = 30


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rounds", [1, 2, 5, 8])
def test_steps_are_those_of_chebyshev(rounds: int) -> None:
    share = torch.linspace(0.1, 1, 2001, dtype=torch.float64)
    left = (1 - chebyshev_steps(rounds).double()[:, None] * share).prod(0).abs()

    # No polynomial of this degree is smaller everywhere between 0.1 and 1.
    assert left.max().item() == pytest.approx(
        1 / math.cosh(rounds * math.acosh(1.1 / 0.9)), rel=1e-5
    )


def test_long_and_short_steps_take_turns() -> None:
    steps = chebyshev_steps(6)

    assert len(chebyshev_steps(0)) == 0
    assert ((steps[1:] - steps[:-1]).sign().diff().abs() == 2).all()


def test_noise_is_what_neighbouring_bands_do_not_tell() -> None:
    bands, pixels = 20, 4000
    smooth = torch.linspace(1, 3, bands)[:, None] * normal(1, pixels, seed=1)
    size = torch.linspace(0.1, 0.5, bands)[:, None]

    found = noise_of(smooth + size * normal(bands, pixels, seed=2))

    torch.testing.assert_close(found, size[:, 0], rtol=0.15, atol=0)
    assert noise_of(smooth).max() < 1e-3


@pytest.mark.parametrize("shape", [(20, 39), (4, 1000)])
def test_too_little_says_nothing_of_noise(shape: tuple[int, int]) -> None:
    assert noise_of(normal(*shape, seed=1)).isinf().all()


def a_window(hsi: Tensor) -> tuple[PairWindow, Blur]:
    """One whose fine pixels are its coarse ones, and a blur that changes nothing."""
    size = hsi.shape[1], hsi.shape[2]
    everywhere = torch.ones(size, dtype=torch.bool)
    window = PairWindow(hsi, hsi[:1], Placement((1, 1)), everywhere, everywhere)
    return window, Blur(window, PointSpread((0.05, 0.05)))


# Until 1.3 times the noise, which is 1, is left: of an error of 10 that is reached with 0.83, after
# four halvings (0.625); 0.8 percent of a size of 50 is less than the noise, and never reached.
@pytest.mark.parametrize(
    ("error", "size", "rounds"),
    [(0.5, 1000, 0), (1.5, 1000, 1), (10, 1000, 4), (100, 1000, 8), (10, 50, 16)],
)
def test_bands_are_corrected_until_noise_is_left(error: float, size: float, rounds: int) -> None:
    shape, noise = normal(1, SIDE, SIDE, seed=1), normal(8, SIDE, SIDE, seed=2)

    def sharpen(correction: Correction, window: PairWindow, _: Blur) -> Tensor:
        """Errors that all bands have halve with each round, and noise stays."""
        done = int((correction.steps[:, 0] != 0).sum())
        return window.hsi + error * 0.5**done * shape + noise

    window = a_window(torch.full((8, SIDE, SIDE), float(size)))
    found = fit_correction(sharpen, [window], torch.ones(8))

    assert found.steps.shape == (rounds, 8)
    torch.testing.assert_close(found.steps, Correction.uniform(torch.ones(8), rounds).steps)


def test_bands_of_one_scene_may_need_different_rounds() -> None:
    size = torch.tensor([1000.0] * 8)
    size[5] = 50
    shape, noise = normal(1, SIDE, SIDE, seed=1), normal(8, SIDE, SIDE, seed=2)

    def sharpen(correction: Correction, window: PairWindow, _: Blur) -> Tensor:
        done = (correction.steps != 0).sum(0)[:, None, None]
        return window.hsi + 1.5 * 0.5**done * shape + noise

    window = a_window(size[:, None, None].expand(-1, SIDE, SIDE).clone())
    found = fit_correction(sharpen, [window], torch.ones(8))

    assert (found.steps != 0).sum(0).tolist() == [1, 1, 1, 1, 1, 16, 1, 1]


def test_errors_like_noise_are_left_alone() -> None:
    hsi = 1000 + torch.zeros(6, SIDE, SIDE)
    noise = normal(6, SIDE, SIDE, seed=3)

    def sharpen(_: Correction, window: PairWindow, __: Blur) -> Tensor:
        return window.hsi + noise

    found = fit_correction(sharpen, [a_window(hsi)], torch.ones(6))

    assert found.steps.shape == (0, 6)
