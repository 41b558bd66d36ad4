"""Forests and support vector machines as tensors, against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from comix_cli.learning.pixel_tensors import forest_tensors, rounded_down, svm_tensors
from comix_models.build import build_model, spec_from_json
from comix_models.forest import ForestSpec
from comix_models.fuse import fuse, traced
from comix_models.pixelwise import PixelModel
from comix_models.spec_base import Spec
from comix_models.svm import SvmSpec

Values = NDArray[np.float32]


def pixels(count: int, features: int, classes: int, seed: int = 0) -> tuple[Values, Any]:
    """Overlapping clouds, and values that repeat, so that thresholds are met exactly."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    middles = np.random.default_rng(99).normal(size=(classes, features))
    values = 0.6 * middles[labels] + rng.normal(size=(count, features))
    return values.round(1).astype(np.float32), labels


def a_spec(features: int, classes: int) -> Spec:
    return Spec(features - 1, 1, classes)


def built(spec: Spec, weights: dict[str, torch.Tensor]) -> PixelModel:
    model = build_model(spec)
    model.load_state_dict(weights)
    assert isinstance(model, PixelModel)
    return model.eval()


def asked(model: PixelModel, values: Values) -> torch.Tensor:
    """Logits `(n, classes)` of pixels that are laid out as two windows."""
    image = torch.from_numpy(values).view(2, 1, -1, values.shape[1]).permute(0, 3, 1, 2)
    with torch.inference_mode():
        logits: torch.Tensor = model(image[:, :-1], image[:, -1:])
    assert logits.shape == (2, model.class_count, 1, len(values) // 2)
    return logits.permute(0, 2, 3, 1).reshape(len(values), -1)


@pytest.mark.parametrize(
    ("classes", "settings"),
    [
        (2, {}),
        (5, {}),
        (5, {"max_depth": 1}),
        (4, {"min_samples_leaf": 7, "max_features": None}),
        (3, {"n_estimators": 1}),
    ],
)
def test_a_forest_answers_as_scikit_learns(classes: int, settings: dict[str, Any]) -> None:
    theirs = RandomForestClassifier(**({"n_estimators": 30, "random_state": 1} | settings))
    theirs.fit(*pixels(600, 9, classes))
    ours = built(*forest_tensors(theirs, a_spec(9, classes)))
    values, _ = pixels(3000, 9, classes, seed=1)
    shares = asked(ours, values).softmax(dim=1).numpy()
    np.testing.assert_allclose(shares, theirs.predict_proba(values), atol=2e-7)
    clear = np.diff(np.sort(theirs.predict_proba(values), axis=1)[:, -2:])[:, 0] > 1e-6
    assert clear.mean() > 0.6
    assert (shares.argmax(axis=1) == theirs.predict(values))[clear].all()


def test_trees_that_disagree_give_the_pixel_to_the_class_that_scikit_learn_gives_it() -> None:
    # Few trees of pure leaves: votes are whole numbers, and many pixels are ties.
    theirs = RandomForestClassifier(4, random_state=2).fit(*pixels(400, 6, 4))
    ours = built(*forest_tensors(theirs, a_spec(6, 4)))
    values, _ = pixels(2000, 6, 4, seed=1)
    best = np.sort(theirs.predict_proba(values), axis=1)
    assert (best[:, -1] == best[:, -2]).sum() > 100
    assert (asked(ours, values).argmax(dim=1).numpy() == theirs.predict(values)).all()


def test_thresholds_in_single_precision_divide_as_those_in_double_precision() -> None:
    rng = np.random.default_rng(0)
    thresholds = np.concatenate([rng.normal(size=500), [0.1, -0.1, 0.5, 0.0, 1e-30, 3e38]])
    rounded = rounded_down(thresholds)
    assert rounded.dtype == np.float32
    near = thresholds.astype(np.float32)
    for values in (near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))):
        assert ((values > rounded) == (values.astype(np.float64) > thresholds)).all()


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_a_machine_answers_as_scikit_learns(classes: int) -> None:
    theirs = make_pipeline(StandardScaler(), SVC(C=3.0, gamma=0.2, break_ties=classes > 2))
    theirs.fit(*pixels(300, 7, classes))
    ours = built(*svm_tensors(theirs, a_spec(7, classes)))
    values, _ = pixels(2000, 7, classes, seed=1)
    scores = asked(ours, values).numpy()
    decision = theirs.decision_function(values)
    if classes > 2:
        np.testing.assert_allclose(scores, decision, atol=1e-4)
        clear = np.diff(np.sort(decision, axis=1)[:, -2:])[:, 0] > 1e-4
    else:
        clear = np.abs(decision) > 1e-4
    assert clear.mean() > 0.99
    assert (scores.argmax(axis=1) == theirs.predict(values))[clear].all()


