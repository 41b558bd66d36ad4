"""Gram-Schmidt adaptive sharpening: what X shows and the HSI does not is added to each band.

Aiazzi, Baronti, Selva 2007, doi:10.1109/TGRS.2007.901007, for one panchromatic band. For an X of
several channels each band of the HSI goes with the channel that it resembles most, and each channel
is the panchromatic band of its group, as in the review of Yokoya, Grohnfeldt, Chanussot 2017,
doi:10.1109/MGRS.2016.2637824.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.lesson import lesson_pixels
from comix_cli.sharpening.pair_window import PairWindow
from comix_cli.sharpening.sharpener import Lesson
from comix_models.resample import upsampled

# Added to the diagonal, as a share of its mean: neighbouring bands are nearly alike, and a lesson
# may have fewer pixels than a group has bands.
_RIDGE = 1e-4
# Variances below this share of the mean's square are rounding.
_FLAT = 1e-10
# Keeps the matrix of an image of zeros regular.
_TINY = 1e-100


@dataclass(frozen=True)
class Gsa:
    """What GSA has learnt.

    The intensity of a channel is what the HSI alone says that it shows: a weighted sum of the bands
    of its group.

    Attributes:
        channel: `(bands,)`: the channel that each band goes with.
        weights: `(channels, bands)`: the intensity of each channel from the bands, 0 outside its
            group.
        constant: `(channels,)`, added to that.
        gain: `(bands,)`: what a band changes by when the intensity of its channel changes by 1.
    """

    channel: Tensor
    weights: Tensor
    constant: Tensor
    gain: Tensor

    def sharpen(self, window: PairWindow, blur: Blur) -> Tensor:  # noqa: ARG002  # see Sharpener
        """The HSI on the fine pixels of a window: `(bands, H, W)`.

        `sharp = smooth + gain * (x - intensity(smooth))`, where `smooth` is interpolated.
        """
        smooth = upsampled(window.hsi, window.placement, window.fine)
        intensity = torch.tensordot(self.weights, smooth, 1) + self.constant[:, None, None]
        detail = window.x - intensity
        return smooth.addcmul_(self.gain[:, None, None], detail[self.channel])


def fit_gsa(lesson: Lesson) -> Gsa:
    """Learn groups, weights and gains from the coarse pixels of a lesson.

    Raises:
        TrainingError: The lesson has no pixel that can be told in both images.
    """
    hsi, x = (pixels.double() for pixels in lesson_pixels(lesson))
    mean, x_mean = hsi.mean(1), x.mean(1)
    hsi, x = hsi - mean[:, None], x - x_mean[:, None]
    among = hsi @ hsi.T / hsi.shape[1]
    across = x @ hsi.T / hsi.shape[1]
    channel = (across / _deviations(hsi) / _deviations(x)[:, None]).argmax(0)
    weights = _weights(among, across, channel)
    gain = _gains(among, weights, x_mean)[torch.arange(len(mean)), channel]
    return Gsa(channel, weights.float(), (x_mean - weights @ mean).float(), gain.float())


def _deviations(centred: Tensor) -> Tensor:
    """Standard deviations; 1 where there is none, so that nothing correlates with it."""
    deviation = centred.square().mean(1).sqrt()
    return deviation.where(deviation > 0, 1.0)


def _weights(among: Tensor, across: Tensor, channel: Tensor) -> Tensor:
    """Regression of each channel on the bands of its group: `(channels, bands)`.

    Args:
        among: `(bands, bands)`: covariances of the bands.
        across: `(channels, bands)`: covariances of the channels with them.
        channel: `(bands,)`: the group of each.
    """
    weights = torch.zeros_like(across)
    for c in sorted(set(channel.tolist())):
        group = torch.nonzero(channel == c)[:, 0]
        inner = among[group[:, None], group]
        ridge = _RIDGE * inner.diagonal().mean().clamp_min(_TINY)
        inner = inner + ridge * torch.eye(len(group), dtype=inner.dtype)
        weights[c, group] = torch.linalg.solve(inner, across[c, group])
    return weights


def _gains(among: Tensor, weights: Tensor, level: Tensor) -> Tensor:
    """Covariance with an intensity over its variance, `(bands, channels)`; 0 where it is flat."""
    with_intensity = among @ weights.T
    variance = (weights @ with_intensity).diagonal()
    flat = variance <= _FLAT * level.square()
    return (with_intensity / variance.where(~flat, 1.0)).where(~flat, 0.0)
