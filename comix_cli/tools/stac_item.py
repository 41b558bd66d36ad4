"""The STAC item of a map: where it lies, what it shows, what made it, and every file of it.

It says no more than the tags of the map do, in the words of STAC 1.1 and its extensions, so that
catalogs and the programs that read them understand it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pystac

from comix_cli.files import sidecar
from comix_cli.learning.model_file import ModelCard
from comix_cli.mapping.qgis import style_path
from comix_cli.mapping.score_file import score_dtype
from comix_cli.mapping.scores import BYTE_NODATA, STEPS
from comix_cli.mapping.writer import Published
from comix_cli.progress import Progress
from comix_cli.scene.acquired import Acquired, acquired
from comix_cli.scene.checksum import data_files
from comix_cli.scene.footprint import footprint
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import NO_CLASS, Legend
from comix_cli.tools.stac_classes import counted_classes
from comix_cli.tools.stac_links import (
    COG,
    GEOJSON,
    MEDIA_TYPES,
    file_fields,
    multihash,
    reference,
)
from comix_cli.tools.stac_model import model_item, model_name

if TYPE_CHECKING:
    from comix_cli.tools.output_files import OutputOptions

_EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "projection/v2.0.0",
        "raster/v2.0.0",
        "classification/v2.0.0",
        "file/v2.1.0",
        "processing/v1.2.0",
    )
]
# What is not measured but a model's conclusion.
_LEVEL = "L4"
# What inputs are called that are no images.
_ROLES = {"dtm": "terrain model", "mask": "area of interest"}


@dataclass(frozen=True)
class MadeMap:
    """A finished map and all that goes with it, before it is published.

    Attributes:
        outputs: What was asked for; `stac` is where the item goes.
        grid: Where the map lies.
        legend: Its classes.
        counts: Pixels of every code, from 0 on.
        tags: The provenance that is in the map's tags.
        card: What the model says of itself.
        files: Finished files and the places where they will be.
    """

    outputs: OutputOptions
    grid: Grid
    legend: Legend
    counts: Sequence[int]
    tags: Mapping[str, str]
    card: ModelCard
    files: Published

    @property
    def name(self) -> str:
        """What the map is called in catalogs."""
        return self.outputs.stac_id or self.outputs.map.stem


def write_items(made: MadeMap, item: Path, model: Path, progress: Progress) -> None:
    """Write the item of a map, and the one of its model.

    Args:
        made: The map.
        item: The file to write the map's item to, for now; it will be `made.outputs.stac`.
        model: The same of the model's item.
        progress: Warned where no input says when it was taken.

    Raises:
        OSError: The disk is full, or fails.
    """
    _write(map_item(made, progress), item)
    used = json.loads(made.tags["COMIX_MODEL"])
    described = model_item(made.card, used["path"], used["checksum"], _place(made).parent)
    _write(described, model)


def map_item(made: MadeMap, progress: Progress) -> pystac.Item:
    """Describe a finished map. Its files are read once more, for their checksums."""
    created = datetime.fromisoformat(made.tags["COMIX_DATE"])
    when = _when(_inputs(made), created, _place(made), progress)
    covered = footprint(made.grid)
    item = pystac.Item(
        id=made.name,
        geometry=covered.geometry if covered else None,
        bbox=[*covered.bbox] if covered else None,
        datetime=when[0],
        start_datetime=when[1],
        end_datetime=when[2],
        properties=_properties(made, created),
        stac_extensions=[*_EXTENSIONS],
    )
    for key, asset in _assets(made):
        item.add_asset(key, asset)
    item.add_links([*_links(made)])
    return item


def _write(item: pystac.Item, path: Path) -> None:
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    # A path whose bytes are no UTF-8 arrives with lone surrogates, which no file can hold.
    path.write_bytes(text.encode("utf-8", "replace") + b"\n")


def _place(made: MadeMap) -> Path:
    assert made.outputs.stac is not None
    return made.outputs.stac.resolve()


def _model_reference(made: MadeMap) -> str:
    assert made.outputs.model_item is not None
    return f"./{made.outputs.model_item.name}"


def _inputs(made: MadeMap) -> list[dict[str, Any]]:
    """Path, checksum and role of everything that was read."""
    found: list[dict[str, Any]] = json.loads(made.tags["COMIX_INPUTS"])
    return found


def _when(
    inputs: Sequence[Mapping[str, Any]], created: datetime, place: Path, progress: Progress
) -> tuple[datetime, datetime | None, datetime | None]:
    """When what the map shows was seen: an instant, and begin and end where that was longer.

    The instant is that of the first input that tells it, which is the HSI where it does. Where none
    does it is when the map was made, since an item must have one.
    """
    images = [each.get("sharpened_from", each["path"]) for each in inputs if "role" not in each]
    times = [time for time in map(acquired, images) if time is not None]
    if not times:
        progress.warn(
            f"{place}: no input tells when it was taken, so the item's datetime is when the map "
            "was made"
        )
        times = [Acquired(created, created)]
    start, end = min(time.start for time in times), max(time.end for time in times)
    return (times[0].start, start, end) if start < end else (start, None, None)


def _properties(made: MadeMap, created: datetime) -> dict[str, Any]:
    versions: dict[str, str] = json.loads(made.tags["COMIX_VERSIONS"])
    used = json.loads(made.tags["COMIX_MODEL"])
    return {
        "title": made.name,
        "created": _utc(created),
        "gsd": made.grid.gsd_m,
        **_projection(made.grid),
        "processing:level": _LEVEL,
        "processing:datetime": _utc(created),
        "processing:lineage": _lineage(made),
        "processing:software": versions,
        "processing:version": versions["comix"],
        "processing:expression": {
            "format": "stac-mlm",
            "expression": _model_reference(made),
        },
        "mlm:name": model_name(used["path"]),
    }


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _lineage(made: MadeMap) -> str:
    """One sentence on how the map came about."""
    names = [Path(each["path"]).name for each in _inputs(made) if "role" not in each]
    windows = json.loads(made.tags["COMIX_OPTIONS"]).get("windows")
    how = f" in {windows['count']} windows" if windows else ""
    used = json.loads(made.tags["COMIX_MODEL"])
    return (
        f"{', '.join(names)} classified{how} by the model {Path(used['path']).name} into "
        f"{len(made.legend)} classes."
    )


def _projection(grid: Grid) -> dict[str, Any]:
    code = grid.crs.to_epsg()
    named: dict[str, Any] = {"proj:code": None if code is None else f"EPSG:{code}"}
    if code is None:
        named["proj:wkt2"] = grid.crs.to_wkt(version="WKT2_2019")
    return named


@dataclass(frozen=True)
class _Kind:
    """What an asset is, but for its file."""

    key: str
    title: str
    roles: list[str]
    fields: Mapping[str, Any] = field(default_factory=dict)


def _assets(made: MadeMap) -> Iterator[tuple[str, pystac.Asset]]:
    """Every file that is published, by what it is; the map first."""
    files = {place: file for file, place in made.files}
    for place, kind in _kinds(made).items():
        if place not in files:  # few files of scores have a sidecar
            continue
        yield (
            kind.key,
            pystac.Asset(
                href=reference(place, _place(made).parent),
                title=kind.title,
                media_type=COG
                if "proj:shape" in kind.fields
                else MEDIA_TYPES[place.suffix.lower()],
                roles=kind.roles,
                extra_fields={**kind.fields, **file_fields(files[place])},
            ),
        )


def _kinds(made: MadeMap) -> dict[Path, _Kind]:
    """What lies at each place where a file may be published."""
    outputs, names = made.outputs, made.legend.names
    target = outputs.map.resolve()
    found = {
        target: _Kind("map", "class map", ["data"], _map_fields(made)),
        sidecar(target): _Kind("sidecar", "class names and attribute table", ["metadata"]),
        style_path(target): _Kind("style", "style of the map for QGIS", ["metadata"]),
    }
    scores = (
        ("probabilities", outputs.probabilities, "probability of every class", names),
        ("confidence", outputs.confidence, "largest probability", ("confidence",)),
        ("entropy", outputs.entropy, "how undecided the model is, 0 to 1", ("entropy",)),
    )
    for key, path, title, bands in scores:
        if path is not None:
            fields = _score_fields(made, bands)
            found[path.resolve()] = _Kind(key, title, ["data"], fields)
            found[sidecar(path.resolve())] = _Kind(f"{key}_sidecar", "metadata", ["metadata"])
    if outputs.polygons is not None:
        found[outputs.polygons.resolve()] = _Kind("polygons", "the map as polygons", ["data"])
    if outputs.quicklook is not None:
        # A drawing with margins and a legend lies nowhere.
        nowhere = {"proj:code": None}
        found[outputs.quicklook.resolve()] = _Kind("quicklook", "picture", ["overview"], nowhere)
    return found


def _pixels(grid: Grid) -> dict[str, Any]:
    """What is true of the map and of every file of scores, and of no other file."""
    return {
        "proj:shape": [grid.height, grid.width],
        "proj:transform": [*grid.transform][:6],
        "proj:bbox": [*grid.bounds],
        "raster:sampling": "area",
        "raster:spatial_resolution": grid.gsd_m,
    }


def _map_fields(made: MadeMap) -> dict[str, Any]:
    pixels = made.grid.height * made.grid.width
    valid = pixels - int(made.counts[NO_CLASS])
    return {
        **_pixels(made.grid),
        "data_type": made.legend.dtype,
        "nodata": NO_CLASS,
        "statistics": {"count": pixels, "valid_percent": round(100 * valid / pixels, 4)},
        "classification:classes": counted_classes(made.legend, made.counts),
        "comix:options": json.loads(made.tags["COMIX_OPTIONS"]),
    }


def _score_fields(made: MadeMap, bands: Sequence[str]) -> dict[str, Any]:
    as_float = made.outputs.float_scores
    stored: dict[str, Any] = {"nodata": "nan"}
    if not as_float:
        stored = {"nodata": BYTE_NODATA, "raster:scale": 1 / STEPS, "raster:offset": 0}
    return {
        **_pixels(made.grid),
        "data_type": score_dtype(as_float=as_float),
        **stored,
        "bands": [{"name": name} for name in bands],
    }


def _links(made: MadeMap) -> Iterator[pystac.Link]:
    """What the map was made of: every input, and the model."""
    folder = _place(made).parent
    position = 0
    for each in _inputs(made):
        if "role" in each:
            title = _ROLES[each["role"]]
        else:
            title = f"X {position}" if position else "HSI"
            position += 1
        yield _source(each["path"], each["checksum"], title, folder)
        if "sharpened_from" in each:
            yield _source(each["sharpened_from"], None, "HSI before it was sharpened", folder)
    used = json.loads(made.tags["COMIX_MODEL"])
    yield pystac.Link(
        rel=pystac.RelType.DERIVED_FROM,
        target=_model_reference(made),
        media_type=GEOJSON,
        title="model",
        extra_fields={"mlm:name": model_name(used["path"])},
    )


def _source(path: str, checksum: str | None, title: str, folder: Path) -> pystac.Link:
    """A link to an input. Where it lies in several files the checksum is over all of them."""
    fields: dict[str, Any] = {} if checksum is None else {"comix:checksum": checksum}
    parts = data_files(path)
    if checksum is not None and len(parts) == 1:
        fields = {"file:size": parts[0].stat().st_size, "file:checksum": multihash(checksum)}
    return pystac.Link(
        rel=pystac.RelType.DERIVED_FROM,
        target=reference(path, folder),
        media_type=MEDIA_TYPES.get(Path(path).suffix.lower()),
        title=title,
        extra_fields=fields,
    )
