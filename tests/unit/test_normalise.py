"""Scaling to [0, 1] from robust percentiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comix_cli.learning.normalise import (
    BlockNormaliser,
    Normalisation,
    fit_normalisation,
    joined,
)
from comix_cli.scene.stack import Block


def test_limits_are_the_percentiles_of_each_channel() -> None:
    values = np.stack([np.arange(101), 10 * np.arange(101)]).astype(np.float32)
    found = fit_normalisation(values, (2.0, 98.0))
    assert found.low == (2.0, 20.0)
    assert found.high == (98.0, 980.0)


def test_values_become_0_at_low_and_1_at_high_and_are_clipped_beyond() -> None:
    scaling = Normalisation((100.0,), (300.0,), "by hand")
    raw = np.array([[[50, 100, 200, 300, 9000]]], np.float32)
    np.testing.assert_allclose(scaling.apply(raw), [[[0, 0, 0.5, 1, 1]]])


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_every_channel_ends_in_0_to_1_and_constant_ones_are_harmless(
    values: np.ndarray,
) -> None:
    scaling = fit_normalisation(values)
    scaled = scaling.apply(values[:, :, None])
    assert np.isfinite(scaled).all()
    assert scaled.min() >= 0
    assert scaled.max() <= 1


def test_tiny_units_are_scaled_like_any_other() -> None:
    radiance = np.linspace(4e-6, 6e-6, 101, dtype=np.float32)[None]
    scaled = fit_normalisation(radiance, (0.0, 100.0)).apply(radiance[:, :, None])
    np.testing.assert_allclose(scaled[0, :, 0], np.linspace(0, 1, 101), atol=1e-4)


def test_a_constant_channel_becomes_zero() -> None:
    values = np.full((1, 50), 4200.0, np.float32)
    np.testing.assert_array_equal(fit_normalisation(values).apply(values[:, :, None]), 0)


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="below"):
        Normalisation((1.0,), (1.0,), "by hand")


def test_the_record_survives_json() -> None:
    scaling = Normalisation((1.0, 2.5), (3.0, 4.0), "by hand")
    assert Normalisation.from_json(scaling.to_json()) == scaling


def test_invalid_pixels_become_zero_in_every_channel() -> None:
    normalise = BlockNormaliser(
        hsi=Normalisation((0.0,), (2.0,), "a"), x=joined([Normalisation((-1.0,), (1.0,), "b")])
    )
    valid = np.array([[True, False]])
    hsi, x = normalise(
        Block(np.full((1, 1, 2), 2, np.float32), np.full((1, 1, 2), 1, np.float32), valid)
    )
    np.testing.assert_array_equal(hsi, [[[1, 0]]])
    np.testing.assert_array_equal(x, [[[1, 0]]])


def test_a_scene_without_x_keeps_no_channels() -> None:
    normalise = BlockNormaliser(hsi=Normalisation((0.0,), (2.0,), "a"), x=joined([]))
    block = Block(
        np.ones((1, 2, 2), np.float32), np.zeros((0, 2, 2), np.float32), np.ones((2, 2), np.bool_)
    )
    assert normalise(block)[1].shape == (0, 2, 2)
