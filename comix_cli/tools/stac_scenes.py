"""Scenes from STAC: each item is one, its assets are the rasters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from comix_cli.errors import InputError, UsageError, listed
from comix_cli.tools.scene_table import SceneRow
from comix_cli.tools.stac_links import gdal_name
from comix_cli.tools.stac_reader import FoundItem, items_below

# Columns that assets of the same name fill unasked; so do x, x1, x2, ...
_COLUMNS = ("hsi", "dtm", "gt", "mask", "like")
_X = re.compile(r"x(\d*)")
# Properties of an item that are options of its scene.
_OPTION = "comix:"


def read_stac_scenes(path: str, assets: Mapping[str, str]) -> list[SceneRow]:
    """The scenes of a STAC catalog, collection, item collection or item.

    Properties of an item called `comix:OPTION` become the column OPTION.

    Args:
        path: A local file, or an http(s) URL.
        assets: Column -> the key of an asset, or several by comma. The columns x, x1, x2, ... are
            one, in the order of their numbers. Columns that are not named here are filled by assets
            of their own name.

    Raises:
        InputError: A document cannot be read, is no STAC or of a later version; there is no item in
            it; an item has not the assets, or the id of another.
        UsageError: A column has no key.
    """
    wanted = _keys_by_column(assets)
    rows: dict[str, SceneRow] = {}
    for found in items_below(path):
        row = SceneRow(found.item.id, found.where, _cells(found, wanted))
        if row.id in rows:
            raise InputError(
                f"two items are called '{row.id}': {rows[row.id].where} and {row.where}",
                path=path,
                remedy="give each an id of its own",
            )
        rows[row.id] = row
    if not rows:
        raise InputError("there is no STAC item in it", path=path, remedy="check its links")
    return [*rows.values()]


def _keys_by_column(assets: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column in _in_order(assets):
        keys = [key.strip() for key in assets[column].split(",") if key.strip()]
        if not keys:
            raise UsageError(f"no asset is named for '{column}'", remedy="name its key")
        found.setdefault("x" if _X.fullmatch(column) else column, []).extend(keys)
    return found


def _in_order(names: Iterable[str]) -> list[str]:
    """x, x1, x2, ... by number, and behind the others."""
    numbered = {name: _X.fullmatch(name) for name in names}
    return sorted(numbered, key=lambda name: int(m[1] or 0) + 1 if (m := numbered[name]) else 0)


def _cells(found: FoundItem, wanted: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    there = found.item.assets
    keys = {column: [column] for column in _COLUMNS if column in there}
    if numbered := _in_order(key for key in there if _X.fullmatch(key)):
        keys["x"] = numbered
    keys |= wanted
    if not keys:
        raise _without(found, "called hsi or x")
    cells = _options(found)
    for column, each in keys.items():
        for key in each:
            if key not in there:
                raise _without(found, f"called '{key}', which is to be {column}")
        cells[column] = tuple(gdal_name(there[key].href, found.document) for key in each)
    return cells


def _without(found: FoundItem, what: str) -> InputError:
    keys = listed([*found.item.assets]) if found.item.assets else "none"
    return InputError(
        f"item '{found.item.id}' has no asset {what}; it has {keys}",
        path=found.where,
        remedy="say which asset is which",
    )


def _options(found: FoundItem) -> dict[str, tuple[str, ...]]:
    properties = found.item.properties
    given = {
        name.removeprefix(_OPTION): value if isinstance(value, list) else [value]
        for name, value in properties.items()
        if name.startswith(_OPTION) and value is not None
    }
    return {name: tuple(map(_text, values)) for name, values in given.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
