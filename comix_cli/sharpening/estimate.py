"""Point spread function, spectral response and radiometry of a pair, found from the pair alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from comix_models.degradation import DegradationNet

# Beyond this many standard deviations of a channel a pixel counts as changed between the two
# images (a cloud, a car), and pulls no harder.
_ROBUST = 0.2
# How much the response expected from wavelengths counts against the data. Many responses explain
# the data of a scene nearly as well: its spectra have far fewer degrees of freedom than bands.
_PRIOR_WEIGHT = 1e-4
_ROUNDS = 3
_STEPS = 100


@dataclass(frozen=True)
class Samples:
    """Coarse pixels with the fine ones around them.

    Attributes:
        hsi: `(pixels, bands)`, in the units of the HSI.
        patches: `(pixels, channels, K, L)`, in the units of the other sensor.
        corner: `(pixels, 2)`: the centre of a patch's first pixel relative to that of the coarse
            pixel, in fine pixels, (down, across).
    """

    hsi: Tensor
    patches: Tensor
    corner: Tensor


def estimate_degradation(
    samples: Samples, prior: Tensor, ratio: tuple[float, float]
) -> DegradationNet:
    """Fit what the two sensors do to the sharp image that neither has taken.

    Blurring the fine image and mixing the bands of the coarse one must give the same; the sum of
    squares of what they differ by, in standard deviations of each channel, is made least (with
    Huber's loss) by L-BFGS, all unknowns at once.

    Args:
        samples: At least a few hundred pixels that are valid in both images.
        prior: `(channels, bands)`: the response expected from wavelengths, see `DegradationNet`.
        ratio: Fine pixels along one coarse pixel.
    """
    exact = Samples(samples.hsi.double(), samples.patches.double(), samples.corner.double())
    net = DegradationNet(prior.double(), ratio).double()
    units = _Units.of(exact, net)
    centred = Samples((exact.hsi - units.hsi_mean) / units.hsi_scale, exact.patches, exact.corner)
    for _ in range(_ROUNDS):  # L-BFGS forgets its curvature where the clamps of sigma begin
        # Gain and blur pull against each other: where the blur has just moved far, as for images
        # that are shifted, descent alone needs many steps to bring the gain after it.
        _calibrate(net, centred, units)
        _descend(net, centred, units)
    units.take_back(net)
    return net.requires_grad_(requires_grad=False)


@dataclass(frozen=True)
class _Units:
    """In which all unknowns are of order 1, and the offset does not hang on the response.

    Without them the descent ends far from the least: radiances, reflectances and digital numbers
    differ by orders of magnitude, and each change of the response asks for another offset.

    Attributes:
        hsi_mean: `(bands,)`.
        hsi_scale: Standard deviation of what the expected response makes of the HSI.
        x_mean, x_scale: `(channels,)` mean and standard deviation.
    """

    hsi_mean: Tensor
    hsi_scale: Tensor
    x_mean: Tensor
    x_scale: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, samples: Samples, net: DegradationNet) -> _Units:
        x = samples.patches.mean((2, 3))
        mixed = samples.hsi @ net.response.T
        return cls(
            samples.hsi.mean(0),
            mixed.std(0).mean().clamp_min(1e-12),
            x.mean(0),
            x.std(0).clamp_min(1e-12),
        )

    def of_x(self, x: Tensor) -> Tensor:
        """`(pixels, channels)` of the other sensor."""
        return (x - self.x_mean) / self.x_scale

    @torch.no_grad()
    def take_back(self, net: DegradationNet) -> None:
        """Say gain and offset in the units of the samples."""
        gain = net.gain * self.x_scale / self.hsi_scale
        offset = self.x_mean + net.offset * self.x_scale - gain * (net.response @ self.hsi_mean)
        net.gain.copy_(gain)
        net.offset.copy_(offset)


@torch.no_grad()
def _calibrate(net: DegradationNet, samples: Samples, units: _Units) -> None:
    """Gain and offset of each channel by least squares, all else as expected."""
    seen = units.of_x(net.blurred(samples.patches, samples.corner))
    mixed = samples.hsi @ net.response.T
    centred = mixed - mixed.mean(0)
    variance = (centred**2).sum(0).clamp_min(1e-12)
    gain = (centred * (seen - seen.mean(0))).sum(0) / variance
    net.gain.copy_(gain)
    net.offset.copy_(seen.mean(0) - gain * mixed.mean(0))


def _descend(net: DegradationNet, samples: Samples, units: _Units) -> None:
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=_STEPS, history_size=30, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        seen = units.of_x(net.blurred(samples.patches, samples.corner))
        value = F.huber_loss(net.mixed(samples.hsi), seen, delta=_ROBUST)
        value = value + _PRIOR_WEIGHT * net.departure()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
