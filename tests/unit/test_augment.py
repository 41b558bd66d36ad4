"""Random changes to chips: what they change, and what they leave true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comix_cli.learning.augment import Augmentation
from comix_cli.learning.samples import Chip

NOTHING = Augmentation(flips=False, gain=0, band_gain=0)


def chip_of(value: float = 1.0, side: int = 8, bands: int = 40) -> Chip:
    """Every pixel knows its label: the HSI and X are the label times `value`."""
    labels = np.arange(side * side).reshape(side, side) % 5
    own = (labels * value).astype(np.float32)
    return Chip(np.repeat(own[None], bands, 0), np.repeat(own[None], 2, 0), labels.astype(np.int64))


def test_nothing_changes_nothing() -> None:
    chip = chip_of()
    changed = NOTHING(chip, np.random.default_rng(0))
    np.testing.assert_array_equal(changed.hsi, chip.hsi)
    np.testing.assert_array_equal(changed.labels, chip.labels)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_turned_pixels_keep_their_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    changed = Augmentation(flips=True).turned(chip_of(), rng)
    np.testing.assert_array_equal(changed.hsi[0], changed.labels)
    np.testing.assert_array_equal(changed.x[1], changed.labels)


def test_bands_are_dropped_one_by_one() -> None:
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(50):
        changed = Augmentation(flips=False, gain=0, band_gain=0, band_dropout=0.3)(chip_of(), rng)
        whole = (changed.hsi == chip_of().hsi).all(axis=(1, 2))
        gone = (changed.hsi == 0).all(axis=(1, 2))
        assert (whole | gone).all()
        kept.append(whole.mean())
        np.testing.assert_array_equal(changed.x, chip_of().x)
    assert np.mean(kept) == pytest.approx(0.7, abs=0.03)


def test_all_of_x_is_dropped_or_none() -> None:
    rng = np.random.default_rng(0)
    drops = Augmentation(flips=False, gain=0, band_gain=0, x_dropout=0.25)
    gone = [not drops(chip_of(), rng).x.any() for _ in range(400)]
    assert np.mean(gone) == pytest.approx(0.25, abs=0.05)
    assert Augmentation(x_dropout=1)(chip_of(), rng).hsi.any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_a_rectangle_of_another_chip_brings_its_labels_along(seed: int) -> None:
    one, other = chip_of(1.0), chip_of(-1.0)
    always = Augmentation(flips=False, gain=0, band_gain=0, cutmix=1)
    mixed, _ = always.mixed([one, other], np.random.default_rng(seed))
    theirs = mixed.hsi[0] < 0
    np.testing.assert_array_equal(np.abs(mixed.hsi[0]), mixed.labels)
    # What came from the other chip is one rectangle; label 0 cannot tell.
    rows, columns = np.nonzero(theirs)
    if rows.size:
        box = mixed.hsi[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (box <= 0).all()
    np.testing.assert_array_equal(one.hsi, chip_of(1.0).hsi)  # the chip itself is not touched


def test_a_batch_of_one_has_nobody_to_mix_with() -> None:
    chip = chip_of()
    assert Augmentation(cutmix=1).mixed([chip], np.random.default_rng(0)) == [chip]
