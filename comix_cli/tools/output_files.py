"""The files that a classification writes, and whether it could."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comix_cli.errors import OutputError
from comix_cli.files import check_suffix, check_writable, sidecar
from comix_cli.mapping.qgis import style_path
from comix_cli.mapping.sieve import parse_area
from comix_cli.mapping.writer import check_map_writable

_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class OutputOptions:
    """The files that a classification writes.

    Attributes:
        map: The class map, a GeoTIFF.
        probabilities: A GeoTIFF with a band for each class.
        confidence: A GeoTIFF of the largest probability.
        entropy: A GeoTIFF of how undecided the model is, 0 to 1.
        float_scores: These three as float32, and not as bytes in steps of 0.004.
        min_area: Patches of a class smaller than this are given to their largest neighbour: square
            metres, or with a unit (`0.5ha`, `20px`).
        polygons: The map as polygons, a GeoPackage.
        quicklook: A picture of the map, a PNG.
        stac: The map as a STAC item, JSON; beside it the item of the model, `.model.json`.
        stac_id: The id of that item; None for what the map is called.
        creation_options: GDAL creation options of the GeoTIFFs, such as `COMPRESS=ZSTD`.
        overwrite: Replace what exists.
    """

    map: Path
    probabilities: Path | None = None
    confidence: Path | None = None
    entropy: Path | None = None
    float_scores: bool = False
    min_area: str | None = None
    polygons: Path | None = None
    quicklook: Path | None = None
    stac: Path | None = None
    stac_id: str | None = None
    creation_options: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False

    def check(self, inputs: Iterable[str]) -> None:
        """Refuse outputs that could not be written, before long work begins.

        Args:
            inputs: Files that are read meanwhile, and must not be replaced.

        Raises:
            OutputError: A file exists already, cannot be written, is an input or another output,
                or its name is empty or says that it is something else.
            UsageError: `min_area` is no area.
        """
        read = tuple(inputs)
        if self.min_area is not None:
            parse_area(self.min_area)
        check_suffix(self.map, _TIFF, "map")
        check_map_writable(self.map, overwrite=self.overwrite, inputs=read)
        for what, target, suffixes in self._others():
            check_suffix(target, suffixes, what)
            check_writable(target, overwrite=self.overwrite, inputs=read)
        _check_distinct(self.paths())

    def paths(self) -> list[Path]:
        """Every output, the map first."""
        return [self.map, *(path for _, path, _ in self._others())]

    @property
    def model_item(self) -> Path | None:
        """The STAC item of the model, beside the one of the map; None without that."""
        if self.stac is None:
            return None
        return self.stac.parent / f"{self.stac.stem}.model{self.stac.suffix}"

    def _others(self) -> list[tuple[str, Path, tuple[str, ...]]]:
        """What every output but the map is called, its path, and how that may end."""
        asked = (
            ("probabilities", self.probabilities, _TIFF),
            ("confidence", self.confidence, _TIFF),
            ("entropy", self.entropy, _TIFF),
            ("polygons", self.polygons, (".gpkg",)),
            ("quicklook", self.quicklook, (".png",)),
            ("STAC item", self.stac, (".json",)),
            ("STAC item of the model", self.model_item, (".json",)),
        )
        return [(what, path, suffixes) for what, path, suffixes in asked if path is not None]


def _check_distinct(targets: list[Path]) -> None:
    """No two outputs have one name, companions that we write beside the map included."""
    taken = {sidecar(targets[0]).resolve(), style_path(targets[0]).resolve()}
    for target in targets:
        if target.resolve() in taken:
            raise OutputError(
                "is named for two outputs", path=target, remedy="give each a name of its own"
            )
        taken.add(target.resolve())
