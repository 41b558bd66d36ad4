"""`comix sharpen`: a coarse HSI on the grid of a fine optical X."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comix_cli.errors import UsageError
from comix_cli.files import check_suffix, check_writable, partial_folder, publish_all, sidecar
from comix_cli.mapping.cog import check_creation_options, copy_to_cog, merged_options
from comix_cli.mapping.writer import stale_files
from comix_cli.progress import Progress
from comix_cli.scene.raster import SHARPENED_TAG
from comix_cli.scene.windows import tile_windows
from comix_cli.sharpening.bicubic import Bicubic
from comix_cli.sharpening.budget import Budget
from comix_cli.sharpening.cnmf import fit_cnmf
from comix_cli.sharpening.cube_file import CubeFormat, open_cube
from comix_cli.sharpening.gsa import fit_gsa
from comix_cli.sharpening.mossfuse import fit_mossfuse
from comix_cli.sharpening.pair import Pair, open_pair
from comix_cli.sharpening.sharpener import Lesson, Sharpener
from comix_cli.sharpening.study import Study, study
from comix_cli.sharpening.windows import CORE, CoarseAgain, sharpened
from comix_cli.tools.provenance import plain, timestamp, versions
from comix_cli.tools.sharpen_inputs import Wavelength, channels_and_response
from comix_cli.tools.sharpen_quality import against_reference, check_reference, without_reference
from comix_models.degradation import FWHM_PER_SIGMA

METHODS = ("mossfuse", "cnmf", "gsa", "bicubic")
SUFFIXES = (".tif", ".tiff")
# A sharpened image holds values, not codes; differences of neighbours compress better.
# Blocks hold all bands, so they have to be small.
_OPTIONS = {"OVERVIEW_RESAMPLING": "AVERAGE", "PREDICTOR": "YES", "BLOCKSIZE": "128"}


@dataclass(frozen=True)
class SharpenOptions:
    """What `comix sharpen` can be told.

    Attributes:
        hsi: Path or GDAL name of the coarse HSI.
        x: Path or GDAL name of the fine optical image.
        output: The GeoTIFF to write.
        method: One of `METHODS`.
        budget: How long MossFuse learns.
        seed: Fixes what is drawn and learnt.
        x_wavelengths: Of the bands of X, where its file does not say them.
        src_crs: The CRS of rasters that carry none.
        reference: The true image on the grid of X, to compare with.
        quality: Whether to judge the result without a reference.
        creation_options: Of GDAL's COG driver.
        overwrite: Replace an existing output.
    """

    hsi: str
    x: str
    output: Path
    method: str = "mossfuse"
    budget: Budget = Budget()
    seed: int = 0
    x_wavelengths: tuple[Wavelength, ...] = ()
    src_crs: str | None = None
    reference: str | None = None
    quality: bool = True
    creation_options: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False


def sharpen(options: SharpenOptions, progress: Progress) -> dict[str, Any]:
    """Learn from a pair, write the sharp HSI, and say how.

    Returns:
        A document: what was found out of the sensors, and how well the result, blurred, gives the
        HSI again.

    Raises:
        InputError: A raster cannot be used.
        OutputError: The output cannot be written.
        UsageError: Options that cannot be meant.
    """
    _check(options)
    with open_pair(options.hsi, options.x, src_crs=options.src_crs) as pair:
        if options.reference is not None:
            check_reference(options.reference, pair.fine, len(pair.hsi.bands), options.src_crs)
        channels, expected = channels_and_response(pair, options.x_wavelengths, progress)
        found = study(pair, expected, channels, seed=options.seed, progress=progress)
        _tell(pair, found, progress)
        sharpener = learnt(options, found.lesson, progress)
        document = _document(options, pair, found)
        return document | _write(options, pair, found, sharpener, document, progress)


def learnt(options: SharpenOptions, lesson: Lesson, progress: Progress) -> Sharpener:
    """The method that is asked for, after its lesson."""
    if options.method == "bicubic":
        return Bicubic()
    if options.method == "gsa":
        return fit_gsa(lesson)
    if options.method == "cnmf":
        return fit_cnmf(lesson)
    return fit_mossfuse(lesson, options.budget, seed=options.seed, progress=progress)


def _check(options: SharpenOptions) -> None:
    if options.method not in METHODS:
        raise UsageError(
            f"--method {options.method}: not known", remedy=f"choose one of {', '.join(METHODS)}"
        )
    inputs = [options.hsi, options.x, *([options.reference] if options.reference else [])]
    check_suffix(options.output, SUFFIXES)
    check_writable(options.output, overwrite=options.overwrite, inputs=inputs)


def _tell(pair: Pair, found: Study, progress: Progress) -> None:
    """What is strange about the pair."""
    for index, correlation in found.ignored.items():
        progress.warn(
            f"{pair.x.info.path}: band {pair.x.bands[index]} hardly follows the HSI (correlation "
            f"{correlation:.2f}) and does not guide"
        )
    shift = [s / r for s, r in zip(found.calibration.shift, pair.placement.ratio, strict=True)]
    if math.hypot(*shift) > 0.5:
        progress.warn(
            f"{pair.hsi.info.path} seems to lie {math.hypot(*shift):.2f} of its pixels off "
            f"{pair.x.info.path}; this is allowed for"
        )


def _document(options: SharpenOptions, pair: Pair, found: Study) -> dict[str, Any]:
    height, width = (abs(v) for v in (pair.fine.transform.e, pair.fine.transform.a))
    larger, smaller, angle = found.lesson.spread.axes((height, width))
    return {
        "kind": "sharpening",
        "output": str(options.output),
        "method": options.method,
        "inputs": {"hsi": options.hsi, "x": options.x},
        "ratio": {"down": pair.placement.ratio[0], "across": pair.placement.ratio[1]},
        "size": {"width": pair.fine.width, "height": pair.fine.height},
        "bands": len(pair.hsi.bands),
        "dropped_bands": {str(band): why for band, why in pair.hsi.dropped.items()},
        "point_spread": {
            "fwhm": [larger * FWHM_PER_SIGMA, smaller * FWHM_PER_SIGMA],
            "direction_degrees": angle,
            "shift_down": found.calibration.shift[0] * height,
            "shift_across": found.calibration.shift[1] * width,
            "unit": "degree" if pair.fine.crs.is_geographic else str(pair.fine.crs.linear_units),
        },
        "channels": _channels(pair, found),
        "seed": options.seed,
        "options": plain(options),
        "created": timestamp(),
        "versions": versions(),
    }


def _channels(pair: Pair, found: Study) -> list[dict[str, Any]]:
    """Each band of X that guides: how it follows the HSI, and what it sees of its bands."""
    centres = [pair.hsi.info.bands.wavelengths_nm[band - 1] or 0.0 for band in pair.hsi.bands]
    rows = found.lesson.response.tolist()
    calibration = found.calibration
    return [
        {
            "band": pair.x.bands[index],
            "correlation": correlation,
            "gain": gain,
            "offset": offset,
            "centre_nm": sum(w * c for w, c in zip(row, centres, strict=True)),
        }
        for index, correlation, gain, offset, row in zip(
            calibration.channels,
            found.correlation,
            calibration.gain.tolist(),
            calibration.offset.tolist(),
            rows,
            strict=True,
        )
    ]


def _write(
    options: SharpenOptions,
    pair: Pair,
    found: Study,
    sharpener: Sharpener,
    document: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Every block into a file beside the output, which is judged and takes its place as a COG."""
    form = CubeFormat.like(pair.hsi.dataset, pair.hsi.info, pair.hsi.bands)
    target = options.output.resolve()  # a link stays one
    with partial_folder(target) as folder:
        asked = {**_OPTIONS, **{key.upper(): v for key, v in options.creation_options.items()}}
        check_creation_options(folder, options.creation_options, [(form.dtype, 3)])
        again = CoarseAgain(folder, len(form.names), len(found.calibration.channels), pair.coarse)
        plain_file = folder / "blocks.tif"
        with (
            open_cube(plain_file, pair.fine, form, options.output) as cube,
            progress.task("sharpening", len(tile_windows(pair.fine.shape, CORE))) as task,
        ):
            parts = sharpened(pair, sharpener, found.calibration, found.lesson.spread, again)
            for part in parts:
                cube.write(part.window, part.data, part.valid)
                task.advance()
            cube.tag({SHARPENED_TAG: options.method, "COMIX_CREATED": document["created"]})
        figures = _judged(options, pair, found, again, plain_file, progress)
        finished = folder / target.name
        with progress.task("writing", None):
            copy_to_cog(plain_file, finished, merged_options(asked), options.output)
        companion = [(sidecar(finished), sidecar(target))] if sidecar(finished).exists() else []
        placed = [*companion, (finished, target)]
        publish_all(placed, stale_files(placed))
    return figures


def _judged(
    options: SharpenOptions,
    pair: Pair,
    found: Study,
    again: CoarseAgain,
    sharp: Path,
    progress: Progress,
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "consistency": {"relative_rmse": again.relative_rmse, "pixels": again.pixels},
        "no_reference": None,
        "reference": None,
    }
    if options.quality and again.pixels:
        figures["no_reference"] = without_reference(sharp, pair, found, again, progress)
    if options.reference is not None:
        ratio = math.sqrt(pair.placement.ratio[0] * pair.placement.ratio[1])
        bands = len(pair.hsi.bands)
        figures["reference"] = against_reference(
            sharp, options.reference, bands, ratio, options.src_crs, progress
        )
    return figures
