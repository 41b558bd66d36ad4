"""A map and ground truth, pixel by pixel: what is counted, and what is left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.accuracy.agreement import AgreementPicture
from comix_cli.accuracy.bootstrap import Contributions
from comix_cli.mapping.map_file import MapFile
from comix_cli.progress import Progress
from comix_cli.scene.labels import Reference
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.pixel_rule import PixelRule
from comix_cli.scene.rasterize import Sources
from comix_cli.scene.windows import Window
from comix_cli.tools.compared_classes import compared_classes
from comix_cli.tools.reference_tiles import ReferenceTile, ReferenceTiles
from comix_cli.tools.sample_design import SampleDesign

# Pairs of overlapping features that a report names.
MOST_OVERLAPS = 100
LARGEST_IN_TABLE = 1 << 20

Numbers = NDArray[np.int32]
Places = NDArray[np.int64]


class Comparison:
    """Counts pixels tile by tile.

    Args:
        map_file: The map.
        reference: The ground truth.
        known: The map's code for each code of the ground truth that the map knows.
        present: Codes that occur in the map.
        rule: Which pixels a geometry takes.
        design: The sample whose pixels alone are compared; None to compare all.
        picture: Told where the map is right and wrong, if there is one.

    Attributes:
        excluded: Reference pixels left out: where the map has no data, outside the map, in polygons
            of different classes, of a class that the map does not know; those of a sample are
            wrong and not left out.
        compared: Pixels that were compared.
        outside_estimated: Whether `outside` follows from areas and not from pixels.
        labelled: Pixels of the map that have ground truth, disputed or not; of a sample's, if any.
        features_without_pixel: Features on the map that take no pixel of it. Not told of a sample,
            which is about its own pixels.

    Raises:
        RasterError: The map holds too many codes.
        LabelError: A sample holds too many classes that the map does not know.
    """

    def __init__(
        self,
        map_file: MapFile,
        reference: Reference,
        known: Mapping[int, int],
        present: Iterable[int],
        rule: PixelRule,
        design: SampleDesign | None = None,
        picture: AgreementPicture | None = None,
    ) -> None:
        self._map, self._design, self._picture = map_file, design, picture
        # Where the sample meets a class that the map lacks, the map is wrong. Elsewhere that class
        # may be left out, as what is compared need not stand for all of the map.
        self._classes = compared_classes(
            map_file,
            reference,
            known,
            present,
            # A sample stands for the map, and a map without names cannot say what it leaves out.
            compare_unmapped=design is not None or map_file.legend is None,
        )
        self._table = _table_of_places(self._classes.codes)
        self._tiles = ReferenceTiles(reference, map_file.grid, self._classes.of_reference, rule)
        # Cluster, stratum, reference code, predicted code and pixels, in columns, tile by tile.
        self._cells = [np.empty((5, 0), np.int64)]
        self._overlaps: Counter[tuple[int, int]] = Counter()
        self._unmapped = dict.fromkeys(self._classes.unmapped, 0)
        self.excluded = dict.fromkeys(("nodata", "outside", "overlap", "unmapped_class"), 0)
        self.outside_estimated = False
        self.compared = 0
        self.labelled = 0
        self.features_without_pixel = 0
        self._seen: set[int] = set()

    def run(self, progress: Progress) -> None:
        """Go through every tile that holds ground truth, inside the map and beyond it.

        Raises:
            RasterError: The map cannot be read.
        """
        for tile in self._tiles.walk(progress):
            self._compare(tile)
        self.excluded["outside"] = self._tiles.outside
        self.outside_estimated = self._tiles.outside_estimated
        if self._design is None:
            self.features_without_pixel = self._tiles.features_without_pixel(self._seen)

    def _compare(self, tile: ReferenceTile) -> None:
        burnt, sources = tile.burnt, tile.burnt.sources
        drawn = None if self._design is None else self._design.within(tile.window).ravel()
        wanted = burnt.labelled.ravel()
        here = np.flatnonzero(wanted if drawn is None else wanted & (drawn >= 0))
        self.labelled += len(here)
        top = burnt.top.ravel()[here]
        if burnt.bottom is not burnt.top:
            bottom = burnt.bottom.ravel()[here]
            disputed = sources.codes[top] != sources.codes[bottom]
            self._count_overlaps(tile.window, here[disputed])
            here, top = here[~disputed], top[~disputed]
        if len(here):
            if drawn is not None:
                # Each pixel of a sample is a source of its own.
                sources = Sources(sources.codes[top], drawn[here], drawn[here])
                top = np.arange(len(here), dtype=np.int32)
            predicted = self._map.read(tile.window).ravel()[here]
            self._count(sources, top, self._places(predicted))
            if self._picture is not None:
                known = (predicted != NO_CLASS) & ~self._classes.is_left_out(sources.codes)[top]
                right = predicted[known] == sources.codes[top[known]]
                self._draw(self._picture, tile.window, here[known], right)

    def _draw(
        self, picture: AgreementPicture, window: Window, here: Places, right: NDArray[np.bool_]
    ) -> None:
        """Tell the picture of the pixels that were compared, numbered row by row."""
        masks = np.zeros((2, window.height * window.width), np.bool_)
        masks[0, here], masks[1, here] = right, True
        picture.add(window.row, window.col, *masks.reshape(2, *window.shape))

    def _places(self, codes: Numbers) -> Numbers:
        """The place of codes of the map among all of them, counted from 1; 0 stays 0."""
        if self._table is not None:
            return self._table[codes]
        found = np.searchsorted(self._classes.codes, codes) + 1
        return np.where(codes == NO_CLASS, 0, found).astype(np.int32)

    def _count_overlaps(self, window: Window, disputed: Places) -> None:
        if not len(disputed):
            return
        flags = np.zeros(window.height * window.width, np.bool_)
        flags[disputed] = True
        pairs = self._tiles.overlaps(window, flags.reshape(window.shape))
        self.excluded["overlap"] += len(disputed)
        self._overlaps.update(pairs)
        self._seen.update(feature for pair in pairs for feature in pair)

    def _count(self, sources: Sources, numbers: Numbers, places: Numbers) -> None:
        """Count how often each source meets each code of the map, place 0 being no class."""
        width = len(self._classes.codes) + 1
        cells = len(sources.codes) * width
        table = np.bincount(numbers * width + places, minlength=cells).reshape(-1, width)
        self._seen.update(sources.features[table.any(axis=1)].tolist())
        lost = self._classes.is_left_out(sources.codes)
        self.excluded["unmapped_class"] += int(table[lost].sum())
        self.excluded["nodata"] += int(table[~lost, 0].sum())
        table[~lost, 0] = 0
        unmapped = self._classes.is_unmapped(sources.codes)
        pixels = table[unmapped].sum(axis=1).tolist()
        for code, number in zip(sources.codes[unmapped].tolist(), pixels, strict=True):
            self._unmapped[code] += number
        table[lost] = 0
        self.compared += int(table.sum())
        source, place = np.nonzero(table)
        cluster = sources.clusters[source].astype(np.int64)
        stratum = np.zeros_like(cluster) if self._design is None else self._design.strata[cluster]
        reference, predicted = sources.codes[source], self._classes.codes[place - 1]
        self._cells.append(np.stack([cluster, stratum, reference, predicted, table[source, place]]))

    @property
    def unmapped(self) -> dict[str, int]:
        """Pixels of each class that the map does not know, by the ground truth's name."""
        return {self._classes.names[code]: pixels for code, pixels in self._unmapped.items()}

    def classes(self) -> list[tuple[int, str]]:
        """Code and name of every class, ascending; the code itself where it has no name.

        Those of the map, and those that a sample found and the map does not know, on codes that it
        does not hold.
        """
        return self._classes.listed(self._codes().tolist())

    def _codes(self) -> NDArray[np.int64]:
        met = [code for code, pixels in self._unmapped.items() if pixels]
        found = [*self._classes.codes, *(met if self._classes.compares_unmapped else ())]
        return np.array(sorted(found), np.int64)

    def contributions(self) -> Contributions:
        """What each cluster adds to the matrix, of the classes in the order of `classes`."""
        codes = self._codes()
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
        codes = self._codes()
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


def _table_of_places(codes: NDArray[np.int64]) -> Numbers | None:
    """The place of every code from 0 to the largest, counted from 1; None where that is long."""
    largest = int(codes.max(initial=0))
    if largest > LARGEST_IN_TABLE:
        return None
    table = np.zeros(largest + 1, np.int32)
    table[codes] = np.arange(1, len(codes) + 1)
    return table
