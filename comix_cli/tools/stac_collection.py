"""A STAC collection of the items of several maps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pystac

from comix_cli.errors import InputError
from comix_cli.files import write_atomic_text
from comix_cli.scene.grid import Bounds
from comix_cli.tools.stac_links import GEOJSON, reference
from comix_cli.tools.stac_reader import FoundItem, items_below

# About a centimetre; whole turns leave some noise behind.
_DECIMALS = 7
_WORLD = (-180.0, -90.0, 180.0, 90.0)
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_CLASSES = "classification:classes"
# Properties whose values a collection lists.
_SUMMARISED = ("proj:code", "processing:level", "processing:version", "mlm:name")
# What is said of the assets of all items at once, where all say the same.
_COMMON = ("type", "title", "roles", "data_type", "nodata", "bands")
# What is counted in each map by itself.
_OF_ONE_MAP = ("count", "percentage")


def write_collection(
    items: Sequence[Path], target: Path, *, name: str | None = None, description: str | None = None
) -> None:
    """Write a collection that links to items, whole or not at all; the items stay as they are.

    Args:
        items: Files of STAC items, one at least.
        target: The collection, JSON; replaced where it exists.
        name: Its id; None for the name of its folder.
        description: A sentence on it; None for a plain one.

    Raises:
        InputError: An item cannot be read, or is none.
        OutputError: The collection cannot be written.
    """
    found = [each for path in items for each in items_below(str(path))]
    if not found:
        raise InputError("there is no STAC item for the collection", path=target)
    folder = target.resolve().parent
    assets = _item_assets(found)
    collection = pystac.Collection(
        id=name or folder.name or target.stem,
        description=description or "Land cover maps by comix.",
        extent=_extent([each.item for each in found]),
        license="other",
        summaries=_summaries(found),
        stac_extensions=[_CLASSIFICATION] if any(_CLASSES in a for a in assets.values()) else [],
    )
    document = collection.to_dict(include_self_link=False, transform_hrefs=False)
    document["links"] = [*_links(found, target)]
    document["item_assets"] = assets
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic_text(target, text.encode("utf-8", "replace").decode("utf-8") + "\n")


def _links(found: Sequence[FoundItem], target: Path) -> Iterator[dict[str, Any]]:
    yield {"rel": "root", "href": f"./{target.name}", "type": "application/json"}
    for each in found:
        href = reference(each.document, target.resolve().parent)
        yield {"rel": "item", "href": href, "type": GEOJSON, "title": each.item.id}


def _extent(items: Sequence[pystac.Item]) -> pystac.Extent:
    boxes = [_flat(item.bbox) for item in items if item.bbox]
    starts = [_time(item, "start_datetime") for item in items]
    ends = [_time(item, "end_datetime") for item in items]
    return pystac.Extent(
        pystac.SpatialExtent([[*bounding(boxes)] if boxes else [*_WORLD]]),
        pystac.TemporalExtent(
            [[min(filter(None, starts), default=None), max(filter(None, ends), default=None)]]
        ),
    )


def _flat(box: Sequence[float]) -> Bounds:
    """West, south, east, north of a box that may have heights as well."""
    half = len(box) // 2
    return box[0], box[1], box[half], box[half + 1]


def _time(item: pystac.Item, edge: str) -> datetime | None:
    at_edge: datetime | None = getattr(item.common_metadata, edge)
    return at_edge or item.datetime


def bounding(boxes: Sequence[Bounds]) -> Bounds:
    """The smallest box around boxes of longitude and latitude; it may cross 180 degrees.

    Of all ways around the globe it is the one that leaves out the widest gap.

    Args:
        boxes: West, south, east, north; west is larger where a box crosses 180 degrees.
    """
    souths, norths = [box[1] for box in boxes], [box[3] for box in boxes]
    spans = sorted((box[0], box[2] + (360.0 if box[2] < box[0] else 0.0)) for box in boxes)
    around = [*_merged([*spans, *((west + 360.0, east + 360.0) for west, east in spans)])]
    gaps = [(after[0] - before[1], before[1], after[0]) for before, after in pairwise(around)]
    width, east, west = max(gaps, default=(0.0, 180.0, -180.0))
    if width <= 0:
        west, east = -180.0, 180.0
    return _wrapped(west, -180.0), min(souths), _wrapped(east, 180.0), max(norths)


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in ascending order, those that touch made one."""
    found: list[tuple[float, float]] = []
    for start, end in spans:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _wrapped(longitude: float, seam: float) -> float:
    """A longitude within -180..180, the seam itself as it is asked for."""
    turned = round((longitude + 180.0) % 360.0 - 180.0, _DECIMALS)
    return seam if turned == -180.0 else turned


def _summaries(found: Sequence[FoundItem]) -> pystac.Summaries:
    records = [each.item.properties for each in found]
    summaries: dict[str, Any] = {}
    for key in _SUMMARISED:
        if values := sorted({record[key] for record in records if record.get(key) is not None}):
            summaries[key] = values
    if sizes := [record["gsd"] for record in records if "gsd" in record]:
        summaries["gsd"] = {"minimum": min(sizes), "maximum": max(sizes)}
    return pystac.Summaries(summaries)


def _item_assets(found: Sequence[FoundItem]) -> dict[str, dict[str, Any]]:
    """What the assets of all items have in common, by their keys."""
    described: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        for key, asset in each.item.assets.items():
            described.setdefault(key, []).append(_plain(asset.to_dict()))
    return {key: _shared(records) for key, records in described.items()}


def _plain(asset: Mapping[str, Any]) -> dict[str, Any]:
    """What may be true of other maps' assets, too."""
    kept = {key: asset[key] for key in _COMMON if key in asset}
    if _CLASSES in asset:
        kept[_CLASSES] = [
            {key: value for key, value in each.items() if key not in _OF_ONE_MAP}
            for each in asset[_CLASSES]
        ]
    return kept


def _shared(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = records
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in others)
    }
