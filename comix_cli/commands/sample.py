"""`comix sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comix_cli.commands.display import percent, print_table, say
from comix_cli.commands.options import (
    CommonState,
    FiniteRange,
    ProjectCommand,
    common_options,
    map_argument,
    overwrite_option,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = click.Path(path_type=Path)
_ALLOCATIONS = ("proportional", "equal", "optimal")


@click.command("sample", cls=ProjectCommand, short_help="Draw a sample of a map to interpret.")
@map_argument
@click.option("-o", "--output", type=_FILE, required=True,
              help="The points to write (GeoPackage).")  # fmt: skip
@click.option("--csv", type=_FILE, metavar="FILE", help="Also write them as a table.")
@click.option("--size", type=click.IntRange(min=1), help="How many points.")
@click.option("--target-se", "target_error", metavar="SHARE",
              type=FiniteRange(0, 0.5, min_open=True),
              help="As many points as give overall accuracy this standard error where they are "
                   "allocated optimally.  [default: 0.01, without --size]")  # fmt: skip
@click.option("--allocation", type=click.Choice(_ALLOCATIONS), default="proportional",
              show_default=True, help="How points are divided among the classes.")  # fmt: skip
@click.option("--expected-ua", "expected", multiple=True, metavar="[CLASS=]SHARE",
              help="Expected user's accuracy of all classes, or of one by name or code; may be "
                   "repeated.  [default: 0.8]")  # fmt: skip
@click.option("--min-per-class", "per_stratum", type=click.IntRange(min=1), default=2,
              show_default=True, metavar="N", help="The least of each class.")  # fmt: skip
@click.option("--strata", metavar="FILE",
              help="Raster of strata on the map's grid.  [default: the map's classes]")  # fmt: skip
@click.option("--mask", metavar="FILE", help="Draw only inside these polygons (vector file).")
@click.option("--mask-layer", metavar="NAME",
              help="Layer of the mask, where its file has several.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Fixes what is drawn.")  # fmt: skip
@click.option("--src-crs", metavar="CRS", help="CRS of a map that carries none.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@overwrite_option
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Draw a stratified random sample of a map, for people to say what is really there.

    Points lie at the centres of pixels, in random order; what is seen there goes into the empty
    column 'class'. The sampling unit is the pixel. Without MAP: the one that comix.toml names, else
    the newest one that comix wrote in this folder.

    \b
    comix sample map.tif -o sample.gpkg --target-se 0.01
    comix sample map.tif -o sample.gpkg --size 600 --min-per-class 50 --expected-ua roof=0.9
    """
    from comix_cli.accuracy.report_text import to_json_text
    from comix_cli.tools.expected_accuracy import parse_expected
    from comix_cli.tools.sample import SampleOptions, sample

    as_json, expected = values.pop("as_json"), parse_expected(values.pop("expected"))
    options = SampleOptions(expected=expected, **values)
    document = sample(options, state.display())
    if as_json:
        click.echo(to_json_text(document), nl=False)
        return
    _print_design(document)
    if state.verbosity >= 0:
        say(
            f"{' and '.join(document['outputs'])}: {document['samples']} points in random order; "
            "what is seen at each goes into the column 'class'"
        )


def _print_design(document: Mapping[str, Any]) -> None:
    print_table(
        "Sample by stratum",
        ("stratum", "code", "pixels", "share %", "samples", "expected UA %", "its SE %"),
        [
            [
                stratum["name"],
                str(stratum["code"]),
                str(stratum["pixels"]),
                percent(stratum["share"]),
                str(stratum["samples"]),
                percent(stratum["expected_users_accuracy"]),
                percent(stratum["expected_standard_error"]),
            ]
            for stratum in document["strata"]
        ],
    )
    click.echo(
        f"{document['samples']} samples of {document['pixels']} pixels, {document['allocation']} "
        f"allocation: overall accuracy is expected to be "
        f"{percent(document['expected_overall_accuracy'])} % with a standard error of "
        f"{percent(document['expected_standard_error'])} %"
    )
