"""Bands of one sensor made of another's: straight spectra, responses, gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from comix_cli.scene.spectral import BandMix, Spectrum, band_mix, same_bands, uncovered


def sensor(centres: NDArray[np.float64] | Sequence[float], fwhm: float | None = None) -> Spectrum:
    return Spectrum(tuple(float(c) for c in centres), (fwhm,) * len(centres))


def mixed(mix: BandMix, values: NDArray[np.floating]) -> NDArray[np.float32]:
    """The mix of one pixel's spectrum."""
    block = np.asarray(values, np.float32)[:, np.newaxis, np.newaxis]
    return mix.apply(block)[:, 0, 0]


FINE = sensor(np.arange(400, 2401, 10.0))


def test_a_linear_spectrum_is_interpolated_exactly() -> None:
    wanted = sensor([405, 503.3, 1234.5, 2399.9])
    mix = band_mix(FINE, wanted)
    assert mix.method == "linear interpolation"
    found = mixed(mix, 3 + 0.25 * np.array(FINE.centres_nm))
    np.testing.assert_allclose(found, 3 + 0.25 * np.array(wanted.centres_nm), rtol=1e-6)


def test_a_linear_spectrum_has_the_value_of_the_centre_under_any_response() -> None:
    wanted = sensor([600, 777.7, 2000], fwhm=60)
    mix = band_mix(sensor(FINE.centres_nm, fwhm=10), wanted)
    assert mix.method == "band response"
    found = mixed(mix, 0.5 * np.array(FINE.centres_nm))
    np.testing.assert_allclose(found, 0.5 * np.array(wanted.centres_nm), rtol=1e-6)


@given(
    st.lists(st.floats(400, 2500), min_size=1, max_size=40),
    st.floats(1, 100),
    st.lists(st.floats(400, 2500), min_size=1, max_size=10),
    st.one_of(st.none(), st.floats(1, 200)),
)
def test_weights_sum_to_one_and_a_constant_spectrum_stays_constant(
    centres: list[float], width: float, wanted: list[float], fwhm: float | None
) -> None:
    source = sensor(centres, width)
    gone = set(uncovered(source, sensor(wanted, fwhm)))
    covered = [c for i, c in enumerate(wanted) if i not in gone]
    if covered:
        mix = band_mix(source, sensor(covered, fwhm))
        for row in mix.rows:
            assert math.fsum(weight for _, weight in row) == pytest.approx(1)
            assert all(weight > 0 for _, weight in row)
        np.testing.assert_allclose(mixed(mix, np.full(len(centres), 7.0)), 7, rtol=1e-5)


@given(st.floats(430, 2370), st.floats(12, 50), st.integers(0, 10**6))
def test_a_band_response_is_the_integral_of_the_straight_line_spectrum(
    centre: float, fwhm: float, seed: int
) -> None:
    source = sensor(FINE.centres_nm, fwhm=10)
    values = np.random.default_rng(seed).uniform(0, 1, len(source))
    # The response of the source's own bands and the Gaussian together are as wide as the band.
    sigma = math.sqrt(fwhm**2 - 10**2) / 2.3548200450309493
    reach = 1.5 * math.sqrt(fwhm**2 - 10**2)
    nm = np.linspace(max(centre - reach, 395), min(centre + reach, 2405), 40_001)
    weight = np.exp(-(((nm - centre) / sigma) ** 2) / 2)
    expected = (np.interp(nm, source.centres_nm, values) * weight).sum() / weight.sum()
    found = mixed(band_mix(source, sensor([centre], fwhm)), values)
    assert found[0] == pytest.approx(expected, rel=2e-4)


def test_bands_as_wide_as_the_wanted_ones_are_not_blurred_again() -> None:
    source = sensor([500, 510, 520], fwhm=10)
    assert band_mix(source, sensor([510], fwhm=10)).rows == (((1, 1.0),),)
    assert band_mix(source, sensor([512.5], fwhm=5)).rows == (((1, 0.75), (2, 0.25)),)


def test_bands_of_unknown_width_are_taken_to_touch() -> None:
    # 10 nm apart, so 10 nm wide: a wanted width of 10 nm asks for no more.
    assert band_mix(sensor([500, 510, 520]), sensor([510], fwhm=10)).rows == (((1, 1.0),),)


def test_the_order_of_the_bands_in_the_file_does_not_matter() -> None:
    mix = band_mix(sensor([700, 500, 600]), sensor([525, 650]))
    assert mix.rows == (((1, 0.75), (2, 0.25)), ((0, 0.5), (2, 0.5)))


