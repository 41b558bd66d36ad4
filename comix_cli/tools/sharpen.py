"""`comix sharpen`: a coarse HSI on the grid of a fine optical X."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rasterio
import torch
from torch import Tensor

from comix_cli.errors import RasterError, UsageError
from comix_cli.files import check_suffix, check_writable, partial_folder, publish_all
from comix_cli.learning.device import set_threads
from comix_cli.mapping.cog import check_creation_options, copy_to_cog, merged_options, with_sidecar
from comix_cli.mapping.writer import stale_files
from comix_cli.progress import Progress
from comix_cli.scene.checksum import checksum
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
from comix_cli.sharpening.windows import CORE, CoarseAgain, block_bytes, sharpened
from comix_cli.tools.machine import available_bytes
from comix_cli.tools.provenance import on_the_side
from comix_cli.tools.sharpen_document import (
    SHIFTED,
    consistency_document,
    sharpening_document,
    sharpening_tags,
)
from comix_cli.tools.sharpen_inputs import channels_and_response, parse_wavelengths, told
from comix_cli.tools.sharpen_quality import against_reference, check_reference, without_reference
from comix_cli.tools.sharpen_report import check_reports, finished_reports
from comix_cli.tools.sharpen_words import METHODS
from comix_models.degradation import FARTHEST

SUFFIXES = (".tif", ".tiff")
# GDAL's blocks, in bytes. Its own limit is a share of the machine's memory, which fills as a large
# scene goes by.
_CACHE = 256_000_000
# How far beside its wavelength a band may be found to look, unless it is broader than that.
_ELSEWHERE_NM = 40
# The share of the largest shift that can be found out beyond which it may be larger still.
_NEARLY_ALL = 0.95
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
        hsi_wavelengths: Of the bands of the HSI, see `parse_wavelengths`; empty where its file says
            them.
        x_wavelengths: The same of X.
        src_crs: The CRS of rasters that carry none.
        reference: The true image on the grid of X, to compare with.
        quality: Whether to judge the result without a reference.
        creation_options: Of GDAL's COG driver.
        overwrite: Replace existing outputs.
        reports: Files for the document: JSON, or HTML with pictures.
        threads: CPU threads to compute with; None for all.
    """

    hsi: str
    x: str
    output: Path
    method: str = "mossfuse"
    budget: Budget = Budget()
    seed: int = 0
    hsi_wavelengths: str = ""
    x_wavelengths: str = ""
    src_crs: str | None = None
    reference: str | None = None
    quality: bool = True
    creation_options: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False
    reports: tuple[Path, ...] = ()
    threads: int | None = None


def sharpen(options: SharpenOptions, progress: Progress) -> dict[str, Any]:
    """Learn from a pair, write the sharp HSI, and say how.

    Returns:
        A document: what was found out of the sensors, and how well the result, blurred, gives the
        HSI again.

    Raises:
        InputError: A raster cannot be used.
        OutputError: The output or a report cannot be written.
        UsageError: Options that cannot be meant.
    """
    _check(options)
    set_threads(options.threads)
    inputs = _inputs(options)
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE),
        _open(options) as pair,
        on_the_side(
            lambda cancelled: [checksum(path, cancelled) for path in inputs.values()]
        ) as checksums,
    ):
        _check_with(pair, options)
        channels, expected = channels_and_response(pair, progress)
        found = study(pair, expected, channels, seed=options.seed, progress=progress)
        responses = dict(zip(channels, expected, strict=True))
        _tell(pair, found, responses, progress)
        sharpener = learnt(options, found.lesson, progress)
        document = sharpening_document(options, pair, found, responses, inputs, checksums())
        return _write(options, pair, found, sharpener, document, progress)


def learnt(options: SharpenOptions, lesson: Lesson, progress: Progress) -> Sharpener:
    """The method that is asked for, after its lesson."""
    if options.method == "bicubic":
        return Bicubic()
    if options.method == "gsa":
        return fit_gsa(lesson)
    if options.method == "cnmf":
        return fit_cnmf(lesson)
    return fit_mossfuse(lesson, options.budget, seed=options.seed, progress=progress)


def _inputs(options: SharpenOptions) -> dict[str, str]:
    """What is read, by what it is for."""
    read = {"hsi": options.hsi, "x": options.x}
    return read if options.reference is None else read | {"reference": options.reference}


def _open(options: SharpenOptions) -> AbstractContextManager[Pair]:
    return open_pair(
        options.hsi,
        options.x,
        src_crs=options.src_crs,
        hsi_told=lambda info: told(info, options.hsi_wavelengths, "--hsi-wavelengths"),
        x_told=lambda info: told(info, options.x_wavelengths, "--x-wavelengths"),
    )


def _check(options: SharpenOptions) -> None:
    """Refuse what needs no look into the rasters."""
    for text in filter(None, (options.hsi_wavelengths, options.x_wavelengths)):
        parse_wavelengths(text)
    if options.method not in METHODS:
        raise UsageError(
            f"--method {options.method}: not known", remedy=f"choose one of {', '.join(METHODS)}"
        )
    inputs = [*_inputs(options).values()]
    check_suffix(options.output, SUFFIXES)
    check_writable(options.output, overwrite=options.overwrite, inputs=inputs)
    check_reports(options.reports, inputs, overwrite=options.overwrite)


