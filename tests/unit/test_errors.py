from __future__ import annotations

from comix_cli.errors import as_ranges


def test_numbers_in_a_row_are_told_by_their_ends() -> None:
    assert as_ranges([3, 1, 2, 7, 10, 9]) == "1-3, 7, 9-10"
    assert as_ranges([5]) == "5"
    assert as_ranges([]) == ""
