"""Options that several commands share, and their types."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from comix_cli.commands.display import Display
from comix_cli.errors import InputError, UsageError
from comix_cli.project import read_project

if TYPE_CHECKING:
    from comix_cli.tools.inputs import SceneInputs
    from comix_cli.tools.reference import TruthOptions

Command = TypeVar("Command", bound=Callable[..., Any])

RESAMPLINGS = (
    "nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode", "max", "min",
    "med", "q1", "q3",
)  # fmt: skip
# GDAL names such as NETCDF:"a=b.nc":v have a colon before any equals sign.
NAMED_FILE = re.compile(r"([A-Za-z_][\w-]*)=(.+)")


@dataclass
class CommonState:
    """What the options that every command has have said.

    Attributes:
        verbosity: -q counts down, -v up.
        debug: Whether errors come with their traceback.
        kept: Where this command leaves what it has reached, if it does, and how to go on with it.
    """

    verbosity: int = 0
    debug: bool = False
    kept: tuple[Path, str] | None = None

    @property
    def what_is_left(self) -> str:
        """What a user should know where the work breaks off."""
        if self.kept is None or not self.kept[0].exists():
            return "nothing half done is left"
        path, how = self.kept
        return f"{path} keeps what has been done: {how}"

    def display(self) -> Display:
        """Where progress and warnings are shown: once, however many processes work together."""
        return Display(self.verbosity if self.first_process else -2)

    @property
    def first_process(self) -> bool:
        """False in all processes but one of those that torchrun has started."""
        return os.environ.get("RANK", "0") == "0"


class FiniteRange(click.FloatRange):
    """Numbers of a range; click lets NaN into every range, and infinity into open ones."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that a text is.

        Raises:
            BadParameter: It is none, or lies outside.
        """
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    state = ctx.ensure_object(CommonState)
    if param.name == "debug":
        state.debug = state.debug or value
    elif param.name == "verbose":
        state.verbosity += value
    elif value:
        state.verbosity -= 1


def common_options(command: Command) -> Command:
    """-q, -v, --debug: what every command has."""
    for decorate in (
        click.option("--debug", is_flag=True, expose_value=False, callback=_remember,
                     help="Show the traceback of an error."),
        click.option("-v", "--verbose", count=True, expose_value=False, callback=_remember,
                     help="Say more."),
        click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_remember,
                     help="Show errors only."),
    ):  # fmt: skip
        command = decorate(command)
    return command


def chain(*decorators: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several click decorators as one, in the order in which the help lists them."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


class ProjectCommand(click.Command):
    """A command whose options have their defaults in `comix.toml`, where the folder has one."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse a command line; what it does not say, the project file says."""
        section = read_project(Path.cwd()).get(info_name or "", {})
        extra["default_map"] = self.by_parameter(section, info_name)
        return super().make_context(info_name, args, parent, **extra)

    def by_parameter(self, section: Mapping[str, Any], command: str | None) -> dict[str, Any]:
        """A section of comix.toml with the names of parameters in place of those of options.

        Raises:
            UsageError: The command has no such option, or the value cannot be meant.
        """
        names: dict[str, str] = {}
        for parameter in self.params:
            for name in (parameter.name or "", *parameter.opts):
                names[name.lstrip("-").replace("-", "_")] = parameter.name or ""
        for key in section:
            if key not in names:
                raise UsageError(
                    f"comix.toml: [{command}] has no option '{key}'",
                    remedy=f"'comix {command} --help' lists them",
                )
        found = {names[key]: value for key, value in section.items()}
        for parameter in self.params:
            if parameter.name in found:
                found[parameter.name] = _checked(parameter, found[parameter.name], command)
        return found


def _checked(parameter: click.Parameter, value: Any, command: str | None) -> Any:
    """The value of a project file, of the shape that click expects."""
    many = getattr(parameter, "multiple", False) or parameter.nargs != 1
    values = value if many and isinstance(value, list) else [value]
    for each in values:
        try:
            parameter.type.convert(each, parameter, None)
        except click.BadParameter as error:
            raise UsageError(
                f"comix.toml: [{command}] {parameter.name} = {each!r}: {error.message}",
                remedy=f"see 'comix {command} --help'",
            ) from error
    return values if many else value


overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace the output if it exists."
)

# As in learning/device.py, whose import takes too long for --help.
PRECISIONS = ("auto", "float32", "bfloat16", "float16")

threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all]"
)

compute_options = chain(
    click.option(
        "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ..."
    ),
    threads_option,
)

precision_option = click.option(
    "--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True,
    help="Numbers to compute with; auto: bfloat16 on a GPU that has it.",
)  # fmt: skip


