"""The confusion matrix and its figures, against scikit-learn to the last bit."""

import warnings
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from comix_cli.accuracy.confusion import Accuracy, confusion_matrix

Labels = NDArray[np.int64]


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[Labels, Labels, list[int]]:
    """Reference and predicted labels that agree more often than by chance, and the codes."""
    codes = sorted(draw(st.sets(st.integers(1, 300), min_size=1, max_size=24)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.integers(1, 2000))
    odds = rng.dirichlet(np.full(len(codes), 0.4))
    reference = rng.choice(codes, size, p=odds)
    wrong = rng.choice(codes, size, p=rng.dirichlet(np.full(len(codes), 0.4)))
    predicted = np.where(rng.random(size) < draw(st.floats(0, 1)), reference, wrong)
    return reference, predicted, codes


def filled(values: tuple[float | None, ...]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(label_pairs())
@settings(deadline=None)
def test_counts_equal_scikit_learns(pair: tuple[Labels, Labels, list[int]]) -> None:
    reference, predicted, codes = pair
    ours = confusion_matrix(reference, predicted, codes)
    np.testing.assert_array_equal(
        ours, metrics.confusion_matrix(reference, predicted, labels=codes)
    )
    assert ours.dtype == np.int64


@given(label_pairs())
@settings(deadline=None, max_examples=200)
def test_overall_figures_equal_scikit_learns_to_the_last_bit(
    pair: tuple[Labels, Labels, list[int]],
) -> None:
    reference, predicted, codes = pair
    ours = Accuracy.from_matrix(confusion_matrix(reference, predicted, codes))
    assert ours.overall_accuracy == metrics.accuracy_score(reference, predicted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        average = metrics.balanced_accuracy_score(reference, predicted)
        kappa = metrics.cohen_kappa_score(reference, predicted)
    assert ours.average_accuracy == average
    assert ours.kappa == (None if np.isnan(kappa) else kappa)


@given(label_pairs())
@settings(deadline=None, max_examples=200)
def test_figures_per_class_equal_scikit_learns_to_the_last_bit(
    pair: tuple[Labels, Labels, list[int]],
) -> None:
    reference, predicted, codes = pair
    ours = Accuracy.from_matrix(confusion_matrix(reference, predicted, codes))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        reference, predicted, labels=codes, zero_division=np.nan
    )
    np.testing.assert_array_equal(filled(ours.users_accuracy), precision)
    np.testing.assert_array_equal(filled(ours.producers_accuracy), recall)
    np.testing.assert_array_equal(filled(ours.f1), f1)
    iou = metrics.jaccard_score(reference, predicted, labels=codes, average=None, zero_division=0)
    occurs = [code in reference or code in predicted for code in codes]
    np.testing.assert_array_equal(filled(ours.iou), np.where(occurs, iou, np.nan))


@given(label_pairs(), st.integers(1, 50))
@settings(deadline=None)
def test_matrices_of_parts_add_up(pair: tuple[Labels, Labels, list[int]], cut: int) -> None:
    reference, predicted, codes = pair
    parts = confusion_matrix(reference[:cut], predicted[:cut], codes) + confusion_matrix(
        reference[cut:], predicted[cut:], codes
    )
    np.testing.assert_array_equal(parts, confusion_matrix(reference, predicted, codes))


@given(label_pairs(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_codes_permutes_the_matrix(
    pair: tuple[Labels, Labels, list[int]], random: Random
) -> None:
    reference, predicted, codes = pair
    order = list(range(len(codes)))
    random.shuffle(order)
    shuffled = confusion_matrix(reference, predicted, [codes[i] for i in order])
    np.testing.assert_array_equal(
        shuffled, confusion_matrix(reference, predicted, codes)[np.ix_(order, order)]
    )


def test_rows_are_the_reference() -> None:
    matrix = confusion_matrix(np.array([1, 1, 2]), np.array([2, 1, 2]), (1, 2))
    assert matrix.tolist() == [[1, 1], [0, 1]]


def test_unknown_codes_are_left_out() -> None:
    reference = np.array([[0, 1, 2, 9]], np.uint8)
    predicted = np.array([[1, 0, 2, 1]], np.int32)
    assert confusion_matrix(reference, predicted, (1, 2)).tolist() == [[0, 0], [0, 1]]


def test_no_classes_give_an_empty_matrix_and_no_figures() -> None:
    matrix = confusion_matrix(np.array([1]), np.array([1]), ())
    assert matrix.shape == (0, 0)
    accuracy = Accuracy.from_matrix(matrix)
    assert accuracy.overall_accuracy is None
    assert accuracy.kappa is None
    assert accuracy.f1 == ()


def test_figures_known_by_hand() -> None:
    accuracy = Accuracy.from_matrix(np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]]))
    assert accuracy.overall_accuracy == 0.7
    assert accuracy.average_accuracy == 0.625
    # chance agrees on (8·7 + 2·3) / 100 = 0.62
    assert accuracy.kappa == pytest.approx((0.7 - 0.62) / (1 - 0.62))
    assert accuracy.producers_accuracy == (0.75, 0.5, None)
    assert accuracy.users_accuracy == (6 / 7, 1 / 3, None)
    assert accuracy.f1 == (0.8, 0.4, None)
    assert accuracy.iou == (6 / 9, 1 / 4, None)


def test_a_perfect_map_scores_one_throughout() -> None:
    accuracy = Accuracy.from_matrix(np.diag([3, 40, 500]))
    assert accuracy.overall_accuracy == accuracy.average_accuracy == accuracy.kappa == 1
    assert accuracy.f1 == accuracy.iou == accuracy.users_accuracy == (1, 1, 1)


def test_kappa_of_one_class_is_undefined() -> None:
    assert Accuracy.from_matrix(np.array([[5]])).kappa is None


def test_no_pixels_give_no_figures() -> None:
    accuracy = Accuracy.from_matrix(np.zeros((2, 2), np.int64))
    assert accuracy.overall_accuracy is None
    assert accuracy.average_accuracy is None
    assert accuracy.kappa is None


def test_counts_beyond_32_bits_stay_exact() -> None:
    accuracy = Accuracy.from_matrix(np.array([[3 << 40, 1 << 40], [0, 4 << 40]]))
    assert accuracy.overall_accuracy == 0.875
    assert accuracy.iou == (0.75, 0.8)


@pytest.mark.parametrize("matrix", [np.zeros((2, 3), np.int64), np.array([[-1]]), np.zeros(4, int)])
def test_what_is_no_confusion_matrix_is_refused(matrix: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="not a confusion matrix"):
        Accuracy.from_matrix(matrix)


def test_labels_of_different_shapes_and_repeated_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        confusion_matrix(np.array([1]), np.array([1, 1]), (1,))
    with pytest.raises(ValueError, match="repeated"):
        confusion_matrix(np.array([1]), np.array([1]), (1, 1))
