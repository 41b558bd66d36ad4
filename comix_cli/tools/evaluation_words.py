"""What a reader of accuracy figures has to know, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comix_cli.accuracy.bootstrap import LEAST_CLUSTERS
from comix_cli.accuracy.report import CAUSES
from comix_cli.errors import LabelError, listed
from comix_cli.mapping.map_file import MapFile
from comix_cli.mapping.writer import TRUTH_TAG
from comix_cli.progress import Progress
from comix_cli.scene.labels import Reference
from comix_cli.tools.comparison import Comparison
from comix_cli.tools.map_totals import MapTotals
from comix_cli.tools.sample_design import SampleDesign

# Of fewer clusters a bootstrap's intervals are known to be too narrow.
FEW_CLUSTERS = 20
# Strata that cover less of a map leave a part of it out.
_WHOLE = 0.999


def check_compared(reference: Reference, comparison: Comparison) -> None:
    """Refuse a report about nothing.

    Raises:
        LabelError: No pixel could be compared.
    """
    if not comparison.compared:
        why = [f"{n} {CAUSES[cause]}" for cause, n in comparison.excluded.items() if n]
        raise LabelError(
            f"no pixel of it can be compared with the map ({', '.join(why) or 'it holds none'})",
            path=reference.path,
            remedy="check place and classes of both; --all-touched takes small polygons",
        )


def warn_of_figures(
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
        progress.warn(f"{reference.path}: {_without_pixel(truth)}")
    legend = map_file.legend or ()
    named = any(entry.name != str(entry.code) for entry in legend)
    if reference.integer_field and named and provenance["map"]["class_map"] is None:
        progress.warn(
            f"{reference.path}: its codes are compared with the map's codes, though the map has "
            "names; say what they are called with --class-map where they mean something else"
        )


def _without_pixel(truth: Mapping[str, Any]) -> str:
    """How many features take no pixel by the rule that is used, and which rule would help."""
    found, least = f"{truth['features_without_pixel']} features", truth["min_coverage"]
    if least is not None:
        return (
            f"{found} cover {100 * least:.10g} % of no pixel; a smaller --min-coverage takes them"
        )
    if truth["all_touched"]:
        return f"{found} take no pixel"
    return f"{found} hold no pixel's centre; --all-touched or --min-coverage takes them"


def warn_about_intervals(document: Mapping[str, Any], progress: Progress) -> None:
    """Say where too few polygons stand behind a figure for an interval, or for a good one."""
    intervals = document["intervals"]
    bare = [
        row["name"]
        for row in document["per_class"]
        if row["reference_pixels"] and row["producers_accuracy_95"] is None
    ]
    unit, clusters = intervals["unit"], intervals["clusters"]
    if bare:
        progress.warn(
            f"fewer than {LEAST_CLUSTERS} {unit} of {listed(bare)}: there are no intervals for that"
        )
    if LEAST_CLUSTERS <= clusters < FEW_CLUSTERS:
        progress.warn(f"of only {clusters} {unit} intervals come out too narrow")


def warn_about_sample(
    design: SampleDesign, comparison: Comparison, totals: MapTotals, progress: Progress
) -> None:
    """Say what of the sample is not compared: the strata stand for all of it all the same."""
    lost = len(design.rows) - comparison.labelled
    points = len(design.rows) + design.outside + design.missing
    for count, why in (
        (design.outside, "lie outside the map"),
        (lost, "have no class"),
        (design.missing, "are not in the file any more"),
    ):
        if count:
            progress.warn(f"{design.path}: {count} of {points} points of the sample {why}")
    share = design.stratum_pixels.sum() / max(1, sum(totals.pixels.values()))
    if share < _WHOLE:
        progress.warn(
            f"{design.path}: its strata cover {100 * share:.1f} % of the map, and the estimates "
            "are of that part"
        )


def _warn_about_unmapped(reference: Reference, comparison: Comparison, progress: Progress) -> None:
    """Name the classes that the map lacks, and what becomes of pixels of them."""
    lost = {name: count for name, count in comparison.unmapped.items() if count}
    if lost:
        left_out = comparison.excluded["unmapped_class"]
        share = sum(lost.values()) / (comparison.compared + left_out)
        fate = "are left out" if left_out else "count as wrong"
        doubt = f"; is '{reference.field}' the right field?" if reference.field else ""
        progress.warn(
            f"{reference.path}: the map has no class {listed(list(lost))}: {sum(lost.values())} "
            f"pixels ({100 * share:.0f} %) {fate}{doubt}"
        )
