"""From a map and ground truth to an accuracy report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.accuracy.agreement import AgreementPicture
from comix_cli.accuracy.bootstrap import Contributions, cluster_spreads
from comix_cli.accuracy.estimate import by_map_class, by_stratum
from comix_cli.accuracy.report import AreaWeighted, Clustered, report_document
from comix_cli.accuracy.report_text import to_csv_text, to_json_text
from comix_cli.errors import ThresholdError, UsageError
from comix_cli.files import check_writable, write_atomic_text
from comix_cli.mapping.map_file import MapFile, open_map
from comix_cli.mapping.writer import FIELD_TAG
from comix_cli.progress import Progress
from comix_cli.scene.checksum import checksum
from comix_cli.scene.grid import Grid, crs_label, ground_size_m
from comix_cli.scene.labels import Reference
from comix_cli.tools.class_names import check_class_map, read_class_map, reference_codes
from comix_cli.tools.comparison import Comparison
from comix_cli.tools.evaluation_words import (
    check_compared,
    warn_about_intervals,
    warn_about_sample,
    warn_of_figures,
)
from comix_cli.tools.map_totals import MapTotals, count_map
from comix_cli.tools.provenance import timestamp, versions
from comix_cli.tools.reference import TruthOptions, open_reference
from comix_cli.tools.reference_tiles import unit_of
from comix_cli.tools.sample_design import SampleDesign, read_design

# Of the bootstrap behind the intervals.
REPLICATES = 1000
SEED = 0
PAGE_SUFFIXES = (".html", ".htm")
REPORT_SUFFIXES = (".json", ".csv", *PAGE_SUFFIXES)


@dataclass(frozen=True)
class EvaluateOptions:
    """Everything `comix evaluate` can be told.

    Attributes:
        map_path: Path or GDAL name of the map; any program may have made it.
        truth: The ground truth. Without a field, the one that the map's model was trained on.
        src_crs: The CRS of a map that carries none.
        class_map: A CSV of what the map calls the classes of the ground truth.
        design: A stratified sample of the map, as `comix sample` writes it: only its pixels are
            compared, and each counts for its share of the map. None to compare all pixels.
        picture: Whether to draw where the map is right and wrong, which takes a little longer.
    """

    map_path: str
    truth: TruthOptions
    src_crs: str | None = None
    class_map: Path | None = None
    design: str | None = None
    picture: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What a comparison found.

    Attributes:
        document: The report (see `accuracy/report.py`).
        agreement: Where the map is right and wrong; None where that was not asked for.
    """

    document: dict[str, Any]
    agreement: AgreementPicture | None


def evaluate(options: EvaluateOptions, progress: Progress) -> Evaluation:
    """Compare a map with ground truth.

    Raises:
        ComixError: An input cannot be used, or the two have no class in common.
    """
    renamed = read_class_map(options.class_map) if options.class_map else None
    with (
        open_map(options.map_path, src_crs=options.src_crs) as map_file,
        open_reference(
            options.truth, map_file.grid, progress, field=_field_of(options, map_file)
        ) as reference,
    ):
        design = _design(options, map_file.grid, progress)
        totals = count_map(map_file, progress)
        known = reference_codes(reference, map_file, totals.pixels, renamed)
        if design is None:  # of a sample what the map lacks is an error of the map
            check_class_map(reference, map_file, known, renamed or {})
        picture = _empty_picture(map_file.grid) if options.picture else None
        comparison = Comparison(
            map_file, reference, known, totals.pixels, options.truth.rule, design, picture
        )
        comparison.run(progress)
        check_compared(reference, comparison)
        if design is not None:
            warn_about_sample(design, comparison, totals, progress)
        provenance = _provenance(options, reference, comparison, renamed)
        warn_of_figures(map_file, reference, comparison, provenance, progress)
        document = _document(reference, comparison, totals, design, provenance)
    warn_about_intervals(document, progress)
    return Evaluation(document, picture)


def _design(options: EvaluateOptions, grid: Grid, progress: Progress) -> SampleDesign | None:
    path, truth = options.design, options.truth
    if path is None:
        return None
    design = read_design(path, grid, layer=truth.layer_of(path), crs=truth.crs)
    # Of a sample that is the ground truth as well this has been said.
    for warning in design.warnings if path != truth.path else ():
        progress.warn(warning)
    return design


def _empty_picture(grid: Grid) -> AgreementPicture:
    return AgreementPicture.empty(
        *grid.shape, bounds=grid.bounds, crs=crs_label(grid.crs), size_m=ground_size_m(grid)
    )


def _field_of(options: EvaluateOptions, map_file: MapFile) -> str | None:
    """The field to take where none is named: that of the sample, or of the model's training."""
    if options.design == options.truth.path:
        return "class"
    return map_file.tags.get(FIELD_TAG) or None


