"""A map and ground truth, pixel by pixel: what is counted, and what is left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.accuracy.bootstrap import Contributions
from comix_cli.errors import RasterError
from comix_cli.mapping.map_file import MapFile
from comix_cli.progress import Progress
from comix_cli.scene.labels import Reference
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.pixel_rule import PixelRule
from comix_cli.scene.rasterize import Burnt
from comix_cli.tools.reference_tiles import ReferenceTile, ReferenceTiles
from comix_cli.tools.sample_design import SampleDesign

# A raster with more codes than this is no class map.
MOST_CODES = 1000
# What stands for classes that the map does not know, downwards; beyond every code of a map.
UNMAPPED = 2**31 - 1
# Pairs of overlapping features that a report names.
MOST_OVERLAPS = 100


class Comparison:
    """Counts pixels tile by tile.

    Args:
        map_file: The map.
        reference: The ground truth.
        known: The map's code for each code of the ground truth that the map knows.
        present: Codes that occur in the map.
        rule: Which pixels a geometry takes.
        design: The sample whose pixels alone are compared; None to compare all.

    Attributes:
        excluded: Reference pixels left out: where the map has no data, outside the map, in polygons
            of different classes, of a class that the map does not know.
        unmapped: Of the last, how many by the ground truth's class names.
        outside_estimated: Whether `outside` follows from areas and not from pixels.
        labelled: Pixels of the map that have ground truth, disputed or not; of a sample's, if any.
        features_seen: Features that hold at least one pixel of the map.

    Raises:
        RasterError: The map holds too many codes.
    """

    def __init__(
        self,
        map_file: MapFile,
        reference: Reference,
        known: Mapping[int, int],
        present: Iterable[int],
        rule: PixelRule,
        design: SampleDesign | None = None,
    ) -> None:
        self._map, self._design = map_file, design
        names = dict(reference.classes)
        strangers = [code for code, _ in reference.classes if code not in known]
        codes = {**known, **{code: UNMAPPED - i for i, code in enumerate(strangers)}}
        self._strangers = {UNMAPPED - i: names[c] for i, c in enumerate(strangers)}
        self._names = {entry.code: entry.name for entry in map_file.legend or ()}
        # A code that the map does not name is an error like any other, so it needs its place.
        self._codes = {*(self._names or known.values()), *present}
        if len(self._codes) > MOST_CODES:
            raise RasterError(
                f"holds more than {MOST_CODES} different codes",
                path=map_file.path,
                remedy="give a classified map",
            )
        self._tiles = ReferenceTiles(reference, map_file.grid, codes, rule)
        # Cluster, stratum, reference code, predicted code and pixels, in columns, tile by tile.
        self._cells = [np.empty((5, 0), np.int64)]
        self._overlaps: Counter[tuple[int, int]] = Counter()
        self.unmapped = dict.fromkeys(self._strangers.values(), 0)
        self.excluded = dict.fromkeys(("nodata", "outside", "overlap", "unmapped_class"), 0)
        self.outside_estimated = False
        self.labelled = 0
        self.features_seen: set[int] = set()

    def run(self, progress: Progress) -> None:
        """Go through every tile that holds ground truth, inside the map and beyond it.

        Raises:
            RasterError: The map cannot be read.
        """
        for tile in self._tiles.walk(progress):
            self._compare(tile)
        self.excluded["outside"] = self._tiles.outside
        self.outside_estimated = self._tiles.outside_estimated

    def _compare(self, tile: ReferenceTile) -> None:
        burnt = tile.burnt
        wanted = burnt.labelled
        clusters, strata = burnt.features, np.zeros(1, np.int64)
        if self._design is not None:
            clusters, strata = self._design.within(tile.window)
            wanted &= clusters >= 0
        self.labelled += int(wanted.sum())
        for features in (burnt.features, burnt.rivals):
            self.features_seen.update(np.unique(features[wanted]).tolist())
        self._count_overlaps(burnt, wanted & burnt.overlap)
        unmapped = wanted & (burnt.labels > UNMAPPED - len(self._strangers))
        self._count_unmapped(burnt.labels[unmapped])
        compared = wanted & ~burnt.overlap & ~unmapped
        if compared.any():
            predicted = self._map.read(tile.window)
            kept = compared & (predicted != NO_CLASS)
            self.excluded["nodata"] += int(compared.sum() - kept.sum())
            cluster = clusters[kept].astype(np.int64)
            stratum = strata[cluster] if self._design else np.zeros_like(cluster)
            self._remember(cluster, stratum, burnt.labels[kept], predicted[kept])

    def _count_overlaps(self, burnt: Burnt, disputed: NDArray[np.bool_]) -> None:
        self.excluded["overlap"] += int(disputed.sum())
        pairs = np.sort([burnt.features[disputed], burnt.rivals[disputed]], axis=0)
        found, pixels = np.unique(pairs, axis=1, return_counts=True)
        for first, second, count in zip(*found.tolist(), pixels.tolist(), strict=True):
            self._overlaps[first, second] += count

    def _count_unmapped(self, labels: NDArray[np.int32]) -> None:
        self.excluded["unmapped_class"] += labels.size
        for code, count in zip(*np.unique(labels, return_counts=True), strict=True):
            self.unmapped[self._strangers[int(code)]] += int(count)

    def _remember(self, *columns: NDArray[np.integer]) -> None:
        """How often each combination of cluster, stratum, reference and prediction occurs."""
        # One number for all of them: NumPy finds what is unique of numbers much faster.
        values = [np.unique(column) for column in columns]
        shape = tuple(max(1, len(each)) for each in values)
        places = [np.searchsorted(v, c) for v, c in zip(values, columns, strict=True)]
        keys, pixels = np.unique(np.ravel_multi_index(places, shape), return_counts=True)
        found = zip(values, np.unravel_index(keys, shape), strict=True)
        self._cells.append(np.stack([*(v[p].astype(np.int64) for v, p in found), pixels]))

    def classes(self) -> list[tuple[int, str]]:
        """Code and name of every class, ascending; the code itself where it has no name."""
        return [(code, self._names.get(code, str(code))) for code in sorted(self._codes)]

    def contributions(self) -> Contributions:
        """What each cluster adds to the matrix, of the classes in the order of `classes`."""
        codes = np.array(sorted(self._codes), np.int64)
        clusters, _, reference, predicted, pixels = np.hstack(self._cells)
        return Contributions(
            cluster=np.unique(clusters, return_inverse=True)[1].reshape(-1),
            reference=np.searchsorted(codes, reference),
            predicted=np.searchsorted(codes, predicted),
            pixels=pixels,
            classes=len(codes),
        )

    def by_stratum(self) -> NDArray[np.int64]:
        """`(strata, n, n)` counts `[stratum, reference, predicted]` of the sample's strata."""
        assert self._design is not None
        codes = np.array(sorted(self._codes), np.int64)
        _, stratum, reference, predicted, pixels = np.hstack(self._cells)
        counts = np.zeros((len(self._design.stratum_pixels), len(codes), len(codes)), np.int64)
        place = (stratum, np.searchsorted(codes, reference), np.searchsorted(codes, predicted))
        np.add.at(counts, place, pixels)
        return counts

    def overlaps(self, class_of: Mapping[int, str]) -> dict[str, Any]:
        """Features of different classes that share pixels, the largest first.

        Args:
            class_of: The class of each feature, by its name.
        """
        listed = [
            {
                "features": list(pair),
                "classes": [class_of.get(feature, "") for feature in pair],
                "pixels": pixels,
            }
            for pair, pixels in self._overlaps.most_common(MOST_OVERLAPS)
        ]
        return {"pairs": len(self._overlaps), "listed": listed}
