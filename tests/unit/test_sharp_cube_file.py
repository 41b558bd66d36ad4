from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from comix_cli.sharpening.cube_file import CubeFormat


def stored(dtype: str, nodata: float, *values: float) -> NDArray[Any]:
    """Values as they are stored; the last one is not valid."""
    form = CubeFormat(dtype, nodata, (1.0,), (0.0,), ({},), ("band",))
    row = np.array(values, np.float32).reshape(1, 1, -1)
    valid = np.arange(len(values))[np.newaxis] < len(values) - 1
    found: NDArray[Any] = form.stored(row, valid)[0, 0]
    return found


def test_whole_numbers_are_rounded_and_kept_within_their_type() -> None:
    assert stored("uint8", 255, 1.6, -3, 300, 0).tolist() == [2, 0, 254, 255]
    assert stored("int16", -9999, 2.4, -9999, -40000, 0).tolist() == [2, -9998, -32768, -9999]


def test_numbers_of_64_bits_do_not_turn_over() -> None:
    found = stored("int64", -1, 1e30, -1e30, 0, 5)

    assert found[0] > 2**62
    assert found[1] == -(2**63)
    assert found[-1] == -1


@pytest.mark.parametrize("nodata", [0.0, -9999.0])
def test_floats_do_not_become_nodata(nodata: float) -> None:
    found = stored("float32", nodata, nodata, 0.25, 7)

    assert found[0] != nodata
    assert found[0] == pytest.approx(nodata, rel=1e-6, abs=1e-40)
    assert found[1:].tolist() == [0.25, nodata]


def test_nan_marks_what_is_not_valid() -> None:
    found = stored("float32", float("nan"), 0.25, 7)

    assert found[0] == 0.25
    assert np.isnan(found[1])


def test_values_are_scaled_as_the_file_says() -> None:
    form = CubeFormat("uint16", 0, (0.0001, 2.0), (0.0, -10.0), ({}, {}), ("a", "b"))
    data = np.array([0.5, 30.0], np.float32).reshape(2, 1, 1)

    assert form.stored(data, np.ones((1, 1), np.bool_)).ravel().tolist() == [5000, 20]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_what_is_no_number_is_not_valid(dtype: str) -> None:
    assert stored(dtype, 9, float("nan"), float("inf"), 3, 0).tolist() == [9, 9, 3, 9]
