"""Which class of a map each class of the ground truth is."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from comix_cli.errors import LabelError
from comix_cli.mapping.map_file import MapFile
from comix_cli.scene.labels import Reference
from comix_cli.tools.inputs import listed


def reference_codes(
    truth: Reference, map_file: MapFile, renamed: Mapping[str, str] | None = None
) -> dict[int, int]:
    """The map's code for each code of the ground truth that the map knows.

    Integer fields are compared with the map's codes, string fields with its names: as they are, or
    else without regard to case and to spaces around them where that leaves one class. Text that is
    no name but a code of the map is that code. Several classes of the ground truth may be one of
    the map.

    Args:
        truth: The ground truth.
        map_file: The map.
        renamed: What the map calls a class of the ground truth (a name or a code), by its name.

    Raises:
        LabelError: Names cannot be matched, because the map has none, or nothing is in common.
    """
    legend, names = map_file.legend, renamed or {}
    if legend is None:
        return _codes_alone(truth, map_file, names)
    codes = {str(entry.code): entry.code for entry in legend}
    by_name = {entry.name: entry.code for entry in legend}
    own = codes if truth.integer_field else by_name
    # A file that renames may name the map's classes or their codes, and so may a field of text.
    known = {**codes, **by_name} if names or not truth.integer_field else own
    found = {code: lookup(names.get(name, name), known) for code, name in truth.classes}
    matched = {code: place for code, place in found.items() if place is not None}
    if not matched:
        raise LabelError(
            f"its classes ({listed([name for _, name in truth.classes])}) and the map's "
            f"({listed(list(own))}) have nothing in common",
            path=truth.path,
            remedy="name another field with --field, or what they are called with --class-map",
        )
    return matched


def _codes_alone(truth: Reference, map_file: MapFile, names: Mapping[str, str]) -> dict[int, int]:
    """The codes of a map that has no names: the ground truth's own, if it has any."""
    texts = {code: names.get(name, name) for code, name in truth.classes}
    found = {code: int(text) for code, text in texts.items() if text.isdecimal() and int(text) > 0}
    strangers = [text for code, text in texts.items() if code not in found]
    if strangers and names:
        raise LabelError(
            f"'{strangers[0]}' is no code, and the map has no class names",
            path=truth.path,
            remedy="give codes in the second column of --class-map",
        )
    if not found:
        raise LabelError(
            f"field '{truth.field}' holds names, but the map {map_file.path} has none",
            path=truth.path,
            remedy="give a field of integer codes with --field, or a map with class names",
        )
    return found


def lookup(name: str, known: Mapping[str, int]) -> int | None:
    """The code of a name as it is, or of the only one that differs by case and spaces."""
    if name in known:
        return known[name]
    alike = {code for other, code in known.items() if _plain(other) == _plain(name)}
    return alike.pop() if len(alike) == 1 else None


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def read_class_map(path: Path) -> dict[str, str]:
    """What a map calls the classes of ground truth: a CSV of two columns, with a header.

    The first column is the ground truth's name or code, the second the map's.

    Raises:
        LabelError: Missing, not such a table, or a class is renamed twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(
            f"cannot be read as a table of class names ({error})", path=path
        ) from error
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    renamed: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not all(cell.strip() for cell in row):
            raise LabelError(
                f"row {number} does not have two columns: {','.join(row)}",
                path=path,
                remedy="give a header, then a class of the ground truth and the map's in each row",
            )
        name, other = (cell.strip() for cell in row)
        if renamed.setdefault(name, other) != other:
            raise LabelError(f"'{name}' is renamed twice", path=path, remedy="keep one of the rows")
    if not renamed:
        raise LabelError(
            "renames nothing", path=path, remedy="give a header and at least one row of two columns"
        )
    return renamed
