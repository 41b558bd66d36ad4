"""Models of single pixels: fitted at once by scikit-learn, and kept as tensors.

What scikit-learn has fitted is brought into tensors by `pixel_tensors.py` and asked by
`comix_models`, so that using a model needs neither scikit-learn nor a pickle.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comix_cli.errors import TrainingError
from comix_cli.learning.pixel_samples import PixelSamples
from comix_cli.learning.pixel_tensors import forest_tensors, svm_tensors
from comix_cli.progress import Progress
from comix_models.forest import ForestSpec
from comix_models.spec_base import Spec
from comix_models.svm import SvmSpec

# Parts of the scene that a grid search leaves out in turn.
FOLDS = 3
# Kernel values that LIBSVM remembers while it fits: megabytes.
_CACHE = 500


@dataclass(frozen=True)
class PixelRecipe:
    """How a model of single pixels is fitted.

    Attributes:
        samples_per_class: Labelled pixels of a class that are drawn; all where there are fewer.
        grid_search: Try some settings by cross-validation and take the best; otherwise the usual
            ones are taken.
        trees: Trees of a forest.
        seed: Fixes everything random.
    """

    samples_per_class: int = 1500
    grid_search: bool = False
    trees: int = 200
    seed: int = 0


@dataclass(frozen=True)
class FittedModel:
    """What came of it.

    Attributes:
        spec: The model.
        weights: Its buffers by name.
        record: How it was fitted, for the model's provenance.
    """

    spec: Spec
    weights: dict[str, Tensor]
    record: Mapping[str, Any]


def fit_pixels(
    model: str,
    samples: PixelSamples,
    spec: Spec,
    recipe: PixelRecipe,
    *,
    block: int,
    progress: Progress,
) -> FittedModel:
    """Fit a random forest or a support vector machine.

    Args:
        model: `random-forest` or `svm`.
        samples: Labelled pixels; every class has some.
        spec: What the model takes and tells apart.
        recipe: How to fit it.
        block: Side in pixels of the blocks of the scene that a grid search keeps together, since
            neighbouring pixels are alike and would flatter.
        progress: Told how far it has come.

    Raises:
        TrainingError: The pixels do not suffice for a grid search.
    """
    kind, threads = KINDS[model], torch.get_num_threads()
    tried: list[_Tried] = []
    if recipe.grid_search:
        tried = _search(kind, samples, recipe, samples.blocks(block), threads, progress)
    best = max(tried, key=lambda each: each.accuracy, default=_Tried({}, 0.0))
    estimator = kind.estimator(recipe, spec.features, threads).set_params(**best.settings)
    with progress.task("fitting", None):
        estimator.fit(samples.values, samples.classes)
    found, weights = kind.tensors(estimator, spec)
    taken = estimator.get_params()
    record = {
        "samples": len(samples.classes),
        "settings": {name: taken[name] for name in kind.grid(spec.features)},
        "search": [asdict(each) for each in tried],
    }
    return FittedModel(found, weights, record)


@dataclass(frozen=True)
class _Tried:
    """A setting, and its mean accuracy on blocks that it was not fitted on."""

    settings: Mapping[str, Any]
    accuracy: float


def _search(
    kind: Kind,
    samples: PixelSamples,
    recipe: PixelRecipe,
    blocks: NDArray[np.int64],
    threads: int,
    progress: Progress,
) -> list[_Tried]:
    """What comes of every setting of the grid."""
    # Scikit-learn takes a second, which only those who ask for it wait for.
    from sklearn.model_selection import (  # noqa: PLC0415
        ParameterGrid,
        StratifiedGroupKFold,
        cross_val_score,
    )

    features = samples.values.shape[1]
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=recipe.seed)

    def tried(settings: Mapping[str, Any]) -> _Tried:
        estimator = kind.estimator(recipe, features, 1).set_params(**settings)
        scores = cross_val_score(
            estimator,
            samples.values,
            samples.classes,
            groups=blocks,
            cv=folds,
            error_score="raise",
        )
        return _Tried(settings, float(scores.mean()))

    grid = list(ParameterGrid(kind.grid(features)))
    found = []
    # Threads suffice, because fitting leaves Python.
    with progress.task("grid search", len(grid)) as task, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer pixels than folds
        with ThreadPoolExecutor(threads, "comix-search") as pool:
            for each in _each(pool.map(tried, grid)):
                found.append(each)
                task.advance(status=f"{100 * each.accuracy:.1f} %")
    return found


def _each(results: Iterator[_Tried]) -> Iterator[_Tried]:
    """The results; what scikit-learn says against the folds becomes ours."""
    try:
        yield from results
    except ValueError as error:
        raise TrainingError(
            f"the labelled pixels do not suffice for a grid search ({error})",
            remedy="leave --grid-search out",
        ) from error


@dataclass(frozen=True)
class Kind:
    """What differs between the models.

    Attributes:
        estimator: scikit-learn's, by recipe, number of features and threads.
        grid: The settings that a grid search tries, by number of features.
        tensors: Brings what was fitted into tensors.
    """

    estimator: Callable[[PixelRecipe, int, int], Any]
    grid: Callable[[int], dict[str, list[Any]]]
    tensors: Callable[[Any, Spec], tuple[Spec, dict[str, Tensor]]]


def _forest(recipe: PixelRecipe, features: int, threads: int) -> Any:  # noqa: ARG001 - as _machine
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 (as above)

    return RandomForestClassifier(recipe.trees, random_state=recipe.seed, n_jobs=threads)


def _forest_grid(features: int) -> dict[str, list[Any]]:
    """Values that each decision may choose among: the root of all, as usual, or a fifth."""
    fifth = max(1, features // 5)
    return {"max_features": ["sqrt", fifth], "min_samples_leaf": [1, 5]}


def _machine(recipe: PixelRecipe, features: int, threads: int) -> Any:  # noqa: ARG001 - as _forest
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 (as above)
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415
    from sklearn.svm import SVC  # noqa: PLC0415

    machine = SVC(C=10.0, gamma=1 / features, break_ties=True, cache_size=_CACHE)
    return make_pipeline(StandardScaler(), machine)


def _machine_grid(features: int) -> dict[str, list[Any]]:
    """Penalties and widths of the kernel around the usual ones, by factors of ten."""
    return {
        "svc__C": [1.0, 10.0, 100.0],
        "svc__gamma": [factor / features for factor in (0.1, 1.0, 10.0)],
    }


KINDS: Mapping[str, Kind] = {
    ForestSpec.model: Kind(_forest, _forest_grid, forest_tensors),
    SvmSpec.model: Kind(_machine, _machine_grid, svm_tensors),
}
