"""The classes of a map: code, name, colour. 0 is 'no class' and is never part of a legend."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

NO_CLASS = 0
MAX_CODE = 65535

# Twenty colours that stay apart from each other on a map, strongest first.
_PALETTE = (
    (228, 26, 28), (77, 175, 74), (55, 126, 184), (255, 193, 7), (152, 78, 163),
    (255, 127, 0), (0, 150, 136), (166, 86, 40), (247, 129, 191), (120, 120, 120),
    (141, 211, 199), (190, 186, 218), (27, 94, 32), (128, 177, 211), (205, 220, 57),
    (63, 81, 181), (188, 128, 189), (121, 85, 72), (255, 237, 111), (0, 0, 0),
)  # fmt: skip


# Red, green and blue apart by less than this look alike on a map.
_APART = 60.0
# Land cover by a word in its name, in the order of looking: 'low vegetation' before 'vegetation'.
_CUSTOMARY = (
    ("water", (66, 133, 214)), ("river", (66, 133, 214)), ("lake", (66, 133, 214)),
    ("tree", (27, 120, 55)), ("forest", (27, 120, 55)), ("wood", (27, 120, 55)),
    ("grass", (166, 217, 106)), ("low veg", (166, 217, 106)), ("meadow", (166, 217, 106)),
    ("shrub", (102, 166, 30)), ("vegetation", (102, 166, 30)), ("crop", (230, 200, 90)),
    ("soil", (178, 130, 86)), ("bare", (178, 130, 86)), ("sand", (235, 219, 178)),
    ("roof", (215, 48, 39)), ("building", (215, 48, 39)), ("residential", (215, 48, 39)),
    ("road", (115, 115, 115)), ("pavement", (115, 115, 115)), ("asphalt", (115, 115, 115)),
    ("impervious", (150, 150, 150)), ("rail", (90, 60, 110)), ("snow", (240, 250, 255)),
)  # fmt: skip


@dataclass(frozen=True)
class ClassEntry:
    """One class: its code (1..65535), its name, its colour (red, green, blue; 0..255)."""

    code: int
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Legend:
    """The classes of a map, ascending by code; class i is the network's output channel i."""

    entries: tuple[ClassEntry, ...]

    def __post_init__(self) -> None:
        codes = self.codes
        if any(not 0 < code <= MAX_CODE for code in codes):
            raise ValueError(f"class codes must lie in 1..{MAX_CODE}, not {codes}")
        if list(codes) != sorted(set(codes)):
            raise ValueError(f"class codes must be ascending and unique, not {codes}")

    @classmethod
    def from_names(cls, names: Iterable[tuple[int, str]]) -> Legend:
        """A legend with colours of our choosing for `(code, name)` pairs in any order."""
        ordered = sorted(names)
        colors = choose_colors([name for _, name in ordered])
        return cls(tuple(ClassEntry(*pair, c) for pair, c in zip(ordered, colors, strict=True)))

    @classmethod
    def from_json(cls, document: list[dict[str, Any]]) -> Legend:
        """The inverse of `to_json`."""
        return cls(
            tuple(ClassEntry(int(e["code"]), str(e["name"]), _rgb(e["color"])) for e in document)
        )

    def to_json(self) -> list[dict[str, Any]]:
        """The legend as plain lists and dictionaries."""
        return [{"code": e.code, "name": e.name, "color": list(e.color)} for e in self.entries]

    def only(self, kept: Iterable[int]) -> Legend:
        """The entries at some positions, with their codes and colours."""
        return Legend(tuple(self.entries[i] for i in kept))

    def __iter__(self) -> Iterator[ClassEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def codes(self) -> tuple[int, ...]:
        """The codes, ascending."""
        return tuple(entry.code for entry in self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the codes."""
        return tuple(entry.name for entry in self.entries)

    @property
    def dtype(self) -> str:
        """The smallest raster type that holds every code: uint8, or uint16 beyond 255."""
        return "uint8" if max(self.codes, default=0) <= 255 else "uint16"


def choose_colors(names: Sequence[str]) -> list[tuple[int, int, int]]:
    """A colour for each class: what maps use for land cover of that name, else one that is free."""
    chosen: list[tuple[int, int, int] | None] = []
    for name in names:
        color = next((rgb for word, rgb in _CUSTOMARY if word in name.lower()), None)
        chosen.append(None if color in chosen else color)
    taken = set(chosen)
    clear = [c for c in _PALETTE if all(k is None or math.dist(c, k) > _APART for k in taken)]
    others = (c for i in count() if (c := default_color(i)) not in taken and c not in clear)
    free = chain(clear, others)
    return [color or next(free) for color in chosen]


def default_color(index: int) -> tuple[int, int, int]:
    """The colour of class number `index` (0-based): a fixed list first, then golden-angle hues."""
    if index < len(_PALETTE):
        return _PALETTE[index]
    hue = (index * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.35 * (index % 2), 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def _rgb(values: Iterable[Any]) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in values)
    return red, green, blue
