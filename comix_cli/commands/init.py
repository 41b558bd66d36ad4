"""`comix init`."""

from __future__ import annotations

from pathlib import Path

import click

from comix_cli.commands.display import say
from comix_cli.commands.options import CommonState, common_options, overwrite_option
from comix_cli.project import FILE_NAME


@click.command("init", short_help="Write a commented comix.toml.")
@click.argument("inputs", nargs=-1, metavar="[HSI [X]...]")
@click.option("--gt", default="labels.shp", metavar="FILE", help="Ground truth to train on.")
@click.option("--test-gt", metavar="FILE", help="Ground truth to evaluate with.  [default: --gt]")
@click.option("--field", metavar="NAME", help="Attribute that holds the class.")
@overwrite_option
@common_options
@click.pass_obj
def command(
    state: CommonState,
    inputs: tuple[str, ...],
    gt: str,
    test_gt: str | None,
    field: str | None,
    overwrite: bool,
) -> None:
    """Write a commented comix.toml into this folder.

    With it, bare `comix train`, `comix classify` and `comix evaluate` know what to do.

    \b
    comix init hsi.tif lidar.tif --gt labels.shp --field class
    """
    from comix_cli.tools.init import InitOptions, init

    init(InitOptions(Path(FILE_NAME), inputs, gt, test_gt, field, overwrite))
    if state.verbosity >= 0:
        say(f"wrote {FILE_NAME}; edit it, then run 'comix train'")
