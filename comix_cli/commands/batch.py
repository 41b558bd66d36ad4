"""`comix batch`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comix_cli.commands.display import print_table, say
from comix_cli.commands.options import CommonState, ProjectCommand, common_options, threads_option
from comix_cli.errors import RunsError, UsageError, counted, listed

if TYPE_CHECKING:
    from comix_cli.tools.batch import BatchOptions
    from comix_cli.tools.batch_folder import SceneOutcome
    from comix_cli.tools.scene_table import SceneRow

# As in batch_rows.py, whose commands are imported when they are needed.
_COMMANDS = ("classify", "train", "evaluate")


def _shard(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    """`2/8` as the second of eight shares."""
    found = re.fullmatch(r"(\d+)/(\d+)", value)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise click.BadParameter(
            f"'{value}' is no share such as 1/8, the first of eight", ctx=ctx, param=param
        )
    return number, count


def _assets(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`hsi=B1` as a column and the key of its asset; a column may have several."""
    found: dict[str, str] = {}
    for value in values:
        column, separator, key = value.partition("=")
        if not (separator and column.strip() and key.strip()):
            raise click.BadParameter(f"'{value}' is not COLUMN=KEY", ctx=ctx, param=param)
        found[column] = ",".join(filter(None, (found.get(column), key)))
    return found


@click.command(
    "batch", cls=ProjectCommand, short_help="Do many scenes, on one machine or a cluster."
)
@click.argument("table", metavar="TABLE")
@click.option("--command", type=click.Choice(_COMMANDS), default="classify", show_default=True,
              help="What is done with each scene.")  # fmt: skip
@click.option("-m", "--model", metavar="MODEL",
              help="--model of that command, where the table has no column for it.")  # fmt: skip
@click.option("--options", "shared", default="", metavar="'OPTIONS'",
              help="Options of that command for every scene that does not say otherwise: "
                   "'--overlap 32 --co COMPRESS=ZSTD'.")  # fmt: skip
@click.option("--out", metavar="TEMPLATE",
              help="What outputs are called where the table does not say: "
                   "maps/{id}.tif.")  # fmt: skip
@click.option("--asset", "assets", multiple=True, metavar="COLUMN=KEY", callback=_assets,
              help="Which asset of a STAC item is hsi, x, gt, ...  [default: the one of that "
                   "name]")  # fmt: skip
@click.option("--stac", is_flag=True,
              help="Write a STAC item beside each map, and a collection of them.")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Where logs, records and summaries are kept.  [default: TABLE-batch, beside "
                   "the table]")  # fmt: skip
@click.option("--on-error", type=click.Choice(("skip", "stop")), default="skip", show_default=True,
              help="A scene that fails is left out, or ends the batch once what is under way is "
                   "over.")  # fmt: skip
@click.option("--retries", type=click.IntRange(min=0), default=1, show_default=True,
              help="How often what failed is tried again.")  # fmt: skip
@click.option("--shard", default="1/1", show_default=True, metavar="I/N", callback=_shard,
              help="Do only this share of the scenes, for arrays of jobs.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), metavar="NUMBER",
              help="Scenes at once on this machine.  [default: one for each GPU, else "
                   "one]")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS|FILE",
              help="Work on a Dask cluster: tcp://host:8786, or the file of its "
                   "scheduler.")  # fmt: skip
@click.option("--parts", type=click.IntRange(min=1), metavar="NUMBER",
              help="Cut each scene into so many parts, which workers share.  [default: what suits "
                   "its size and the workers]")  # fmt: skip
