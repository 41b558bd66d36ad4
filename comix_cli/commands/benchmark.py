"""`comix benchmark`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comix_cli.commands.benchmark_methods import (
    ABLATION,
    DEFAULT_MODELS,
    OF_ALL,
    default_lines,
    parse_methods,
    split_method,
)
from comix_cli.commands.display import print_table, say
from comix_cli.commands.options import (
    CommonState,
    ProjectCommand,
    common_options,
    compute_options,
    precision_option,
    scene_options,
    truth_options,
)
from comix_cli.commands.train import NETWORKS, PIXEL_MODELS
from comix_cli.commands.train import command as train_command
from comix_cli.errors import RunsError, UsageError, counted
from comix_cli.project import read_project

if TYPE_CHECKING:
    from comix_cli.tools.benchmark import BenchmarkMethod
    from comix_cli.tools.benchmark_runs import Outcome
    from comix_cli.tools.benchmark_table import Line, Sheet
    from comix_cli.tools.reference import TruthOptions

_WIDTH = 100


class _Commas(click.types.StringParamType):
    """Text with commas. A list of comix.toml becomes one, with a comma after each of its items."""

    name = "list"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - the interface of click
        ctx: click.Context | None,  # noqa: ARG002
    ) -> str:
        """The text that is given, or that says the same as the list."""
        return "".join(f"{each}," for each in value) if isinstance(value, list) else str(value)


def _items(value: str) -> list[str]:
    return [item for part in value.split(",") if (item := part.strip())]


def _models(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """`comix,unet` as names of models."""
    if value is None:
        return None
    names = _items(value)
    for name in names:
        if name not in NETWORKS + PIXEL_MODELS:
            known = ", ".join(NETWORKS + PIXEL_MODELS)
            raise click.BadParameter(f"'{name}' is none of {known}", ctx=ctx, param=param)
    if not names:
        raise click.BadParameter("names no model", ctx=ctx, param=param)
    return tuple(dict.fromkeys(names))


def _seeds(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """`3` as 0, 1, 2; `0,5,7` as they are, and `5,` as the seed 5 alone."""
    try:
        numbers = tuple(map(int, _items(value)))
    except ValueError:
        numbers = ()
    if len(numbers) == 1 and "," not in value:
        numbers = tuple(range(numbers[0]))
    if not numbers or min(numbers) < 0:
        raise click.BadParameter(
            f"'{value}' is neither a number of seeds nor a list such as 0,5,7", ctx=ctx, param=param
        )
    return tuple(dict.fromkeys(numbers))


def _fractions(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...]:
    """`0.4,1` as shares in ascending order; all labels where none are given."""
    if value is None:
        return (1.0,)
    try:
        shares = sorted(set(map(float, _items(value))))
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 1 for share in shares):
        raise click.BadParameter(
            f"'{value}' are no shares above 0 and up to 1, such as 0.4,0.6,0.8,1",
            ctx=ctx,
            param=param,
        )
    return tuple(shares)


@click.command("benchmark", cls=ProjectCommand, short_help="Compare methods on one scene.")
@scene_options
@truth_options("to learn from")
@click.option("--test", required=True, metavar="FILE",
              help="Ground truth that judges every map; --gt-crs, --all-touched and "
                   "--min-coverage hold for it too.")  # fmt: skip
@click.option("--test-field", metavar="NAME",
              help="Its attribute that holds the class.  [default: as in --gt]")  # fmt: skip
@click.option("--test-layer", metavar="NAME", help="Its layer, where it has several.")
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), default="benchmark",
              show_default=True, metavar="FOLDER",
              help="Where everything is written; what is there already is not done "
                   "again.")  # fmt: skip
@click.option("--models", type=_Commas(), metavar="NAME,...", callback=_models,
              help="A method for each of these models, as 'comix train' trains it.  [default: "
                   f"{','.join(DEFAULT_MODELS)}, unless there are --method or "
                   "--ablation]")  # fmt: skip
@click.option("--method", "methods", multiple=True, metavar="'NAME: OPTIONS'",
              help="One more method: a name, and options of 'comix train'; --hsi-only leaves X "
                   "out.")  # fmt: skip
@click.option(
    "--ablation", is_flag=True, help="CoMiX with parts left out, and the HSI alone, as methods."
)
@click.option("--train-options", "shared", default="", metavar="'OPTIONS'",
              help="Options of 'comix train' for every method that they are meant for, and that "
                   "does not say otherwise; they win over [train] of comix.toml.")  # fmt: skip
@click.option("--seeds", type=_Commas(), default="3", show_default=True, metavar="NUMBER|LIST",
              callback=_seeds,
              help="Train each method with so many seeds, or with those of a list: "
                   "0,5,7.")  # fmt: skip
@click.option("--label-fractions", "fractions", type=_Commas(), metavar="SHARE,...",
              callback=_fractions,
              help="Train each method and seed with these shares of the labels that train: "
                   "0.4,0.6,0.8,1.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@precision_option
@compute_options
@click.option(
    "--overwrite", is_flag=True, help="Replace runs in the folder that had other inputs or options."
)
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Train methods with several seeds, map and judge them, and print the table.

    \b
    comix benchmark hsi.tif lidar.tif --gt train.gpkg --test test.gpkg -o benchmark
    comix benchmark hsi.tif lidar.tif --gt train.gpkg --test test.gpkg \\
        --models comix,svm --method "tiny: --preset tiny" --train-options "--steps 800"

    All methods have the same scene, labels and seeds, and are trained as 'comix train' trains them
    in this folder, with what [train] of comix.toml says. It can be stopped at any time: the same
    command goes on, and finished runs stay. A run that fails leaves its cell empty, and the exit
    code is 3. Measure times on a quiet machine: what else it does slows some methods more than
    others.
    """
    from comix_cli.tools.benchmark import BenchmarkOptions, benchmark
    from comix_cli.tools.benchmark_files import to_json

    options = BenchmarkOptions(
        methods=_methods(values),
        test=_test(values),
        folder=values["folder"],
        seeds=values["seeds"],
        fractions=values["fractions"],
        overwrite=values["overwrite"],
    )
    state.kept = options.folder, "the same command goes on"
    outcomes = benchmark(options, state.display())
    if values["as_json"]:
        click.echo(to_json(outcomes), nl=False)
    else:
        _print(outcomes)
    if state.verbosity >= 0:
        say(f"{options.folder}: benchmark.csv, benchmark.json, table.tex, table.md of "
            f"{counted(len(outcomes), 'run')}")  # fmt: skip
    _check(outcomes)


