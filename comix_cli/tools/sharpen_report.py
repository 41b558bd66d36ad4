"""The reports of `comix sharpen`: its document as JSON, or as an HTML page with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comix_cli.accuracy.report_text import to_json_text
from comix_cli.errors import UsageError
from comix_cli.files import check_writable, output_errors, partial_folder
from comix_cli.progress import Progress
from comix_cli.sharpening.pair import Pair
from comix_cli.sharpening.study import Study

if TYPE_CHECKING:
    from comix_cli.tools.sharpen_pictures import Side

PAGE_SUFFIXES = (".html", ".htm")
SUFFIXES = (".json", *PAGE_SUFFIXES)


def check_reports(paths: Sequence[Path], inputs: Sequence[str], *, overwrite: bool) -> None:
    """Refuse reports that could not be written, before long work.

    Args:
        paths: The files.
        inputs: What is read meanwhile, and must not be replaced.
        overwrite: Whether they may exist.

    Raises:
        UsageError: A format that does not exist, or one file for two reports.
        OutputError: A file exists, is an input, or cannot be written.
    """
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"--report {path}: a report is written as {', '.join(SUFFIXES)} here",
                remedy="give a file name that ends so",
            )
        check_writable(path, overwrite=overwrite, inputs=inputs)
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("--report names one file twice", remedy="give each a file of its own")


def finished_reports(
    paths: Sequence[Path],
    document: Mapping[str, Any],
    pair: Pair,
    found: Study,
    sharp: Path,
    stack: ExitStack,
    progress: Progress,
) -> list[tuple[Path, Path]]:
    """Write reports beside their places.

    Args:
        paths: The files that are asked for.
        document: What they say.
        pair: The two images, for pictures.
        found: What the sensors do.
        sharp: The finished sharp image.
        stack: Removes what has not been published at its end.
        progress: Who watches.

    Returns:
        What to publish: finished files and their places.

    Raises:
        OutputError: The disk is full, or fails.
        RasterError: A raster cannot be read.
    """
    if not paths:
        return []
    placed = []
    with progress.task("writing reports", None):
        sides = _pictures(document, pair, found, sharp) if any(map(_is_page, paths)) else []
        for path in paths:
            target = path.resolve()  # a link stays one
            part = stack.enter_context(partial_folder(target)) / target.name
            text = _page(document, sides) if _is_page(path) else to_json_text(document)
            with output_errors(target):
                # A path whose bytes are no UTF-8 has lone surrogates here, which no file can hold.
                part.write_bytes(text.encode("utf-8", "replace"))
            placed.append((part, target))
    return placed


def _is_page(path: Path) -> bool:
    return path.suffix.lower() in PAGE_SUFFIXES


def _pictures(document: Mapping[str, Any], pair: Pair, found: Study, sharp: Path) -> list[Side]:
    from comix_cli.tools.sharpen_pictures import side_by_side  # noqa: PLC0415  # as below

    centres = [channel["centre_nm"] for channel in document["channels"]]
    return side_by_side(pair, found.calibration, centres, sharp)


def _page(document: Mapping[str, Any], sides: Sequence[Side]) -> str:
    # What makes pages takes half a second to import.
    from comix_cli.tools.sharpen_page import render  # noqa: PLC0415

    return render(document, sides)
