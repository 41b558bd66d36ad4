"""The classes that a map and its ground truth are compared by: those of both on common codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from comix_cli.errors import LabelError, RasterError
from comix_cli.mapping.map_file import MapFile
from comix_cli.scene.labels import Reference
from comix_cli.tools.map_totals import MOST_CODES

# What stands for classes that are left out, downwards; beyond every code of a map.
_LEFT_OUT = 2**31 - 1


@dataclass(frozen=True)
class ComparedClasses:
    """Codes for the classes of a map and of ground truth.

    Attributes:
        of_reference: For each code of the ground truth the one that stands for it here.
        codes: Codes of the map's classes, ascending, `(n,)`.
        names: The name of each code, where there is one.
        unmapped: Codes of the ground truth's classes that the map does not know.
        compares_unmapped: Whether they are compared. If so, the map is wrong wherever they are.
    """

    of_reference: Mapping[int, int]
    codes: NDArray[np.int64]
    names: Mapping[int, str]
    unmapped: tuple[int, ...]
    compares_unmapped: bool

    def is_unmapped(self, codes: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which codes stand for classes that the map does not know."""
        return np.isin(codes, self.unmapped)

    def is_left_out(self, codes: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which codes stand for classes that are not compared."""
        if self.compares_unmapped:
            return np.zeros(codes.shape, np.bool_)
        return self.is_unmapped(codes)

    def listed(self, codes: Iterable[int]) -> list[tuple[int, str]]:
        """Code and name of some classes; the code itself where it has no name."""
        return [(code, self.names.get(code, str(code))) for code in codes]


def compared_classes(
    map_file: MapFile,
    reference: Reference,
    known: Mapping[int, int],
    present: Iterable[int],
    *,
    compare_unmapped: bool,
) -> ComparedClasses:
    """Bring the classes of a map and of ground truth together.

    Args:
        map_file: The map.
        reference: The ground truth.
        known: The map's code for each code of the ground truth that the map knows.
        present: Codes that occur in the map.
        compare_unmapped: Whether to compare classes that the map does not know, on codes that it
            does not hold.

    Raises:
        RasterError: The map holds too many codes.
        LabelError: So does the ground truth.
    """
    legend = {entry.code: entry.name for entry in map_file.legend or ()}
    # A code that the map does not name is an error like any other, so it needs its place.
    own = {*(legend or known.values()), *present}
    if len(own) > MOST_CODES:
        raise RasterError(
            f"holds more than {MOST_CODES} different codes",
            path=map_file.path,
            remedy="give a classified map",
        )
    lost = [code for code, _ in reference.classes if code not in known]
    if compare_unmapped:
        _check_number(lost, reference)
        others = _codes_beside(own, lost, integer_field=reference.integer_field)
    else:
        others = {code: _LEFT_OUT - i for i, code in enumerate(lost)}
    of_reference = dict(reference.classes)
    return ComparedClasses(
        of_reference={**known, **others},
        codes=np.array(sorted(own), np.int64),
        names={**{others[code]: of_reference[code] for code in lost}, **legend},
        unmapped=tuple(others.values()),
        compares_unmapped=compare_unmapped,
    )


def _check_number(unmapped: Sequence[int], reference: Reference) -> None:
    if len(unmapped) > MOST_CODES:
        raise LabelError(
            f"holds more than {MOST_CODES} classes that the map does not know",
            path=reference.path,
            remedy="name another field with --field",
        )


def _codes_beside(own: Set[int], unmapped: Sequence[int], *, integer_field: bool) -> dict[int, int]:
    """Codes that a map does not hold, for classes that it does not know.

    Numbers of the ground truth stay what they are, unless the map means something else by them.
    """
    kept = {code: code for code in unmapped if integer_field and code not in own}
    numbers = count(max((*own, *kept), default=0) + 1)
    return kept | {code: next(numbers) for code in unmapped if code not in kept}
