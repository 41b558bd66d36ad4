"""What the sensor of the HSI makes of fine images on one window, and the way back."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from comix_cli.sharpening.pair_window import PairWindow
from comix_models.degradation import PointSpread, blur_matrix, blurred

# Share of a coarse pixel's Gaussian that must lie on valid fine pixels for it to be compared.
_COVERED = 0.99
# The same for it to be learnt from. Pixels along an edge still count: in a small scene they are
# many.
_TOLD = 0.8


class Blur:
    """The blur of one window, ready to be used in both directions.

    Attributes:
        usable: `(h, w)`: coarse pixels that are valid and see only valid fine ones.
        told: `(h, w)`: where most of what a coarse pixel sees is inside and valid.
    """

    def __init__(self, window: PairWindow, spread: PointSpread) -> None:
        self._fine, self._coarse, self._valid = window.fine, window.coarse, window.x_valid
        self._matrix, inside = blur_matrix(window.placement, spread, self._fine, self._coarse)
        self._share = self(window.x_valid[None].to(torch.float32))[0]
        covered = self._share * inside.reshape(self._coarse)
        self.usable = window.hsi_valid & (covered > _COVERED)
        self.told = covered >= _TOLD

    def __call__(self, image: Tensor) -> Tensor:
        """A fine image `(bands, H, W)` on the coarse grid, `(bands, h, w)`."""
        return blurred(self._matrix, image, self._coarse)

    def of_valid(self, image: Tensor) -> Tensor:
        """The same of the valid fine pixels alone; NaN where it cannot be told."""
        seen = self(image.where(self._valid, 0.0)) / self._share
        return seen.where(self.told, torch.nan)

    def back(self, image: Tensor, elsewhere: float) -> Tensor:
        """Each fine pixel's mean of the coarse ones that see it; `elsewhere` where none does."""
        total = (self._transposed @ image.flatten(1).T).T.reshape(-1, *self._fine)
        reached = self._reached.reshape(self._fine)
        return torch.where(reached > 0, total / reached.clamp_min(1e-12), elsewhere)

    @cached_property
    def _transposed(self) -> Tensor:
        """Made when it is asked for: learning goes only one way."""
        return self._matrix.t().to_sparse_csr()

    @cached_property
    def _reached(self) -> Tensor:
        return self._transposed @ torch.ones(self._coarse[0] * self._coarse[1])
