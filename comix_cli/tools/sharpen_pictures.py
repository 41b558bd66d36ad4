"""Pictures of a pair and of what was made of it, side by side, in the same colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from comix_cli.scene.grid import Grid
from comix_cli.scene.pixels import Values
from comix_cli.scene.raster import RasterInfo, describe, open_raster
from comix_cli.scene.reader import band_reader
from comix_cli.scene.windows import Window
from comix_cli.sharpening.pair import Pair
from comix_cli.sharpening.study import Calibration
from comix_cli.tools.html_pictures import png_uri

Pixels = NDArray[np.uint8]

# The longer side of a picture of the whole scene at most, and of a cut-out, which is about what
# one of three pictures takes of a page.
WHOLE_SIDE, CUT_SIDE = 800, 300
# What is shown as red, green and blue: the middles of what eyes see so, in nanometres.
_RED_GREEN_BLUE = (640.0, 550.0, 460.0)
# A band farther from a colour does not show it.
_NEAR_NM = 60.0
# Percentiles of the sharp HSI that become black and white. It has darker and brighter places than
# the coarse one.
_DARKEST, _BRIGHTEST = 2.0, 98.0
_NO_DATA = (236, 236, 232)


@dataclass(frozen=True)
class Picture:
    """One image.

    Attributes:
        title: What it is.
        bands: Which of its bands are seen, in words.
        uri: A PNG in a data URI.
    """

    title: str
    bands: str
    uri: str


@dataclass(frozen=True)
class Side:
    """The coarse HSI, the sharp one and X over the same ground.

    Attributes:
        pictures: The three.
        grid: What they show: the pixels of the pictures.
        has_gaps: Whether a place without data is seen.
    """

    pictures: tuple[Picture, ...]
    grid: Grid
    has_gaps: bool


@dataclass(frozen=True)
class Colours:
    """Which bands are shown: three as red, green and blue, or one as grey.

    Attributes:
        x: Indices among the channels that guide.
        hsi: Indices among the bands of the HSI that are sharpened.
        of_x: Indices into `hsi` of the band whose range each of `x` is shown with.
        natural: Whether they look as to the eye.
    """

    x: tuple[int, ...]
    hsi: tuple[int, ...]
    of_x: tuple[int, ...]
    natural: bool


def choose_colours(x_nm: Sequence[float], hsi_nm: Sequence[float]) -> Colours:
    """The bands that show both images in the same colours.

    Natural colours where X has them; else three of its bands, the longest wavelength as red. An X
    of one or two bands is grey, and the HSI beside it in its own natural colours.

    Args:
        x_nm: Centres of the channels that guide.
        hsi_nm: Centres of the HSI's bands.
    """
    natural = _natural(x_nm)
    if natural or len(x_nm) >= 3:
        x = natural or tuple(sorted(_spread(x_nm), key=lambda i: -x_nm[i]))
        hsi = tuple(_nearest(hsi_nm, x_nm[i]) for i in x)
        return Colours(x, hsi, (0, 1, 2), bool(natural))
    grey = _nearest(x_nm, _RED_GREEN_BLUE[1])
    own = _natural(hsi_nm)
    hsi = own or (_nearest(hsi_nm, x_nm[grey]),)
    closest = _nearest([hsi_nm[i] for i in hsi], x_nm[grey])
    return Colours((grey,), hsi, (closest,), bool(own))


def _natural(centres: Sequence[float]) -> tuple[int, ...]:
    """The bands nearest to red, green and blue; none where one of them is missing."""
    found = tuple(_nearest(centres, colour) for colour in _RED_GREEN_BLUE)
    near = all(abs(centres[i] - c) <= _NEAR_NM for i, c in zip(found, _RED_GREEN_BLUE, strict=True))
    return found if near and len(set(found)) == 3 else ()


def _spread(centres: Sequence[float]) -> tuple[int, ...]:
    """The bands of the shortest, a middle and the longest wavelength."""
    order = sorted(range(len(centres)), key=lambda i: centres[i])
    return order[0], order[len(order) // 2], order[-1]


def _nearest(centres: Sequence[float], wanted: float) -> int:
    return min(range(len(centres)), key=lambda i: abs(centres[i] - wanted))


def side_by_side(
    pair: Pair, calibration: Calibration, x_nm: Sequence[float], sharp: Path
) -> list[Side]:
    """The whole scene, and where that is made smaller a part of it at full size.

    Args:
        pair: Both rasters.
        calibration: What brings X into the units of the HSI, so that one stretch fits both.
        x_nm: Centres of the channels that guide.
        sharp: The finished file.

    Raises:
        RasterError: A raster cannot be read.
    """
    hsi_nm = pair.hsi.centres_nm
    viewer = _Viewer(pair, calibration, choose_colours(x_nm, hsi_nm), x_nm, hsi_nm, sharp)
    step = max(1.0, max(pair.fine.shape) / WHOLE_SIDE)
    whole, valid = viewer.look(_coarser(pair.fine, step), step)
    if max(pair.fine.shape) <= 1.5 * CUT_SIDE or not valid.any():
        return [whole]
    part = _cut(pair.fine, middle(valid, CUT_SIDE / step / 2), valid.shape)
    return [whole, viewer.look(pair.fine.part(part), 1.0)[0]]


def _coarser(grid: Grid, step: float) -> Grid:
    """The same ground in pixels `step` times as large, as nearly as whole numbers allow."""
    height, width = (max(1, round(side / step)) for side in grid.shape)
    scale = Affine.scale(grid.width / width, grid.height / height)
    return Grid(grid.crs, grid.transform * scale, width, height)


def middle(valid: NDArray[np.bool_], reach: float) -> tuple[int, int]:
    """Row and column of the place nearest to the middle with valid pixels all around.

    Args:
        valid: `(h, w)`, True somewhere.
        reach: How far around; as far as possible where nothing has so much.
    """
    from scipy.ndimage import distance_transform_edt  # noqa: PLC0415  # slow to import

    depth = distance_transform_edt(np.pad(valid, 1))[1:-1, 1:-1]
    rows, cols = np.nonzero(depth >= min(reach, depth.max()))
    centre = np.argwhere(valid).mean(0)
    nearest = int(np.hypot(rows - centre[0], cols - centre[1]).argmin())
    return int(rows[nearest]), int(cols[nearest])


def _cut(grid: Grid, place: tuple[int, int], seen_as: tuple[int, int]) -> Window:
    """A window of the grid around a place in a picture of it of another size."""
    height, width = (min(CUT_SIDE, side) for side in grid.shape)
    centres = [(p + 0.5) / n * side
               for p, n, side in zip(place, seen_as, grid.shape, strict=True)]  # fmt: skip
    row, col = (
        min(max(0, round(centre - size / 2)), side - size)
        for centre, size, side in zip(centres, (height, width), grid.shape, strict=True)
    )
    return Window(row, col, height, width)


class _Viewer:
    """Reads the shown bands of the three images on any grid, and colours them."""

    def __init__(
        self,
        pair: Pair,
        calibration: Calibration,
        colours: Colours,
        x_nm: Sequence[float],
        hsi_nm: Sequence[float],
        sharp: Path,
    ) -> None:
        self._pair, self._colours, self._sharp = pair, colours, sharp
        chosen = list(colours.x)
        self._gain = calibration.gain[chosen].numpy()[:, None, None]
        self._offset = calibration.offset[chosen].numpy()[:, None, None]
        self._x_bands = [pair.x.bands[calibration.channels[i]] for i in chosen]
        self._words = [_words([c[i] for i in shown], natural=colours.natural)
                       for c, shown in ((hsi_nm, colours.hsi), (x_nm, colours.x))]  # fmt: skip

    def look(self, grid: Grid, step: float) -> tuple[Side, NDArray[np.bool_]]:
        """The three on a grid whose pixels are `step` of X, and where the sharp one is valid."""
        pair = self._pair
        bands = [pair.hsi.bands[i] for i in self._colours.hsi]
        coarse = _read(pair.hsi.dataset, pair.hsi.info, grid, bands, "nearest")
        smooth = "average" if step > 1 else "bilinear"
        raw = _read(pair.x.dataset, pair.x.info, grid, self._x_bands, smooth)
        x = Values((raw.data - self._offset) / self._gain, raw.valid)
        with open_raster(str(self._sharp)) as dataset:
            info = describe(dataset, str(self._sharp))
            numbers = [i + 1 for i in self._colours.hsi]
            sharp = _read(dataset, info, grid, numbers, smooth)
        ranges = _ranges(sharp)
        of_x = [ranges[i] for i in self._colours.of_x]
        pictures = (
            _picture("The HSI as it was", self._words[0], coarse, ranges),
            _picture("The sharp HSI", self._words[0], sharp, ranges),
            _picture("X, the fine image", self._words[1], x, of_x),
        )
        gaps = not (coarse.valid.all() and sharp.valid.all() and x.valid.all())
        return Side(pictures, grid, gaps), sharp.valid


def _read(
    dataset: Any, info: RasterInfo, grid: Grid, bands: Sequence[int], resampling: str
) -> Values:
    reader = band_reader(dataset, info, grid, bands, resampling)
    try:
        return reader.read(Window(0, 0, *grid.shape))
    finally:
        reader.close()


def _words(centres: Sequence[float], *, natural: bool) -> str:
    if len(centres) == 1:
        return f"grey: {centres[0]:.0f} nm"
    named = ", ".join(
        f"{colour} {nm:.0f} nm"
        for colour, nm in zip(("red", "green", "blue"), centres, strict=True)
    )
    return named if natural else f"{named} (false colours)"


def _ranges(values: Values) -> list[tuple[float, float]]:
    """For each band, what becomes black and white."""
    if not values.valid.any():
        return [(0.0, 1.0)] * len(values.data)
    found = np.percentile(values.data[:, values.valid], (_DARKEST, _BRIGHTEST), axis=1).T
    return [(float(low), float(high)) for low, high in found]


def _picture(
    title: str, words: str, values: Values, ranges: Sequence[tuple[float, float]]
) -> Picture:
    return Picture(title, words, png_uri(coloured(values, ranges)))


def coloured(values: Values, ranges: Sequence[tuple[float, float]]) -> Pixels:
    """One or three bands as a picture `(h, w, 3)`; what is not valid is a pale grey.

    Args:
        values: The bands.
        ranges: For each, what becomes black and what becomes white.
    """
    low, high = (np.array(ends)[:, None, None] for ends in zip(*ranges, strict=True))
    span = np.where(high > low, high - low, math.inf)
    scaled = np.clip(np.nan_to_num((values.data - low) / span), 0, 1)
    picture = np.moveaxis(np.rint(255 * scaled).astype(np.uint8), 0, 2)
    if picture.shape[2] == 1:
        picture = picture.repeat(3, axis=2)
    return np.where(values.valid[..., None], picture, np.array(_NO_DATA, np.uint8))
