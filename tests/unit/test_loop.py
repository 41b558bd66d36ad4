"""Schedule, class weights and the clock of the training loop."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comix_cli.errors import ModelFileError, TrainingError, UsageError
from comix_cli.learning import checkpoint
from comix_cli.learning.augment import Augmentation
from comix_cli.learning.checkpoint import Keeper
from comix_cli.learning.consistency import Consistency
from comix_cli.learning.loop import TrainingResult, fit
from comix_cli.learning.processes import launched
from comix_cli.learning.recipe import PAPER, Recipe, make_optimiser, rate, recipe
from comix_cli.learning.samples import IGNORE_INDEX, Chip
from comix_cli.learning.steps import class_weights
from comix_cli.progress import Silent

NO_AUGMENTATION = Augmentation(flips=False, gain=0, band_gain=0)
# Guesses from the beginning on, of everything.
GUESSES = Consistency(weight=1.0, begin=0.0, rise=0.1, confidence=0.5)


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


def schedule(done: float, warmup: float) -> float:
    return rate(done, Recipe(learning_rate=1.0, warmup=warmup))


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


def trained_in_parts(accumulate: int, consistency: Consistency | None = None) -> TrainingResult:
    recipe = Recipe(steps=5, batch_size=4, accumulate=accumulate, augmentation=NO_AUGMENTATION,
                    consistency=consistency or Consistency())  # fmt: skip
    torch.manual_seed(0)
    with launched(torch.device("cpu"), torch.float32) as fabric:
        return fit(Pixelwise(), ManyChips(), np.array([70, 30]), recipe, fabric, Silent())


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("guessed", [False, True])
def test_a_step_in_parts_is_the_step_as_a_whole(parts: int, guessed: bool) -> None:
    consistency = GUESSES if guessed else None
    whole, split = trained_in_parts(1, consistency), trained_in_parts(parts, consistency)
    assert (whole.losses[-1] == trained_in_parts(1).losses[-1]) is not guessed
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


class Noisy(Pixelwise):
    """Draws from torch's generator in every step, as dropout does."""

    def forward(self, hsi: torch.Tensor, x: torch.Tensor | None) -> torch.Tensor:
        return super().forward(hsi + 0.1 * torch.rand(hsi.shape), x)


class Opinion:
    """A judge who finds what it is told to find."""

    def __init__(self, *found: float) -> None:
        self.history: list[dict[str, Any]] = []
        self._found = found

    def __call__(self, step: int, weights: Mapping[str, torch.Tensor]) -> float:  # noqa: ARG002
        found = self._found[min(len(self.history), len(self._found) - 1)]
        self.history.append({"step": step, "overall_accuracy": found})
        return found


class SlowOpinion(Opinion):
    """Takes a twentieth of a second to find it."""

    def __call__(self, step: int, weights: Mapping[str, torch.Tensor]) -> float:
        time.sleep(0.05)
        return super().__call__(step, weights)


class BrokenOffError(Exception):
    pass


class Diary:
    """Remembers every step, and breaks off after one of them."""

    def __init__(self, last: int | None = None) -> None:
        self.steps: list[tuple[int, float, float]] = []
        self.looks: list[int] = []
        self._last = last

    def step(self, number: int, loss: float, rate: float, seconds: float) -> None:  # noqa: ARG002
        self.steps.append((number, loss, rate))
        if number == self._last:
            raise BrokenOffError

    def look(self, number: int, figures: Mapping[str, Any]) -> None:
        assert figures["step"] == number
        self.looks.append(number)


def run_noisy(recipe: Recipe, keeper: Keeper | None = None, diary: Diary | None = None,
              judge: Opinion | None = None) -> TrainingResult:  # fmt: skip
    torch.manual_seed(0)
    with launched(torch.device("cpu"), torch.float32) as fabric:
        return fit(Noisy(), ManyChips(), np.array([70, 30]), recipe, fabric, Silent(), judge,
                   keeper=keeper, observer=diary)  # fmt: skip


