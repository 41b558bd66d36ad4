"""Which class of a map each class of the ground truth is."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from comix_cli.accuracy.comparison_table import plain_name
from comix_cli.errors import LabelError, RasterError, listed
from comix_cli.mapping.map_file import MapFile
from comix_cli.scene.labels import Reference


def reference_codes(
    truth: Reference,
    map_file: MapFile,
    present: Iterable[int],
    renamed: Mapping[str, str] | None = None,
) -> dict[int, int]:
    """The map's code for each code of the ground truth that the map knows.

    Integer fields are compared with the map's codes, string fields with its names: as they are, or
    else without regard to case and to spaces around them where that leaves one class. Text that is
    no name but a code of the map is that code. Several classes of the ground truth may be one of
    the map.

    Args:
        truth: The ground truth.
        map_file: The map.
        present: Codes that occur in the map: of a map without names they are all that it knows.
        renamed: What the map calls a class of the ground truth (a name or a code), by its name.

    Raises:
        LabelError: Names cannot be matched, because the map has none or gives one to several
            classes, or nothing is in common.
        RasterError: The map has neither names nor classes.
    """
    wanted = {code: (renamed or {}).get(name, name) for code, name in truth.classes}
    if map_file.legend is None:
        found, own = _codes_alone(truth, map_file, wanted, present, renamed=bool(renamed))
    else:
        found, own = _by_legend(truth, map_file, wanted, present, renamed=bool(renamed))
    if not found:
        raise LabelError(
            f"its classes ({listed([name for _, name in truth.classes])}) and the map's "
            f"({listed(own)}) have nothing in common",
            path=truth.path,
            remedy="name another field with --field, or what they are called with --class-map",
        )
    return found


def check_class_map(
    truth: Reference, map_file: MapFile, found: Mapping[int, int], renamed: Mapping[str, str]
) -> None:
    """Refuse a class map that names what the map does not have, or what nothing is called.

    Args:
        truth: The ground truth.
        map_file: The map.
        found: The map's code for each code of the ground truth that it knows.
        renamed: What the map calls a class of the ground truth, by its name.

    Raises:
        LabelError: A row has no use.
    """
    codes = {name: code for code, name in truth.classes}
    for name, other in renamed.items():
        if name not in codes:
            cause = f"--class-map renames '{name}', which is no class here ({listed([*codes])})"
            raise LabelError(cause, path=truth.path, remedy="correct the row, or leave it out")
        if codes[name] not in found:
            raise LabelError(
                f"--class-map calls its class '{name}' '{other}', which {map_file.path} does not "
                "have",
                path=truth.path,
                remedy="give a class of the map, by name or code",
            )


def _by_legend(
    truth: Reference,
    map_file: MapFile,
    wanted: Mapping[int, str],
    present: Iterable[int],
    *,
    renamed: bool,
) -> tuple[dict[int, int], list[str]]:
    """The codes of a map that has names, and what it calls its classes."""
    legend = map_file.legend or ()
    codes = {str(code): code for code in sorted({*present, *(e.code for e in legend)})}
    if truth.integer_field and not renamed:
        return _looked_up(wanted, codes), list(codes)
    # A file that renames may name the map's classes or their codes, and so may a field of text.
    names = {entry.name: entry.code for entry in legend}
    found = _looked_up(wanted, {**codes, **names})
    others = {entry.name: entry.code for entry in reversed([*legend])}
    for code, other in _looked_up(wanted, {**codes, **others}).items():
        if found[code] != other:
            raise LabelError(
                f"class '{wanted[code]}' may be code {other} or {found[code]} of {map_file.path}, "
                "which gives both the same name",
                path=truth.path,
                remedy="give the code in --class-map, or a field of codes with --field",
            )
    return found, list(codes if truth.integer_field else names)


def _codes_alone(
    truth: Reference,
    map_file: MapFile,
    wanted: Mapping[int, str],
    present: Iterable[int],
    *,
    renamed: bool,
) -> tuple[dict[int, int], list[str]]:
    """The codes of a map that has no names, and how they are written."""
    strangers = [text for text in wanted.values() if not text.isdecimal()]
    if strangers and renamed:
        raise LabelError(
            f"'{strangers[0]}' is no code, and the map has no class names",
            path=truth.path,
            remedy="give codes in the second column of --class-map",
        )
    if len(strangers) == len(wanted):
        raise LabelError(
            f"field '{truth.field}' holds names, but the map {map_file.path} has none",
            path=truth.path,
            remedy="give a field of integer codes with --field, or a map with class names",
        )
    known = {str(code): code for code in sorted(present)}
    if not known:
        raise RasterError(
            "holds no class: every pixel is 0 or nodata",
            path=map_file.path,
            remedy="give a classified map",
        )
    # Text may write code 7 as '07', and is no number: it may have any length.
    return _looked_up({code: text.lstrip("0") for code, text in wanted.items()}, known), list(known)


def lookup(name: str, known: Mapping[str, int]) -> int | None:
    """The code of a name as it is, or of the only one that differs by case and spaces."""
    return _looked_up({0: name}, known).get(0)


def _looked_up(wanted: Mapping[int, str], known: Mapping[str, int]) -> dict[int, int]:
    """The codes of those names that `lookup` finds."""
    alike: dict[str, set[int]] = {}
    for name, code in known.items():
        alike.setdefault(plain_name(name), set()).add(code)
    found = {}
    for number, name in wanted.items():
        codes = {known[name]} if name in known else alike.get(plain_name(name), set())
        if len(codes) == 1:
            (found[number],) = codes
    return found


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
            f"cannot be read as a table of class names ({error})",
            path=path,
            remedy="give a CSV of two columns with a header",
        ) from error
    # Spreadsheets write semicolons where commas are decimal points.
    separator = ";" if ";" in text and "," not in text else ","
    table = csv.reader(text.splitlines(), delimiter=separator)
    rows = [row for row in table if any(cell.strip() for cell in row)]
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
