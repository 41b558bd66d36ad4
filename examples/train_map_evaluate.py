"""The three commands as Python functions: train, map and evaluate in one script.

First `comix demo comix-demo`, then `python train_map_evaluate.py comix-demo result`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from comix_cli.learning.recipe import Recipe
from comix_cli.progress import Silent
from comix_cli.tools.classify import ClassifyOptions, classify
from comix_cli.tools.evaluate import EvaluateOptions, evaluate
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.model_choice import ModelChoice
from comix_cli.tools.output_files import OutputOptions
from comix_cli.tools.reference import TruthOptions
from comix_cli.tools.train import TrainOptions, train


def main() -> None:
    """Train on `train.gpkg`, map the scene, compare with `test.gpkg`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path, help="folder with hsi.tif, lidar.tif and labels")
    parser.add_argument("result", type=Path, help="folder for the model and the map")
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    scene, result = arguments.scene, arguments.result
    result.mkdir(exist_ok=True)
    progress = Silent()

    inputs = SceneInputs(hsi=str(scene / "hsi.tif"), x=(str(scene / "lidar.tif"),))
    train(
        TrainOptions(
            inputs=inputs,
            truth=TruthOptions(str(scene / "train.gpkg"), field="class"),
            output=result / "model.safetensors",
            model=ModelChoice(preset="nano"),
            recipe=Recipe(steps=arguments.steps),
        ),
        progress,
    )
    classify(
        ClassifyOptions(inputs, result / "model.safetensors", OutputOptions(result / "map.tif")),
        progress,
    )
    truth = TruthOptions(str(scene / "test.gpkg"), field="class")
    report = evaluate(EvaluateOptions(str(result / "map.tif"), truth), progress).document
    print(f"overall accuracy {report['overall_accuracy']:.3f}, kappa {report['kappa']:.3f}")


if __name__ == "__main__":
    main()