def test_looks_of_the_validation_are_no_time_of_training_but_of_its_budget() -> None:
    begin = time.monotonic()
    result = run_noisy(Recipe(steps=10, batch_size=1), judge=SlowOpinion(0.5))
    assert result.seconds <= time.monotonic() - begin - 10 * 0.05
    hasty = Recipe(steps=10**6, batch_size=1, max_minutes=0.5 / 60)
    begin = time.monotonic()
    run_noisy(hasty, judge=SlowOpinion(0.5))
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    "changes", [{}, {"optimiser": "adam"}, {"consistency": GUESSES}], ids=["adamw", "adam", "guess"]
)
def test_a_training_that_goes_on_is_the_one_that_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(checkpoint, "PAUSE_S", 0)
    recipe = replace(Recipe(steps=20, batch_size=2, seed=4), **changes)
    judge, whole = Opinion(0.5, 0.6, 0.7), Diary()
    expected = run_noisy(recipe, diary=whole, judge=judge)
    path = tmp_path / "checkpoint"
    with pytest.raises(BrokenOffError):  # in the eighth step, so that seven are kept
        run_noisy(recipe, Keeper(path, "a", resumed=False), Diary(8), Opinion(0.5, 0.6, 0.7))
    rest, again = Diary(), Opinion(0.5, 0.6, 0.7)
    found = run_noisy(recipe, Keeper(path, "a", resumed=True), rest, again)
    assert [each[0] for each in rest.steps] == list(range(8, 21))
    assert rest.steps == whole.steps[7:]
    assert found.losses == expected.losses
    assert again.history == judge.history
    for name, tensor in expected.weights.items():
        assert torch.equal(found.weights[name], tensor)


def test_a_checkpoint_of_another_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PAUSE_S", 0)
    path = tmp_path / "checkpoint"
    run_noisy(Recipe(steps=2), Keeper(path, "a", resumed=False))
    with pytest.raises(ModelFileError, match="other options, inputs or ground truth"):
        Keeper(path, "b", resumed=True)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelFileError, match="is no checkpoint, or a damaged one"):
        Keeper(path, "a", resumed=True)


def test_patience_ends_a_training_with_its_best_weights() -> None:
    judge = Opinion(0.5, 0.8, 0.7, 0.6, 0.9)
    result = run_noisy(Recipe(steps=20, patience=2), judge=judge)
    assert result.stopped_early
    assert len(result.losses) == 8  # looks after 2, 4, 6 and 8 steps
    best = run_noisy(Recipe(steps=20, patience=None, max_minutes=None), judge=Opinion(0.5))
    assert not best.stopped_early
    assert len(best.losses) == 20


def test_without_an_average_the_last_weights_are_kept() -> None:
    torch.manual_seed(0)
    network = Pixelwise()
    with launched(torch.device("cpu"), torch.float32) as fabric:
        recipe = Recipe(steps=3, ema_decay=0)
        result = fit(network, ManyChips(), np.array([70, 30]), recipe, fabric, Silent())
    for name, tensor in network.state_dict().items():
        assert torch.equal(result.weights[name], tensor)


def test_the_papers_recipe_is_adam_with_a_polynomial_schedule() -> None:
    network = torch.nn.Linear(3, 2)
    assert type(make_optimiser(network, PAPER)) is torch.optim.Adam
    assert make_optimiser(network, PAPER).param_groups[0]["weight_decay"] == 0.01
    assert rate(0.51, PAPER) == pytest.approx(1e-3 * 0.5**0.9)
    assert rate(1.0, PAPER) == 0
    assert recipe("paper", learning_rate=6e-5, seed=None).learning_rate == 6e-5
    with pytest.raises(UsageError, match="--recipe nothing: there is no such recipe"):
        recipe("nothing")
    with pytest.raises(ValueError, match="optimiser"):
        Recipe(optimiser="sgd")  # type: ignore[arg-type]
