"""How a sharp image becomes the two that were taken: a point spread and a spectral response.

The hyperspectral sensor sees the ground through an anisotropic Gaussian, wider than a fine pixel;
the other sensor sees its spectrum through a few broad bands. Blurring the fine multispectral image
as the first does, and mixing the bands of the coarse hyperspectral image as the second does, must
give the same coarse multispectral image. That is what both are estimated from, without any sharp
hyperspectral image (`DegradationNet`), as blind methods from HySure (Simoes et al. 2015,
doi:10.1109/TGRS.2014.2375320) to MossFuse do.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from comix_models.placement import Placement

# A Gaussian is cut this many coarse pixels from its centre.
REACH = 2.0
# The widest and the narrowest standard deviation along an axis, in coarse and in fine pixels: a
# wider one would be cut visibly, and a narrower one falls between the fine pixels.
WIDEST, NARROWEST = 0.9, 0.3
# How far the two images may lie apart from where they say, in coarse pixels.
FARTHEST = 1.0
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
_LARGEST_TILT = 0.95
# Weights of a blur that are computed at once.
_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class PointSpread:
    """An anisotropic Gaussian in fine pixels, around the centre of each coarse pixel.

    Attributes:
        sigma: Standard deviations along rows' and columns' direction: (down, across).
        tilt: Correlation of the two, between -1 and 1; 0 where the axes are those of the grid.
        shift: Where the centre really lies, (down, across), relative to where the grids say.
    """

    sigma: tuple[float, float]
    tilt: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)

    def axes(self, pixel: tuple[float, float] = (1.0, 1.0)) -> tuple[float, float, float]:
        """The Gaussian's own axes on the ground.

        Args:
            pixel: Height and width of a fine pixel in units of the ground.

        Returns:
            The larger and the smaller standard deviation in those units, and the direction of the
            larger in degrees, counted from the columns' direction (east) anticlockwise, in
            [-90, 90).
        """
        down, across = (s * p for s, p in zip(self.sigma, pixel, strict=True))
        mixed = self.tilt * down * across
        half_sum, half_difference = (across**2 + down**2) / 2, (across**2 - down**2) / 2
        spread = math.hypot(half_difference, mixed)
        # Rows count downwards, so a positive tilt runs from north-west to south-east.
        angle = math.degrees(math.atan2(-mixed, half_difference)) / 2 if spread > 0 else 0.0
        larger, smaller = half_sum + spread, max(half_sum - spread, 0.0)
        return math.sqrt(larger), math.sqrt(smaller), -90.0 if angle >= 90 else angle


def reach_in_pixels(ratio: tuple[float, float]) -> tuple[int, int]:
    """Fine pixels, down and across, that a point spread function takes on each side."""
    rows, cols = (math.ceil(REACH * r) for r in ratio)
    return rows, cols


def blur_matrix(
    placement: Placement, spread: PointSpread, fine: tuple[int, int], coarse: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The blur as a sparse matrix, for images that lie flattened in row-major order.

    Args:
        placement: Where the coarse pixels lie.
        spread: What each of them sees.
        fine: Height and width of the fine image.
        coarse: Height and width of the coarse image.

    Returns:
        A float32 CSR matrix `(coarse pixels, fine pixels)`, whose rows sum to 1 where they have
        anything, and `(coarse pixels,)` the share of each Gaussian that lies inside the image.
    """
    rows = _taps(placement, spread, 0, fine[0], coarse[0])
    cols = _taps(placement, spread, 1, fine[1], coarse[1])
    # Some rows at a time: on the way a number takes ten times what it takes in the end.
    step = max(1, _AT_ONCE // (rows.index.shape[1] * cols.index.numel()))
    parts = [
        _weights(rows.part(first, first + step), cols, spread, fine[1])
        for first in range(0, coarse[0], step)
    ]
    lengths, columns, values, share = (torch.cat(each) for each in zip(*parts, strict=True))
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    size = (coarse[0] * coarse[1], fine[0] * fine[1])
    return _csr(starts, columns, values, size), share


def _weights(
    rows: _Taps, cols: _Taps, spread: PointSpread, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What some rows of coarse pixels see.

    Returns:
        For each coarse pixel how many fine ones, for each of those its place in an image of that
        width and its weight, and for each coarse pixel the share of its Gaussian that is inside.
    """
    density = _gaussian(
        rows.distance[:, None, :, None],
        cols.distance[None, :, None, :],
        *(torch.tensor(value, dtype=torch.float64) for value in (*spread.sigma, spread.tilt)),
    )
    weights = torch.where(_both(rows.reached, cols.reached), density, 0.0)
    inside = _both(rows.inside, cols.inside)
    index = rows.index[:, None, :, None] * width + cols.index[None, :, None, :]
    pixels = len(rows.index) * len(cols.index)
    flat, filled = weights.reshape(pixels, -1), inside.reshape(pixels, -1)
    kept = torch.where(filled, flat, 0.0)
    total = kept.sum(1, keepdim=True)
    return (
        filled.sum(1),
        index.reshape(pixels, -1)[filled].to(torch.int32),
        (kept / total.clamp_min(1e-300))[filled].to(torch.float32),
        (total / flat.sum(1, keepdim=True))[:, 0].to(torch.float32),
    )


def _csr(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        # Said once by torch to whoever makes the first such tensor.
        warnings.filterwarnings("ignore", "Sparse", UserWarning)
        # Products with 32-bit indices are up to five times as fast.
        return torch.sparse_csr_tensor(starts.to(torch.int32), columns, values, shape)


def blurred(matrix: Tensor, image: Tensor, coarse: tuple[int, int]) -> Tensor:
    """A fine image `(bands, H, W)` as coarse pixels see it: `(bands, h, w)`."""
    return (matrix @ image.flatten(1).T).T.reshape(-1, *coarse)


@dataclass(frozen=True)
class _Taps:
    """Fine rows (or columns) around each coarse one: `(coarse, taps)`.

    Attributes:
        index: Which; some row of the image also where there is none.
        distance: From the coarse pixel's centre.
        reached: Not beyond the cut.
        inside: Reached, and in the image.
    """

    index: Tensor
    distance: Tensor
    reached: Tensor
    inside: Tensor

    def part(self, first: int, last: int) -> _Taps:
        """Those of some coarse rows."""
        each = (self.index, self.distance, self.reached, self.inside)
        return _Taps(*(values[first:last] for values in each))


def _both(rows: Tensor, cols: Tensor) -> Tensor:
    """What holds along rows and along columns: `(h, w, row taps, column taps)`."""
    return rows[:, None, :, None] & cols[None, :, None, :]


def _taps(placement: Placement, spread: PointSpread, axis: int, fine: int, coarse: int) -> _Taps:
    centres = torch.tensor(placement.centres(axis, coarse), dtype=torch.float64)
    centres = centres + spread.shift[axis]
    reach = REACH * placement.ratio[axis]
    first = torch.ceil(centres - reach - 0.5).to(torch.int64)
    index = first[:, None] + torch.arange(math.floor(2 * reach) + 1)
    distance = index + 0.5 - centres[:, None]
    # Where a pixel's centre lies just beyond one end, there is one tap more than the reach holds.
    reached = distance.abs() <= reach
    inside = reached & (index >= 0) & (index < fine)
    return _Taps(index.clamp(0, fine - 1), distance, reached, inside)


def _gaussian(down: Tensor, across: Tensor, sr: Tensor, sc: Tensor, tilt: Tensor) -> Tensor:
    """Not normalised; equation of the bivariate normal density."""
    y, x = down / sr, across / sc
    return torch.exp(-(y * y - 2 * tilt * y * x + x * x) / (2 * (1 - tilt * tilt)))


class DegradationNet(nn.Module):
    """Point spread function, spectral response and radiometry of a pair, all to be learnt.

    Args:
        prior: `(channels, bands)`: the spectral response expected from wavelengths, rows summing
            to 1. Bands with weight 0 cannot be seen by that channel and never will be.
        ratio: Fine pixels along one coarse pixel.
    """

    prior: Tensor

    def __init__(self, prior: Tensor, ratio: tuple[float, float]) -> None:
        super().__init__()
        self.ratio = ratio
        self.register_buffer("prior", prior)
        self.log_response = nn.Parameter(prior.clamp_min(1e-12).log())
        # A detector element that sees just its own pixel: FWHM of one coarse pixel.
        start = [math.log(r / FWHM_PER_SIGMA) for r in ratio]
        self.log_sigma = nn.Parameter(torch.tensor(start, dtype=prior.dtype))
        self.raw_tilt = nn.Parameter(prior.new_zeros(()))
        self.raw_shift = nn.Parameter(prior.new_zeros(2))
        self.gain = nn.Parameter(prior.new_ones(len(prior)))
        self.offset = nn.Parameter(prior.new_zeros(len(prior)))

    @property
    def response(self) -> Tensor:
        """`(channels, bands)`, not negative, rows summing to 1, 0 where the prior is 0."""
        unseen = self.prior == 0
        return torch.softmax(self.log_response.masked_fill(unseen, -torch.inf), dim=1)

    @property
    def sigma(self) -> Tensor:
        """`(2,)` fine pixels, within what a cut Gaussian can say."""
        ratio = self.log_sigma.new_tensor(self.ratio)
        narrow = ratio.new_full((2,), NARROWEST)
        return self.log_sigma.exp().clamp(narrow, (WIDEST * ratio).clamp_min(NARROWEST + 0.1))

    @property
    def tilt(self) -> Tensor:
        """Correlation of the two axes."""
        return _LARGEST_TILT * torch.tanh(self.raw_tilt)

    @property
    def shift(self) -> Tensor:
        """`(2,)` fine pixels."""
        ratio = self.raw_shift.new_tensor(self.ratio)
        return FARTHEST * ratio * torch.tanh(self.raw_shift)

    def spread(self) -> PointSpread:
        """What has been learnt of the point spread function."""
        (sr, sc), (down, across) = self.sigma.tolist(), self.shift.tolist()
        return PointSpread((sr, sc), self.tilt.item(), (down, across))

    def blurred(self, patches: Tensor, corner: Tensor) -> Tensor:
        """What coarse pixels see of the fine image.

        Args:
            patches: `(pixels, channels, K, L)`: fine pixels around each of them.
            corner: `(pixels, 2)`: the centre of each patch's first pixel relative to the coarse
                pixel's centre, in fine pixels, (down, across).

        Returns:
            `(pixels, channels)`.
        """
        down, across = (
            corner[:, axis, None]
            + torch.arange(patches.shape[2 + axis], dtype=corner.dtype)
            - self.shift[axis]
            for axis in (0, 1)
        )
        sr, sc = self.sigma
        weights = _gaussian(down[:, :, None], across[:, None, :], sr, sc, self.tilt)
        weights = weights / weights.sum((1, 2), keepdim=True)
        return torch.einsum("nckl,nkl->nc", patches, weights)

    def mixed(self, hsi: Tensor) -> Tensor:
        """What the other sensor's channels would have measured.

        Args:
            hsi: `(pixels, bands)`.

        Returns:
            `(pixels, channels)` in the units of the other sensor.
        """
        return self.gain * (hsi @ self.response.T) + self.offset

    def departure(self) -> Tensor:
        """How far the response is from the expected one: mean Kullback-Leibler divergence."""
        seen = self.prior > 0
        response = torch.where(seen, self.response.clamp_min(1e-12), 1.0)
        prior = torch.where(seen, self.prior, 1.0)
        return (torch.where(seen, prior, 0.0) * (prior.log() - response.log())).sum(1).mean()