@threads_option
@click.option("--dry-run", is_flag=True, help="Print what would be done, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--overwrite", is_flag=True,
              help="Replace outputs that this batch has not written itself.")  # fmt: skip
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Classify, train or evaluate every scene of a table, and go on where it was interrupted.

    TABLE is a CSV with the columns hsi, x (as often as there are), out, and any option of the
    command; or a STAC collection, catalog or item list. Paths are meant from its folder.

    \b
    comix batch scenes.csv -m model.safetensors
    comix batch scenes.csv -m model.safetensors --workers 4 --options '--overlap 48'
    comix batch maps.csv --command evaluate
    comix batch scenes.csv -m model.safetensors --scheduler tcp://head:8786

    What is done, from the same files with the same options, is not done again. When some scenes
    failed the exit code is 3, and TABLE-batch/failed.csv lists them.
    """
    from comix_cli.tools.batch import batch
    from comix_cli.tools.batch_crew import CrewOptions, crew_for
    from comix_cli.tools.batch_summary import failed_list, shard_name, to_json

    workers = CrewOptions(values["workers"], values["threads"], values["scheduler"])
    workers.check()
    options = _options(values)
    display = state.display()
    if values["dry_run"]:
        _print_intentions(options, as_json=values["as_json"])
        return
    state.kept = options.folder, "the same command goes on"
    outcomes = batch(options, lambda: crew_for(workers, display), display)
    if values["as_json"]:
        click.echo(to_json(outcomes), nl=False)
    else:
        _print(outcomes)
    if state.verbosity >= 0:
        table, document = (shard_name("summary", options.shard, end) for end in (".csv", ".json"))
        say(f"{options.folder}: {table}, {document} and logs of "
            f"{counted(len(outcomes), 'scene')}{_warned(outcomes)}")  # fmt: skip
    _check(outcomes, failed_list(options.folder, options.shard))


def _options(values: dict[str, Any]) -> BatchOptions:
    """The options of a batch as a value: the table read, every row understood.

    Raises:
        ComixError: The table, or something in it, cannot be meant.
    """
    from comix_cli.commands.batch_rows import read_scenes
    from comix_cli.tools.batch import BatchOptions
    from comix_cli.tools.batch_jobs import with_item

    if values["stac"] and values["command"] != "classify":
        raise UsageError("--stac: only maps have items", remedy="leave it out")
    if values["parts"] is not None and values["command"] != "classify":
        raise UsageError("--parts: only maps are made of parts", remedy="leave it out")
    flags = {"--model": values["model"]} if values["model"] else {}
    rows = _rows(values)
    scenes = read_scenes(rows, values["command"], values["shared"], values["out"], flags)
    folder = values["folder"] or _folder_of(values["table"])
    return BatchOptions(
        scenes=tuple(map(with_item, scenes)) if values["stac"] else scenes,
        folder=folder,
        on_error=values["on_error"],
        retries=values["retries"],
        overwrite=values["overwrite"],
        parts=values["parts"],
        shard=values["shard"],
        collection=values["stac"],
        is_rest=Path(values["table"]).resolve().parent == folder.resolve(),
        names_workers=values["scheduler"] is not None,
    )


def _rows(values: dict[str, Any]) -> list[SceneRow]:
    """The rows of a CSV, or the items of a STAC document.

    Raises:
        InputError: It can be read as neither.
    """
    table = values["table"]
    if Path(table).suffix.lower() not in (".json", ".geojson") and not _is_address(table):
        if values["assets"]:
            raise UsageError(
                f"--asset: {table} is a table, and has columns", remedy="leave --asset out"
            )
        from comix_cli.tools.scene_table import read_scene_table

        return read_scene_table(Path(table))
    from comix_cli.tools.scene_table import named, slug
    from comix_cli.tools.stac_scenes import read_stac_scenes

    rows = read_stac_scenes(table, values["assets"])
    return named([replace(row, id=slug(row.id)) for row in rows], Path(table))


def _is_address(table: str) -> bool:
    return re.match(r"https?://", table) is not None


def _folder_of(table: str) -> Path:
    """Where records are kept: beside a table of our own, here for one that lies elsewhere."""
    from comix_cli.tools.batch_folder import folder_beside

    if _is_address(table):
        return Path(f"{Path(table).stem or 'scenes'}-batch")
    return folder_beside(Path(table))


def _print_intentions(options: BatchOptions, *, as_json: bool) -> None:
    """What would be done, a row for each scene.

    Raises:
        RunsError: Something is known to stand in the way.
    """
    from comix_cli.tools.batch import intended

    found = intended(options)
    if as_json:
        import json

        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        rows = [[each["id"], each["what"], each["output"], each["problem"]] for each in found]
        print_table("", ["scene", "what", "output", "problem"], rows)
    faulty = [each for each in found if each["problem"]]
    if faulty:
        raise RunsError(
            f"{counted(len(faulty), 'scene')} of {len(found)} would fail, the first of them "
            f"({faulty[0]['id']}) because: {faulty[0]['problem']}",
            remedy="mend that before the night",
        )


def _print(outcomes: Sequence[SceneOutcome]) -> None:
    """How many scenes came to what; why some failed has been told when they did."""
    counts = Counter(outcome.status for outcome in outcomes)
    print_table("", ["scenes", "number"], [[status, str(n)] for status, n in counts.items()])


def _warned(outcomes: Sequence[SceneOutcome]) -> str:
    """In which logs there is something that may change how a result is read."""
    told = [each.scene.id for each in outcomes if each.record and each.record.warnings]
    return f"; there are warnings in the logs of {listed(told, 5)}" if told else ""


def _check(outcomes: Sequence[SceneOutcome], missing: Path) -> None:
    """Tell of the scenes that are not done.

    Raises:
        RunsError: There are some.
    """
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    left = [outcome for outcome in outcomes if outcome.status in ("interrupted", "not begun")]
    if not failed and not left:
        return
    first = (
        f", the first of them ({failed[0].scene.id}) because: {failed[0].error}" if failed else ""
    )
    waiting = f"; {counted(len(left), 'scene')} not begun" if left else ""
    raise RunsError(
        f"{counted(len(failed), 'scene')} of {len(outcomes)} failed{first}{waiting}",
        remedy=f"mend that, and give the same command again, or with {missing} as the table",
    )
