"""The `comix` command: its subcommands, and the one place where an error becomes an exit code."""

from __future__ import annotations

import errno
import importlib
import keyword
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from comix_cli import __version__
from comix_cli.commands.options import CommonState
from comix_cli.errors import ComixError

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

# In the order of the work. Modules are imported when they are asked for: torch takes seconds.
COMMANDS = (
    "demo", "import", "init", "split", "sharpen", "train", "classify", "sample", "evaluate",
    "compare", "benchmark", "batch", "info",
)  # fmt: skip


class App(click.Group):
    """A group that loads its commands when they are asked for and turns errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names of the commands, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        # A module cannot be called like a word of the language, such as `import`.
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"comix_cli.commands.{name}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; where the reader of its output has gone, end in silence."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Python flushes stdout once more at the end, and would complain then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit with its code (or, not standalone, return and raise)."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        state = CommonState()
        try:
            code = super().main(
                args, prog_name or "comix", complete_var, standalone_mode=False, obj=state, **extra
            )
        except BaseException as error:
            _finish(error, state)
        sys.exit(code if isinstance(code, int) else 0)


class Terminated(SystemExit):
    """A signal has asked for the end; its code is the exit code."""


def _finish(error: BaseException, state: CommonState) -> NoReturn:
    """Tell of an error in one line on stderr and exit with its code."""
    if isinstance(error, SystemExit) and not isinstance(error, Terminated):
        raise error
    if state.debug and not isinstance(error, click.exceptions.Exit):
        traceback.print_exception(error)
    message, code = _judge(error, state)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(message, err=True)
    elif message:
        click.echo(f"Error: {message}", err=True)
    sys.exit(code)


def _judge(error: BaseException, state: CommonState) -> tuple[str, int]:
    """The message and the exit code of an error; no message where silence is right."""
    match error:
        case click.exceptions.Exit():
            verdict = "", error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            verdict = error.format_message(), EXIT_USAGE
        case click.Abort() | KeyboardInterrupt():
            verdict = f"interrupted; {state.what_is_left}", EXIT_INTERRUPTED
        case Terminated():
            verdict = f"terminated; {state.what_is_left}", int(str(error.code))
        case click.UsageError():
            verdict = _usage_message(error), EXIT_USAGE
        case click.ClickException():
            verdict = error.format_message(), error.exit_code
        case ComixError():
            verdict = error.message, error.exit_code
        case OSError():
            verdict = _os_message(error), EXIT_ERROR
        case _ if _is_out_of_memory(error):
            verdict = "out of memory; use a smaller --window or --batch-size", EXIT_ERROR
        case _:
            what = f"unexpected {type(error).__name__}: {_one_line(error)}"
            verdict = f"{what}; run again with --debug and report it", EXIT_ERROR
    return verdict


def _is_out_of_memory(error: BaseException) -> bool:
    """Also true for torch's own ways of saying so, without importing torch."""
    named = type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
    said = str(error).lower()
    return named or "can't allocate memory" in said or "cuda error: out of memory" in said


def _usage_message(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "comix"
    return f"{_one_line(error.format_message()).rstrip('.')}; see '{path} --help'"


def _os_message(error: OSError) -> str:
    cause = error.strerror or _one_line(error)
    where = f"{error.filename}: " if error.filename else ""
    remedy = "; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{where}{cause}{remedy}"


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _terminate(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # Raising lets every open writer remove what it has half written.
    raise Terminated(128 + signum)


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="comix")
def main_group() -> None:
    """Classified maps from a hyperspectral image and other sensors.

    \b
    comix train hsi.tif lidar.tif --gt labels.shp --field class
    comix classify hsi.tif lidar.tif -o map.tif
    comix evaluate --gt labels.shp
    """


def main() -> None:
    """Entry point of the installed `comix` script."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _terminate)
    main_group()


if __name__ == "__main__":
    main()
