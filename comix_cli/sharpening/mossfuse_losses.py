"""What MossFuse is trained with: windows made ready, and the losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from comix_cli.errors import TrainingError
from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.features import Features, expected
from comix_cli.sharpening.pair_window import PairWindow
from comix_cli.sharpening.sharpener import Lesson
from comix_models.decoupling import clustering_loss
from comix_models.degradation import PointSpread, blur_matrix, blurred
from comix_models.mossfuse import MossFuse
from comix_models.placement import Placement
from comix_models.resample import upsampled
from comix_models.spectral_prior import SpectralPrior

# How the losses of rebuilding the inputs and of decoupling count against those of consistency.
_REBUILD, _DECOUPLE = 0.1, 0.02
# Half in units of the whole image, half in units of each band's mean, or of this share of all
# bands' mean where that is more.
_BY_BAND = 0.5
_SMALLEST = 0.05
# The image around a coarse pixel: what blurs it as much as a fine pixel differs from a coarse one.
_AROUND = PointSpread((0.6, 0.6))


@dataclass(frozen=True)
class _Scale:
    """A window at one scale: what the network is given, and what the prior says.

    Attributes:
        x: `(1, channels + 1, H, W)` features.
        bright: `(1, H, W)`.
    """

    x: Tensor
    bright: Tensor


@dataclass(frozen=True)
class View:
    """A window, with all that does not change during training.

    Attributes:
        hsi: `(1, k, h, w)` features of the coarse image.
        around: `(1, k, h, w)` of the coarse image blurred once more.
        fine: The window as it is.
        same: The window at the HSI's own scale.
        truth: `(bands, h, w)` the HSI.
        prior_blurred: `(bands, h, w)`: the prior's sharp image, blurred.
        prior_same: `(bands, h, w)`: the prior's image at the HSI's scale.
        prior_x, seen: `(channels, H, W)`: the prior's image to the other sensor; what it saw.
        x_valid: `(H, W)`: where it saw anything.
        blur: From fine to coarse.
        placement: Where the coarse pixels lie.
    """

    hsi: Tensor
    around: Tensor
    fine: _Scale
    same: _Scale
    truth: Tensor
    prior_blurred: Tensor
    prior_same: Tensor
    prior_x: Tensor
    seen: Tensor
    x_valid: Tensor
    blur: Blur
    placement: Placement


@torch.no_grad()
def prepare(lesson: Lesson) -> tuple[list[View], Features]:
    """Learn prior and features from the windows of a lesson, and make the windows ready.

    Raises:
        TrainingError: No coarse pixel can be compared.
    """
    pairs = [(window, Blur(window, lesson.spread)) for window in lesson.windows]
    # Where both images are valid in parts that hardly touch, no loss has a pixel to speak of.
    parts = [(window, _around(window), blur) for window, blur in pairs if blur.usable.any()]
    if not parts:
        raise TrainingError(
            "no pixel of the hyperspectral image lies wholly on valid pixels of the other image",
            remedy="check nodata and masks of both, or take another --method",
        )
    hsi = torch.cat([window.hsi[:, blur.usable] for window, _, blur in parts], 1)
    near = torch.cat([around[:, blur.usable] for _, around, blur in parts], 1)
    seen = torch.cat([blur(window.x)[:, blur.usable] for window, _, blur in parts], 1)
    prior = SpectralPrior.learn(hsi, near, seen, lesson.response)
    features = Features.learn(prior, hsi)
    return [_view(features, *part) for part in parts], features


def _around(window: PairWindow) -> Tensor:
    """The coarse image blurred once more, on its own pixels."""
    size = window.coarse
    matrix, _ = blur_matrix(Placement((1.0, 1.0)), _AROUND, size, size)
    return blurred(matrix, window.hsi, size)


def _view(features: Features, window: PairWindow, around: Tensor, blur: Blur) -> View:
    prior = features.prior
    prior_blurred, prior_x = torch.zeros_like(window.hsi), torch.zeros_like(window.x)
    for bands, sharp in expected(prior, window):
        prior_blurred[bands] = blur(sharp)
        prior_x += torch.tensordot(prior.response[:, bands], sharp, 1)
    mixed = prior.seen(window.hsi)
    return View(
        hsi=features.of_hsi(window.hsi)[None],
        around=features.of_hsi(around)[None],
        fine=_Scale(features.of_x(window.x)[None], prior.brightness(window.x)),
        same=_Scale(features.of_x(mixed)[None], prior.brightness(mixed)),
        truth=window.hsi,
        prior_blurred=prior_blurred,
        prior_same=prior(around, mixed),
        prior_x=prior_x,
        seen=window.x,
        x_valid=window.x_valid,
        blur=blur,
        placement=window.placement,
    )


class Losses:
    """The losses of a window; what does not depend on it is prepared once."""

    def __init__(self, network: MossFuse, views: list[View], features: Features) -> None:
        self._network, self._features = network, features
        pixels = torch.cat([view.truth.flatten(1) for view in views], 1)
        # Bands that are 0 but for noise would outweigh all others.
        size = pixels.abs().mean(1)
        by_band = _BY_BAND / size.clamp_min(max(_SMALLEST * float(size.mean()), 1e-9))
        whole = (1 - _BY_BAND) / pixels.std(1).mean().clamp_min(1e-9)
        self._band_weight = (by_band + whole)[:, None, None]
        seen = torch.cat([view.seen.flatten(1) for view in views], 1)
        self._x_weight = 1 / seen.std(1).clamp_min(1e-9)[:, None, None]
        self._mixed_components = features.prior.response @ features.components

    def __call__(self, view: View) -> Tensor:
        """The sum of all losses, with the weights of this module."""
        network = self._network
        x_parts, hsi_parts = network.encode_x(view.fine.x), network.encode_hsi(view.hsi)
        fine = view.fine.x.shape[-2], view.fine.x.shape[-1]
        local = upsampled(hsi_parts[1], view.placement, fine)
        change = network(*x_parts, local)[0] * view.fine.bright
        return (
            self._blurred(view, change)
            + self._mixed(view, change)
            + self._same_scale(view)
            + _REBUILD * self._rebuilt(view, *network.rebuild(x_parts, hsi_parts))
            + _DECOUPLE * self._clusters(view, x_parts, hsi_parts)
        )

    def _blurred(self, view: View, change: Tensor) -> Tensor:
        """The sharp image, blurred, against the HSI; only components are blurred, which are few."""
        coarse = torch.tensordot(self._features.components, view.blur(change), 1)
        error: Tensor = (view.prior_blurred + coarse - view.truth) * self._band_weight
        return error[:, view.blur.usable].abs().mean()

    def _mixed(self, view: View, change: Tensor) -> Tensor:
        """The sharp image, mixed, against what the other sensor saw."""
        mixed = torch.tensordot(self._mixed_components, change, 1)
        error: Tensor = (view.prior_x + mixed - view.seen) * self._x_weight
        return error[:, view.x_valid].abs().mean()

    @staticmethod
    def _rebuilt(view: View, x: Tensor, hsi: Tensor) -> Tensor:
        """Each image from its own two parts, against itself."""
        seen = view.x_valid
        return F.l1_loss(x[..., seen], view.fine.x[..., seen]) + F.l1_loss(hsi, view.hsi)

    def _same_scale(self, view: View) -> Tensor:
        """At the HSI's scale, from a blurred HSI and the channels that the HSI itself gives."""
        x_parts = self._network.encode_x(view.same.x)
        _, spectral = self._network.encode_hsi(view.around)
        change = self._network(*x_parts, spectral)[0] * view.same.bright
        found = view.prior_same + torch.tensordot(self._features.components, change, 1)
        error: Tensor = (found - view.truth) * self._band_weight
        return error[:, view.blur.usable].abs().mean()

    @staticmethod
    def _clusters(
        view: View, x_parts: tuple[Tensor, Tensor], hsi_parts: tuple[Tensor, Tensor]
    ) -> Tensor:
        usable = view.blur.usable
        shared_x, spatial = (view.blur(part[0])[:, usable] for part in x_parts)
        shared_hsi, spectral = (part[0][:, usable] for part in hsi_parts)
        return clustering_loss(shared_x, shared_hsi, spatial, spectral)
