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
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIGURES = {
    ("reference", "Against the reference"): (
        ("PSNR (dB)", "psnr_db"),
        ("SSIM", "ssim"),
        ("SAM (degrees)", "sam_degrees"),
        ("ERGAS", "ergas"),
        ("UIQI", "uiqi"),
    ),
    ("no_reference", "Without reference"): (
        ("HQNR", "qnr"),
        ("spectral distortion", "d_lambda"),
        ("spatial distortion", "d_s"),
    ),
}
METHODS = ("mossfuse", "cnmf", "gsa", "bicubic")


@click.command("sharpen", cls=ProjectCommand, short_help="Bring an HSI to the resolution of X.")
@click.argument("hsi", metavar="HSI")
@click.argument("x", metavar="X")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="The sharp HSI to write (GeoTIFF).")  # fmt: skip
@click.option("--method", type=click.Choice(METHODS), default="mossfuse", show_default=True,
              help="How.")  # fmt: skip
@click.option("--minutes", type=FiniteRange(min=0, min_open=True), metavar="MINUTES",
              help="MossFuse: learn no longer than this.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=300, show_default=True,
              help="MossFuse: steps of learning.")  # fmt: skip
@click.option("--x-wavelengths", metavar="NM,NM:FWHM,...",
              help="Band centres of X in nanometres, with widths where known, if its file does not "
                   "say them.")  # fmt: skip
@click.option(
    "--reference",
    metavar="FILE",
    help="The true image on the grid of X: tells PSNR, SSIM, SAM, ERGAS and UIQI.",
)
@click.option("--quality/--no-quality", default=True, show_default=True,
              help="Judge the result without a reference (HQNR).")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Fixes what is drawn and learnt.")  # fmt: skip
@click.option("--src-crs", metavar="CRS", help="CRS of rasters that carry none.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@overwrite_option
@common_options
@click.pass_obj
def command(state: CommonState, /, **values: Any) -> None:
    """Bring a coarse HSI to the grid of a fine optical image X of the same place.

    What the two sensors do (point spread, spectral response, gain, offset, shift) is found from
    the pair itself; MossFuse then learns on the pair alone. X must be optical: multispectral,
    colour or panchromatic.

    \b
    comix sharpen hsi.tif multispectral.tif -o sharp.tif
    comix sharpen hsi.tif rgb.tif -o sharp.tif --x-wavelengths 640,550,460 --minutes 5
    """
    from comix_cli.accuracy.report_text import to_json_text
    from comix_cli.sharpening.budget import Budget
    from comix_cli.tools.sharpen import SharpenOptions, sharpen
    from comix_cli.tools.sharpen_inputs import parse_wavelengths

    as_json = values.pop("as_json")
    budget = Budget(values.pop("steps"), values.pop("minutes"))
    given = values.pop("x_wavelengths")
    options = SharpenOptions(
        budget=budget, x_wavelengths=parse_wavelengths(given) if given else (), **values
    )
    document = sharpen(options, state.display())
    if as_json:
        click.echo(to_json_text(document), nl=False)
        return
    _print(document)
    if state.verbosity >= 0:
        say(f"{document['output']}: {document['bands']} bands, {document['method']}")


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
    spread, found = document["point_spread"], document["consistency"]["relative_rmse"]
    larger, smaller = spread["fwhm"]
    click.echo(
        f"The HSI sees {larger:.3g} x {smaller:.3g} {spread['unit']} (full width at half maximum, "
        f"larger axis at {spread['direction_degrees']:.0f} degrees), shifted by "
        f"{spread['shift_across']:.2g} across and {spread['shift_down']:.2g} down"
    )
    for (key, title), names in _FIGURES.items():
        figures = document[key]
        if figures is not None:
            told = [f"{name} {figures[of]:.4g}" for name, of in names if figures[of] is not None]
            said = ", ".join(told) or "nothing to say, the scene is too small"
            click.echo(f"{title}: {said}")
    if found is not None:
        click.echo(f"Blurred again, the result differs from the HSI by {100 * found:.2f} % (RMSE)")