def _check_with(pair: Pair, options: SharpenOptions) -> None:
    """Refuse what does not fit the pair or the machine, before long work."""
    needed, left = block_bytes(pair), available_bytes()
    if needed > left:
        ratio = max(pair.placement.ratio)
        raise RasterError(
            f"its pixels are {ratio:.3g} times as fine as those of {options.hsi}, which takes "
            f"about {needed / 1e9:.1f} GB of memory; {left / 1e9:.1f} GB are free",
            path=options.x,
            remedy="make it coarser first: gdalwarp -r average -tr ...",
        )
    with partial_folder(options.output.resolve()) as folder:
        check_creation_options(folder, options.creation_options, [(pair.hsi.info.dtype, 3)])
    if options.reference is not None:
        check_reference(options.reference, pair.fine, len(pair.hsi.bands), options.src_crs)


def _tell(pair: Pair, found: Study, expected: Mapping[int, Tensor], progress: Progress) -> None:
    """What is strange about the pair."""
    _tell_of_bands_elsewhere(pair, found, expected, progress)
    for index, correlation in found.ignored.items():
        progress.warn(
            f"{pair.x.info.path}: band {pair.x.bands[index]} hardly follows the HSI (correlation "
            f"{correlation:.2f}) and does not guide; check its wavelength"
        )
    shift = [s / r for s, r in zip(found.calibration.shift, pair.placement.ratio, strict=True)]
    off = f"{pair.hsi.info.path} seems to lie {math.hypot(*shift):.2f} of its pixels off "
    if max(map(abs, shift)) > _NEARLY_ALL * FARTHEST:
        progress.warn(
            f"{off}{pair.x.info.path} or more, and no more can be found out: bring the two into "
            "register first"
        )
    elif math.hypot(*shift) > SHIFTED:
        progress.warn(f"{off}{pair.x.info.path}; this is allowed for")


def _tell_of_bands_elsewhere(
    pair: Pair, found: Study, expected: Mapping[int, Tensor], progress: Progress
) -> None:
    """Which bands of X seem to lie at other wavelengths than was said."""
    centres = torch.tensor(pair.hsi.centres_nm)
    for index, response in zip(found.calibration.channels, found.lesson.response, strict=True):
        wanted = expected[index].float()
        said, seen = float(wanted @ centres), float(response @ centres)
        width = float((wanted @ (centres - said) ** 2).sqrt())
        if abs(seen - said) > max(width, _ELSEWHERE_NM):
            progress.warn(
                f"{pair.x.info.path}: band {pair.x.bands[index]} follows the HSI at {seen:.0f} nm, "
                f"and not at {said:.0f} nm; check the order of its wavelengths"
            )


def _write(
    options: SharpenOptions,
    pair: Pair,
    found: Study,
    sharpener: Sharpener,
    document: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """The image and its reports, all at once or nothing; the document with its figures."""
    target = options.output.resolve()  # a link stays one
    with ExitStack() as stack:
        folder = stack.enter_context(partial_folder(target))
        blocks, again = _blocks(options, pair, found, sharpener, document, folder, progress)
        whole = {**document, **_judged(options, pair, found, again, blocks, progress)}
        finished = folder / target.name
        with progress.task("writing", None):
            copy_to_cog(blocks, finished, _creation_options(options), options.output)
        image = with_sidecar(finished, target)
        reports = finished_reports(options.reports, whole, pair, found, finished, stack, progress)
        publish_all([*reports, *image], stale_files(image))
    return whole


def _creation_options(options: SharpenOptions) -> dict[str, str]:
    asked = {key.upper(): value for key, value in options.creation_options.items()}
    return merged_options({**_OPTIONS, **asked})


def _blocks(
    options: SharpenOptions,
    pair: Pair,
    found: Study,
    sharpener: Sharpener,
    document: Mapping[str, Any],
    folder: Path,
    progress: Progress,
) -> tuple[Path, CoarseAgain]:
    """Every block in a plain file, and what it is when it is blurred again."""
    form = CubeFormat.like(pair.hsi.dataset, pair.hsi.info, pair.hsi.bands)
    kept = folder if options.quality else None
    again = CoarseAgain(kept, len(form.names), len(found.calibration.channels), pair.coarse)
    path = folder / "blocks.tif"
    with (
        open_cube(path, pair.fine, form, options.output) as cube,
        progress.task("sharpening", len(tile_windows(pair.fine.shape, CORE))) as task,
    ):
        for part in sharpened(pair, sharpener, found.calibration, found.lesson.spread, again):
            cube.write(part.window, part.data, part.valid)
            task.advance()
        cube.tag(sharpening_tags(document))
    return path, again


def _judged(
    options: SharpenOptions,
    pair: Pair,
    found: Study,
    again: CoarseAgain,
    sharp: Path,
    progress: Progress,
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "consistency": consistency_document(pair, again.consistency),
        "no_reference": None,
        "reference": None,
    }
    if options.quality and again.consistency.pixels:
        figures["no_reference"] = without_reference(sharp, pair, found, again, progress)
    if options.reference is not None:
        ratio = math.sqrt(pair.placement.ratio[0] * pair.placement.ratio[1])
        bands = len(pair.hsi.bands)
        figures["reference"] = against_reference(
            sharp, options.reference, bands, ratio, options.src_crs, progress
        )
    return figures
