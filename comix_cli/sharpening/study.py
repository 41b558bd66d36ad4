"""What can be known of a pair before any method learns: where to look, and what the sensors do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from comix_cli.errors import RasterError
from comix_cli.progress import Progress
from comix_cli.scene.windows import Window
from comix_cli.sharpening.estimate import Samples, estimate_degradation
from comix_cli.sharpening.pair import Pair
from comix_cli.sharpening.pair_window import PairWindow
from comix_cli.sharpening.sharpener import Lesson
from comix_models.degradation import DegradationNet, PointSpread, reach_in_pixels
from comix_models.placement import Placement

# Windows that methods learn from: about how long their sides are, in fine pixels (from, to) and in
# coarse ones (fewest, enough), where the fewest coarse ones come before the most fine ones; and how
# many there are: not more than so many, nor fine pixels in them all, but a few whatever that takes.
FINE_SIDE, COARSE_SIDE = (192, 360), (6, 10)
MOST_WINDOWS, FEWEST_WINDOWS, _MOST_PIXELS = 24, 4, 4_000_000
# A window with less than this share of valid pixels is taken only where there are no others.
_MOSTLY_VALID = 0.5
# Coarse pixels of a side that teach nothing.
_NARROW = 2
# Most numbers in the samples that the degradation is estimated from (doubles: eight bytes each),
# and how many pixels there are whatever that takes.
_MOST_NUMBERS, _ENOUGH_PIXELS = 12_000_000, 200
_FEWEST_PIXELS = 40
# A channel that follows the HSI less than this is not what its wavelength says.
_LEAST_CORRELATION = 0.5


@dataclass(frozen=True)
class Calibration:
    """What brings the other sensor into the units and the place of the HSI.

    Attributes:
        channels: Indices of the channels that are used.
        gain, offset: `(channels,)`: X = gain * (what the HSI's bands give) + offset.
        shift: How far the HSI lies off its place, in fine pixels, (down, across).
    """

    channels: tuple[int, ...]
    gain: Tensor
    offset: Tensor
    shift: tuple[float, float]

    def of_x(self, x: Tensor) -> Tensor:
        """The channels that are used, `(channels, H, W)`, in units of the HSI."""
        raw = x[list(self.channels)]
        return (raw - self.offset[:, None, None]) / self.gain[:, None, None]

    def __call__(self, window: PairWindow) -> PairWindow:
        """A window as methods see it."""
        x = self.of_x(window.x)
        place = window.placement
        offset = (place.offset[0] + self.shift[0], place.offset[1] + self.shift[1])
        return replace(window, x=x, placement=Placement(place.ratio, offset))


@dataclass(frozen=True)
class Study:
    """All that has been found out.

    Attributes:
        lesson: Windows in the units and the place of the HSI, and how the sensors see.
        calibration: How they came to be so.
        correlation: Of each channel that is used with what the HSI's bands give for it.
        ignored: Other channels that the HSI covers, by their index among the bands of X that are
            read: they do not follow the HSI. Each with its correlation.
    """

    lesson: Lesson
    calibration: Calibration
    correlation: tuple[float, ...]
    ignored: Mapping[int, float]


def study(
    pair: Pair,
    expected: Tensor,
    channels: tuple[int, ...],
    *,
    seed: int,
    progress: Progress,
) -> Study:
    """Draw windows, and estimate point spread, spectral response, radiometry and shift.

    Args:
        pair: Both rasters.
        expected: `(channels, bands)`: the spectral response that wavelengths let expect.
        channels: Indices of those channels among the bands of X that are read.
        seed: Of what is drawn.
        progress: Who watches.

    Raises:
        RasterError: Too few pixels are valid in both, or no channel follows the HSI.
    """
    windows = _draw(pair, seed, progress)
    samples = _samples(pair.placement.ratio, windows, channels, seed)
    if len(samples.hsi) < _FEWEST_PIXELS:
        raise RasterError(
            f"{len(samples.hsi) or 'none'} of its pixels have valid pixels of {pair.x.info.path} "
            f"all around them, two of its pixels far; {_FEWEST_PIXELS} are needed to learn from",
            path=pair.hsi.info.path,
            remedy="give images that share more ground, or check the nodata values of both",
        )
    net = estimate_degradation(samples, expected, pair.placement.ratio)
    correlation = _correlation(net, samples)
    good = [i for i, r in enumerate(correlation) if r >= _LEAST_CORRELATION]
    ignored = {channels[i]: r for i, r in enumerate(correlation) if i not in good}
    if not good:
        _require_contrast(pair, samples)
        raise RasterError(
            "no band of it follows the HSI (largest correlation "
            f"{max(correlation):.2f}), so it cannot guide the sharpening",
            path=pair.x.info.path,
            remedy="check that both show the same place, and the wavelengths of its bands",
        )
    if len(good) < len(channels):
        fewer = replace(samples, patches=samples.patches[:, good])
        net = estimate_degradation(fewer, expected[good], pair.placement.ratio)
        channels = tuple(channels[i] for i in good)
        correlation = [correlation[i] for i in good]
    spread = net.spread()
    calibration = Calibration(channels, net.gain.float(), net.offset.float(), spread.shift)
    lesson = Lesson(
        [calibration(window) for window in windows],
        net.response.float(),
        PointSpread(spread.sigma, spread.tilt),
    )
    return Study(lesson, calibration, tuple(correlation), ignored)


def _require_contrast(pair: Pair, samples: Samples) -> None:
    """Refuse an image that shows one value everywhere; the other may be blamed for it otherwise."""
    for side, values in ((pair.hsi, samples.hsi), (pair.x, samples.patches)):
        if bool((values == values[:1]).all()):
            raise RasterError(
                "has the same value everywhere, in each of its bands",
                path=side.info.path,
                remedy="give an image that shows something",
            )


def _draw(pair: Pair, seed: int, progress: Progress) -> list[PairWindow]:
    """Windows from all over the scene: all of it where it is small, else some drawn at random."""
    tiles = list(_tiles(pair.fine.shape, max(pair.placement.ratio)))
    largest = max(tile.height * tile.width for tile in tiles)
    most = min(MOST_WINDOWS, max(FEWEST_WINDOWS, _MOST_PIXELS // largest))
    order = np.random.default_rng(seed).permutation(len(tiles))
    found: list[PairWindow] = []
    half_empty: list[int] = []
    with progress.task("looking at the pair", min(len(tiles), most)) as task:
        for index in order:
            if len(found) == most:
                return found
            window = _teaching(pair, tiles[index])
            if window is None:
                continue
            if _valid_share(window) < _MOSTLY_VALID:
                half_empty.append(index)  # read again if need be: memory holds only what is used
                continue
            found.append(window)
            task.advance()
        rest = (_teaching(pair, tiles[index]) for index in half_empty[: most - len(found)])
        found.extend(window for window in rest if window is not None)
    return found


def _teaching(pair: Pair, tile: Window) -> PairWindow | None:
    """A window of the pair; None where it is too narrow or one image has nothing in it."""
    ratio = pair.placement.ratio
    wide = tile.height > _NARROW * ratio[0] and tile.width > _NARROW * ratio[1]
    return pair.read(tile) if wide else None


def _valid_share(window: PairWindow) -> float:
    """Of the image that has more holes."""
    return min(float(valid.float().mean()) for valid in (window.hsi_valid, window.x_valid))


def _tiles(shape: tuple[int, int], ratio: float) -> Iterator[Window]:
    most = max(FINE_SIDE[1], COARSE_SIDE[0] * ratio)
    wanted = max(FINE_SIDE[0], min(COARSE_SIDE[1] * ratio, most))
    counts = [max(1, round(side / wanted)) for side in shape]
    edges = [
        np.linspace(0, side, count + 1).astype(int).tolist()
        for side, count in zip(shape, counts, strict=True)
    ]
    for top, bottom in zip(edges[0], edges[0][1:], strict=False):
        for left, right in zip(edges[1], edges[1][1:], strict=False):
            yield Window(top, left, bottom - top, right - left)


def _samples(
    ratio: tuple[float, float],
    windows: list[PairWindow],
    channels: tuple[int, ...],
    seed: int,
) -> Samples:
    """Coarse pixels whose whole neighbourhood is valid, as many as memory allows."""
    reach = reach_in_pixels(ratio)
    size = (2 * reach[0] + 1) * (2 * reach[1] + 1) * len(channels)
    places = [
        (window, row, col)
        for window in windows
        for row in range(window.coarse[0])
        for col in range(window.coarse[1])
        if window.hsi_valid[row, col]
    ]
    order = np.random.default_rng(seed).permutation(len(places))
    most = max(_ENOUGH_PIXELS, _MOST_NUMBERS // size)
    hsi: list[Tensor] = []
    patches: list[Tensor] = []
    corners: list[tuple[float, float]] = []
    for index in order:
        if len(hsi) >= most:
            break
        window, row, col = places[index]
        found = _patch(window, row, col, reach)
        if found is not None:
            hsi.append(window.hsi[:, row, col])
            patches.append(found[0][list(channels)])
            corners.append(found[1])
    if not hsi:
        bands = windows[0].hsi.shape[0] if windows else 0
        return Samples(torch.zeros(0, bands), torch.zeros(0, 1, 1, 1), torch.zeros(0, 2))
    return Samples(torch.stack(hsi), torch.stack(patches), torch.tensor(corners))


def _patch(
    window: PairWindow, row: int, col: int, reach: tuple[int, int]
) -> tuple[Tensor, tuple[float, float]] | None:
    """Fine pixels around a coarse one, and where they begin; None where some are not valid."""
    centre = (
        window.placement.centres(0, 1, row)[0],
        window.placement.centres(1, 1, col)[0],
    )
    first = [math.floor(c) - r for c, r in zip(centre, reach, strict=True)]
    last = [f + 2 * r + 1 for f, r in zip(first, reach, strict=True)]
    if min(first) < 0 or last[0] > window.fine[0] or last[1] > window.fine[1]:
        return None
    place = (slice(first[0], last[0]), slice(first[1], last[1]))
    if not bool(window.x_valid[place].all()):
        return None
    return window.x[(slice(None), *place)], (first[0] + 0.5 - centre[0], first[1] + 0.5 - centre[1])


@torch.no_grad()
def _correlation(net: DegradationNet, samples: Samples) -> list[float]:
    seen = net.blurred(samples.patches.double(), samples.corner.double())
    mixed = samples.hsi.double() @ net.response.T  # without gain: its sign has to show
    pairs = zip(seen.T, mixed.T, strict=True)
    return [float(torch.corrcoef(torch.stack(two))[0, 1].nan_to_num(0.0)) for two in pairs]
