"""From a map and ground truth to an accuracy report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comix_cli.accuracy.bootstrap import Contributions, cluster_spreads
from comix_cli.accuracy.estimate import by_map_class, by_stratum
from comix_cli.accuracy.report import AreaWeighted, Clustered, report_document
from comix_cli.accuracy.report_text import to_csv_text, to_json_text
from comix_cli.errors import ThresholdError, UsageError
from comix_cli.files import write_atomic_text
from comix_cli.mapping.map_file import MapFile, open_map
from comix_cli.progress import Progress
from comix_cli.scene.labels import RASTER, Reference
from comix_cli.scene.raster import checksum
from comix_cli.tools.class_names import read_class_map, reference_codes
from comix_cli.tools.comparison import Comparison
from comix_cli.tools.inputs import TruthOptions, listed
from comix_cli.tools.map_totals import MapTotals, count_map
from comix_cli.tools.provenance import timestamp, versions
from comix_cli.tools.reference import open_reference
from comix_cli.tools.reference_tiles import unit_of
from comix_cli.tools.sample_design import SampleDesign, read_design

# Of the bootstrap behind the intervals.
REPLICATES = 1000
SEED = 0
REPORT_SUFFIXES = (".json", ".csv")
# The tag in which `classify` leaves the field that the model was trained on.
FIELD_TAG = "COMIX_FIELD"
# The checksum of the ground truth that the model was trained on.
TRUTH_TAG = "COMIX_TRUTH"


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
    """

    map_path: str
    truth: TruthOptions
    src_crs: str | None = None
    class_map: Path | None = None
    design: str | None = None


def evaluate(options: EvaluateOptions, progress: Progress) -> dict[str, Any]:
    """Compare a map with ground truth; the report as one document (see `accuracy/report.py`).

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
        known = reference_codes(reference, map_file, renamed)
        design = read_design(options.design, map_file.grid) if options.design else None
        totals = count_map(map_file, progress)
        comparison = Comparison(
            map_file, reference, known, totals.pixels, options.truth.rule, design
        )
        comparison.run(progress)
        if design is not None:
            _warn_about_sample(design, comparison, progress)
        provenance = _provenance(options, reference, comparison)
        _warn(map_file, reference, comparison, provenance, progress)
        return _document(reference, comparison, totals, design, provenance)


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
    map_pixels = [totals.pixels.get(code, 0) for code, _ in classes]
    clustered = Clustered(
        cluster_spreads(found, np.array(map_pixels), replicates=REPLICATES, seed=SEED),
        unit="samples" if design else unit_of(reference),
        clusters=found.clusters,
        replicates=REPLICATES,
        seed=SEED,
    )
    matrix = found.matrix()
    area = AreaWeighted(
        by_stratum(comparison.by_stratum(), design.stratum_pixels.tolist())
        if design
        else by_map_class(matrix, map_pixels),
        map_pixels,
        totals.area_m2,
        by_design=design is not None,
        clustered=None if _is_one_pixel_each(found) else clustered,
    )
    return report_document(
        matrix,
        classes,
        comparison.excluded,
        clustered,
        area if found.clusters else None,
        overlaps=comparison.overlaps(reference.class_of_feature()),
        provenance=provenance,
    )


def _is_one_pixel_each(found: Contributions) -> bool:
    """Whether no two pixels belong together, so that each is a draw of its own."""
    return int(found.pixels.sum()) == found.clusters


def write_report(document: dict[str, Any], path: Path) -> None:
    """Write a report as JSON or CSV, by the file's suffix.

    Raises:
        OutputError: The file cannot be written.
    """
    as_text = to_csv_text if path.suffix.lower() == ".csv" else to_json_text
    write_atomic_text(path, as_text(document))


def check_report_path(path: Path) -> None:
    """Refuse a report format that does not exist.

    Raises:
        UsageError: The suffix is neither .json nor .csv.
    """
    if path.suffix.lower() not in REPORT_SUFFIXES:
        raise UsageError(
            f"-o {path}: a report is written as {' or '.join(REPORT_SUFFIXES)}",
            remedy="give a file name that ends so",
        )


def check_threshold(document: Mapping[str, Any], least: float | None) -> None:
    """Refuse a map that is worse than what is asked for.

    Args:
        document: The report.
        least: The least overall accuracy, 0 to 1; None for any.

    Raises:
        ThresholdError: The overall accuracy is lower, or there is none.
    """
    if least is None:
        return
    found = document["overall_accuracy"]
    if found is None or found < least:
        reached = "undefined" if found is None else f"{100 * found:.2f} %"
        raise ThresholdError(
            f"overall accuracy is {reached}, and --min-oa wants {100 * least:.10g} %"
        )


def _warn(
    map_file: MapFile,
    reference: Reference,
    comparison: Comparison,
    provenance: Mapping[str, Any],
    progress: Progress,
) -> None:
    """What a reader of the figures has to know."""
    truth = provenance["ground_truth"]
    if truth["checksum"] and truth["checksum"] == map_file.tags.get(TRUTH_TAG):
        progress.warn(
            f"{reference.path}: the model was trained on this very file, so accuracy on it tells "
            "nothing of other places; compare with polygons that training has not seen"
        )
    _warn_about_unmapped(reference, comparison, progress)
    if truth["features_without_pixel"]:
        progress.warn(
            f"{reference.path}: {truth['features_without_pixel']} features hold no pixel's centre; "
            "--all-touched or --min-coverage takes them"
        )


def _warn_about_sample(design: SampleDesign, comparison: Comparison, progress: Progress) -> None:
    """Say what of the sample is not compared: the strata stand for all of it all the same."""
    lost = len(design.rows) - comparison.labelled
    for count, why in ((design.outside, "lie outside the map"), (lost, "have no class")):
        if count:
            points = len(design.rows) + design.outside
            progress.warn(f"{design.path}: {count} of {points} points of the sample {why}")


def _warn_about_unmapped(reference: Reference, comparison: Comparison, progress: Progress) -> None:
    """Name the classes that the map lacks, where pixels of them are left out."""
    lost = {name: count for name, count in comparison.unmapped.items() if count}
    if lost:
        compared = int(comparison.contributions().pixels.sum())
        share = sum(lost.values()) / (sum(lost.values()) + compared)
        doubt = f"; is '{reference.field}' the right field?" if reference.field else ""
        progress.warn(
            f"{reference.path}: the map has no class {listed(list(lost))}: {sum(lost.values())} "
            f"pixels ({100 * share:.0f} %) are left out{doubt}"
        )


def _provenance(
    options: EvaluateOptions, reference: Reference, comparison: Comparison
) -> dict[str, Any]:
    described, rule = reference.described(), options.truth.rule
    on_map = described["features"] - described["features_outside"]
    unseen = 0 if options.design else max(0, on_map - len(comparison.features_seen - {-1}))
    return {
        "date": timestamp(),
        "versions": versions(),
        "map": {"path": options.map_path, "checksum": checksum(options.map_path)},
        "ground_truth": {
            "path": reference.path,
            "checksum": checksum(reference.path),
            "kind": reference.kind,
            "field": reference.field,
            "layer": options.truth.layer,
            "crs": options.truth.crs,
            **described,
            "features_without_pixel": unseen if reference.kind != RASTER else 0,
            "unmapped_classes": comparison.unmapped,
            "outside_estimated_by_area": comparison.outside_estimated,
            "all_touched": rule.all_touched,
            "min_coverage": rule.min_coverage,
        },
        "design": options.design and {"path": options.design, "checksum": checksum(options.design)},
    }
