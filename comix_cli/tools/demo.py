"""The three commands on a small synthetic scene, files left to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comix_cli.files import check_writable, make_folder
from comix_cli.learning.recipe import Recipe
from comix_cli.mapping.quicklook import save_quicklook
from comix_cli.progress import Progress
from comix_cli.tools.classify import ClassifyOptions, classify
from comix_cli.tools.demo_scene import write_demo_scene
from comix_cli.tools.evaluate import EvaluateOptions, evaluate, write_report
from comix_cli.tools.init import InitOptions, init
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.model_choice import ModelChoice
from comix_cli.tools.output_files import OutputOptions
from comix_cli.tools.reference import TruthOptions
from comix_cli.tools.train import TrainOptions, train

FILES = (
    "hsi.tif", "lidar.tif", "train.gpkg", "test.gpkg", "comix.toml", "model.safetensors",
    "map.tif", "report.json", "report.html", "map.png",
)  # fmt: skip


@dataclass(frozen=True)
class DemoOptions:
    """What `comix demo` can be told.

    Attributes:
        folder: Where the files go.
        preset: The network's size.
        recipe: How long to train.
        threads: CPU threads to compute with; None for all.
        device: `auto`, `cpu`, `cuda`, ...
        overwrite: Replace the files of an earlier demo.
    """

    folder: Path
    preset: str = "nano"
    recipe: Recipe = Recipe(steps=150)
    threads: int | None = None
    device: str = "auto"
    overwrite: bool = False


def demo(
    options: DemoOptions, progress: Progress, announce: Callable[[str], None]
) -> dict[str, Any]:
    """Make a scene, train, classify and evaluate; the report as one document.

    Args:
        options: What to do.
        progress: Who watches.
        announce: Called with the command line that each step stands for.

    Raises:
        ComixError: The folder cannot be written.
    """
    folder = options.folder
    make_folder(folder)
    for name in FILES:
        check_writable(folder / name, overwrite=options.overwrite)
    write_demo_scene(folder)
    scene = SceneInputs(str(folder / "hsi.tif"), (str(folder / "lidar.tif"),))
    announce("comix init hsi.tif lidar.tif --gt train.gpkg --test-gt test.gpkg --field class")
    init(_project_file(folder))
    announce(f"comix train --preset {options.preset} --steps {options.recipe.steps}")
    train(_training(options, scene), progress)
    announce("comix classify")
    classify(_classification(options, scene), progress)
    announce("comix evaluate -o report.json --report report.html")
    truth = TruthOptions(str(folder / "test.gpkg"), field="class")
    found = evaluate(EvaluateOptions(str(folder / "map.tif"), truth, picture=True), progress)
    for name in ("report.json", "report.html"):
        write_report(found, folder / name)
    save_quicklook(folder / "map.tif", folder / "map.png", title="comix demo")
    return found.document


def _project_file(folder: Path) -> InitOptions:
    return InitOptions(
        folder / "comix.toml", ("hsi.tif", "lidar.tif"), "train.gpkg", "test.gpkg", "class", True
    )


def _training(options: DemoOptions, scene: SceneInputs) -> TrainOptions:
    return TrainOptions(
        inputs=scene,
        truth=TruthOptions(str(options.folder / "train.gpkg"), field="class"),
        output=options.folder / "model.safetensors",
        model=ModelChoice(preset=options.preset),
        recipe=options.recipe,
        device=options.device,
        threads=options.threads,
        overwrite=options.overwrite,
    )


def _classification(options: DemoOptions, scene: SceneInputs) -> ClassifyOptions:
    return ClassifyOptions(
        inputs=scene,
        model=options.folder / "model.safetensors",
        outputs=OutputOptions(options.folder / "map.tif", overwrite=options.overwrite),
        device=options.device,
        threads=options.threads,
    )
