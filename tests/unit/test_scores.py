"""Probabilities, and what is written of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from comix_cli.mapping.scores import class_codes, confidence, entropy, normalised, stored
from comix_cli.scene.legend import Legend

LEGEND = Legend.from_names([(2, "roof"), (7, "water"), (9, "tree")])
PROBABILITIES = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    elements=st.floats(0, 1, width=32),
)


def pixel(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32).reshape(-1, 1, 1)


@given(PROBABILITIES)
def test_normalised_probabilities_sum_to_one_or_are_nothing(p: NDArray[np.float32]) -> None:
    sums = normalised(p).sum(axis=0)
    np.testing.assert_allclose(sums[p.sum(axis=0) > 0], 1, rtol=1e-5)
    assert not sums[p.sum(axis=0) == 0].any()


@given(PROBABILITIES)
def test_entropy_is_shannons_over_the_largest_possible(p: NDArray[np.float32]) -> None:
    shares = normalised(p).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(shares * np.log(shares))
    expected = -terms.sum(axis=0) / np.log(max(len(p), 2))
    np.testing.assert_allclose(entropy(normalised(p)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "sure", "undecided"),
    [
        ((1, 0, 0), 1, 0),
        ((0.25, 0.25, 0.25, 0.25), 0.25, 1),
        ((0.5, 0.5, 0, 0), 0.5, 0.5),
        ((1,), 1, 0),
    ],
)
def test_confidence_and_entropy_by_hand(
    values: tuple[float, ...], sure: float, undecided: float
) -> None:
    assert confidence(pixel(*values)).item() == sure
    assert entropy(pixel(*values)).item() == pytest.approx(undecided, abs=1e-6)


def test_bytes_are_steps_of_four_thousandths_and_255_is_nodata() -> None:
    values = np.array([[0, 0.0021, 0.5, 1, 0.7]], np.float32)
    valid = np.array([[True, True, True, True, False]])
    assert stored(values, valid, as_float=False).tolist() == [[0, 1, 125, 250, 255]]
    floats = stored(values, valid, as_float=True)
    np.testing.assert_array_equal(floats, np.where(valid, values, np.float32(np.nan)))
    assert floats.dtype == np.float32


def test_codes_are_those_of_the_likeliest_class_and_0_where_not_valid() -> None:
    p = np.array([[[0.2, 0.1, 1]], [[0.3, 0.1, 0]], [[0.5, 0.8, 0]]], np.float32)
    codes = class_codes(p, np.array([[True, False, True]]), LEGEND)
    assert codes.tolist() == [[9, 0, 2]]
    assert codes.dtype == np.uint8