def test_a_machine_votes_as_libsvm_where_votes_decide() -> None:
    theirs = make_pipeline(StandardScaler(), SVC(C=3.0, gamma=0.2))
    theirs.fit(*pixels(300, 7, 5))
    ours = built(*svm_tensors(theirs, a_spec(7, 5)))
    values, _ = pixels(2000, 7, 5, seed=1)
    scores = asked(ours, values).numpy()
    votes = np.sort(scores.round(), axis=1)
    decided = votes[:, -1] > votes[:, -2]
    assert 0.8 < decided.mean() < 1
    assert (scores.argmax(axis=1) == theirs.predict(values))[decided].all()


def forest(features: int, classes: int) -> PixelModel:
    theirs = RandomForestClassifier(10, random_state=1).fit(*pixels(200, features, classes))
    return built(*forest_tensors(theirs, a_spec(features, classes)))


def machine(features: int, classes: int) -> PixelModel:
    theirs = make_pipeline(StandardScaler(), SVC(gamma=0.2)).fit(*pixels(200, features, classes))
    return built(*svm_tensors(theirs, a_spec(features, classes)))


@pytest.mark.parametrize("make", [forest, machine])
def test_parts_of_a_window_do_not_change_it(make: Any) -> None:
    model = make(6, 3)
    values, _ = pixels(500, 6, 3)
    whole = asked(model, values)
    model.chunk = 7
    torch.testing.assert_close(asked(model, values), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [forest, machine])
def test_what_is_done_to_networks_leaves_them_as_they_are(make: Any) -> None:
    model = make(6, 3)
    values, _ = pixels(64, 6, 3)
    expected = asked(model, values)
    image = torch.zeros(1, 5, 8, 8), torch.zeros(1, 1, 8, 8)
    model.compile()
    same = traced(fuse(model), *image)
    assert isinstance(same, PixelModel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(asked(same, values), expected, rtol=0, atol=0)


@pytest.mark.parametrize("make", [forest, machine])
def test_x_that_does_not_fit_is_refused(make: Any) -> None:
    model = make(6, 3)
    with pytest.raises(ValueError, match=r"^x: 0 channels given to a network that takes 1"):
        model(torch.zeros(1, 5, 4, 4))
    with pytest.raises(ValueError, match=r"^x: \(4, 3\) pixels where the HSI has \(4, 4\)"):
        model(torch.zeros(1, 5, 4, 4), torch.zeros(1, 1, 4, 3))


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"depths": [], "nodes": 3, "leaves": 2}, "depths"),
        ({"depths": [1, 2], "nodes": 9, "leaves": 2}, "depths"),
        ({"depths": [2, 1], "nodes": 1, "leaves": 2}, "nodes"),
        ({"depths": [1], "nodes": 3, "leaves": 0}, "leaves"),
        ({"model": "svm", "support": [3]}, "support"),
        ({"model": "svm", "support": [0, 0, 0]}, "support"),
        ({"model": "svm", "support": [1, 2, -1]}, "support"),
    ],
)
def test_a_damaged_spec_is_refused_by_its_field(record: dict[str, Any], field: str) -> None:
    whole = {"model": "random-forest", "hsi_bands": 4, "x_channels": 0, "classes": 3} | record
    with pytest.raises(ValueError, match=f"^{field}: "):
        spec_from_json(whole)


def test_specs_tell_their_size() -> None:
    assert ForestSpec(4, 0, 3, depths=(2, 1), nodes=8, leaves=5).size(0) == "2 trees, 8 nodes"
    assert SvmSpec(4, 0, 3, support=(2, 0, 9)).size(0) == "11 support vectors"
