"""Scenes of a batch: rows of a table as command lines of the commands that they are for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comix_cli.commands import classify, evaluate, train
from comix_cli.commands.options import NAMED_FILE
from comix_cli.errors import UsageError

if TYPE_CHECKING:
    from comix_cli.tools.batch_jobs import Job, Scene
    from comix_cli.tools.scene_table import SceneRow

COMMANDS = {"classify": classify.command, "train": train.command, "evaluate": evaluate.command}
# Positional arguments of each command, as columns; the first is needed, the last can be repeated.
_POSITIONAL = {"classify": ("hsi", "x"), "train": ("hsi", "x"), "evaluate": ("map",)}
# What a batch decides for all scenes, or what would print.
_BATCHS_OWN = ("overwrite", "json", "csv", "dry_run", "resume", "debug", "verbose", "quiet", "help")
# GDAL's names and addresses: /vsizip/..., NETCDF:file:variable, https://...
_NO_LOCAL_PATH = re.compile(r"/vsi|[A-Za-z][\w+.-]*:")
_NO_PATHS = ("auto", "none")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def read_scenes(
    rows: Sequence[SceneRow], command: str, shared: str, out: str | None, flags: Mapping[str, str]
) -> tuple[Scene, ...]:
    """Rows as scenes with typed options.

    Args:
        rows: The table.
        command: What is done with each: `classify`, `train` or `evaluate`.
        shared: Options of the command that every scene has which does not say otherwise.
        out: What outputs are called where the table does not say: `{id}` stands for the scene.
        flags: More options that every scene has, by column.

    Raises:
        UsageError: A column is no option, or a value cannot be meant; the place is named.
    """
    common = [*_words("--options", shared), *(w for flag in flags.items() for w in flag)]
    _refuse_own("--options", common, command)
    return tuple(_scene(row, command, common, out) for row in rows)


def _scene(row: SceneRow, command: str, common: list[str], out: str | None) -> Scene:
    from comix_cli.tools.batch_jobs import Scene

    cells = dict(row.cells)
    if "out" not in cells and "output" not in cells and out is not None:
        cells["out"] = (_filled(out, row),)
    located, words = _as_words(row, command, cells)
    if command == "classify" and not {"out", "output"} & {*located}:
        raise UsageError(
            f"{row.where}: names no output",
            remedy="fill the column 'out', or give --out maps/{id}.tif",
        )
    undone = _undone(_parameters(command), cells)
    kept = [word for word in common if word not in undone]
    job = _job(row.where, command, [*kept, *words])
    return Scene(row.id, row.where, _absolute(job), located)


def _undone(parameters: Mapping[str, click.Parameter], cells: Mapping[str, Any]) -> set[str]:
    """Flags of all scenes that a row says no to, and that no other word undoes."""
    flags = (
        (parameter, cells[name])
        for name, parameter in parameters.items()
        if name in cells and getattr(parameter, "is_flag", False) and not parameter.secondary_opts
    )
    return {
        word
        for parameter, values in flags
        if values[-1].casefold() in _FALSE
        for word in parameter.opts
    }


def _filled(template: str, row: SceneRow) -> str:
    """Where the output of a scene goes by a template."""
    if "{id}" not in template:
        raise UsageError(
            f"--out {template}: would be one file for all scenes",
            remedy="say where the id of a scene goes: --out maps/{id}.tif",
        )
    return str((row.base or Path.cwd()) / template.replace("{id}", row.id))


def _as_words(
    row: SceneRow, command: str, cells: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The cells with paths from their folder on, and the command line that they make.

    Raises:
        UsageError: A column is no option of the command, or a needed one is empty.
    """
    first, *more = _POSITIONAL[command]
    if first not in cells:
        raise UsageError(f"{row.where}: names no {first}", remedy=f"fill the column '{first}'")
    parameters = _parameters(command)
    located: dict[str, tuple[str, ...]] = {}
    positional: list[str] = []
    options: list[str] = []
    for column, values in cells.items():
        if column in (first, *more):
            place = _located_x if column == "x" else _located
            located[column] = tuple(place(value, row.base) for value in values)
            continue
        parameter = _parameter(row, command, parameters, column)
        given = values
        if _is_path(parameter):
            given = tuple(_located(value, row.base) for value in values)
        located[column] = given
        options += _option_words(row, parameter, given)
    for column in (first, *more):
        for value in located.get(column, ()):
            # NAME=FILE is what --x understands.
            is_named = column == "x" and NAMED_FILE.fullmatch(value) and not Path(value).exists()
            (options if is_named else positional).extend(["--x", value] if is_named else [value])
    return located, [*options, "--", *positional]


