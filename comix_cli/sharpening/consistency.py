"""A sharp image that gives the coarse one again when it is blurred."""

from __future__ import annotations

import torch
from torch import Tensor

from comix_cli.sharpening.sharpener import PairWindow
from comix_models.degradation import PointSpread, blur_matrix, blurred
from comix_models.resample import upsampled

# Rounds of correction; errors at the coarse image's own resolution halve with each.
_ROUNDS = 8
# Least value that takes part in a quotient, as a share of a band's mean: below it, quotients are
# mostly noise.
_LEAST = 1e-2
# Share of a coarse pixel's Gaussian that must lie on valid fine pixels.
_COVERED = 0.99
_MOST = 4.0


class Blur:
    """The blur of one window, ready to be used in both directions.

    Attributes:
        usable: `(h, w)`: coarse pixels that are valid and see only valid fine ones.
    """

    def __init__(self, window: PairWindow, spread: PointSpread) -> None:
        self._fine, self._coarse = window.fine, window.coarse
        self._matrix, inside = blur_matrix(window.placement, spread, self._fine, self._coarse)
        covered = (self._matrix @ window.x_valid.flatten().to(torch.float32)).reshape(self._coarse)
        covered = covered * inside.reshape(self._coarse)
        self.usable = window.hsi_valid & (covered > _COVERED)
        self._back = self._matrix.t().to_sparse_csr()
        ones = torch.ones(self._coarse[0] * self._coarse[1])
        self._reached = self._back @ ones

    def __call__(self, image: Tensor) -> Tensor:
        """A fine image `(bands, H, W)` on the coarse grid, `(bands, h, w)`."""
        return blurred(self._matrix, image, self._coarse)

    def back(self, image: Tensor, elsewhere: float) -> Tensor:
        """Each fine pixel's mean of the coarse ones that see it; `elsewhere` where none does."""
        total = (self._back @ image.flatten(1).T).T.reshape(-1, *self._fine)
        reached = self._reached.reshape(self._fine)
        return torch.where(reached > 0, total / reached.clamp_min(1e-12), elsewhere)


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
