"""Drawing pixels of each stratum at random: the k-th pixel of a stratum, row by row.

A raster is passed twice, strip by strip: once to count, and once to find the pixels whose ranks
were drawn in between. What is drawn depends on the pixels and on the seed, and neither on the
strips nor on how the file is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.legend import NO_CLASS

Ints = NDArray[np.int64]

# So many pixels stay in a processor's cache, and few of them hold more than one that is drawn.
_PIECE = 1 << 17
# Codes beyond this are sorted instead of being counted in a table.
_TABLE = 1 << 20


def count_codes(strip: NDArray[np.integer]) -> Counter[int]:
    """How many pixels of each code a strip has; pixels without class are no code."""
    counts: Counter[int] = Counter()
    for _, piece in _pieces(strip):
        counts.update(_counted(piece))
    return counts


def draw_ranks(pixels: Mapping[int, int], samples: Mapping[int, int], seed: int) -> dict[int, Ints]:
    """Simple random samples without replacement, one of each stratum.

    Args:
        pixels: Pixels of each stratum, by code.
        samples: How many of them to draw.
        seed: Fixes what is drawn; a stratum's draw does not depend on the other strata.

    Returns:
        By code the ranks that were drawn, ascending, from 0 to the stratum's pixels - 1.

    Raises:
        ValueError: A stratum has fewer pixels than are to be drawn.
    """
    return {
        code: np.sort(_generator(seed, code).choice(pixels[code], count, replace=False))
        for code, count in samples.items()
    }


def locate(
    strips: Iterable[NDArray[np.integer]], ranks: Mapping[int, Ints]
) -> dict[int, NDArray[np.int64]]:
    """Find pixels by their rank among those of the same code.

    Args:
        strips: The raster from top to bottom, whole rows of codes `(rows, W)` at a time.
        ranks: Ranks by code, ascending, counted row by row from 0.

    Returns:
        By code the pixels' places `row * W + column`, in the order of the ranks.

    Raises:
        ValueError: The raster has fewer pixels of a code.
    """
    found: dict[int, list[Ints]] = {code: [] for code in ranks}
    seen = dict.fromkeys(ranks, 0)
    first = 0
    for strip in strips:
        for start, piece in _pieces(strip):
            counts = _counted(piece)
            for code in counts.keys() & ranks.keys():
                last = seen[code] + counts[code]
                begin, end = np.searchsorted(ranks[code], (seen[code], last))
                if begin < end:
                    places = np.flatnonzero(piece == code)
                    found[code].append(places[ranks[code][begin:end] - seen[code]] + first + start)
                seen[code] = last
        first += strip.size
    located = {
        code: np.concatenate([np.empty(0, np.int64), *parts]) for code, parts in found.items()
    }
    if any(len(located[code]) < len(ranks[code]) for code in ranks):
        raise ValueError("the raster has fewer pixels than were counted")
    return located


def shuffled(count: int, seed: int) -> Ints:
    """The numbers below `count` in an order that the seed fixes, `(count,)`."""
    # No stratum has this code, so that the order is independent of what is drawn.
    return _generator(seed, NO_CLASS).permutation(count)


def _generator(seed: int, code: int) -> np.random.Generator:
    return np.random.default_rng((seed, code))


def _pieces(strip: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.integer]]]:
    """Short runs of a strip's pixels, row by row, and where each begins."""
    flat = strip.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        yield start, flat[start : start + _PIECE]


def _counted(piece: NDArray[np.integer]) -> dict[int, int]:
    """Pixels by code, without those of no class."""
    if int(piece.max()) < _TABLE:
        table = np.bincount(piece)
        codes = np.flatnonzero(table)
        counts = table[codes]
    else:
        codes, counts = np.unique(piece, return_counts=True)
    found = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    found.pop(NO_CLASS, None)
    return found
