"""What is learned from pixels without a label."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from comix_cli.learning.augment import Augmentation
from comix_cli.learning.consistency import Consistency, Teacher, consistency_loss
from comix_cli.learning.loop import fit, seeded
from comix_cli.learning.processes import launched
from comix_cli.learning.recipe import Recipe
from comix_cli.learning.samples import IGNORE_INDEX, Chip
from comix_cli.learning.steps import draw_batch
from comix_cli.progress import Silent


class TwoClasses(nn.Module):
    """Class 1 by a multiple of the first band, class 0 otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.0))

    def forward(self, hsi: Tensor, x: Tensor | None) -> Tensor:
        del x
        score = self.factor * hsi[:, :1]
        return torch.cat([torch.zeros_like(score), score], dim=1)


def test_the_weight_rises_after_the_beginning() -> None:
    told = Consistency(weight=2.0, begin=0.3, rise=0.2)
    found = [told.weight_at(done) for done in (0, 0.3, 0.4, 0.5, 1)]
    assert found == pytest.approx([0, 0, 1, 2, 2])
    assert Consistency().weight_at(1) == 0


def test_a_teacher_names_what_it_is_sure_of_and_nobody_knows() -> None:
    # The odds of class 1 are exp(value): 0.9 needs a value of log 9 either way.
    edge = math.log(9)
    hsi = torch.tensor([[[[edge + 0.01, edge - 0.01, -edge - 0.01, 5.0, 0.0]]]])
    known = torch.tensor([[[IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX, 0, IGNORE_INDEX]]])
    found = Teacher(TwoClasses(), confidence=0.9).labels(hsi, None, known)
    assert found.tolist() == [[[1, IGNORE_INDEX, 0, IGNORE_INDEX, IGNORE_INDEX]]]


def test_pixels_without_data_are_not_guessed() -> None:
    hsi = torch.tensor([[[[0.0, 0.0]], [[0.0, 1.0]]]])
    known = torch.full((1, 1, 2), IGNORE_INDEX)
    found = Teacher(TwoClasses(), confidence=0.5).labels(hsi, None, known)
    assert found[0, 0, 0] == IGNORE_INDEX
    assert found[0, 0, 1] != IGNORE_INDEX


def test_a_teacher_takes_weights_and_is_never_trained() -> None:
    network = TwoClasses()
    teacher = Teacher(network, confidence=0.6)
    hsi, known = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1), IGNORE_INDEX)
    assert teacher.labels(hsi, None, known).item() == 1
    teacher.take({"factor": torch.tensor(-1.0)})
    assert teacher.labels(hsi, None, known).item() == 0
    assert network.factor.item() == 1.0


def test_the_loss_is_a_mean_over_all_pixels_without_a_label() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    guessed = torch.tensor([[[1, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]]])
    known = torch.tensor([[[IGNORE_INDEX, IGNORE_INDEX, 0, 1]]])
    assert consistency_loss(logits, guessed, known).item() == pytest.approx(math.log(2) / 2)


def test_where_everything_is_labelled_nothing_is_added() -> None:
    known = torch.zeros(1, 1, 2, dtype=torch.int64)
    guessed = torch.full_like(known, IGNORE_INDEX)
    assert consistency_loss(torch.zeros(1, 2, 1, 2), guessed, known).item() == 0


class OneLabel:
    """Chips whose labelled pixels tell nothing, beside pixels of either class without a label."""

    def draw(self, rng: np.random.Generator) -> Chip:
        signs = rng.choice([-1.0, 1.0], (4, 4)).astype(np.float32)
        signs[0, :2] = 0
        labels = np.full((4, 4), IGNORE_INDEX)
        labels[0, :2] = 0, 1
        return Chip(signs[None], np.zeros((0, 4, 4), np.float32), labels)


def trained(weight: float) -> float:
    """The factor after some steps."""
    still = Augmentation(gain=0, band_gain=0)
    recipe = Recipe(
        steps=20, augmentation=still, consistency=Consistency(weight, begin=0.1, rise=0.1)
    )
    network = TwoClasses()
    with seeded(0), launched(torch.device("cpu"), torch.float32) as fabric:
        result = fit(network, OneLabel(), np.array([1, 1]), recipe, fabric, Silent())
    return float(result.weights["factor"])


def test_pixels_without_a_label_change_what_is_learned() -> None:
    assert trained(0.0) == 1.0
    assert trained(1.0) > 1.01


def test_the_teacher_sees_the_same_places_as_the_network() -> None:
    class Counted:
        """Chips whose values are numbers of their own, and labels the same numbers."""

        def draw(self, rng: np.random.Generator) -> Chip:
            own = np.arange(16).reshape(4, 4) + 16 * int(rng.integers(100))
            return Chip(own[None].astype(np.float32), own[None].astype(np.float32), own)

    change = Augmentation(flips=True, cutmix=1.0)
    recipe = Recipe(augmentation=change, consistency=Consistency(1.0))
    batch = draw_batch(Counted(), recipe, 4, np.random.default_rng(0))
    assert batch.plain is not None
    np.testing.assert_array_equal(batch.plain.hsi[:, 0], batch.changed.labels)
    np.testing.assert_array_equal(batch.plain.labels, batch.changed.labels)
    assert (batch.changed.hsi != batch.plain.hsi).any()
    alone = draw_batch(Counted(), Recipe(augmentation=change), 4, np.random.default_rng(0))
    assert alone.plain is None
    np.testing.assert_array_equal(alone.changed.hsi, batch.changed.hsi)
