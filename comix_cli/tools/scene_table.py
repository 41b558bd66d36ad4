"""Tables of scenes: a CSV with a row for each, in words that no command has looked at yet."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from comix_cli.errors import InputError, listed

ID = "id"
# What spreadsheets part columns with, by language.
_DELIMITERS = ",;\t"
_LONGEST_ID = 100


@dataclass(frozen=True)
class SceneRow:
    """One scene of a table, as text.

    Attributes:
        id: A name that no other scene of the table has, and that a file can have.
        where: Where it stands, for messages: `scenes.csv, line 7`.
        cells: The values of each column that has some; `x` has one for each raster.
        base: The folder that relative paths are meant from; None where there are none.
    """

    id: str
    where: str
    cells: Mapping[str, tuple[str, ...]]
    base: Path | None = None


def read_scene_table(path: Path) -> list[SceneRow]:
    """The rows of a CSV with a header, in UTF-8; parted by commas, semicolons or tabs.

    A column may come more than once. Empty cells are not given, empty lines and those that begin
    with `#` are left out.

    Raises:
        InputError: It is no such table, has no row, or two rows have one id.
    """
    lines = _lines(path)
    if not lines:
        raise InputError("holds no header", path=path, remedy="begin with a line such as hsi,x,out")
    (_, header), *body = _records(lines, path)
    columns = [column_name(text) for text in header]
    if not body:
        raise InputError(
            "holds no scene", path=path, remedy="give a line for each, below the header"
        )
    rows = [_row(path, number, columns, cells) for number, cells in body]
    return named(rows, path)


def column_name(text: str) -> str:
    """`--Min-Area ` and `min_area` are one column; so are `x`, `x1`, `x2`, ..."""
    name = text.strip().lstrip("-").replace("-", "_").replace(" ", "_").casefold()
    return "x" if re.fullmatch(r"x_?\d+", name) else name


def named(rows: Iterable[SceneRow], table: Path) -> list[SceneRow]:
    """The rows with ids that files can have: their own, else what their files are called.

    Raises:
        InputError: Two rows have one id.
    """
    rows = list(rows)
    given = Counter(row.id for row in rows if row.id)
    twice = [name for name, count in given.items() if count > 1]
    if twice:
        raise InputError(
            f"more than one scene has the id {listed(twice)}",
            path=table,
            remedy="give each its own",
        )
    odd = [name for name in given if name != slug(name)]
    if odd:
        raise InputError(
            f"the id {listed(odd)} cannot be the name of a file",
            path=table,
            remedy="use letters, digits, '.', '_' and '-', 100 at most",
        )
    found = _distinct([_parts_of(row) for row in rows if not row.id], set(given))
    return [row if row.id else replace(row, id=next(found)) for row in rows]


def slug(text: str) -> str:
    """A text as the name of a file."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:_LONGEST_ID]


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that say something, each with its number.

    Raises:
        InputError: The file cannot be read as text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            "is not text in UTF-8", path=path, remedy="export the table as CSV in UTF-8"
        ) from error
    except FileNotFoundError as error:
        raise InputError("there is no such file", path=path, remedy="check the path") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from error
    lines = enumerate(text.splitlines(), start=1)
    # Spreadsheets write rows of empty cells.
    said = ((n, line) for n, line in lines if line.strip(f"{_DELIMITERS} "))
    return [(n, line) for n, line in said if not line.lstrip().startswith("#")]


def _records(lines: Sequence[tuple[int, str]], path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines as cells.

    Raises:
        InputError: Quotes do not close.
    """
    head = lines[0][1]
    delimiter = max(_DELIMITERS, key=head.count)
    for number, line in lines:
        try:
            (cells,) = csv.reader([line], delimiter=delimiter, strict=True)
        except csv.Error as error:
            raise InputError(
                f"line {number}: {error}", path=path, remedy="close the quotes in the same line"
            ) from error
        yield number, [cell.strip() for cell in cells]


def _row(path: Path, number: int, columns: Sequence[str], cells: Sequence[str]) -> SceneRow:
    where = f"{path}, line {number}"
    if any(cells[len(columns) :]):
        raise InputError(
            f"{where}: has {len(cells)} cells, and the header {len(columns)}",
            remedy="put quotes around cells that hold the separator",
        )
    found: dict[str, tuple[str, ...]] = {}
    for column, cell in zip(columns, cells, strict=False):
        if cell and not column:
            raise InputError(f"{where}: '{cell}' is in a column without a name",
                             remedy="name the column in the header")  # fmt: skip
        if cell:
            found[column] = (*found.get(column, ()), cell)
    (name,) = found.pop(ID, ("",))[:1]
    return SceneRow(name, where, found, path.resolve().parent)


def _parts_of(row: SceneRow) -> list[str]:
    """What a scene could be called, last part first: `map`, `east`, `2024` of 2024/east/map.tif."""
    cells = row.cells
    told = cells.get("out") or cells.get("hsi") or cells.get("map") or ("scene",)
    path = Path(told[0].split("?")[0])
    parts = [path.stem, *reversed(path.parent.parts)]
    return [text for part in parts if (text := slug(part))] or ["scene"]


def _distinct(names: Sequence[Sequence[str]], taken: set[str]) -> Iterator[str]:
    """As few parts of each name as tell it from the others; a number where none do."""
    depth = dict.fromkeys(range(len(names)), 1)
    while True:
        found = [slug("-".join(reversed(parts[: depth[i]]))) for i, parts in enumerate(names)]
        counts = Counter(found)
        alike = [i for i, name in enumerate(found) if counts[name] > 1 or name in taken]
        deeper = [i for i in alike if depth[i] < len(names[i])]
        if not deeper:
            break
        for i in deeper:
            depth[i] += 1
    for name in found:
        free = name
        number = 1
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free)
        yield free
