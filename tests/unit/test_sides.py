"""Labels that train stay away from those that judge, however they lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from painted import LabelsOf, Painted
from scipy.ndimage import distance_transform_cdt

from comix_cli.learning.label_budget import LabelBudget
from comix_cli.learning.samples import IGNORE_INDEX, index_labels
from comix_cli.progress import Silent
from comix_cli.scene.legend import Legend
from comix_cli.scene.windows import Window
from comix_cli.tools.reference import TruthOptions
from comix_cli.tools.validation import AUTO, LabelledScene, Sides, thinned, told_apart

CLASSES = 3
LEGEND = Legend.from_names([(i + 1, f"class {i}") for i in range(CLASSES)])


@st.composite
def layouts(draw: st.DrawFn) -> Painted:
    """Rectangles of classes of any size, single pixels, some ground without data."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape = draw(st.tuples(st.integers(64, 420), st.integers(64, 420)))
    indices = np.full(shape, IGNORE_INDEX, np.int64)
    largest = draw(st.sampled_from([3, 20, 90]))
    for _ in range(draw(st.integers(1, 60))):
        row, col = rng.integers(0, shape)
        height, width = rng.integers(1, largest, 2)
        indices[row : row + height, col : col + width] = rng.integers(CLASSES)
    scattered = rng.random(shape) < draw(st.sampled_from([0, 0.001, 0.05]))
    indices[scattered] = rng.integers(0, CLASSES, np.count_nonzero(scattered))
    return Painted(indices, rng.random(shape) < draw(st.sampled_from([1.0, 0.9])))


def sides_of(painted: Painted, coarsest_m: float, seed: int, budget: LabelBudget) -> Sides:
    labels: Any = LabelsOf(painted)
    index = index_labels(labels, painted, CLASSES, Silent())
    scene = LabelledScene(painted, labels, index, LEGEND, coarsest_m)
    unused = TruthOptions("unused")
    with told_apart(AUTO, unused, scene, seed, Silent()) as sides:
        return thinned(sides, budget, scene, seed, Silent())


@settings(max_examples=60, deadline=None)
@given(
    layouts(),
    st.floats(0.5, 30),
    st.integers(0, 5),
    st.sampled_from([LabelBudget(), LabelBudget(0.1), LabelBudget(per_class=2)]),
)
def test_no_validation_pixel_lies_within_the_buffer_of_a_training_pixel(
    painted: Painted, coarsest_m: float, seed: int, budget: LabelBudget
) -> None:
    sides = sides_of(painted, coarsest_m, seed, budget)
    whole = Window(0, 0, *painted.indices.shape)
    trains = sides.training.read(whole)[0]
    for read in (trains,) if sides.judging is None else (trains, sides.judging.read(whole)[0]):
        told = read != IGNORE_INDEX
        np.testing.assert_array_equal(read[told], painted.indices[told])
    # Every class that can be trained is, and by as many pixels as the budget has at most.
    before = np.array([((painted.indices == i) & painted.valid).sum() for i in range(CLASSES)])
    assert ((sides.index.class_pixels > 0) == (before > 0)).all()
    if budget.per_class:
        assert sides.index.class_pixels.max() <= budget.per_class
    if sides.judging is None:
        return
    judges = sides.judging.read(whole)[0] != IGNORE_INDEX
    assert judges.any()
    # Rows or columns to the nearest pixel that trains, whichever are more.
    apart = distance_transform_cdt(trains == IGNORE_INDEX, metric="chessboard")
    assert apart[judges].min() > math.ceil(2 * coarsest_m)


def test_many_layouts_are_told_apart() -> None:
    """The property above is not empty."""
    rng = np.random.default_rng(0)
    small = rng.integers(-1, CLASSES, (20, 20))
    painted = Painted(np.kron(small, np.ones((20, 20), np.int64)), np.ones((400, 400), np.bool_))
    assert sides_of(painted, 2.0, 0, LabelBudget()).judging is not None
