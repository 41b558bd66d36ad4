"""Blocks made as large as the network's window."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from comix_cli.scene.padding import pad_block
from comix_cli.scene.stack import Block


def block(height: int, width: int, channels: int = 1) -> Block:
    values = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
    return Block(
        hsi=values,
        x=np.repeat(values, channels, axis=0)[:channels],
        valid=np.ones((height, width), np.bool_),
    )


def test_rows_are_mirrored_without_repeating_the_edge() -> None:
    padded = pad_block(block(3, 1), (5, 1))
    np.testing.assert_array_equal(padded.hsi[0, :, 0], [0, 1, 2, 1, 0])


def test_a_single_pixel_is_repeated() -> None:
    padded = pad_block(Block(np.full((2, 1, 1), 7, np.float32), np.full((1, 1, 1), 3, np.float32),
                             np.ones((1, 1), np.bool_)), (4, 4))  # fmt: skip
    assert (padded.hsi == 7).all()
    assert padded.hsi.shape == (2, 4, 4)
    assert padded.valid.all()


def test_no_channels_stay_no_channels() -> None:
    assert pad_block(block(2, 3, channels=0), (8, 8)).x.shape == (0, 8, 8)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(9, 40))
def test_the_block_lies_in_the_corner_and_nothing_new_appears(
    height: int, width: int, size: int
) -> None:
    given_block = block(height, width)
    padded = pad_block(given_block, (size, size))
    np.testing.assert_array_equal(padded.hsi[:, :height, :width], given_block.hsi)
    assert set(np.unique(padded.hsi)) <= set(np.unique(given_block.hsi))


def test_a_block_that_is_large_enough_is_not_copied() -> None:
    given_block = block(4, 4)
    assert pad_block(given_block, (4, 4)) is given_block