@cache  # asked for in every row
def _parameters(command: str) -> Mapping[str, click.Parameter]:
    """The options of a command by the names that columns may have."""
    found: dict[str, click.Parameter] = {}
    for parameter in COMMANDS[command].params:
        if isinstance(parameter, click.Option):
            for name in parameter.opts:
                found[name.lstrip("-").replace("-", "_")] = parameter
    found["out"] = found["output"]
    return found


def _parameter(
    row: SceneRow, command: str, known: Mapping[str, click.Parameter], column: str
) -> click.Parameter:
    if column in _BATCHS_OWN:
        raise UsageError(
            f"{row.where}: the column '{column}' is not the business of a scene",
            remedy="'comix batch --help' tells what all scenes have in common",
        )
    if column not in known:
        raise UsageError(
            f"{row.where}: 'comix {command}' has no option '{column}'",
            remedy=f"'comix {command} --help' lists them; for another command give --command",
        )
    return known[column]


def _is_path(parameter: click.Parameter) -> bool:
    told = getattr(parameter, "metavar", None) or ""
    return isinstance(parameter.type, click.Path) or "FILE" in told


def _located(value: str, base: Path | None) -> str:
    """A path from the folder of its table on.

    `..` stays: behind a link it means another folder than the text suggests.
    """
    if base is None or value in _NO_PATHS:
        return value
    if _NO_LOCAL_PATH.match(value) and not (base / value).exists():
        return value
    return str(base / value)


def _located_x(value: str, base: Path | None) -> str:
    """The same of an X, whose NAME=FILE keeps its name."""
    named = NAMED_FILE.fullmatch(value)
    if base is None or named is None or (base / value).exists():
        return _located(value, base)
    return f"{named.group(1)}={_located(named.group(2), base)}"


def _option_words(row: SceneRow, parameter: click.Parameter, values: Sequence[str]) -> list[str]:
    name = parameter.opts[0]
    if not getattr(parameter, "is_flag", False):
        many = parameter.nargs != 1
        return [word for v in values for word in (name, *(v.split() if many else (v,)))]
    words: list[str] = []
    for value in values:
        if value.casefold() in _TRUE:
            words.append(name)
        elif value.casefold() not in _FALSE:
            raise UsageError(
                f"{row.where}: '{value}' for {name} is neither yes nor no", remedy="give yes or no"
            )
        elif parameter.secondary_opts:
            words.append(parameter.secondary_opts[0])
    return words


def _words(option: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"{option}: {str(error).lower()} in '{text}'", remedy="close the quotes"
        ) from error


def _refuse_own(where: str, words: Sequence[str], command: str) -> None:
    """Refuse options of a command that a batch has itself.

    Raises:
        UsageError: There are some.
    """
    parameters = _parameters(command)
    for word in words:
        name = word.partition("=")[0].lstrip("-").replace("-", "_")
        if word.startswith("-") and (
            name in _BATCHS_OWN or parameters.get(name) is parameters["out"]
        ):
            raise UsageError(
                f"{where}: {word} is not the business of a scene",
                remedy="'comix batch --help' tells what all scenes have in common",
            )


def _job(where: str, command: str, words: list[str]) -> Job:
    """A command line as typed options.

    Raises:
        UsageError: It cannot be meant.
    """
    try:
        context = COMMANDS[command].make_context(command, words)
        with context.scope():
            return _typed(command, dict(context.params))
    except UsageError as error:
        raise UsageError(f"{where}: {error.cause}", remedy=error.remedy) from error
    except click.UsageError as error:
        said = " ".join(error.format_message().split()).rstrip(".")
        raise UsageError(f"{where}: {said}", remedy=f"see 'comix {command} --help'") from error


def _typed(command: str, values: dict[str, Any]) -> Job:
    from comix_cli.tools.batch_jobs import EvaluateJob

    if command == "classify":
        del values["dry_run"]
        return classify.classify_options(values)
    if command == "train":
        return train.train_options(values)
    for name in ("as_json", "as_csv"):
        del values[name]
    least, overwrite = values.pop("min_oa"), values.pop("overwrite")
    options, reports = evaluate.evaluate_options(values)
    if not reports:
        raise UsageError("names no report to write", remedy="fill the column 'out' or 'report'")
    return EvaluateJob(options, reports, least, overwrite)


def _absolute(job: Job) -> Job:
    """A worker may be in another folder."""
    from comix_cli.tools.batch_jobs import with_paths

    here = Path.cwd()
    return with_paths(job, lambda path: _located(path, here), lambda path: here / path)
