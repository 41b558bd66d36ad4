"""`comix import`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from comix_cli.commands.display import print_table, say
from comix_cli.commands.options import (
    CommonState,
    ProjectCommand,
    common_options,
    overwrite_option,
)

# As in tools/importing/datasets.py, whose import takes too long for --help.
NAMES = ("houston2013", "berlin", "dfc2018", "trento", "muufl", "augsburg")


@click.command("import", cls=ProjectCommand, short_help="Make rasters of a benchmark dataset.")
@click.argument("dataset", type=click.Choice(NAMES), metavar="DATASET")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False),
              metavar="FOLDER", help="Folder for the rasters; made if it is not there."
              )  # fmt: skip
@click.option("--any-counts", is_flag=True,
              help="Take labels and images that differ from what is published, with a warning."
              )  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@overwrite_option
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Make rasters of the files of a public benchmark.

    DATASET is houston2013, berlin, dfc2018, trento, muufl or augsburg. DIR holds its files as they
    are passed around (.mat, ENVI, PCIDSK, GeoTIFF), also in folders.

    Writes hsi.tif, a raster for each other sensor, the official labels as train.tif and test.tif
    (labels.tif where there is no split), and import.json. Labelled pixels of each class are
    compared with the published numbers.

    \b
    comix import trento downloads/Trento -o trento
    comix train trento/hsi.tif trento/lidar.tif --gt trento/train.tif
    comix classify trento/hsi.tif trento/lidar.tif -o map.tif
    comix evaluate map.tif --gt trento/test.tif
    """
    from comix_cli.accuracy.report_text import to_json_text
    from comix_cli.tools.import_dataset import ImportOptions, import_dataset

    as_json = values.pop("as_json")
    document = import_dataset(ImportOptions(**values), state.display())
    if as_json:
        click.echo(to_json_text(document), nl=False)
        return
    _print_rasters(document)
    _print_classes(document)
    if state.verbosity >= 0:
        say(f"wrote {', '.join(_files(document))} to {values['output']}")
        say(f"please cite: {document['citation']}")


def _files(document: dict[str, Any]) -> list[str]:
    return [each["file"] for each in (*document["images"], *document["sets"])]


def _print_rasters(document: dict[str, Any]) -> None:
    rows = [
        (
            each["file"],
            str(each.get("bands", 1)),
            f"{each['width']} x {each['height']}",
            " x ".join(f"{size:g}" for size in dict.fromkeys(each["pixel_size"])),
            each["crs"] or "local grid, metres",
            _range(each.get("wavelengths_nm")),
            Path(each["source"]).name,
        )
        for each in (*document["images"], *document["sets"])
    ]
    columns = ("raster", "bands", "size", "pixel", "CRS", "nm", "from")
    print_table(document["title"], columns, rows)
    if document["remark"]:
        click.echo(document["remark"])


def _range(centres: Sequence[float] | None) -> str:
    return "-" if centres is None else f"{centres[0]:.0f}-{centres[1]:.0f}"


def _print_classes(document: dict[str, Any]) -> None:
    """Labelled pixels of each class, found and official."""
    sets = document["sets"]
    heads = [head for each in sets for head in (each["name"], "official", "")]
    rows = []
    for entry in document["classes"]:
        cells = [
            _cells(entry["pixels"][each["name"]], entry["official"][each["name"]]) for each in sets
        ]
        rows.append(
            (f"{entry['code']} {entry['name']}", *(text for cell in cells for text in cell))
        )
    totals = [_cells(each["pixels"], each["official_pixels"]) for each in sets]
    rows.append(("all", *(text for cell in totals for text in cell)))
    print_table("Labelled pixels", ("class", *heads), rows)


def _cells(found: int, official: int) -> tuple[str, str, str]:
    return str(found), str(official), "as published" if found == official else "differs"
