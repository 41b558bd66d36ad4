"""The attribute of a vector file that holds the class, and the class codes it stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from comix_cli.errors import LabelError
from comix_cli.scene.legend import MAX_CODE

# What people call it, the most telling first.
USUAL_NAMES = (
    "class", "label", "classname", "class_name", "landcover", "land_cover", "lc", "category",
    "class_id", "classid", "code", "type",
)  # fmt: skip


@dataclass(frozen=True)
class ClassCodes:
    """The classes of a field.

    Attributes:
        classes: `(code, name)`, ascending by code.
        codes: The code of every feature, `(n,)` int32; 0 where it has no class.
        integer_field: True where codes are the field's own numbers.
    """

    classes: tuple[tuple[int, str], ...]
    codes: NDArray[np.int32]
    integer_field: bool


def choose_field(path: str, fields: Sequence[str], field: str | None) -> str:
    """The field that holds the class: the one named, the only one, or one with a usual name.

    Raises:
        LabelError: There is no such field, or no telling which; the fields are listed.
    """
    if field is not None:
        if field in fields:
            return field
        raise LabelError(
            f"has no field '{field}'; its fields are {', '.join(fields) or 'none'}",
            path=path,
            remedy="name one of them with --field",
        )
    if len(fields) == 1:
        return fields[0]
    by_name = {name.lower(): name for name in reversed(fields)}
    for usual in USUAL_NAMES:
        if usual in by_name:
            return by_name[usual]
    listed = ", ".join(fields) or "none"
    raise LabelError(
        f"it is not clear which field holds the class; its fields are {listed}",
        path=path,
        remedy="name one with --field",
    )


def class_codes(path: str, field: str, values: pd.Series[Any]) -> ClassCodes:
    """The classes that a field's values stand for.

    Whole numbers are codes themselves, and 0, negative numbers and null are no class. Text is
    stripped, sorted naturally ('class 2' before 'class 10') and numbered from 1; numbers among text
    are text.

    Raises:
        LabelError: Numbers that are not whole or too large, or a field of another type.
    """
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values):
        return _from_numbers(path, field, values.to_numpy(np.float64, na_value=np.nan))
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in ("string", "mixed", "mixed-integer", "categorical", "empty"):
        return _from_text(path, field, values)
    raise LabelError(
        f"field '{field}' holds {kind}, which cannot be classes",
        path=path,
        remedy="name a field of text or whole numbers with --field",
    )


def _from_numbers(path: str, field: str, numbers: NDArray[np.float64]) -> ClassCodes:
    labelled = np.isfinite(numbers) & (numbers > 0)
    broken = numbers[labelled & (numbers != np.floor(numbers))]
    if broken.size:
        raise LabelError(
            f"field '{field}' holds {broken[0]:g}, which is no whole number",
            path=path,
            remedy="name a field of text or whole numbers with --field",
        )
    codes = np.where(labelled, numbers, 0.0)
    if codes.max(initial=0) > MAX_CODE:
        raise LabelError(
            f"field '{field}' holds {codes.max():.0f}, but a map's codes end at {MAX_CODE}",
            path=path,
            remedy="use a field of names, or smaller codes",
        )
    present = np.unique(codes[labelled]).astype(int).tolist()
    return ClassCodes(
        classes=tuple((code, str(code)) for code in present),
        codes=codes.astype(np.int32),
        integer_field=True,
    )


def _from_text(path: str, field: str, values: pd.Series[Any]) -> ClassCodes:
    texts = [
        "" if missing else _text_of(value)
        for value, missing in zip(values, values.isna(), strict=True)
    ]
    names = sorted(set(texts) - {""}, key=natural_key)
    if len(names) > MAX_CODE:
        raise LabelError(
            f"field '{field}' holds {len(names)} different names, but a map's codes end at "
            f"{MAX_CODE}",
            path=path,
            remedy="name another field with --field",
        )
    code_of = {"": 0} | {name: i + 1 for i, name in enumerate(names)}
    return ClassCodes(
        classes=tuple((i + 1, name) for i, name in enumerate(names)),
        codes=np.array([code_of[text] for text in texts], np.int32),
        integer_field=False,
    )


def _text_of(value: Any) -> str:
    """Text as it is; of numbers among text those that are whole without a point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def natural_key(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sorting key by which 'class 2' comes before 'class 10', whatever the case of letters."""
    pieces = re.split(r"(\d+)", text.casefold())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces if p], text
