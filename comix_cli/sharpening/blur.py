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

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """The same of images that lie pixel by pixel: `(H W, bands)` to `(h w, bands)`."""
        return self._matrix @ pixels

    def back(self, pixels: Tensor) -> Tensor:
        """Each fine pixel's mean of the coarse ones that see it; 0 where none does.

        Args:
            pixels: `(h w, bands)`.

        Returns:
            `(H W, bands)`.
        """
        return self._back @ pixels

    def of_valid(self, image: Tensor) -> Tensor:
        """The same of the valid fine pixels alone; NaN where it cannot be told."""
        seen = self(image.where(self._valid, 0.0)) / self._share
        return seen.where(self.told, torch.nan)

    @cached_property
    def _back(self) -> Tensor:
        """Made when it is asked for: learning goes only one way."""
        transposed = self._matrix.t().to_sparse_csr()
        starts, values = transposed.crow_indices(), transposed.values()
        reached = transposed @ torch.ones(transposed.shape[1], 1)
        each = reached[:, 0].repeat_interleave(starts.diff().to(torch.int64))
        columns = transposed.col_indices()
        return torch.sparse_csr_tensor(
            starts, columns, values / each.clamp_min(1e-12), transposed.shape
        )
