"""`comix evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comix_cli.commands.display import say
from comix_cli.commands.options import (
    CommonState,
    FiniteRange,
    ProjectCommand,
    common_options,
    ground_truth,
    map_argument,
    overwrite_option,
    truth_options,
)
from comix_cli.commands.show_report import print_report
from comix_cli.errors import UsageError

if TYPE_CHECKING:
    from comix_cli.tools.evaluate import EvaluateOptions


@click.command("evaluate", cls=ProjectCommand, short_help="Compare a map with ground truth.")
@map_argument
@click.option("--src-crs", metavar="CRS", help="CRS of a map that carries none.")
@truth_options("to compare with", required=False)
@click.option("--design", metavar="FILE",
              help="Sample of the map, as 'comix sample' writes it: only its pixels are compared. "
                   "It is the ground truth as well where --gt is left out. The GeoPackage, not the "
                   "CSV.")  # fmt: skip
@click.option(
    "--class-map",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="What the map calls the classes of the ground truth: two columns, a header.",
)
@click.option("--min-oa", type=FiniteRange(0, 1), metavar="SHARE",
              help="Exit with code 4 where overall accuracy is lower (0.8: 80 %): of the compared "
                   "pixels, or of the whole map with --design.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the figures as CSV.")
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="Write the report here as well (.json, .csv or .html).")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE.html",
              help="Write it as a page to read, print and hand in.")  # fmt: skip
@overwrite_option
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Compare a classified map with ground truth.

    Without MAP: the one that comix.toml names, else the newest one that comix wrote in this folder.

    \b
    comix evaluate --gt labels.shp
    comix evaluate map.tif --gt labels.shp --field class --json > report.json
    comix evaluate map.tif --design sample.gpkg
    """
    from comix_cli.accuracy.report_text import to_csv_text, to_json_text
    from comix_cli.tools.evaluate import (
        check_report_paths,
        check_threshold,
        evaluate,
        write_report,
    )

    as_json, as_csv = values.pop("as_json"), values.pop("as_csv")
    if as_json and as_csv:
        raise UsageError("--json and --csv both want stdout", remedy="leave one out, or use -o")
    least, overwrite = values.pop("min_oa"), values.pop("overwrite")
    options, wanted = evaluate_options(values)
    check_report_paths(wanted, options, overwrite=overwrite)
    found = evaluate(options, state.display())
    for path in wanted.values():
        write_report(found, path)
    document = found.document
    if as_json:
        click.echo(to_json_text(document), nl=False)
    elif as_csv:
        click.echo(to_csv_text(document), nl=False)
    else:
        print_report(document)
        if state.verbosity >= 0:
            say(f"compared {options.map_path} with {options.truth.path}")
    check_threshold(document, least)


def evaluate_options(values: dict[str, Any]) -> tuple[EvaluateOptions, dict[str, Path]]:
    """The options of an evaluation as a value, and the reports to write by their options.

    Raises:
        UsageError: There is no ground truth, or options contradict each other.
    """
    from comix_cli.tools.evaluate import EvaluateOptions, is_page

    values["gt"] = values["gt"] or values["design"]
    if values["gt"] is None:
        raise click.UsageError(
            "give ground truth with --gt, or an interpreted sample with --design"
        )
    asked = {"-o": values.pop("output"), "--report": values.pop("report")}
    wanted = {option: path for option, path in asked.items() if path is not None}
    picture = any(is_page(path) for path in wanted.values())
    return EvaluateOptions(truth=ground_truth(values), picture=picture, **values), wanted
