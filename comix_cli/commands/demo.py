"""`comix demo`."""

from __future__ import annotations

from pathlib import Path

import click

from comix_cli.commands.display import say
from comix_cli.commands.options import (
    CommonState,
    common_options,
    compute_options,
    overwrite_option,
)
from comix_cli.commands.show_report import print_report


@click.command("demo", short_help="Make a small scene and run everything on it.")
@click.argument("folder", type=click.Path(path_type=Path), default="comix-demo")
@click.option("--preset", type=click.Choice(("nano", "tiny", "small")), default="nano",
              show_default=True, help="Size of the network.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=150, show_default=True,
              help="Optimiser steps.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Fixes everything random.")  # fmt: skip
@compute_options
@overwrite_option
@common_options
@click.pass_obj
def command(
    state: CommonState,
    folder: Path,
    preset: str,
    steps: int,
    seed: int,
    device: str,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Make a small synthetic scene in FOLDER, train, classify and evaluate.

    The files stay in FOLDER (default: comix-demo) to look at, a picture of the map among them.
    """
    from comix_cli.learning.recipe import Recipe
    from comix_cli.tools.demo import DemoOptions, demo

    def announce(line: str) -> None:
        if state.verbosity >= 0:
            say(f"$ {line}")

    recipe = Recipe(steps=steps, seed=seed)
    options = DemoOptions(folder, preset, recipe, threads, device, overwrite)
    document = demo(options, state.display(), announce)
    print_report(document)
    if state.verbosity >= 0:
        say(
            f"look at {folder / 'map.png'} and {folder / 'report.html'}, or open "
            f"{folder / 'map.tif'} in a GIS"
        )
