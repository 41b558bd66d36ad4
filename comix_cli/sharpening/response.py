"""The spectral response that wavelengths let expect: which bands of the HSI make a channel of X."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.spectral import Spectrum, band_mix, uncovered

# Where nothing is said of a channel's width: a share of the distance to the next channel, within
# what optical sensors have.
_SHARE_OF_STEP = 0.6
_NARROWEST_NM, _WIDEST_NM = 20.0, 120.0
# The tails, so that the pair can say that a channel is wider than expected or lies beside.
_TAILS, _TAIL_WIDTH = 0.1, 2.0


def expected_response(hsi: Spectrum, x: Spectrum) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Rows of weights of the HSI's bands, one for each channel that the HSI covers.

    Args:
        hsi: Bands of the HSI.
        x: Channels of the other sensor.

    Returns:
        `(channels, bands)`, rows summing to 1, 0 for bands that a channel cannot see; and the
        indices of those channels. The others lie where the HSI has no bands.
    """
    wide = Spectrum(x.centres_nm, tuple(_widths(x)))
    tails = Spectrum(x.centres_nm, tuple(_TAIL_WIDTH * width for width in _widths(x)))
    missing = set(uncovered(hsi, wide))
    kept = tuple(i for i in range(len(x)) if i not in missing)
    if not kept:
        return np.zeros((0, len(hsi))), ()
    core = _matrix(hsi, _only(wide, kept))
    beyond = set(uncovered(hsi, _only(tails, kept)))
    outer = core.copy()
    inside = tuple(i for i in range(len(kept)) if i not in beyond)
    if inside:
        outer[list(inside)] = _matrix(hsi, _only(tails, tuple(kept[i] for i in inside)))
    return (1 - _TAILS) * core + _TAILS * outer, kept


def _widths(x: Spectrum) -> Sequence[float]:
    steps = [
        min((abs(c - other) for other in x.centres_nm if other != c), default=_WIDEST_NM)
        for c in x.centres_nm
    ]
    guessed = [min(max(_SHARE_OF_STEP * s, _NARROWEST_NM), _WIDEST_NM) for s in steps]
    return [known or guess for known, guess in zip(x.fwhm_nm, guessed, strict=True)]


def _only(spectrum: Spectrum, indices: Sequence[int]) -> Spectrum:
    return Spectrum(
        tuple(spectrum.centres_nm[i] for i in indices),
        tuple(spectrum.fwhm_nm[i] for i in indices),
    )


def _matrix(source: Spectrum, wanted: Spectrum) -> NDArray[np.float64]:
    weights = np.zeros((len(wanted), len(source)))
    for row, mixed in zip(weights, band_mix(source, wanted).rows, strict=True):
        for index, weight in mixed:
            row[index] = max(weight, 0.0)
    normalised: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normalised
