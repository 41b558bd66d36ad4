"""The sharp spectrum that is most likely before any learning: a conditional Gaussian of shapes.

Light and shadow change how bright a spectrum is, and hardly its shape; so all of this is said of
shapes, spectra divided by their brightness in the other sensor's channels, and the answer scales
with the fine image as the ground does. A fine pixel's shape is taken to scatter around the shape
of the coarse image there, as shapes scatter around their blurred neighbourhood in the coarse image
itself. Given what the other sensor saw, its expectation is linear: the conditional mean of a
Gaussian (as in Hardie, Eismann, Wilson 2004, doi:10.1109/TIP.2004.829779, there without shapes).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Added to brightness, as a share of the scene's mean: water and shadow keep a finite shape.
_FLOOR = 0.01
# What the channels' covariance has on its diagonal at least, as a share of its mean.
_LEAST_NOISE = 1e-4


class SpectralPrior(nn.Module):
    """The conditional mean; all of it is learnt in closed form by `learn`.

    Args:
        response: `(channels, bands)`: the spectral response, rows summing to 1.
        regression: `(bands, channels)`: from what a channel's shape has more than expected to the
            shape of all bands.
        floor: What is added to brightness, in units of the HSI.
    """

    response: Tensor
    regression: Tensor
    floor: Tensor

    def __init__(self, response: Tensor, regression: Tensor, floor: Tensor) -> None:
        super().__init__()
        self.register_buffer("response", response)
        self.register_buffer("regression", regression)
        self.register_buffer("floor", floor)

    @classmethod
    def learn(cls, hsi: Tensor, around: Tensor, seen: Tensor, response: Tensor) -> SpectralPrior:
        """From coarse pixels.

        Args:
            hsi: `(bands, n)`.
            around: `(bands, n)`: the HSI blurred a little more, at the same pixels.
            seen: `(channels, n)`: the other sensor's image blurred to those pixels, in units of
                the HSI; what it has other than `response @ hsi` counts as noise.
            response: `(channels, bands)`.
        """
        exact = (t.double() for t in (hsi, around, seen, response))
        own, near, x, mix = exact
        floor = _FLOOR * (mix @ own).mean().clamp_min(1e-12)
        prior = cls(mix, own.new_zeros(len(own), len(mix)), floor)
        scatter = prior.shape(own) - prior.shape(near)
        covariance = scatter @ scatter.T / scatter.shape[1]
        noise = x / prior.brightness(x) - mix @ prior.shape(own)
        channels = mix @ covariance @ mix.T
        least = _LEAST_NOISE * channels.diagonal().mean() * torch.eye(len(mix), dtype=mix.dtype)
        denominator = channels + noise @ noise.T / noise.shape[1] + least
        prior.regression.copy_(torch.linalg.solve(denominator, mix @ covariance).T)
        return prior.float()

    def brightness(self, x: Tensor) -> Tensor:
        """Of channels `(channels, ...)`: `(1, ...)`, above 0."""
        return x.mean(0, keepdim=True).clamp_min(0) + self.floor

    def shape(self, hsi: Tensor) -> Tensor:
        """Spectra `(bands, ...)` divided by their brightness."""
        return hsi / self.brightness(self.seen(hsi))

    def seen(self, hsi: Tensor) -> Tensor:
        """What the channels see of spectra `(bands, ...)`: `(channels, ...)`."""
        channels: Tensor = torch.tensordot(self.response, hsi, 1)
        return channels

    def forward(self, local: Tensor, x: Tensor) -> Tensor:
        """The expected sharp spectra.

        Args:
            local: `(bands, ...)`: the coarse image there, interpolated.
            x: `(channels, ...)`: what the other sensor saw, in units of the HSI.

        Returns:
            `(bands, ...)`.
        """
        return self.of_bands(slice(None), local, self.seen(local), x)

    def of_bands(self, bands: slice, local: Tensor, seen: Tensor, x: Tensor) -> Tensor:
        """The same of some bands, where all of them at once would take too much memory.

        Args:
            bands: Which.
            local: `(these bands, ...)`: the coarse image there, interpolated.
            seen: `(channels, ...)`: what the channels see of all bands of it.
            x: `(channels, ...)`: what the other sensor saw, in units of the HSI.
        """
        bright, local_bright = self.brightness(x), self.brightness(seen)
        surprise = x / bright - seen / local_bright
        expected = local / local_bright
        expected += torch.tensordot(self.regression[bands], surprise, 1)
        return expected.mul_(bright)
