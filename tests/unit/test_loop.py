"""Schedule, class weights and the clock of the training loop."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comix_cli.errors import TrainingError, UsageError
from comix_cli.learning.augment import Augmentation
from comix_cli.learning.loop import (
    Recipe,
    TrainingResult,
    class_weights,
    fit,
    make_optimiser,
    schedule,
)
from comix_cli.learning.processes import launched
from comix_cli.learning.samples import IGNORE_INDEX, Chip
from comix_cli.progress import Silent

NO_AUGMENTATION = Augmentation(flips=False, gain=0, band_gain=0)


class OneChip:
    """A sampler that always draws the same chip."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip

    def draw(self, rng: np.random.Generator) -> Chip:  # noqa: ARG002
        return self.chip


class Pixelwise(torch.nn.Module):
    """The simplest network that a chip fits into."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(2, 2, 1)

    def forward(self, hsi: torch.Tensor, x: torch.Tensor | None) -> torch.Tensor:
        assert x is None
        logits: torch.Tensor = self.layer(hsi)
        return logits


def separable_chip() -> Chip:
    labels = np.tile(np.array([0, 1, IGNORE_INDEX]), (3, 1))
    hsi = np.stack([labels == 0, labels == 1]).astype(np.float32)
    return Chip(hsi, np.zeros((0, 3, 3), np.float32), labels.astype(np.int64))


def test_the_schedule_rises_to_one_and_falls_to_zero() -> None:
    assert schedule(0.0, 0.1) == pytest.approx(0.04)
    assert schedule(0.1, 0.1) == pytest.approx(1.0)
    assert schedule(0.55, 0.1) == pytest.approx(0.5)
    assert schedule(1.0, 0.1) == pytest.approx(0.0, abs=1e-12)


@given(st.floats(0, 1), st.floats(0, 0.9))
def test_the_schedule_stays_between_0_and_1(done: float, warmup: float) -> None:
    assert 0 <= schedule(done, warmup) <= 1


def test_class_weights_have_a_mean_of_one_over_the_pixels() -> None:
    pixels = np.array([900, 90, 10])
    weights = class_weights(pixels, 0.5).numpy()
    assert (weights * pixels).sum() / pixels.sum() == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx((900 / 10) ** 0.5, rel=1e-5)


def test_a_power_of_zero_weighs_all_pixels_alike_and_absent_classes_not_at_all() -> None:
    np.testing.assert_allclose(class_weights(np.array([5, 0, 70]), 0.0), [1, 0, 1])


def test_weight_decay_spares_vectors() -> None:
    decayed, spared = make_optimiser(Pixelwise(), Recipe(weight_decay=0.3)).param_groups
    assert [p.ndim for p in decayed["params"]] == [4]
    assert decayed["weight_decay"] == 0.3
    assert [p.ndim for p in spared["params"]] == [1]
    assert spared["weight_decay"] == 0


def fit_on(chip: Chip, recipe: Recipe) -> TrainingResult:
    torch.manual_seed(1)
    pixels = np.array([3, 3])
    with launched(torch.device("cpu"), torch.float32) as fabric:
        return fit(Pixelwise(), OneChip(chip), pixels, recipe, fabric, Silent())


def train_pixelwise(recipe: Recipe) -> tuple[float, float, int]:
    result = fit_on(separable_chip(), recipe)
    return result.losses[0], result.losses[-1], len(result.losses)


def test_training_lowers_the_loss_and_unlabelled_pixels_do_not_matter() -> None:
    recipe = Recipe(
        steps=80, learning_rate=0.2, label_smoothing=0, augmentation=Augmentation(gain=0)
    )
    first, last, steps = train_pixelwise(recipe)
    assert steps == 80
    assert last < 0.2 * first


def test_a_budget_of_time_ends_the_training_early() -> None:
    _, _, steps = train_pixelwise(Recipe(steps=10**6, max_minutes=0.5 / 60))
    assert 1 <= steps < 10**6


def test_the_same_seed_gives_the_same_losses() -> None:
    recipe = Recipe(steps=5, seed=3)
    assert train_pixelwise(recipe) == train_pixelwise(recipe)


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    chip = separable_chip()
    chip.hsi[0, 0, 0] = np.nan
    with pytest.raises(TrainingError, match="nan at step 1"):
        fit_on(chip, Recipe(steps=2))


class ManyChips:
    """A sampler whose chips differ in values and in how much of them is labelled."""

    def draw(self, rng: np.random.Generator) -> Chip:
        labels = rng.integers(0, 2, (3, 3))
        labels[rng.random((3, 3)) < rng.random()] = IGNORE_INDEX
        labels[0, 0] = 0
        return Chip(rng.random((2, 3, 3), np.float32), np.zeros((0, 3, 3), np.float32), labels)


def trained_in_parts(accumulate: int) -> TrainingResult:
    recipe = Recipe(steps=5, batch_size=4, accumulate=accumulate, augmentation=NO_AUGMENTATION)
    torch.manual_seed(0)
    with launched(torch.device("cpu"), torch.float32) as fabric:
        return fit(Pixelwise(), ManyChips(), np.array([70, 30]), recipe, fabric, Silent())


@pytest.mark.parametrize("parts", [2, 4])
def test_a_step_in_parts_is_the_step_as_a_whole(parts: int) -> None:
    whole, split = trained_in_parts(1), trained_in_parts(parts)
    np.testing.assert_allclose(split.losses, whole.losses, rtol=1e-5)
    for name, tensor in whole.weights.items():
        torch.testing.assert_close(split.weights[name], tensor, rtol=1e-4, atol=1e-6)


def test_chips_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(UsageError, match=r"among 1 processes in 3 parts each.*multiple of 3"):
        trained_in_parts(3)


def test_training_in_half_precision_keeps_weights_in_single() -> None:
    recipe = Recipe(steps=20, batch_size=2, augmentation=NO_AUGMENTATION)
    torch.manual_seed(0)
    with launched(torch.device("cpu"), torch.bfloat16) as fabric:
        result = fit(Pixelwise(), ManyChips(), np.array([70, 30]), recipe, fabric, Silent())
    assert {tensor.dtype for tensor in result.weights.values()} == {torch.float32}
    assert np.isfinite(result.losses).all()
