"""Methods of a benchmark: names, and command lines of `comix train`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from comix_cli.commands.train import MEANT_FOR, train_options
from comix_cli.commands.train import command as train_command
from comix_cli.errors import UsageError

if TYPE_CHECKING:
    from comix_cli.tools.benchmark import BenchmarkMethod

DEFAULT_MODELS = ("comix", "unet", "fusion-fcn", "random-forest", "svm")
# What all methods have in common is said once, to the benchmark; names of parameters.
OF_ALL = (
    "inputs", "named_x", "dtm", "sharpen", "src_crs", "resampling", "like", "res", "dst_crs",
    "bounds", "gt", "field", "layer", "gt_crs", "all_touched", "min_coverage",
    "device", "threads", "precision",
)  # fmt: skip
# What the benchmark decides for every run.
_DECIDED = {"output": Path("model.safetensors"), "resume": True, "logs": None, "overwrite": False,
            "seed": 0}  # fmt: skip


def _comix(hsi_blocks: str, x_blocks: str, cmfex: str, fusion: str) -> str:
    """CoMiX of these parts, whatever is asked for of all methods."""
    return (
        f"--model comix --hsi-blocks {hsi_blocks} --x-blocks {x_blocks} --cmfex {cmfex} "
        f"--fusion {fusion}"
    )


_WHOLE = _comix("3d", "2d", "both", "ffm")
# The rows of the paper's Table VIII, each with one thing more than the one before it, from two
# branches that do not talk and are averaged; then the HSI without a second sensor.
ABLATION = {
    "attention": _comix("attention", "attention", "none", "average"),
    "+ 2-D DCN": _comix("2d", "2d", "none", "average"),
    "+ 3-D DCN": _comix("3d", "2d", "none", "average"),
    "+ CMFeX spatial": _comix("3d", "2d", "spatial", "average"),
    "+ CMFeX spectral": _comix("3d", "2d", "spectral", "average"),
    "+ CMFeX": _comix("3d", "2d", "both", "average"),
    "+ FFM = CoMiX": _WHOLE,
    "HSI alone": f"--hsi-only {_WHOLE}",
}
_HSI_ONLY = click.Option(["--hsi-only"], is_flag=True)


def parse_methods(
    lines: Mapping[str, str], common: Mapping[str, Any], shared: str, project: Mapping[str, Any]
) -> tuple[BenchmarkMethod, ...]:
    """Methods of their names and command lines.

    Args:
        lines: Options of `comix train` for each method.
        common: The values of the parameters `OF_ALL`.
        shared: Options that every method has which they are meant for, unless its own say
            otherwise.
        project: What `comix train` has as its defaults in this folder, by parameter; the options
            above win.

    Raises:
        UsageError: An option is not known, is not for a method, or is for another model.
    """
    given = {**project, **_shared(shared)}
    return tuple(_method(name, line, common, given) for name, line in lines.items())


def split_method(text: str) -> tuple[str, str]:
    """Name and command line of `NAME: OPTIONS`.

    Raises:
        UsageError: There is no name, or nothing parts it from the options.
    """
    name, separator, line = text.partition(":")
    if not separator or not name.strip():
        raise UsageError(
            f"--method '{text}': is not 'NAME: OPTIONS'",
            remedy="write, for example, --method 'small: --preset small'",
        )
    return " ".join(name.split()), line


def _shared(line: str) -> dict[str, Any]:
    """The values that are given to every method, by parameter."""
    context = _parsed("--train-options", line, {})
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for name in ("model", "hsi_only"):
        if name in given:
            raise UsageError(
                f"--train-options: --{name.replace('_', '-')} makes a method",
                remedy="say it with --models or --method",
            )
    return given


def _method(
    name: str, line: str, common: Mapping[str, Any], given: Mapping[str, Any]
) -> BenchmarkMethod:
    from comix_cli.tools.benchmark import BenchmarkMethod

    where = f"method '{name}'"
    model = _parsed(where, line, given).params["model"]
    meant = {key: v for key, v in given.items() if model in MEANT_FOR.get(key, (model,))}
    context = _parsed(where, line, meant)
    values = {**common, **_DECIDED, **context.params}
    hsi_only = values.pop("hsi_only")
    with context.scope():
        try:
            training = train_options(values)
        except UsageError as error:
            raise UsageError(f"{where}: {error.cause}", remedy=error.remedy) from error
    return BenchmarkMethod(name, training, hsi_only)


def _parsed(where: str, line: str, defaults: Mapping[str, Any]) -> click.Context:
    """A command line of training, but for what the benchmark says.

    Raises:
        UsageError: It cannot be meant; `where` is named.
    """
    beyond = {*OF_ALL, *_DECIDED}
    own = [each for each in train_command.params if each.name not in beyond]
    own = [each for each in own if each.expose_value and isinstance(each, click.Option)]
    parser = click.Command("method", params=[*own, _HSI_ONLY], add_help_option=False)
    try:
        words = shlex.split(line)
        return parser.make_context("method", words, default_map=dict(defaults))
    except ValueError as error:
        raise UsageError(
            f"{where}: {str(error).lower()} in '{line.strip()}'", remedy="close the quotes"
        ) from error
    except click.NoSuchOption as error:
        raise _unknown(where, error) from error
    except click.UsageError as error:
        said = " ".join(error.format_message().split()).rstrip(".")
        raise UsageError(f"{where}: {said}", remedy="see 'comix train --help'") from error


def _unknown(where: str, error: click.NoSuchOption) -> UsageError:
    """An option that training has is not for a method; others do not exist."""
    name = error.option_name
    if any(name in (*each.opts, *each.secondary_opts) for each in train_command.params):
        return UsageError(
            f"{where}: {name} is not the business of a method",
            remedy="'comix benchmark --help' tells what all methods have in common",
        )
    said = error.format_message().rstrip(".")
    return UsageError(f"{where}: {said}", remedy="'comix train --help' lists the options")


def default_lines(models: Sequence[str], *, has_x: bool) -> dict[str, str]:
    """A method for each model, with its defaults; only those that the inputs allow."""
    return {m: f"--model {m}" for m in models if has_x or m != "fusion-fcn"}