def test_of_two_bands_with_one_centre_the_first_counts() -> None:
    assert band_mix(sensor([500, 600, 600, 700]), sensor([600])).rows == (((1, 1.0),),)


@pytest.mark.parametrize("wanted", [394, 2406, 300])
def test_half_a_band_beyond_the_last_one_nothing_is_covered(wanted: float) -> None:
    assert uncovered(FINE, sensor([500, wanted])) == (1,)
    with pytest.raises(ValueError, match=f"not covered: .{wanted:.1f}. nm"):
        band_mix(FINE, sensor([wanted]))


def test_within_half_a_band_the_last_one_serves() -> None:
    assert band_mix(FINE, sensor([396, 2404])).rows == (((0, 1.0),), ((len(FINE) - 1, 1.0),))


def test_a_band_deep_in_a_gap_is_not_covered() -> None:
    dry = sensor([c for c in FINE.centres_nm if not 1350 < c < 1450])
    wanted = sensor([1340, 1354, 1356, 1400, 1444, 1446, 1500])
    assert uncovered(dry, wanted) == (2, 3, 4)


def test_one_missing_band_is_bridged() -> None:
    source = sensor([c for c in FINE.centres_nm if c != 1400])
    assert uncovered(source, sensor([1400])) == ()


def test_a_second_detector_with_wider_steps_is_no_gap() -> None:
    source = sensor([*np.arange(400, 1000, 2.0), *np.arange(1000, 2500, 17.0)])
    assert uncovered(source, sensor([999, 1008, 1700])) == ()


def test_broad_bands_that_touch_have_no_gap_between_them() -> None:
    narrow = [500, 510, 520, 530, 600]
    assert uncovered(sensor(narrow, 8), sensor([570])) == (0,)
    assert uncovered(sensor(narrow, 80), sensor([570])) == ()


def test_a_response_that_mostly_falls_into_a_gap_is_not_covered() -> None:
    dry = sensor([c for c in FINE.centres_nm if c < 1350 or c > 1450], fwhm=10)
    # The last centre is 1340: half a band beyond it, less than half of a wide band is covered.
    assert uncovered(dry, sensor([1344], fwhm=10)) == ()
    assert uncovered(dry, sensor([1344], fwhm=200)) == ()
    alone = sensor([600, 610, 620, 1300, 2000, 2010, 2020], fwhm=10)
    assert uncovered(alone, sensor([1300], fwhm=10)) == ()
    assert uncovered(alone, sensor([1300], fwhm=100)) == (0,)


@pytest.mark.parametrize(("shift", "same"), [(0.0, True), (1.4, True), (1.6, False)])
def test_bands_are_the_same_within_a_quarter_of_their_width(shift: float, same: bool) -> None:
    one = sensor([500, 510, 520], fwhm=6)
    assert same_bands(sensor([500, 510 + shift, 520], fwhm=6), one) is same


def test_other_numbers_or_orders_are_other_bands() -> None:
    assert not same_bands(sensor([500, 510]), sensor([500, 510, 520]))
    assert not same_bands(sensor([510, 500]), sensor([500, 510]))


def test_a_single_band_of_unknown_width_is_itself_and_nothing_else() -> None:
    assert same_bands(sensor([500]), sensor([500]))
    assert not same_bands(sensor([501]), sensor([500]))
    assert uncovered(sensor([500]), sensor([500, 501])) == (1,)


def test_a_compact_mix_numbers_the_bands_that_it_uses() -> None:
    mix = band_mix(sensor([400, 410, 420, 430, 440]), sensor([431, 411]))
    assert mix.used == (1, 2, 3, 4)
    rows = mix.compact().rows
    assert [[index for index, _ in row] for row in rows] == [[2, 3], [0, 1]]
    weights = [[weight for _, weight in row] for row in rows]
    np.testing.assert_allclose(weights, [[0.9, 0.1], [0.9, 0.1]])


@given(st.integers(0, 20), st.integers(0, 30), st.integers(1, 20), st.integers(1, 30))
def test_a_pixel_has_the_same_bits_in_every_block(
    row: int, col: int, height: int, width: int
) -> None:
    data = np.random.default_rng(0).uniform(0, 1e4, (60, 21, 31)).astype(np.float32)
    source = sensor(np.linspace(400, 1000, 60), fwhm=10)
    mix = band_mix(source, sensor(np.linspace(420, 980, 17), fwhm=33))
    whole = mix.apply(data)
    part = mix.apply(np.ascontiguousarray(data[:, row : row + height, col : col + width]))
    np.testing.assert_array_equal(part, whole[:, row : row + height, col : col + width])
