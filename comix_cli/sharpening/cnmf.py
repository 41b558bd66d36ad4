"""Coupled non-negative matrix factorisation: both images as mixtures of the same few materials.

Yokoya, Yairi, Iwasaki 2012, doi:10.1109/TGRS.2011.2161320. The HSI knows the spectra of the
materials (endmembers) well and X knows their shares (abundances) on fine pixels. Each is unmixed
with what the other has found out, several times in turn; the spectra of one times the shares of
the other are the sharp image.

What differs from the paper:

- The endmembers are learnt once, from a lesson, so that windows sharpened one by one fit together;
  those of X are always `response @ endmembers`, where the paper lets updates move them too.
- They begin at the purest pixels by successive projections (Araujo et al. 2001,
  doi:10.1016/S0169-7439(01)00119-8) and not by VCA, which projects in random directions.
- Shares sum to one only roughly, by a weak constraint on both images, because pixels differ in how
  brightly they are lit. The fewer channels X has, the more it helps.
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

# Turns of unmixing one image after the other, and multiplicative updates in each. The review of
# Yokoya, Grohnfeldt, Chanussot 2017, doi:10.1109/MGRS.2016.2637824, takes 3 turns; 5 gain up to
# 1 dB where there is little noise and lose 0.1 dB where there is much.
_ROUNDS = 5
_STEPS = 300
# What a sum of shares that is off by 1 costs, in mean values of the HSI.
_UNITY = 0.1
# The least abundance: updates multiply, so what has become 0 would stay so.
_LEAST = 1e-6
# Pixels that are unmixed together, so that they stay in a processor's cache.
_BLOCK = 4096
# Endmembers are no longer sought when this share of the brightest pixel is all that is left.
_PURE = 1e-4
# Against division by 0.
_TINY = 1e-30


@dataclass(frozen=True)
class Cnmf:
    """What CNMF has learnt.

    Attributes:
        endmembers: `(bands, k)` spectra in units of the HSI, not negative.
        mixed: `(channels, k)`: the same as X sees them.
        unity: What a sum of shares that is off by 1 costs, in units of the HSI.
    """

    endmembers: Tensor
    mixed: Tensor
    unity: float

    def sharpen(self, window: PairWindow, blur: Blur) -> Tensor:  # noqa: ARG002  # see Sharpener
        """The HSI on the fine pixels of a window: `(bands, H, W)`, not negative.

        Negative values of either image, which noise around 0 leaves behind, count as 0.
        """
        shares = self.abundances(window).flatten(1)
        return (self.endmembers @ shares).reshape(-1, *window.fine)

    def abundances(self, window: PairWindow) -> Tensor:
        """Shares of the endmembers on fine pixels: `(k, H, W)`, not negative."""
        pixels, x = window.hsi.flatten(1).clamp_min(0), window.x.flatten(1).clamp_min(0)
        coarse = _unmixed(pixels, self.endmembers, _uniform(self.endmembers, pixels), self.unity)
        start = upsampled(coarse.reshape(-1, *window.coarse), window.placement, window.fine)
        fine = _unmixed(x, self.mixed, start.flatten(1), self.unity)
        return fine.reshape(-1, *window.fine)

    def refined(self, pixels: Tensor, abundances: Tensor, response: Tensor) -> Cnmf:
        """Update endmembers and abundances in turn (Lee, Seung 2001) to fit coarse pixels better.

        Args:
            pixels: `(bands, n)`, not negative.
            abundances: `(k, n)` to begin with.
            response: `(channels, bands)`.
        """
        spectra, shares = self.endmembers.clamp_min(_LEAST * pixels.mean()), abundances
        for _ in range(_STEPS):
            below = (spectra @ (shares @ shares.T)).clamp_min_(_TINY)
            spectra = spectra * (pixels @ shares.T) / below
            shares = _updated(shares, *_normal_equations(pixels, spectra, self.unity))
        return Cnmf(spectra, response @ spectra, self.unity)


def fit_cnmf(lesson: Lesson, count: int = 40) -> Cnmf:
    """Learn endmembers from a lesson.

    Args:
        lesson: Windows of a scene.
        count: Endmembers; fewer where its coarse pixels do not have so many that differ.

    Raises:
        TrainingError: The lesson has no pixel that can be told in both images.
    """
    pixels = lesson_pixels(lesson)[0].clamp_min(0)
    learnt = _begun(pixels, count, lesson.response)
    blurs = [Blur(window, lesson.spread) for window in lesson.windows]
    for _ in range(_ROUNDS - 1):
        seen = [_seen(learnt, *pair) for pair in zip(lesson.windows, blurs, strict=True)]
        learnt = learnt.refined(pixels, torch.cat(seen, 1), lesson.response)
    return learnt


def _begun(pixels: Tensor, count: int, response: Tensor) -> Cnmf:
    """What the HSI alone says."""
    unity = _UNITY * float(pixels.mean())
    # With the constraint as one more band, the darkest pixel can be a pure one too.
    constraint = torch.full_like(pixels[:1], unity)
    endmembers = purest(torch.cat([pixels, constraint]), count)[:-1]
    first = Cnmf(endmembers, response @ endmembers, unity)
    abundances = _unmixed(pixels, endmembers, _uniform(endmembers, pixels), unity)
    return first.refined(pixels, abundances, response)


def purest(pixels: Tensor, count: int) -> Tensor:
    """The pixels that are least like mixtures of each other, by successive projections.

    Args:
        pixels: `(bands, n)`, not negative.
        count: At most as many.

    Returns:
        `(bands, k)` of them; fewer than asked for when the others are mixtures of those.
    """
    left = pixels.double()
    limit = _PURE * left.norm(dim=0).max()
    found: list[int] = []
    while len(found) < count:
        length, at = left.norm(dim=0).max(0)
        if found and length <= limit:
            break
        found.append(int(at))
        direction = left[:, at] / length.clamp_min(_TINY)
        left = left - torch.outer(direction, direction @ left)
    return pixels[:, found]


def _unmixed(pixels: Tensor, endmembers: Tensor, start: Tensor, unity: float) -> Tensor:
    """Abundances `(k, n)` of pixels `(bands, n)`: so many updates from `start`, and no further.

    Where X has fewer channels than there are endmembers, many abundances explain it; these are
    among those near `start`.
    """
    done = []
    for at in range(0, pixels.shape[1], _BLOCK):
        block = slice(at, at + _BLOCK)
        target, gram = _normal_equations(pixels[:, block], endmembers, unity)
        shares = start[:, block].clamp_min(_LEAST)
        for _ in range(_STEPS):
            shares = _updated(shares, target, gram)
        done.append(shares)
    return torch.cat(done, 1)


def _uniform(endmembers: Tensor, pixels: Tensor) -> Tensor:
    count = endmembers.shape[1]
    return pixels.new_full((count, pixels.shape[1]), 1 / count)


def _normal_equations(pixels: Tensor, endmembers: Tensor, unity: float) -> tuple[Tensor, Tensor]:
    """`(k, n)` and `(k, k)`: those of `pixels = endmembers @ shares`, `unity = unity * sum`."""
    return endmembers.T @ pixels + unity**2, endmembers.T @ endmembers + unity**2


def _updated(shares: Tensor, target: Tensor, gram: Tensor) -> Tensor:
    below = (gram @ shares).clamp_min_(_TINY)
    return shares.mul(target).div_(below).clamp_min_(_LEAST)


def _seen(learnt: Cnmf, window: PairWindow, blur: Blur) -> Tensor:
    """Abundances of a window's fine pixels as its usable coarse pixels see them: `(k, n)`."""
    return blur.of_valid(learnt.abundances(window))[:, blur.told & window.hsi_valid]
