"""`comix split`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from comix_cli.commands.display import print_table, say
from comix_cli.commands.options import (
    CommonState,
    FiniteRange,
    ProjectCommand,
    common_options,
    overwrite_option,
)
from comix_cli.errors import UsageError, metres

_METRES = FiniteRange(min=0, min_open=True)
_PERCENT_SUM = 100.0


def _shares(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, float, float] | None:
    """`0.6,0.2,0.2` or `60,20,20`: train, validation, test; two numbers: train, test."""
    if value is None:
        return None
    try:
        numbers = [float(part) for part in str(value).split(",")]
    except ValueError:
        numbers = []
    total = sum(numbers)
    if (
        len(numbers) not in (2, 3)
        or min(numbers) < 0
        or not any(abs(total - whole) <= 0.005 * whole for whole in (1.0, _PERCENT_SUM))
    ):
        raise click.BadParameter(
            f"'{value}' is not three shares that add up to 1, such as 0.6,0.2,0.2",
            ctx=ctx, param=param,
        )  # fmt: skip
    train, *others = (number / total for number in numbers)
    validation, test = others if len(others) == 2 else (0.0, others[0])
    return train, validation, test


@click.command("split", cls=ProjectCommand, short_help="Cut ground truth into disjoint sets.")
@click.argument("gt", metavar="GROUND_TRUTH")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False),
              metavar="FOLDER", help="Folder for the sets; made if it is not there.")  # fmt: skip
@click.option("--field", metavar="NAME", help="Attribute that holds the class.")
@click.option("--layer", metavar="NAME", help="Layer of the ground truth.  [default: the first]")
@click.option("--gt-crs", metavar="CRS",
              help="CRS of ground truth that carries none.  [default: the raster's, else metres]"
              )  # fmt: skip
@click.option("--method", type=click.Choice(("blocks", "polygons", "random")), default="blocks",
              show_default=True,
              help="Whole blocks of a grid; whole features, with those that they touch; or random "
                   "pixels, which make no independent test.")  # fmt: skip
@click.option("--shares", callback=_shares, metavar="TRAIN,VAL,TEST",
              help="Shares of the ground of each class; 0 for a set that is not wanted.  "
                   "[default: 0.6,0.2,0.2]")  # fmt: skip
@click.option("--folds", type=click.IntRange(min=2, max=100), metavar="K",
              help="K splits instead of one: each fold is the test of one of them.")  # fmt: skip
@click.option("--block", type=_METRES, metavar="METRES",
              help="Side of the blocks.  [default: a tenth of the extent, at least 4 buffers]"
              )  # fmt: skip
@click.option("--buffer", type=FiniteRange(min=0), metavar="METRES",
              help="Least distance between sets; ground between them goes to none.  [default: the "
                   "autocorrelation range, at most a twentieth of the extent]")  # fmt: skip
@click.option("--hsi", metavar="FILE",
              help="Image whose autocorrelation is told as well, by its first principal component; "
                   "ground outside it is left out.")  # fmt: skip
@click.option("--like", metavar="FILE",
              help="Raster whose pixels are counted, and drawn by --method random (else those of "
                   "--hsi); ground outside it is left out.")  # fmt: skip
@click.option("--src-crs", metavar="CRS", help="CRS of rasters that carry none.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Fixes the place of the blocks and everything random.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@overwrite_option
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Cut ground truth into sets to train on, to validate with and to test with.

    Neighbours are alike, so a test beside the training ground flatters. The sets are blocks or
    whole features apart from each other by a buffer, balanced over the classes; how far likeness
    reaches is measured and told. Writes train.gpkg, validation.gpkg, test.gpkg (or
    fold_1_train.gpkg, fold_1_test.gpkg, ...) and split.json.

    \b
    comix split labels.gpkg --field class -o splits
    comix split labels.gpkg -o splits --shares 0.7,0,0.3 --buffer 60 --hsi hsi.tif
    comix split labels.gpkg -o folds --method polygons --folds 5
    """
    from comix_cli.accuracy.report_text import to_json_text
    from comix_cli.tools.reference import TruthOptions
    from comix_cli.tools.split import split
    from comix_cli.tools.split_plan import SplitOptions

    as_json, shares = values.pop("as_json"), values.pop("shares")
    if shares and values["folds"]:
        raise UsageError("--folds makes equal sets", remedy="leave --shares out")
    truth = TruthOptions(
        path=values.pop("gt"),
        field=values.pop("field"),
        layer=values.pop("layer"),
        crs=values.pop("gt_crs"),
    )
    given = {"shares": shares} if shares else {}
    document = split(SplitOptions(truth=truth, **values, **given), state.display())
    if as_json:
        click.echo(to_json_text(document), nl=False)
    else:
        _print_split(document)
        if state.verbosity >= 0:
            folder = values["output"]
            say(f"wrote {', '.join(s['file'] for s in document['sets'])} to {folder}")


