"""From a map to a stratified random sample for photo-interpretation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from comix_cli.accuracy.design import Allocation, Strata
from comix_cli.errors import RasterError, UsageError, counted, listed
from comix_cli.files import check_suffix, check_writable
from comix_cli.mapping.draw import count_codes, draw_ranks, locate, shuffled
from comix_cli.mapping.map_file import open_map
from comix_cli.mapping.population import Population
from comix_cli.progress import Progress
from comix_cli.scene.area import read_area
from comix_cli.scene.checksum import checksum
from comix_cli.tools.expected_accuracy import ExpectedAccuracy
from comix_cli.tools.provenance import timestamp, versions
from comix_cli.tools.sample_file import Stratum, sample_frame, write_sample

SCHEMA_VERSION = 1
# What Olofsson et al. 2014 plan with.
TARGET_ERROR = 0.01
# A standard error takes two.
LEAST_PER_STRATUM = 2
# A raster with more codes than this is no class map.
MOST_STRATA = 1000
# What GDAL keeps of the blocks that were read, in bytes: a strip is read once in each pass.
_CACHE = 128_000_000
# Rounding to whole samples is no reason to warn.
_TOLERANCE = 1.01


@dataclass(frozen=True)
class SampleOptions:
    """Everything `comix sample` can be told.

    Attributes:
        map_path: Path or GDAL name of the map; any program may have made it.
        output: The GeoPackage to write.
        csv: A table to write as well.
        size: Samples altogether; None to compute them from `target_error`.
        target_error: The standard error that overall accuracy shall have; None for 0.01 where there
            is no size either.
        allocation: How the sample is divided among the strata.
        expected: The user's accuracies that are expected.
        per_stratum: The least of each stratum.
        strata: A raster of strata on the map's grid; None where the map's classes are the strata.
        mask: Polygons outside which nothing is drawn; any vector file.
        mask_layer: The layer of a mask with several.
        seed: Fixes what is drawn.
        src_crs: The CRS of rasters that carry none.
        overwrite: Replace existing files.
    """

    map_path: str
    output: Path
    csv: Path | None = None
    size: int | None = None
    target_error: float | None = None
    allocation: Allocation = "proportional"
    expected: ExpectedAccuracy = ExpectedAccuracy()
    per_stratum: int = LEAST_PER_STRATUM
    strata: str | None = None
    mask: str | None = None
    mask_layer: str | None = None
    seed: int = 0
    src_crs: str | None = None
    overwrite: bool = False

    @property
    def inputs(self) -> dict[str, str]:
        """The files that are read, by what they are."""
        asked = {"map": self.map_path, "strata": self.strata, "mask": self.mask}
        return {what: path for what, path in asked.items() if path is not None}

    def check(self) -> None:
        """Refuse what cannot be meant, before long work begins.

        Raises:
            UsageError: Options that contradict each other.
            OutputError: A file exists already, cannot be written, or is an input.
        """
        if self.size is not None and self.target_error is not None:
            raise UsageError(
                "--size and --target-se both say how large the sample is", remedy="leave one out"
            )
        if self.mask_layer is not None and self.mask is None:
            raise UsageError("--mask-layer: there is no --mask")
        check_suffix(self.output, (".gpkg",), "sample")
        if self.csv is not None:
            check_suffix(self.csv, (".csv",), "table")
        for path in filter(None, (self.output, self.csv)):
            check_writable(path, overwrite=self.overwrite, inputs=self.inputs.values())


def sample(options: SampleOptions, progress: Progress) -> dict[str, Any]:
    """Draw a stratified random sample of a map's pixels and write it as points.

    The sampling unit is the pixel, simple random without replacement in each stratum. Where a map
    is in degrees, pixels near the poles cover less ground: the sample then speaks of shares of
    pixels, as any count of such a map does.

    Returns:
        The design as one document of plain values; its `kind` is `sample`.

    Raises:
        ComixError: An input cannot be used, an output cannot be written, or the sample that is
            asked for does not fit the map.
    """
    options.check()
    with _open_population(options, progress) as population:
        own_names = {entry.code: entry.name for entry in population.named.legend or ()}
        options.expected.check(own_names, population.named.path)
        pixels = _count(population, progress)
        names = {code: own_names.get(code, str(code)) for code in pixels}
        expected = options.expected.resolved(own_names | names, population.named.path)
        strata = Strata(
            np.array(list(pixels.values())), np.array([expected[code] for code in pixels])
        )
        samples = _allocated(strata, options, progress)
        ranks = draw_ranks(pixels, dict(zip(pixels, samples.tolist(), strict=True)), options.seed)
        places = locate(_strips(population, "drawing", progress), ranks)
        grid = population.map_file.grid
    drawn = [
        Stratum(code, names[code], pixels[code], count)
        for code, count in zip(pixels, samples.tolist(), strict=True)
    ]
    _warn_about_single_samples(drawn, progress)
    document = _document(options, drawn, strata, samples)
    frame = sample_frame(drawn, places, shuffled(int(samples.sum()), options.seed), grid)
    write_sample(frame, options.output, options.csv, _metadata(document))
    return document


@contextmanager
def _open_population(options: SampleOptions, progress: Progress) -> Iterator[Population]:
    with ExitStack() as stack:
        map_file = stack.enter_context(open_map(options.map_path, src_crs=options.src_crs))
        strata = None
        if options.strata is not None:
            strata = stack.enter_context(open_map(options.strata, src_crs=options.src_crs))
        area = None
        if options.mask is not None:
            area = read_area(options.mask, map_file.grid, layer=options.mask_layer)
            for warning in area.warnings:
                progress.warn(warning)
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE))
        yield Population(map_file, strata, area)


def _count(population: Population, progress: Progress) -> dict[int, int]:
    """Pixels of each stratum, by code, ascending.

    Raises:
        RasterError: There is none, or there are far too many.
    """
    counts: Counter[int] = Counter()
    unassigned = 0
    path = population.named.path
    with progress.task("counting", population.map_file.grid.height) as task:
        for strip in population.strips():
            counts.update(count_codes(strip.codes))
            unassigned += strip.unassigned
            task.advance(len(strip.codes))
            if len(counts) > MOST_STRATA:
                raise RasterError(
                    f"holds more than {MOST_STRATA} different codes",
                    path=path,
                    remedy="give a classified map",
                )
    if not counts:
        where = " inside the mask" if population.area else ""
        raise RasterError(
            f"has no pixel of any class{where}", path=path, remedy="is it the right file?"
        )
    if unassigned:
        progress.warn(
            f"{path}: {counted(unassigned, 'pixel')} of the map lie in no stratum, and the sample "
            "says nothing of them"
        )
    return dict(sorted(counts.items()))


def _strips(
    population: Population, description: str, progress: Progress
) -> Iterator[NDArray[np.int32]]:
    with progress.task(description, population.map_file.grid.height) as task:
        for strip in population.strips():
            yield strip.codes
            task.advance(len(strip.codes))


def _allocated(strata: Strata, options: SampleOptions, progress: Progress) -> NDArray[np.int64]:
    """Samples of each stratum.

    Raises:
        UsageError: The map has fewer pixels, or the strata need more samples.
    """
    least, most = int(strata.least(options.per_stratum).sum()), int(strata.pixels.sum())
    if options.size is not None and options.size > most:
        raise UsageError(
            f"--size {options.size}: {options.map_path} has {counted(most, 'pixel')} of any class",
            remedy="ask for fewer samples",
        )
    if options.size is not None and options.size < least:
        raise UsageError(
            f"--size {options.size}: --min-per-class {options.per_stratum} takes {least} samples",
            remedy="ask for more samples, or give a smaller --min-per-class",
        )
    target = options.target_error or TARGET_ERROR
    size = options.size or max(least, min(most, strata.size_for(target)))
    samples = strata.allocate(size, options.allocation, options.per_stratum)
    if options.size is None:
        _compare_with_target(strata, samples, target, options, progress)
    return samples


def _compare_with_target(
    strata: Strata,
    samples: NDArray[np.int64],
    target: float,
    options: SampleOptions,
    progress: Progress,
) -> None:
    """The size is that of the optimal allocation, and the one that is asked for may need more."""
    found = strata.overall_error(samples)
    if found > target * _TOLERANCE:
        size = strata.size_reaching(target, options.allocation, options.per_stratum)
        progress.warn(
            f"{int(samples.sum())} samples have a standard error of {target:g} where they are "
            f"allocated optimally; with this allocation {found:.4f} is expected, and --size {size} "
            f"would reach {target:g}"
        )


def _warn_about_single_samples(drawn: list[Stratum], progress: Progress) -> None:
    single = [stratum.name for stratum in drawn if stratum.samples < LEAST_PER_STRATUM]
    if single:
        progress.warn(
            f"a single sample of {listed(single)}: a standard error takes two of every stratum"
        )


def _document(
    options: SampleOptions, drawn: list[Stratum], strata: Strata, samples: NDArray[np.int64]
) -> dict[str, Any]:
    return {
        "kind": "sample",
        "schema_version": SCHEMA_VERSION,
        "samples": int(samples.sum()),
        "pixels": int(strata.pixels.sum()),
        "allocation": options.allocation,
        "min_per_class": options.per_stratum,
        "target_standard_error": None if options.size else options.target_error or TARGET_ERROR,
        "seed": options.seed,
        "expected_overall_accuracy": strata.overall_accuracy,
        "expected_standard_error": strata.overall_error(samples),
        "strata": _stratum_rows(drawn, strata, samples),
        "outputs": [str(path) for path in (options.output, options.csv) if path is not None],
        "provenance": {
            "date": timestamp(),
            "versions": versions(),
            **{
                what: {"path": path, "checksum": checksum(path)}
                for what, path in options.inputs.items()
            },
        },
    }


def _stratum_rows(
    drawn: list[Stratum], strata: Strata, samples: NDArray[np.int64]
) -> list[dict[str, Any]]:
    errors = strata.stratum_errors(samples)
    return [
        {
            "code": stratum.code,
            "name": stratum.name,
            "pixels": stratum.pixels,
            "share": float(share),
            "samples": stratum.samples,
            "inclusion_probability": stratum.probability,
            "expected_users_accuracy": float(accuracy),
            "expected_standard_error": float(error),
        }
        for stratum, share, accuracy, error in zip(
            drawn, strata.shares, strata.accuracies, errors, strict=True
        )
    ]


def _metadata(document: Mapping[str, Any]) -> dict[str, str]:
    """What the GeoPackage tells of its origin."""
    provenance = document["provenance"]
    inputs = {
        f"COMIX_{what.upper()}{suffix}": str(provenance[what][key])
        for what in ("map", "strata", "mask")
        if what in provenance
        for key, suffix in (("path", ""), ("checksum", "_CHECKSUM"))
    }
    return inputs | {
        "COMIX_SEED": str(document["seed"]),
        "COMIX_ALLOCATION": document["allocation"],
        "COMIX_VERSION": provenance["versions"]["comix"],
        "COMIX_NUMPY_VERSION": provenance["versions"]["numpy"],
        "COMIX_DATE": provenance["date"],
    }
