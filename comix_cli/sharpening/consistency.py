"""A sharp image that gives the coarse one again when it is blurred."""

from __future__ import annotations

import torch
from torch import Tensor

from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.sharpener import PairWindow
from comix_models.resample import upsampled

# Rounds of correction; errors at the coarse image's own resolution halve with each.
_ROUNDS = 8
# Least value that takes part in a quotient, as a share of a band's mean: below it, quotients are
# mostly noise.
_LEAST = 1e-2
_MOST = 4.0


def made_consistent(sharp: Tensor, window: PairWindow, blur: Blur) -> Tensor:
    """Correct a sharp image until it explains the coarse one.

    What the coarse image has more or less is given to the fine pixels in proportion to what they
    have already, as in Richardson-Lucy deconvolution: shadows stay dark and spectra keep their
    shape.

    Args:
        sharp: `(bands, H, W)`.
        window: The window it is of.
        blur: The window's blur.
    """
    least = _LEAST * window.hsi[:, window.hsi_valid].mean(1).clamp_min(1e-12)[:, None, None]
    result = sharp.clamp_min(0) + least
    wanted = (window.hsi + least).clamp_min(0)
    for turn in range(_ROUNDS + 1):
        quotient = (wanted / blur(result)).clamp(1 / _MOST, _MOST)
        quotient = torch.where(blur.usable, quotient, 1.0)
        if turn == 0:  # smooth first: what is wrong over several coarse pixels
            factor = upsampled(quotient, window.placement, window.fine).clamp(1 / _MOST, _MOST)
        else:
            factor = blur.back(quotient, 1.0)
        result *= factor
    return result - least
