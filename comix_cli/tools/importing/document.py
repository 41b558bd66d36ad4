"""What an import has found and written, as one document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comix_cli.scene.grid import crs_label
from comix_cli.tools.importing.label_sets import legend_of
from comix_cli.tools.importing.parts import Image, LabelSet
from comix_cli.tools.importing.records import Dataset
from comix_cli.tools.provenance import timestamp, versions


def import_document(
    dataset: Dataset, folder: Path, images: Sequence[Image], sets: Sequence[LabelSet]
) -> dict[str, Any]:
    """Images, label sets, classes with found and official pixels, and what they come from."""
    return {
        "kind": "import",
        "dataset": dataset.key,
        "title": dataset.title,
        "citation": dataset.citation,
        "remark": dataset.remark,
        "folder": str(folder),
        "images": [_of_image(image) for image in images],
        "sets": [_of_set(one) for one in sets],
        "classes": [
            {
                "code": entry.code,
                "name": entry.name,
                "color": list(entry.color),
                "pixels": {one.part.name: one.counts[entry.code - 1] for one in sets},
                "official": {one.part.name: one.part.counts[entry.code - 1] for one in sets},
            }
            for entry in legend_of(dataset)
        ],
        "matches": all(one.matches for one in sets),
        "provenance": {"date": timestamp(), "versions": versions()},
    }


def _of_image(image: Image) -> dict[str, Any]:
    centres = image.centres_nm
    return {
        **_of_any(image),
        "bands": image.bands,
        "dtype": image.dtype,
        "wavelengths_nm": [min(centres), max(centres)] if centres else None,
        "wavelengths_from": image.centres_from,
    }


def _of_set(one: LabelSet) -> dict[str, Any]:
    return {
        **_of_any(one),
        "pixels": sum(one.counts),
        "official_pixels": one.part.pixels,
        "matches": one.matches,
    }


def _of_any(one: Image | LabelSet) -> dict[str, Any]:
    grid = one.place.grid
    return {
        "name": one.part.name,
        "file": one.file,
        "source": one.pixels.path,
        "width": grid.width,
        "height": grid.height,
        "pixel_size": list(grid.resolution),
        "crs": None if one.place.is_local else crs_label(grid.crs),
        "place": one.place.origin,
    }
