"""How long a window takes, beside scikit-learn: told, not judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from comix_cli.learning.pixel_tensors import forest_tensors, svm_tensors
from comix_models.build import build_model
from comix_models.spec_base import Spec

BANDS, CLASSES, SIDE = 181, 5, 128


@pytest.mark.benchmark
@pytest.mark.parametrize("kind", ["forest", "machine"])
def test_a_window_of_128_pixels(kind: str, request: pytest.FixtureRequest) -> None:
    if "benchmark" not in str(request.config.getoption("-m")):
        pytest.skip("measures; ask for it with -m benchmark")
    rng = np.random.default_rng(0)
    labels = np.arange(3000) % CLASSES
    values = 0.3 * rng.normal(size=(CLASSES, BANDS))[labels] + rng.normal(size=(3000, BANDS))
    values = values.astype(np.float32)
    theirs: Any
    if kind == "forest":
        theirs = RandomForestClassifier(200, random_state=1).fit(values, labels)
        spec, weights = forest_tensors(theirs, Spec(BANDS, 0, CLASSES))
    else:
        theirs = make_pipeline(StandardScaler(), SVC(gamma=1 / BANDS)).fit(values, labels)
        spec, weights = svm_tensors(theirs, Spec(BANDS, 0, CLASSES))
    ours = build_model(spec)
    ours.load_state_dict(weights)
    window = rng.normal(size=(1, BANDS, SIDE, SIDE)).astype(np.float32)
    pixels = window.reshape(BANDS, -1).T
    image = torch.from_numpy(window)
    with torch.inference_mode():
        print(f"{kind}: {spec.size(0)}", end="")
        for name, ask in (
            ("comix", lambda: ours(image)),
            ("scikit", lambda: theirs.predict(pixels)),
        ):
            print(f", {name} {_seconds(ask):.2f} s", end="")
    print()


def _seconds(ask: Callable[[], object]) -> float:
    start = time.perf_counter()
    ask()
    return time.perf_counter() - start
