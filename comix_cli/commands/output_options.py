"""Options of what a classification writes, and of where it looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comix_cli.commands.options import chain

if TYPE_CHECKING:
    from comix_cli.tools.output_files import OutputOptions

_FILE = click.Path(path_type=Path)


def _creation_options(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, separator, option = value.partition("=")
        if not separator:
            raise click.BadParameter(f"'{value}' is not KEY=VALUE", ctx=ctx, param=param)
        pairs[key.upper()] = option
    return pairs


creation_option = click.option(
    "--co", "creation_options", multiple=True, metavar="KEY=VALUE", callback=_creation_options,
    help="GDAL creation option of GeoTIFFs, such as COMPRESS=ZSTD.",
)  # fmt: skip

output_options = chain(
    click.option("--probabilities", type=_FILE, metavar="FILE",
                 help="Also write the probability of every class (GeoTIFF, a band per class)."),
    click.option("--confidence", type=_FILE, metavar="FILE",
                 help="Also write the largest probability (GeoTIFF)."),
    click.option("--entropy", type=_FILE, metavar="FILE",
                 help="Also write how undecided the model is, 0 to 1 (GeoTIFF)."),
    click.option("--float-scores", is_flag=True,
                 help="Write these as float32.  [default: bytes in steps of 0.004]"),
    click.option("--min-area", metavar="AREA",
                 help="Give patches smaller than this to their largest neighbour: "
                      "200 (square metres), 0.5ha, 20px."),
    click.option("--polygons", type=_FILE, metavar="FILE",
                 help="Also write the map as polygons (GeoPackage)."),
    click.option("--quicklook", type=_FILE, metavar="FILE",
                 help="Also draw the map with its legend (PNG)."),
    click.option("--stac", type=_FILE, metavar="FILE",
                 help="Also write a STAC item of the map, and one of the model beside it (JSON)."),
    click.option("--mask", metavar="FILE",
                 help="Classify only inside these polygons (vector file)."),
    click.option("--mask-layer", metavar="NAME",
                 help="Layer of the mask, where its file has several."),
    creation_option,
)  # fmt: skip


def output_settings(values: dict[str, Any]) -> OutputOptions:
    """The output options as a value; takes them out of `values`, but for the mask."""
    from comix_cli.tools.output_files import OutputOptions

    names = (
        "probabilities", "confidence", "entropy", "float_scores", "min_area", "polygons",
        "quicklook", "stac", "creation_options", "overwrite",
    )  # fmt: skip
    return OutputOptions(map=values.pop("output"), **{name: values.pop(name) for name in names})
