"""`comix compare`."""

from __future__ import annotations

from pathlib import Path

import click

from comix_cli.commands.options import CommonState, common_options, overwrite_option
from comix_cli.errors import UsageError

# What is asked for on stdout, by the suffix of a file of that kind.
_FORMATS = {"json": ".json", "csv": ".csv", "latex": ".tex"}


def _named_reports(
    ctx: click.Context,
    param: click.Parameter,
    values: tuple[str, ...],
) -> tuple[tuple[str | None, str], ...]:
    """Name and path of each `NAME=REPORT`; no name where a file is called so."""
    pairs: list[tuple[str | None, str]] = []
    for value in values:
        name, separator, path = value.partition("=")
        # A path may have an equals sign in it, and a name has no part of a path.
        if not separator or "/" in name or Path(value).exists():
            pairs.append((None, value))
        elif not name.strip() or not path:
            raise click.BadParameter(f"'{value}' is not NAME=REPORT", ctx=ctx, param=param)
        else:
            pairs.append((" ".join(name.split()), path))
    return tuple(pairs)


@click.command("compare", short_help="Put accuracy reports side by side.")
@click.argument(
    "reports", nargs=-1, required=True, metavar="[NAME=]REPORT...", callback=_named_reports
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the tables as CSV.")
@click.option("--latex", "as_latex", is_flag=True, help="Print the tables as LaTeX.")
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="Write the tables here as well (.txt, .csv, .tex or .json).")  # fmt: skip
@overwrite_option
@common_options
@click.pass_obj
def command(
    state: CommonState,
    /,
    reports: tuple[tuple[str | None, str], ...],
    output: Path | None,
    overwrite: bool,
    **flags: bool,
) -> None:
    """Put accuracy reports side by side, and test whether their maps differ.

    REPORT is what 'comix evaluate --json' wrote. Reports of the same NAME are runs of one method:
    the table has their mean and standard deviation. McNemar's test opens the maps and the ground
    truth that the reports name again.

    \b
    comix compare before.json after.json
    comix compare CoMiX=a1.json CoMiX=a2.json SVM=b1.json SVM=b2.json -o table.tex
    """
    asked = _format(flags)
    from comix_cli.tools.compare import CompareOptions, compare
    from comix_cli.tools.compare_formats import check_comparison_path, formatted, write_comparison

    if output is not None:
        check_comparison_path(output)
    found = compare(CompareOptions(reports, output, overwrite), state.display())
    if output is not None:
        write_comparison(found, output)
    click.echo(formatted(found, asked), nl=False)


def _format(flags: dict[str, bool]) -> str:
    """The suffix of the one format that is asked for on stdout.

    Raises:
        UsageError: There are several.
    """
    asked = [name for name in _FORMATS if flags[f"as_{name}"]]
    if len(asked) > 1:
        several = " and ".join(f"--{name}" for name in asked)
        raise UsageError(f"{several} all want stdout", remedy="keep one, or use -o")
    return _FORMATS[asked[0]] if asked else ".txt"
