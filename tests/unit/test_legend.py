"""Codes, names and colours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comix_cli.scene.legend import Legend, default_color


def test_entries_are_ordered_by_code() -> None:
    legend = Legend.from_names([(9, "water"), (2, "roof")])
    assert legend.codes == (2, 9)
    assert legend.names == ("roof", "water")


@given(st.integers(1, 400))
def test_colours_are_all_different(count: int) -> None:
    legend = Legend.from_names((i + 1, f"class {i}") for i in range(count))
    assert len({entry.color for entry in legend}) == count


def test_land_cover_has_its_customary_colour_once() -> None:
    legend = Legend.from_names([(1, "Water"), (2, "Tree"), (3, "Coniferous forest")])
    water, tree, forest = (entry.color for entry in legend)
    assert water[2] > water[0]
    assert tree[1] > tree[0]
    assert tree != forest


def test_other_classes_keep_away_from_customary_colours() -> None:
    roof, other = Legend.from_names([(1, "Roof"), (2, "Other")])
    assert sum(abs(a - b) for a, b in zip(roof.color, other.color, strict=True)) > 60


def test_a_subset_keeps_codes_and_colours() -> None:
    legend = Legend.from_names([(1, "a"), (2, "b"), (3, "c")])
    assert legend.only([0, 2]).entries == (legend.entries[0], legend.entries[2])


def test_more_than_255_codes_need_16_bits() -> None:
    assert Legend.from_names([(255, "a")]).dtype == "uint8"
    assert Legend.from_names([(256, "a")]).dtype == "uint16"


@pytest.mark.parametrize("code", [0, -1, 65536])
def test_0_and_what_no_map_can_hold_are_no_codes(code: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.65535"):
        Legend.from_names([(code, "a")])


def test_the_legend_survives_json() -> None:
    legend = Legend.from_names([(1, "Wälder & <Wiesen>"), (5, "b")])
    assert Legend.from_json(legend.to_json()) == legend


def test_default_colours_stay_in_range() -> None:
    assert all(0 <= part <= 255 for i in range(300) for part in default_color(i))
