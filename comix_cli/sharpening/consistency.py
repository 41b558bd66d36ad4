"""A sharp image that gives the coarse one again when it is blurred."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.pair_window import PairWindow
from comix_models.resample import upsampled

# Least value that takes part in a quotient, as a share of a band's mean size: below it, quotients
# are mostly noise.
_LEAST = 1e-2
# The share of a band's pixels that may lie below what can be told: they are outliers.
_BELOW = 1e-3
_MOST = 4.0
# Blurring what was given back leaves between this share of a pattern (one that changes from coarse
# pixel to coarse pixel) and all of it (a smooth one).
_LEFT_OF_PATTERNS = 0.1


@dataclass(frozen=True)
class Correction:
    """How far each band is corrected.

    Attributes:
        lift: `(bands,)`, see `lift_of`.
        steps: `(rounds, bands)`: what the change of each round is multiplied by; 0 leaves a band.
    """

    lift: Tensor
    steps: Tensor

    @classmethod
    def uniform(cls, lift: Tensor, rounds: int) -> Correction:
        """All bands alike."""
        return cls(lift, chebyshev_steps(rounds)[:, None].expand(-1, len(lift)))

    def of(self, bands: slice) -> Correction:
        """That of some bands."""
        return Correction(self.lift[bands], self.steps[:, bands])


def chebyshev_steps(rounds: int) -> Tensor:
    """Lengths of steps after which smooth and fine patterns are corrected alike: `(rounds,)`.

    Roots of Chebyshev's polynomial, long and short steps in turn (Golub, Varga 1961,
    doi:10.1007/BF01386013). Steps of 1, as in Richardson-Lucy deconvolution, need twice as many for
    the fine ones.
    """
    middle, half = (1 + _LEFT_OF_PATTERNS) / 2, (1 - _LEFT_OF_PATTERNS) / 2
    turns = torch.arange(rounds, dtype=torch.float64)
    steps = 1 / (middle + half * torch.cos(torch.pi * (2 * turns + 1) / (2 * max(rounds, 1))))
    in_turn = [i // 2 if i % 2 == 0 else rounds - 1 - i // 2 for i in range(rounds)]
    return steps[in_turn].float()


def lift_of(pixels: Tensor) -> Tensor:
    """What has to be added to each band so that quotients of its values say something.

    Corrections are factors, so nothing below 0 could be corrected. Bands that noise or the removal
    of the atmosphere has left around 0 are lifted by what they have below it; the higher, the more
    a factor acts like a sum.

    Args:
        pixels: `(bands, n)` of the HSI.

    Returns:
        `(bands,)`, above 0.
    """
    lowest = pixels.kthvalue(1 + int(_BELOW * pixels.shape[1]), dim=1).values
    return (_LEAST * pixels.abs().mean(1)).clamp_min(1e-12) + (-lowest).clamp_min(0)


def made_consistent(
    sharp: Tensor, hsi: Tensor, correction: Correction, window: PairWindow, blur: Blur
) -> Tensor:
    """Correct some bands of a sharp image until they explain the coarse one.

    What the coarse image has more or less is given to the fine pixels in proportion to what they
    have already, as in Richardson-Lucy deconvolution: shadows stay dark and spectra keep their
    shape.

    Args:
        sharp: `(bands, H, W)`.
        hsi: `(bands, h, w)`: the same bands of the coarse image.
        correction: How far.
        window: The window that both are of.
        blur: The window's blur.
    """
    wrong = correction.steps.any(0)
    if not wrong.any():
        return sharp
    least, usable = correction.lift[:, None], blur.usable.reshape(1, -1)
    wanted = (hsi.flatten(1) + least).clamp_min_(0)
    result = (sharp.flatten(1) + least).clamp_min_(0)
    # Smooth first: what is wrong over several coarse pixels.
    quotient = _quotient(wanted, blur(result.reshape(sharp.shape)).flatten(1), usable)
    quotient = torch.where(wrong[:, None], quotient, 1.0)
    smooth = upsampled(quotient.reshape(hsi.shape), window.placement, window.fine)
    result *= smooth.clamp_(1 / _MOST, _MOST).flatten(1)
    # Then pixel by pixel, with all bands of one side by side: products with sparse matrices and
    # factors run along memory.
    pixels, wanted, usable = result.T.contiguous(), wanted.T.contiguous(), usable.T
    for step in correction.steps:
        change = _quotient(wanted, blur.of_pixels(pixels), usable).sub_(1).mul_(step)
        pixels *= blur.back(change).add_(1).clamp_(1 / _MOST, _MOST)
    corrected = (pixels.T - least).reshape(sharp.shape)
    return torch.where(wrong[:, None, None], corrected, sharp)


def _quotient(wanted: Tensor, found: Tensor, usable: Tensor) -> Tensor:
    """What has to be multiplied by, within limits; 1 where it cannot be told."""
    # Nothing of nothing is right as it is.
    quotient = (wanted / found).nan_to_num_(1.0, _MOST).clamp_(1 / _MOST, _MOST)
    return torch.where(usable, quotient, 1.0)