def _resampling_pairs(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """`hsi=bilinear`, `x=cubic`, `x2=nearest`, or one method for every input."""
    pairs: dict[str, str] = {}
    for value in values:
        key, separator, method = value.rpartition("=")
        if method not in RESAMPLINGS:
            raise click.BadParameter(
                f"'{method}' is not one of {', '.join(RESAMPLINGS)}", ctx=ctx, param=param
            )
        pairs.update({key: method} if separator else {"hsi": method, "x": method})
    return pairs


def _inputs_from_project(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    value: tuple[str, ...],
) -> tuple[str, ...]:
    """The positional inputs of the command line, else those of comix.toml."""
    inputs = value or tuple(ctx.lookup_default("inputs") or ())
    if not inputs:
        raise click.UsageError(
            "no input rasters: give the HSI first, then X, or name them in comix.toml", ctx=ctx
        )
    return tuple(str(path) for path in inputs)


scene_options = chain(
    click.argument("inputs", nargs=-1, metavar="HSI [X]...", callback=_inputs_from_project),
    click.option("--x", "named_x", multiple=True, metavar="[NAME=]FILE",
                 help="One more X, after those above; --resampling may use its name."),
    click.option("--dtm", metavar="FILE",
                 help="Terrain model to subtract from the X named dsm, or from the only X: heights "
                      "above ground."),
    click.option("--sharpen", is_flag=True,
                 help="Bring the HSI to the pixels of the first optical X first, as comix sharpen "
                      "does; kept beside the HSI for the next time."),
    click.option("--src-crs", metavar="CRS", help="CRS of input rasters that carry none."),
    click.option("--resampling", multiple=True, metavar="[INPUT=]METHOD",
                 callback=_resampling_pairs,
                 help="Resampling to the common grid: hsi=nearest, x=cubic, x2=average, NAME=... "
                      "[default: nearest for the HSI, bilinear for X, average when made coarser]"),
    click.option("--like", metavar="FILE", help="Take the grid of this raster."),
    click.option("--res", type=float, multiple=True, metavar="SIZE",
                 help="Pixel size in CRS units; twice for x and y.  [default: the finest input's]"),
    click.option("--dst-crs", metavar="CRS",
                 help="CRS of the grid.  [default: the finest input's]"),
    click.option("--bounds", type=float, nargs=4, metavar="LEFT BOTTOM RIGHT TOP",
                 help="Extent of the grid.  [default: where all inputs overlap]"),
)  # fmt: skip


def _map_path(ctx: click.Context, param: click.Parameter, value: str | None) -> str:  # noqa: ARG001
    """The map that is named, else comix.toml's, else the newest one in this folder."""
    from comix_cli.mapping.map_file import newest_map

    named = value or ctx.lookup_default("map_path")
    found = named or newest_map(Path.cwd())
    if found is None:
        raise InputError(
            "no map is named and this folder holds none that comix wrote",
            remedy=f"name one: comix {ctx.info_name} map.tif ...",
        )
    return str(found)


map_argument = click.argument("map_path", required=False, metavar="[MAP]", callback=_map_path)


def truth_options(required_for: str, *, required: bool = True) -> Callable[[Command], Command]:
    """--gt and what says how to read it."""
    return chain(
        click.option("--gt", required=required, metavar="FILE",
                     help=f"Ground truth {required_for}: vectors, or a raster of classes."),
        click.option("--field", metavar="NAME", help="Attribute that holds the class."),
        click.option("--layer", metavar="NAME",
                     help="Layer of ground truth that has several."),
        click.option("--gt-crs", metavar="CRS",
                     help="CRS of ground truth that carries none.  [default: the raster's]"),
        click.option("--all-touched/--no-all-touched", default=False,
                     help="Use every pixel that a polygon touches.  [default: centre inside]"),
        click.option("--min-coverage", type=FiniteRange(0, 1, min_open=True), metavar="SHARE",
                     help="Use pixels that a class covers at least so far (0.5: half)."),
    )  # fmt: skip


def scene_inputs(values: dict[str, Any]) -> SceneInputs:
    """The scene options as a value; takes them out of `values`."""
    from comix_cli.scene.stack import GridOptions
    from comix_cli.tools.inputs import SceneInputs

    hsi, *others = values.pop("inputs")
    x = [_named(text) for text in (*others, *values.pop("named_x"))]
    res = tuple(values.pop("res"))
    if len(res) > 2:
        raise click.UsageError("--res is given more than twice")
    bounds = values.pop("bounds")
    return SceneInputs(
        hsi=hsi,
        x=tuple(path for _, path in x),
        resampling=values.pop("resampling"),
        src_crs=values.pop("src_crs"),
        grid=GridOptions(
            like=values.pop("like"),
            resolution=(res[0], res[-1]) if res else None,
            dst_crs=values.pop("dst_crs"),
            bounds=tuple(bounds) if bounds else None,
        ),
        x_names=tuple(name for name, _ in x),
        dtm=values.pop("dtm"),
        sharpen=values.pop("sharpen"),
    )


def _named(text: str) -> tuple[str, str]:
    """Name and path of `NAME=FILE`; no name where there is none, or where a file is called so."""
    found = NAMED_FILE.fullmatch(text)
    if found is None or Path(text).exists():
        return "", text
    return found.group(1), found.group(2)


def ground_truth(values: dict[str, Any]) -> TruthOptions:
    """The ground truth options as a value; takes them out of `values`."""
    from comix_cli.scene.pixel_rule import PixelRule
    from comix_cli.tools.reference import TruthOptions

    rule = PixelRule(values.pop("all_touched"), values.pop("min_coverage"))
    if rule.all_touched and rule.min_coverage is not None:
        raise UsageError(
            "--all-touched and --min-coverage contradict each other", remedy="leave one out"
        )
    return TruthOptions(
        path=values.pop("gt"),
        field=values.pop("field"),
        layer=values.pop("layer"),
        crs=values.pop("gt_crs"),
        rule=rule,
    )
