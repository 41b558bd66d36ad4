"""Class names, colours and the raster attribute table, as GDAL's XML writes them.

rasterio has no interface to category names or attribute tables. GDAL's virtual format (VRT) spells
all of them out, so a VRT is what a map is written from, and what any map is turned into to be read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from comix_cli.scene.legend import MAX_CODE, NO_CLASS, ClassEntry, Legend, default_color

Color = tuple[int, int, int]

_INTEGER, _STRING = "0", "2"
# What a column of an attribute table is for (GDALRATFieldUsage), and its usual names without that.
_COUNT, _NAME, _MIN, _VALUE, _RED, _GREEN, _BLUE = "1", "2", "3", "5", "6", "7", "8"
_COLUMN_NAMES = {
    _VALUE: ("value", "code", "class_id", "classid", "id"),
    _NAME: ("class", "class_name", "class_names", "classname", "name", "label", "category"),
    _RED: ("red", "r"),
    _GREEN: ("green", "g"),
    _BLUE: ("blue", "b"),
}
# XML 1.0 has no way to write these characters.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def clean_text(text: str) -> str:
    """The text without the control characters that XML cannot hold; each becomes a space."""
    return _FORBIDDEN.sub(" ", text)


def add_text(parent: ET.Element, tag: str, text: object, **attributes: str) -> ET.Element:
    """A new child element with text."""
    child = ET.SubElement(parent, tag, attributes)
    child.text = clean_text(str(text))
    return child


def add_legend(band: ET.Element, legend: Legend, counts: Sequence[int]) -> None:
    """Put palette, category names and attribute table into a VRT's band element.

    Args:
        band: The `VRTRasterBand` element.
        legend: The classes. Code 0 becomes a transparent 'no class'.
        counts: Pixels of each class, in the legend's order.
    """
    by_code = {entry.code: entry for entry in legend}
    codes = range(max(by_code, default=NO_CLASS) + 1)
    palette = ET.SubElement(band, "ColorTable")
    categories = ET.SubElement(band, "CategoryNames")
    for code in codes:
        entry = by_code.get(code)
        color = (*entry.color, 255) if entry else (0, 0, 0, 0)
        ET.SubElement(palette, "Entry", {f"c{i + 1}": str(v) for i, v in enumerate(color)})
        add_text(categories, "Category", entry.name if entry else "no class" if code == 0 else "")
    _add_attribute_table(band, legend, counts)


def _add_attribute_table(band: ET.Element, legend: Legend, counts: Sequence[int]) -> None:
    table = ET.SubElement(band, "GDALRasterAttributeTable", {"tableType": "thematic"})
    columns = (
        ("Value", _INTEGER, _VALUE),
        ("Count", "1", _COUNT),  # a real number: integers of an attribute table end at 2**31
        ("Class", _STRING, _NAME),
        ("Red", _INTEGER, _RED),
        ("Green", _INTEGER, _GREEN),
        ("Blue", _INTEGER, _BLUE),
    )
    for index, (name, kind, usage) in enumerate(columns):
        column = ET.SubElement(table, "FieldDefn", {"index": str(index)})
        add_text(column, "Name", name)
        add_text(column, "Type", kind)
        add_text(column, "Usage", usage)
    for index, (entry, count) in enumerate(zip(legend, counts, strict=True)):
        row = ET.SubElement(table, "Row", {"index": str(index)})
        for value in (entry.code, count, entry.name, *entry.color):
            add_text(row, "F", value)


@dataclass(frozen=True)
class _Table:
    """An attribute table: columns of text by usage, and how rows count where no column says."""

    columns: Mapping[str, Sequence[str]]
    first: float
    step: float
    length: int


def read_legend(band: ET.Element, nodata: float | None) -> Legend | None:
    """The classes that a VRT's band element names, or None where it names none.

    The attribute table goes before the category names. Code 0, codes beyond 65535, the nodata value
    and classes without a name are left out. Colours come from the attribute table or the palette.

    Args:
        band: The `VRTRasterBand` element.
        nodata: The band's nodata value.
    """
    table = _read_table(band)
    names = _table_names(table) or _category_names(band)
    kept = sorted(
        code for code, name in names.items() if 0 < code <= MAX_CODE and name and code != nodata
    )
    if not kept:
        return None
    colors = _palette(band) | _table_colors(table)
    return Legend(
        tuple(
            ClassEntry(code, names[code], colors.get(code, default_color(index)))
            for index, code in enumerate(kept)
        )
    )


def _category_names(band: ET.Element) -> dict[int, str]:
    found = band.findall("CategoryNames/Category")
    return {code: (element.text or "").strip() for code, element in enumerate(found)}


def _palette(band: ET.Element) -> dict[int, Color]:
    """The palette; none where every entry is black, as some programs pad theirs."""
    found = {
        code: _color(*(entry.get(key, "") for key in ("c1", "c2", "c3")))
        for code, entry in enumerate(band.findall("ColorTable/Entry"))
    }
    return found if any(any(color) for color in found.values()) else {}


def _read_table(band: ET.Element) -> _Table | None:
    table = band.find("GDALRasterAttributeTable")
    if table is None:
        return None
    rows = [[cell.text or "" for cell in row.findall("F")] for row in table.findall("Row")]
    columns: dict[str, Sequence[str]] = {}
    for index, column in enumerate(table.findall("FieldDefn")):
        usage = _usage(column)
        if usage is not None and usage not in columns:
            columns[usage] = [row[index] if index < len(row) else "" for row in rows]
    first, step = _number(table.get("Row0Min", "0")), _number(table.get("BinSize", "1"))
    return _Table(columns, first, step, len(rows))


def _usage(column: ET.Element) -> str | None:
    """What a column is for, by its declared usage or else by its name."""
    declared = (column.findtext("Usage") or "0").strip()
    if declared in _COLUMN_NAMES:
        return declared
    if declared == _MIN:
        return _VALUE
    name = (column.findtext("Name") or "").strip().lower().replace(" ", "_")
    return next((usage for usage, names in _COLUMN_NAMES.items() if name in names), None)


def _table_codes(table: _Table) -> list[int | None]:
    values = table.columns.get(_VALUE)
    if values is None:
        return [int(table.first + table.step * row) for row in range(table.length)]
    return [_integer(value) for value in values]


def _table_names(table: _Table | None) -> dict[int, str]:
    if table is None or _NAME not in table.columns:
        return {}
    pairs = zip(_table_codes(table), table.columns[_NAME], strict=True)
    return {code: name.strip() for code, name in pairs if code is not None and name.strip()}


def _table_colors(table: _Table | None) -> dict[int, Color]:
    if table is None or not all(usage in table.columns for usage in (_RED, _GREEN, _BLUE)):
        return {}
    channels = zip(*(table.columns[usage] for usage in (_RED, _GREEN, _BLUE)), strict=True)
    pairs = zip(_table_codes(table), channels, strict=True)
    return {code: _color(*values) for code, values in pairs if code is not None}


def _integer(text: str) -> int | None:
    value = _number(text, math.nan)
    return int(value) if value.is_integer() else None


def _number(text: str, otherwise: float = 0.0) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise


def _color(*channels: str) -> Color:
    red, green, blue = (min(255, max(0, round(_number(c)))) for c in channels)
    return red, green, blue
