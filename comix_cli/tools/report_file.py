"""Accuracy reports as they are read back: figures, and what they were made of."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comix_cli.accuracy.comparison_table import OVERALL, PRODUCERS, Run
from comix_cli.errors import InputError
from comix_cli.scene.pixel_rule import CENTRES, PixelRule

KIND = "accuracy"
# Version 2 says nothing of its kind, of the layer, and of the rule by which pixels belong to
# polygons.
READABLE = (2, 3)
_MAKE_ONE = "make one: comix evaluate map.tif --gt labels.shp -o report.json"


@dataclass(frozen=True)
class FileRecord:
    """A file as a report names it: its path then, and `sha256:...` where it was a local one."""

    path: str
    checksum: str | None

    def candidates(self, report: str) -> tuple[Path, ...]:
        """Where it may be now: as it was named, from the report's folder, beside the report."""
        folder = Path(report).parent
        return Path(self.path), folder / self.path, folder / Path(self.path).name


@dataclass(frozen=True)
class TruthRecord:
    """The ground truth of a report, and the rule by which pixels belong to it.

    Attributes:
        file: The file.
        field: The attribute that holds the class.
        layer: The layer of a file with several.
        crs: The CRS that it has, or that was assumed.
        rule: Which pixels a geometry takes.
    """

    file: FileRecord
    field: str | None
    layer: str | None = None
    crs: str | None = None
    rule: PixelRule = CENTRES

    def agrees_with(self, other: TruthRecord) -> bool:
        """Whether both read a file alike; a layer or CRS of which one says nothing is no matter."""
        if (self.field, self.rule) != (other.field, other.rule):
            return False
        pairs = ((self.layer, other.layer), (self.crs, other.crs))
        return all(one is None or two is None or one == two for one, two in pairs)


@dataclass(frozen=True)
class Report:
    """An accuracy report.

    Attributes:
        path: The file that it was read from.
        run: Its figures.
        right: Pixels on which the map was right.
        map: The map; None where the report does not say.
        truth: The ground truth; None where the report does not say.
        design: The stratified sample whose pixels alone were compared; None where all were.
        unit: What the intervals of the report took as the sample, such as polygons.
        src_crs: The CRS that was given for a map that carries none.
        class_map: What the map calls classes of the ground truth, where that was given.
    """

    path: str
    run: Run
    right: int
    map: FileRecord | None
    truth: TruthRecord | None
    design: FileRecord | None
    unit: str
    src_crs: str | None = None
    class_map: Mapping[str, str] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The paths at which the files that it is about may lie; see `candidates`."""
        named = (self.map, self.truth and self.truth.file, self.design)
        return tuple(str(p) for file in named if file for p in file.candidates(self.path))


def read_report(path: str) -> Report:
    """Read what `comix evaluate` has written as JSON.

    Raises:
        InputError: Missing, no accuracy report, of another kind or version, or damaged.
    """
    document = _parsed(path)
    _check_kind(document, path)
    return _report(document, path)


def _parsed(path: str) -> Mapping[str, Any]:
    file = Path(path)
    if not path or not file.exists():
        raise InputError("there is no such file", path=path or "''", remedy="check the path")
    if not file.is_file():
        raise InputError("is not a regular file", path=path, remedy="name a report")
    try:
        with file.open(encoding="utf-8-sig") as stream:
            # A raster given by mistake may be larger than memory.
            if stream.read(1) not in ("{", " ", "\n", "\r", "\t"):
                raise ValueError("no JSON object")
            stream.seek(0)
            document = json.load(stream)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from error
    except (ValueError, RecursionError) as error:  # text that is no UTF-8 is a ValueError as well
        raise InputError("is not a JSON document", path=path, remedy=_MAKE_ONE) from error
    if not isinstance(document, dict):
        raise InputError("is not an accuracy report", path=path, remedy=_MAKE_ONE)
    return document


def _check_kind(document: Mapping[str, Any], path: str) -> None:
    kind, version = document.get("kind", KIND), document.get("schema_version")
    if kind != KIND:
        raise InputError(
            f"is a document of kind '{kind}', not an accuracy report", path=path, remedy=_MAKE_ONE
        )
    if version is None or "per_class" not in document:
        raise InputError("is not an accuracy report", path=path, remedy=_MAKE_ONE)
    if version not in READABLE:
        raise InputError(
            f"is an accuracy report of version {version}; this comix reads "
            f"{' and '.join(map(str, READABLE))}",
            path=path,
            remedy="write it again with this version's 'comix evaluate'",
        )


def _report(document: Mapping[str, Any], path: str) -> Report:
    try:
        counts = document["confusion_matrix"]["counts"]
        right = sum(int(row[k]) for k, row in enumerate(counts))
        run = Run(
            classes=figures_by_class(document["per_class"]),
            pixels=int(document["pixels"]),
            **{key: _share(document[key]) for key in OVERALL},
        )
        provenance = document.get("provenance") or {}
        made_of = provenance.get("map") or {}
        return Report(
            path=path,
            run=run,
            right=right,
            map=_file(made_of),
            truth=_truth(provenance.get("ground_truth")),
            design=_file(provenance.get("design")),
            unit=str((document.get("intervals") or {}).get("unit", "polygons")),
            src_crs=made_of.get("src_crs"),
            class_map=made_of.get("class_map"),
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"is a damaged accuracy report ({type(error).__name__}: {error})",
            path=path,
            remedy="write it again with 'comix evaluate'",
        ) from error


def figures_by_class(entries: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Producer's accuracy by name; a name that several codes have is told apart by the code."""
    often = Counter(str(entry["name"]) for entry in entries)
    return {
        name if often[name] == 1 else f"{name} ({entry['code']})": _share(entry[PRODUCERS])
        for entry in entries
        for name in (str(entry["name"]),)
    }


def _share(value: Any) -> float | None:
    """A figure as it stands in a report.

    Raises:
        ValueError: It is no number between -1 and 1.
    """
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number) or abs(number) > 1:
        raise ValueError(f"{value} is no share")
    return number


def _file(record: Mapping[str, Any] | None) -> FileRecord | None:
    if not record or not record.get("path"):
        return None
    return FileRecord(str(record["path"]), record.get("checksum"))


def _truth(record: Mapping[str, Any] | None) -> TruthRecord | None:
    file = _file(record)
    if file is None or record is None:
        return None
    least = record.get("min_coverage")
    return TruthRecord(
        file=file,
        field=record.get("field"),
        layer=record.get("layer"),
        crs=record.get("crs"),
        rule=PixelRule(
            all_touched=bool(record.get("all_touched", False)),
            min_coverage=None if least is None else float(least),
        ),
    )
