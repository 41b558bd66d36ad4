"""The sides of windows and chips."""

from __future__ import annotations

import pytest

from comix_cli.tools.model_choice import ModelChoice, chip_side


@pytest.mark.parametrize(
    ("choice", "wanted", "window", "side"),
    [
        (ModelChoice(preset="nano"), 64, 128, 64),
        (ModelChoice(preset="nano"), 64, 48, 48),
        (ModelChoice(preset="paper"), 64, 128, 128),
        (ModelChoice("unet"), 8, 128, 16),
        (ModelChoice("fusion-fcn"), 16, 128, 16),
    ],
)
def test_chips_are_as_large_as_wanted_where_the_network_allows_it(
    choice: ModelChoice, wanted: int, window: int, side: int
) -> None:
    assert chip_side(choice.spec(5, (2,), 3), wanted, window) == side


def test_windows_suit_the_scene_and_what_is_asked_for() -> None:
    spec = ModelChoice(preset="nano").spec(5, (2,), 3)
    assert ModelChoice(preset="nano").window_for(spec, (1000, 3)) == 128
    assert ModelChoice(preset="nano").window_for(spec, (50, 30)) == 64
    assert ModelChoice(preset="nano", window=40).window_for(spec, (1000, 3)) == 40
