"""Classes as the classification extension of STAC writes them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from comix_cli.scene.legend import NO_CLASS, Legend

# What the extension lets a name consist of.
_OTHER_CHARACTERS = re.compile(r"[^0-9A-Za-z-]+")
_NO_CLASS_NAME = "no_class"


def class_objects(legend: Legend) -> list[dict[str, Any]]:
    """The classes of a legend; what they are really called is their title."""
    names = _names(legend)
    return [
        {
            "value": entry.code,
            "name": name,
            "title": entry.name,
            "color_hint": "".join(f"{channel:02X}" for channel in entry.color),
        }
        for entry, name in zip(legend, names, strict=True)
    ]


def counted_classes(legend: Legend, counts: Sequence[int]) -> list[dict[str, Any]]:
    """The classes of a map with their pixels, and what stands for no class before them.

    Args:
        legend: The classes.
        counts: Pixels of every code, from 0 on.

    Returns:
        Class objects; percentages are of the pixels that have a class.
    """
    classified = sum(int(counts[code]) for code in legend.codes)
    nothing = {
        "value": NO_CLASS,
        "name": _NO_CLASS_NAME,
        "title": "no class",
        "nodata": True,
        "count": int(counts[NO_CLASS]),
    }
    found = [nothing]
    for each in class_objects(legend):
        count = int(counts[each["value"]])
        share = {"percentage": round(100 * count / classified, 4)} if classified else {}
        found.append({**each, "count": count, **share})
    return found


def plain_name(text: str) -> str:
    """Text with nothing but letters without accents, digits, - and _; it may become empty."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _OTHER_CHARACTERS.sub("_", ascii_text).strip("_")


def _names(legend: Legend) -> list[str]:
    """A name for every class that only it has."""
    found: list[str] = []
    taken = {_NO_CLASS_NAME}
    for entry in legend:
        name = plain_name(entry.name) or f"class_{entry.code}"
        while name.lower() in taken:
            name = f"{name}_{entry.code}"
        taken.add(name.lower())
        found.append(name)
    return found