def _document(
    reference: Reference,
    comparison: Comparison,
    totals: MapTotals,
    design: SampleDesign | None,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    classes, found = comparison.classes(), comparison.contributions()
    areas = [totals.areas_m2.get(code, 0.0) for code, _ in classes]
    clustered = Clustered(
        cluster_spreads(found, np.array(areas), replicates=REPLICATES, seed=SEED),
        unit="samples" if design else unit_of(reference),
        clusters=found.clusters,
        replicates=REPLICATES,
        seed=SEED,
    )
    pixels = [totals.pixels.get(code, 0) for code, _ in classes]
    by_class = _WholeMap(classes, pixels, areas, totals.pixel_m2)
    own = None if _is_one_pixel_each(found) else clustered
    if design is None:
        area = by_class.by_map_class(found, own)
    else:
        area = by_class.by_design(comparison.by_stratum(), design, own)
    return report_document(
        found.matrix(),
        classes,
        comparison.excluded,
        clustered,
        area if found.clusters else None,
        overlaps=comparison.overlaps(reference.class_of_feature()),
        provenance=provenance,
    )


@dataclass(frozen=True)
class _WholeMap:
    """What the whole map holds of each class, in the order of the matrix."""

    classes: Sequence[tuple[int, str]]
    pixels: Sequence[int]
    areas_m2: Sequence[float]
    pixel_m2: float

    def by_map_class(self, found: Contributions, clustered: Clustered | None) -> AreaWeighted:
        """Estimates with the map's classes as strata."""
        estimates = by_map_class(found.matrix(), self.areas_m2)
        lost = set(estimates.unsampled)
        return AreaWeighted(
            estimates,
            self.pixels,
            self.areas_m2,
            sum(area for k, area in enumerate(self.areas_m2) if k not in lost),
            [self.classes[k][1] for k in estimates.unsampled],
            by_design=False,
            clustered=clustered,
        )

    def by_design(
        self, counts: NDArray[np.int64], design: SampleDesign, clustered: Clustered | None
    ) -> AreaWeighted:
        """Estimates with the strata of a sample, whose pixels are as large as the map's mean."""
        estimates = by_stratum(counts, design.stratum_pixels.tolist())
        sampled = np.delete(design.stratum_pixels, list(estimates.unsampled))
        return AreaWeighted(
            estimates,
            self.pixels,
            self.areas_m2,
            float(sampled.sum()) * self.pixel_m2,
            [design.names[stratum] for stratum in estimates.unsampled],
            by_design=True,
            clustered=clustered,
        )


def _is_one_pixel_each(found: Contributions) -> bool:
    """Whether no two pixels belong together, so that each is a draw of its own."""
    return int(found.pixels.sum()) == found.clusters


def is_page(path: Path) -> bool:
    """Whether a report of that name is a page, which shows a picture."""
    return path.suffix.lower() in PAGE_SUFFIXES


def write_report(found: Evaluation, path: Path) -> None:
    """Write a report as JSON, CSV or HTML, by the file's suffix.

    Raises:
        OutputError: The file cannot be written.
    """
    if is_page(path):
        # What makes pages takes half a second to import.
        from comix_cli.tools.html_report import write_html  # noqa: PLC0415

        write_html(found.document, found.agreement, path)
    else:
        as_text = to_csv_text if path.suffix.lower() == ".csv" else to_json_text
        write_atomic_text(path, as_text(found.document))


def check_report_paths(
    wanted: Mapping[str, Path], options: EvaluateOptions, *, overwrite: bool
) -> None:
    """Refuse reports that could not be written, before anything is compared.

    Args:
        wanted: The files by the option that asks for each: `-o`, `--report`.
        options: What is going to be read, which must not be replaced.
        overwrite: Whether the files may exist.

    Raises:
        UsageError: A format that does not exist, or one file for two reports.
        OutputError: A file exists, is an input, or cannot be written.
    """
    named = (options.map_path, options.truth.path, options.design, options.class_map)
    inputs = [str(path) for path in named if path is not None]
    if options.truth.path == options.map_path:
        raise UsageError(
            f"{options.map_path}: is the map and the ground truth at once",
            remedy="compare it with something else",
        )
    for option, path in wanted.items():
        suffixes = PAGE_SUFFIXES if option == "--report" else REPORT_SUFFIXES
        if path.suffix.lower() not in suffixes:
            raise UsageError(
                f"{option} {path}: a report is written as {', '.join(suffixes)} here",
                remedy="give a file name that ends so",
            )
        check_writable(path, overwrite=overwrite, inputs=inputs)
    if len(set(wanted.values())) < len(wanted):
        raise UsageError(
            f"-o and --report both name {wanted['-o']}", remedy="give each a file of its own"
        )


def check_threshold(document: Mapping[str, Any], least: float | None) -> None:
    """Refuse a map that is worse than what is asked for.

    What counts is the overall accuracy of the compared pixels, or of the whole map where they are a
    sample of it.

    Args:
        document: The report.
        least: The least overall accuracy, 0 to 1; None for any.

    Raises:
        ThresholdError: The overall accuracy is lower, or there is none.
    """
    if least is None:
        return
    found, weighted = document["overall_accuracy"], document["area_weighted"]
    if document["provenance"]["design"] and weighted is not None:
        found = weighted["overall_accuracy"]["value"]
    if found is None or found < least:
        reached = "undefined" if found is None else f"{100 * found:.2f} %"
        raise ThresholdError(
            f"overall accuracy is {reached}, and --min-oa wants {100 * least:.10g} %"
        )


def _provenance(
    options: EvaluateOptions,
    reference: Reference,
    comparison: Comparison,
    renamed: Mapping[str, str] | None,
) -> dict[str, Any]:
    rule = options.truth.rule
    return {
        "date": timestamp(),
        "versions": versions(),
        "map": {
            "path": options.map_path,
            "checksum": checksum(options.map_path),
            "src_crs": options.src_crs,
            "class_map": renamed and dict(renamed),
        },
        "ground_truth": {
            "path": reference.path,
            "checksum": checksum(reference.path),
            "kind": reference.kind,
            "field": reference.field,
            "layer": options.truth.layer,
            "crs": reference.source_crs.to_string(),
            **reference.described(),
            "features_without_pixel": comparison.features_without_pixel,
            "unmapped_classes": comparison.unmapped,
            "outside_estimated_by_area": comparison.outside_estimated,
            "all_touched": rule.all_touched,
            "min_coverage": rule.min_coverage,
        },
        "design": options.design and {"path": options.design, "checksum": checksum(options.design)},
    }
