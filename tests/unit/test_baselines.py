"""Fitting models of single pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comix_cli.errors import TrainingError
from comix_cli.learning.baselines import KINDS, FittedModel, PixelRecipe, fit_pixels
from comix_cli.learning.pixel_samples import PixelSamples
from comix_cli.progress import Silent
from comix_models.build import build_model
from comix_models.spec_base import Spec

RECIPE = PixelRecipe(trees=15)


def samples(count: int = 240, classes: int = 3, blocks: int = 8) -> PixelSamples:
    """Clouds of pixels, some of each class in every block of 10 pixels."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    middles = rng.normal(size=(classes, 5))
    values = middles[labels] + rng.normal(size=(count, 5))
    places = np.stack([10 * (np.arange(count) // classes % blocks), np.arange(count) % 10], axis=1)
    return PixelSamples(values.astype(np.float32), labels, places)


def fitted(model: str, drawn: PixelSamples, **changes: Any) -> FittedModel:
    recipe = PixelRecipe(**{"trees": 15, **changes})
    return fit_pixels(model, drawn, Spec(4, 1, 3), recipe, block=10, progress=Silent())


def accuracy(found: FittedModel, drawn: PixelSamples) -> float:
    model = build_model(found.spec)
    model.load_state_dict(found.weights)
    image = torch.from_numpy(drawn.values.T[None, :, None].copy())
    classes = model(image[:, :4], image[:, 4:]).argmax(dim=1).flatten().numpy()
    return float((classes == drawn.classes).mean())


@pytest.mark.parametrize("model", KINDS)
def test_a_model_learns_its_pixels_and_says_how(model: str) -> None:
    drawn = samples()
    found = fitted(model, drawn)
    assert accuracy(found, drawn) > 0.8
    assert found.record["samples"] == 240
    assert found.record["search"] == []
    usual = {"svm": {"svc__C": 10.0, "svc__gamma": 0.2}}
    forest = {"max_features": "sqrt", "min_samples_leaf": 1}
    assert found.record["settings"] == usual.get(model, forest)


@pytest.mark.parametrize("model", KINDS)
def test_threads_leave_the_model_as_it_is(model: str) -> None:
    threads, drawn = torch.get_num_threads(), samples()
    one = fitted(model, drawn)
    torch.set_num_threads(threads + 1)
    try:
        other = fitted(model, drawn)
    finally:
        torch.set_num_threads(threads)
    for name, tensor in one.weights.items():
        torch.testing.assert_close(other.weights[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("model", KINDS)
def test_a_search_tries_every_setting_on_whole_blocks(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn import model_selection

    seen: list[tuple[Any, ...]] = []
    plain = model_selection.StratifiedGroupKFold.split

    def split(self: Any, X: Any, y: Any = None, groups: Any = None) -> Any:
        for train, test in plain(self, X, y, groups):
            seen.append((set(groups[train]), set(groups[test])))
            yield train, test

    monkeypatch.setattr(model_selection.StratifiedGroupKFold, "split", split)
    found = fitted(model, samples(), grid_search=True)
    tried = found.record["search"]
    assert len(tried) == {"svm": 9, "random-forest": 4}[model]
    assert all(0.3 < each["accuracy"] < 1 for each in tried)
    assert found.record["settings"] == max(tried, key=lambda each: each["accuracy"])["settings"]
    assert seen
    assert all(not train & test for train, test in seen)


def test_pixels_that_lie_in_one_block_cannot_be_searched() -> None:
    with pytest.raises(TrainingError, match=r"do not suffice for a grid search.*--grid-search"):
        fitted("svm", samples(blocks=1), grid_search=True)


def test_nothing_but_the_fit_needs_scikit_learn() -> None:
    root = Path(__file__).parents[2]
    folders = [root / "models/comix_models", root / "comix_cli"]
    asking = [p.name for f in folders for p in f.rglob("*.py") if "from sklearn" in p.read_text()]
    assert asking == ["baselines.py"]
