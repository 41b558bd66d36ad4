"""`comix sharpen`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comix_cli.commands.display import print_table, say
from comix_cli.commands.options import (
    CommonState,
    FiniteRange,
    ProjectCommand,
    common_options,
    overwrite_option,
    threads_option,
)
from comix_cli.commands.output_options import creation_option
from comix_cli.errors import as_ranges
from comix_cli.tools.sharpen_words import METHODS, NO_REFERENCE_FIGURES, REFERENCE_FIGURES

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIGURES = (
    ("reference", "Against the reference", REFERENCE_FIGURES),
    ("no_reference", "Without reference", NO_REFERENCE_FIGURES),
)


@click.command("sharpen", cls=ProjectCommand, short_help="Bring an HSI to the resolution of X.")
@click.argument("hsi", metavar="HSI")
@click.argument("x", metavar="X")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="The sharp HSI to write (GeoTIFF).")  # fmt: skip
@click.option("--method", type=click.Choice([*METHODS]), default="mossfuse", show_default=True,
              help="mossfuse: a network learns on the pair, the most faithful. cnmf (mixtures of "
                   "materials) and gsa (pansharpening): seconds, less faithful. bicubic: "
                   "interpolation without X, to compare with.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=300, show_default=True,
              help="How long MossFuse learns; 300 take a minute or two.")  # fmt: skip
@click.option("--minutes", type=FiniteRange(min=0, min_open=True), metavar="MINUTES",
              help="MossFuse learns no longer than this, whatever --steps says.")  # fmt: skip
@click.option("--hsi-wavelengths", metavar="NM..NM", default="",
              help="Where the bands of the HSI lie, if its file does not say: the first and the "
                   "last of evenly spaced ones in nanometres, or all of them.")  # fmt: skip
@click.option("--x-wavelengths", metavar="NM,NM:FWHM,...", default="",
              help="Where each band of X lies, if its file does not say: centres in nanometres, in "
                   "its order, with widths where known (490:65,560:35,665).")  # fmt: skip
@click.option("--reference", metavar="FILE",
              help="A true sharp HSI to compare with, on the pixels of X, as in tests with images "
                   "that were made coarser: PSNR, SSIM, SAM, ERGAS and UIQI are told.")  # fmt: skip
@click.option("--quality/--no-quality", default=True, show_default=True,
              help="Judge the result without a reference: HQNR, 1 is best.")  # fmt: skip
@click.option("--report", "reports", type=click.Path(path_type=Path), multiple=True,
              metavar="FILE",
              help="Also write a report: .html explains the figures and shows before and after, "
                   ".json is what --json prints. May be given more than once.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Fixes what is drawn and learnt: one seed, one image.")  # fmt: skip
@click.option("--src-crs", metavar="CRS", help="CRS of rasters that carry none.")
@creation_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@threads_option
@overwrite_option
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Bring a coarse hyperspectral image HSI to the pixels of a finer image X of the same place.

    X must be optical (multispectral, colour or panchromatic), because sharpening rests on both
    sensors measuring the same light. The result has all bands of the HSI, with their wavelengths.

    Nothing is known beforehand of the sensors: how wide an area each HSI pixel sees, which of its
    bands make up a band of X, in which units, and how far the two images lie apart, is found from
    the pair and printed. Nor is any other data needed: MossFuse learns on this pair alone.

    \b
    comix sharpen hsi.tif multispectral.tif -o sharp.tif --report sharp.html
    comix sharpen hsi.tif rgb.tif -o sharp.tif --x-wavelengths 640,550,460 --minutes 5
    """
    from comix_cli.accuracy.report_text import to_json_text
    from comix_cli.sharpening.budget import Budget
    from comix_cli.tools.sharpen import SharpenOptions, sharpen

    as_json = values.pop("as_json")
    budget = Budget(values.pop("steps"), values.pop("minutes"))
    options = SharpenOptions(budget=budget, **values)
    document = sharpen(options, state.display())
    if as_json:
        click.echo(to_json_text(document), nl=False)
        return
    _print(document)
    if state.verbosity >= 0:
        say(f"{document['output']}: {document['bands']} bands, {document['method']}")
        for path in options.reports:
            say(f"{path}: report")


def _print(document: Mapping[str, Any]) -> None:
    print_table(
        "What X sees of the HSI",
        ("band of X", "centre, nm", "correlation", "gain", "offset"),
        [
            [
                str(channel["band"]),
                f"{channel['centre_nm']:.0f}",
                f"{channel['correlation']:.3f}",
                f"{channel['gain']:.4g}",
                f"{channel['offset']:.4g}",
            ]
            for channel in document["channels"]
        ],
    )
    spread, again = document["point_spread"], document["consistency"]
    larger, smaller = spread["fwhm"]
    click.echo(
        f"The HSI sees {larger:.3g} x {smaller:.3g} {spread['unit']} (full width at half maximum, "
        f"larger axis at {spread['direction_degrees']:.0f} degrees), shifted by "
        f"{spread['shift_across']:.2g} across and {spread['shift_down']:.2g} down"
    )
    for key, title, named in _FIGURES:
        found = document[key]
        if found is not None:
            told = [f"{each.name} {found[each.key]:.4g}" for each in named
                    if found[each.key] is not None]  # fmt: skip
            said = ", ".join(told) or "nothing to say, the scene is too small"
            click.echo(f"{title}: {said}")
    if again["relative_rmse"] is not None:
        click.echo(
            f"Blurred again, the result differs from the HSI by {100 * again['relative_rmse']:.2f} "
            f"% (RMSE), the middle one of its bands by {100 * again['median_band']:.2f} %"
        )
    if again["unexplained_bands"]:
        bands = as_ranges(again["unexplained_bands"])
        click.echo(f"Bands {bands} differ by more than 10 %: they hold little else than noise")
