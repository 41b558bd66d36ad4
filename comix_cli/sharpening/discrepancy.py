"""How far a sharp image is to be corrected: until what is left is the noise of the coarse one.

Whoever goes on puts that noise into the sharp image (the discrepancy principle, Morozov 1966).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.consistency import Correction
from comix_cli.sharpening.pair_window import PairWindow

# Rounds to choose from.
_ROUNDS = (0, 1, 2, 4, 8, 16)
# Errors up to so many times the noise that they show are taken for noise: some of it has come into
# the sharp image, and does not show.
_LIKE_NOISE = 1.3
# No band is left with more than this share of its size, however noisy it is.
_MOST_LEFT = 0.008
# Bands to either side that tell what of an error is no noise, and pixels that tell for each.
_NEIGHBOURS, _PIXELS_PER_NEIGHBOUR = 2, 10


def fit_correction(
    sharpen: Callable[[Correction, PairWindow, Blur], Tensor],
    windows: Sequence[tuple[PairWindow, Blur]],
    lift: Tensor,
) -> Correction:
    """The fewest rounds for each band after which it explains the coarse image.

    They are chosen once for a scene: windows that chose for themselves would not fit together.

    Args:
        sharpen: Makes `(bands, H, W)` of a window, corrected so.
        windows: Some of the scene.
        lift: `(bands,)`, see `lift_of`.
    """
    chosen, wanted = torch.zeros(_ROUNDS[-1], len(lift)), torch.zeros(len(lift))
    missing = torch.ones(len(lift), dtype=torch.bool)
    for rounds in _ROUNDS:
        trial = Correction.uniform(lift, rounds)
        errors = [_error(sharpen(trial, *each), *each) for each in windows]
        error = torch.cat(errors, 1)
        if rounds == 0:
            size = torch.cat([window.hsi[:, blur.usable] for window, blur in windows], 1)
            wanted = (_LIKE_NOISE * noise_of(error)).minimum(_MOST_LEFT * _rms(size))
        chosen[:, missing] = 0
        chosen[:rounds, missing] = trial.steps[:, missing]
        missing = missing & ~(_rms(error) <= wanted)
        if not missing.any():
            break
    return Correction(lift, chosen[: int(chosen.any(1).sum())])


def _error(sharp: Tensor, window: PairWindow, blur: Blur) -> Tensor:
    """`(bands, n)`: what the blurred image has more than the coarse one."""
    return (blur(sharp) - window.hsi)[:, blur.usable]


def _rms(values: Tensor) -> Tensor:
    return values.square().mean(1).sqrt()


def noise_of(error: Tensor) -> Tensor:
    """Standard deviation of each band's noise: what its neighbours' errors do not tell of its own.

    What a sharp image gets wrong it gets wrong in neighbouring bands alike, and noise differs from
    band to band (Roger, Arnold 1996, doi:10.1080/01431169608948766, there of the image itself).

    Args:
        error: `(bands, n)`.

    Returns:
        `(bands,)`; infinity where there are too few pixels or bands to tell.
    """
    bands, pixels = error.shape
    count = 2 * _NEIGHBOURS
    if pixels < _PIXELS_PER_NEIGHBOUR * count or bands <= count:
        return error.new_full((bands,), torch.inf)
    exact = error.double()
    found = []
    for band in range(bands):
        first = min(max(band - _NEIGHBOURS, 0), bands - count - 1)
        near = [b for b in range(first, first + count + 1) if b != band]
        weights = torch.linalg.lstsq(exact[near].T, exact[band][:, None]).solution[:, 0]
        left = exact[band] - weights @ exact[near]
        # The neighbours' noise is in it as well.
        variance = left.square().sum() / (pixels - count) / (1 + weights.square().sum())
        found.append(variance.sqrt())
    return torch.stack(found).to(error.dtype)