def _print_split(document: dict[str, Any]) -> None:
    """The sets by class as a table, and what tells how independent they are."""
    sets = document["sets"]
    if document["folds"] is not None:
        sets = [each for each in sets if each["name"].endswith("_test")]
    unit, of_unit = _unit(document["sets"])
    loss = document["buffer_loss"][0]["per_class"]
    rows = []
    for place, entry in enumerate(sets[0]["per_class"]):
        cells = [_cell(each["per_class"][place], unit, of_unit) for each in sets]
        lost = [] if document["folds"] else [_share(loss[place]["share"])]
        rows.append([entry["name"], *cells, *lost])
    heads = [f"{each['name']} ({100 * each['asked_share']:.0f} % asked)" for each in sets]
    lost_head = [] if document["folds"] else ["to the buffer"]
    print_table(f"Ground of each class ({unit})", ("class", *heads, *lost_head), rows)
    for line in _lines(document):
        click.echo(line)


def _unit(sets: list[dict[str, Any]]) -> tuple[str, tuple[str, float]]:
    """What ground is told in: pixels where they are known, else what geometries measure."""
    if sets[0]["pixels"] is not None:
        return "pixels", ("pixels", 1.0)
    largest = max(each["area_m2"] for each in sets)
    if largest > 0:
        return ("km2", ("area_m2", 1e-6)) if largest > 1e7 else ("ha", ("area_m2", 1e-4))
    if any(each["length_m"] for each in sets):
        return "km", ("length_m", 1e-3)
    return "points", ("points", 1.0)


def _cell(entry: dict[str, Any], unit: str, of_unit: tuple[str, float]) -> str:
    key, factor = of_unit
    amount = entry[key] * factor
    text = f"{amount:.0f}" if unit in ("pixels", "points") else f"{amount:.3g}"
    return f"{text} ({_share(entry['share'])})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _lines(document: dict[str, Any]) -> list[str]:
    parameters = document["parameters"]
    block = "" if parameters["block_m"] is None else f"blocks of {metres(parameters['block_m'])}, "
    lines = [
        f"{block}buffer of {metres(parameters['buffer_m'])} ({parameters['buffer_from']}), "
        f"seed {parameters['seed']}"
    ]
    for each in document["distances"]:
        one, other = each["sets"]
        lines.append(
            f"{one} to {other}: at least {metres(each['minimum_m'])}, half of {other} is "
            f"{metres(each['median_m'])} away or more"
        )
    titles = {"classes": "classes", "image": "first principal component of the image"}
    for name, found in document["autocorrelation"].items():
        if found["range_m"] is None:
            lines.append(f"autocorrelation range of the {titles[name]}: {found['reason']}")
        else:
            lines.append(
                f"autocorrelation range of the {titles[name]}: {metres(found['range_m'])} "
                f"({found['model']} model)"
            )
    return lines
