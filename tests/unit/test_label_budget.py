"""How many labels train, and which: on scenes whose labels are arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from painted import LabelsOf, Painted
from scipy import stats

from comix_cli.learning.label_budget import LabelBudget, draw_labels, pixel_numbers
from comix_cli.learning.samples import IGNORE_INDEX, index_labels, usable_labels
from comix_cli.progress import Silent
from comix_cli.scene.windows import Window, tile_windows


def painted(shape: tuple[int, int], shares: list[float], seed: int) -> Painted:
    """Classes at random with these shares, a third unlabelled, a tenth without data."""
    rng = np.random.default_rng(seed)
    indices = rng.choice(len(shares), shape, p=shares).astype(np.int64)
    indices[rng.random(shape) < 1 / 3] = IGNORE_INDEX
    return Painted(indices, rng.random(shape) < 0.9)


def drawn(scene: Painted, classes: int, budget: LabelBudget, seed: int = 0) -> NDArray[np.int64]:
    """The usable labels of the whole scene under a budget."""
    labels = LabelsOf(scene, lost=3)
    index = index_labels(labels, scene, classes, Silent())
    chunks = usable_labels(labels, scene, "drawing", Silent())
    few = draw_labels(labels, chunks, index, budget, seed)
    indices, lost = few.read(scene.whole)
    assert lost == 3  # as the labels themselves say
    parts = np.full_like(indices, IGNORE_INDEX)
    for window in tile_windows(scene.grid.shape, 37):
        parts[window.slices] = few.read(window)[0]
    np.testing.assert_array_equal(parts, indices)
    left = np.where(scene.valid, indices, IGNORE_INDEX)
    every = np.where(scene.valid, scene.indices, IGNORE_INDEX)
    assert (left[left != IGNORE_INDEX] == every[left != IGNORE_INDEX]).all()
    return left


def counts(indices: NDArray[np.int64], classes: int) -> list[int]:
    return [int(np.count_nonzero(indices == each)) for each in range(classes)]


@pytest.mark.parametrize(
    ("budget", "left"),
    [
        (LabelBudget(), [1000, 40, 4, 1]),
        (LabelBudget(0.1), [100, 4, 1, 1]),
        (LabelBudget(0.5), [500, 20, 2, 1]),
        (LabelBudget(1e-9), [1, 1, 1, 1]),
        (LabelBudget(per_class=5), [5, 5, 4, 1]),
        (LabelBudget(per_class=1), [1, 1, 1, 1]),
        (LabelBudget(per_class=10_000), [1000, 40, 4, 1]),
    ],
)
def test_a_budget_by_hand(budget: LabelBudget, left: list[int]) -> None:
    assert budget.of(np.array([1000, 40, 4, 1])).tolist() == left
    assert budget.is_everything == (budget == LabelBudget())


def test_a_class_without_pixels_gets_none() -> None:
    scene = Painted(np.zeros((40, 40), np.int64), np.ones((40, 40), np.bool_))
    assert counts(drawn(scene, 3, LabelBudget(0.25)), 3) == [400, 0, 0]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    st.sampled_from([[1.0], [0.5, 0.5], [0.9, 0.07, 0.02, 0.01]]),
    st.one_of(
        st.floats(0.0001, 1).map(LabelBudget),
        st.integers(1, 400).map(lambda n: LabelBudget(per_class=n)),
    ),
    st.integers(0, 2**70),
)
def test_the_counts_are_exact_and_only_usable_pixels_count(
    shape: tuple[int, int], shares: list[float], budget: LabelBudget, seed: int
) -> None:
    scene = painted(shape, shares, seed % 1000)
    every = np.where(scene.valid, scene.indices, IGNORE_INDEX)
    pixels = np.array(counts(every, len(shares)))
    found = counts(drawn(scene, len(shares), budget, seed), len(shares))
    assert found == budget.of(pixels).tolist()


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_pixels_of_a_small_budget_are_among_those_of_a_larger_one(seed: int) -> None:
    scene = painted((300, 200), [0.7, 0.2, 0.1], 3)
    budgets = [
        LabelBudget(per_class=3), LabelBudget(0.01), LabelBudget(0.1), LabelBudget(per_class=3000),
        LabelBudget(0.6), LabelBudget(),
    ]  # fmt: skip
    pixels = index_labels(LabelsOf(scene), scene, 3, Silent()).class_pixels
    ordered = [budget.of(pixels) for budget in budgets]
    # A budget that is the larger one for each class.
    for i, small in enumerate(budgets):
        for j, large in enumerate(budgets):
            if (ordered[i] <= ordered[j]).all():
                few, more = (drawn(scene, 3, budget, seed) for budget in (small, large))
                assert ((few == IGNORE_INDEX) | (few == more)).all()


def test_two_seeds_draw_other_pixels_and_one_seed_the_same() -> None:
    scene = painted((200, 200), [0.5, 0.5], 4)
    budget = LabelBudget(0.1)
    one, same, other = (drawn(scene, 2, budget, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, same)
    both = np.count_nonzero((one != IGNORE_INDEX) & (other != IGNORE_INDEX))
    # Of two draws of a tenth, a hundredth are the same by chance.
    assert both < 0.3 * np.count_nonzero(one != IGNORE_INDEX)


@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_the_numbers_of_pixels_are_even_and_know_nothing_of_their_neighbours(seed: int) -> None:
    numbers = pixel_numbers(Window(10_000, 20_000, 400, 300), seed)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert len(np.unique(numbers)) == numbers.size
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-4
    for one, other in [
        (numbers[1:], numbers[:-1]),
        (numbers[:, 1:], numbers[:, :-1]),
        (numbers, pixel_numbers(Window(10_000, 20_000, 400, 300), seed + 1)),
        (numbers, pixel_numbers(Window(20_000, 10_000, 300, 400), seed).T),
    ]:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_pixels_far_from_the_limit_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million labelled pixels only thousands are kept to find the limit among them."""
    kept: list[int] = []
    inner = np.partition

    def counted(values: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
        kept.append(len(values))
        return inner(values, rank)

    monkeypatch.setattr(np, "partition", counted)
    scene = Painted(np.zeros((1000, 1000), np.int64), np.ones((1000, 1000), np.bool_))
    assert counts(drawn(scene, 1, LabelBudget(0.3)), 1) == [300_000]
    assert kept[0] < 10_000