def _methods(values: dict[str, Any]) -> tuple[BenchmarkMethod, ...]:
    """The methods that are asked for, in the order of the table.

    Raises:
        UsageError: A name is given twice, or an option cannot be meant.
    """
    has_x = len(values["inputs"]) + len(values["named_x"]) > 1
    named = [split_method(text) for text in values["methods"]]
    models = values["models"]
    if models is not None:
        named = [*((name, f"--model {name}") for name in models), *named]
    elif not named and not values["ablation"]:
        named = list(default_lines(DEFAULT_MODELS, has_x=has_x).items())
        if not has_x:
            say("fusion-fcn fuses the HSI with X, and no X is given: it is left out")
    if values["ablation"]:
        if not has_x:
            raise UsageError("--ablation: is of two modalities, and no X is given",
                             remedy="give a raster of X")  # fmt: skip
        named += ABLATION.items()
    lines = dict(named)
    if len(lines) < len(named):
        raise UsageError("two methods have the same name", remedy="give each a name of its own")
    common = {name: values[name] for name in OF_ALL}
    section = read_project(Path.cwd()).get("train", {})
    project = train_command.by_parameter(section, "train")
    return parse_methods(lines, common, values["shared"], project)


def _test(values: dict[str, Any]) -> TruthOptions:
    """The ground truth that judges, read like the one that trains."""
    from comix_cli.scene.pixel_rule import CENTRES, PixelRule
    from comix_cli.scene.vector import is_raster_file
    from comix_cli.tools.reference import TruthOptions

    raster = values["test_layer"] is None and is_raster_file(values["test"])
    rule = CENTRES if raster else PixelRule(values["all_touched"], values["min_coverage"])
    return TruthOptions(
        values["test"], values["test_field"], values["test_layer"], values["gt_crs"], rule
    )


def _print(outcomes: Sequence[Outcome]) -> None:
    """The table of the largest share of the labels, and one of all shares."""
    from comix_cli.tools.benchmark_files import found_sheets
    from comix_cli.tools.benchmark_table import shares_sheet, summaries

    sheets = found_sheets(outcomes)
    if sheets:
        _print_sheet(sheets[0], "class")
    if len({outcome.run.fraction for outcome in outcomes}) > 1:
        _print_sheet(shares_sheet(summaries(outcomes)), "labels")


def _print_sheet(page: Sheet, corner: str) -> None:
    rows = [[line.label, *_marked(line)] for block in page.blocks for line in block]
    print_table("", [corner, *page.columns], rows)
    best = " * marks the best of a row." if page.has_best else ""
    click.echo(textwrap.fill(f"{page.caption}{best}", _WIDTH) + "\n")


def _marked(line: Line) -> list[str]:
    """The cells of a row, with a mark that survives copying; digits stay aligned."""
    blank = "  " if any(line.best) else ""
    return [
        f"{cell}{' *' if best else blank}" for cell, best in zip(line.cells, line.best, strict=True)
    ]


def _check(outcomes: Sequence[Outcome]) -> None:
    """Tell of the runs that failed.

    Raises:
        RunsError: There are some.
    """
    failed = [outcome for outcome in outcomes if outcome.record is None]
    if failed:
        raise RunsError(
            f"{counted(len(failed), 'run')} of {len(outcomes)} failed, the first of them "
            f"({failed[0].run.label}) because: {failed[0].error}",
            remedy="mend that, and give the same command again",
        )
