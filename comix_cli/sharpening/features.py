"""What the network sees of a pair: shapes of spectra, standardised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from comix_cli.sharpening.pair_window import PairWindow
from comix_models.resample import upsampled
from comix_models.spectral_prior import SpectralPrior

MOST_COMPONENTS = 12
# Coarse pixels for each component that is estimated from them.
_PIXELS_PER_COMPONENT = 4
# Numbers of a sharp image that are worked on at once (fastest so, and it bounds memory: there are a
# few copies of them), and bands whatever that takes: products with sparse matrices want some.
_AT_ONCE, _FEWEST_BANDS = 1 << 21, 16


@dataclass(frozen=True)
class Features:
    """Means and scales, found once for a scene.

    Attributes:
        prior: Tells shape and brightness apart.
        mean: `(bands,)` mean shape.
        components: `(bands, k)` principal components of shapes, times their standard deviations.
        x_mean: `(channels,)` mean shape in the other sensor's channels.
        x_scale: `(channels,)` its standard deviation.
        brightness: Mean brightness, in units of the HSI.
    """

    prior: SpectralPrior
    mean: Tensor
    components: Tensor
    x_mean: Tensor
    x_scale: Tensor
    brightness: float

    @classmethod
    def learn(cls, prior: SpectralPrior, hsi: Tensor) -> Features:
        """From coarse pixels `(bands, n)`."""
        shapes = prior.shape(hsi).double()
        mean = shapes.mean(1)
        count = max(1, min(MOST_COMPONENTS, len(hsi), hsi.shape[1] // _PIXELS_PER_COMPONENT))
        vectors, values, _ = torch.linalg.svd(shapes - mean[:, None], full_matrices=False)
        deviations = values[:count] / hsi.shape[1] ** 0.5
        seen = prior.seen(hsi)
        x_shapes = seen / prior.brightness(seen)
        return cls(
            prior,
            mean.float(),
            (vectors[:, :count] * deviations.clamp_min(1e-9)).float(),
            x_shapes.mean(1),
            x_shapes.std(1).clamp_min(1e-6),
            float(prior.brightness(seen).mean()),
        )

    def of_hsi(self, hsi: Tensor) -> Tensor:
        """`(bands, h, w)` to `(k, h, w)`."""
        centred = self.prior.shape(hsi) - self.mean[:, None, None]
        scale = self.components.square().sum(0)
        told: Tensor = torch.tensordot((self.components / scale).T, centred, 1)
        return told

    def of_x(self, x: Tensor) -> Tensor:
        """`(channels, H, W)` to `(channels + 1, H, W)`: shape, and logarithm of brightness."""
        bright = self.prior.brightness(x)
        shape = (x / bright - self.x_mean[:, None, None]) / self.x_scale[:, None, None]
        return torch.cat([shape, (bright / self.brightness).log()])


def expected(prior: SpectralPrior, window: PairWindow) -> Iterator[tuple[slice, Tensor]]:
    """The prior's sharp image of a window, a few bands at a time so that little is held at once.

    Yields:
        Which bands, and `(these bands, H, W)`.
    """
    place, fine = window.placement, window.fine
    seen = upsampled(prior.seen(window.hsi), place, fine)
    step = max(_FEWEST_BANDS, _AT_ONCE // (fine[0] * fine[1]))
    for first in range(0, len(window.hsi), step):
        bands = slice(first, first + step)
        local = upsampled(window.hsi[bands], place, fine)
        yield bands, prior.of_bands(bands, local, seen, window.x)
