"""An accuracy report as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from comix_cli.commands.display import number, percent, print_table

_SQUARE_METRES_IN_A_HECTARE = 10_000


def print_report(document: Mapping[str, Any]) -> None:
    """What was counted, and what it says of the whole map, as two tables and a line for each."""
    _print_counted(document)
    if document["area_weighted"] is not None:
        click.echo()
        _print_estimated(document["area_weighted"])


def _print_counted(document: Mapping[str, Any]) -> None:
    intervals = document["intervals"]
    rows = [
        [
            entry["name"],
            str(entry["reference_pixels"]),
            *(_with_ends(entry[k], entry[f"{k}_95"]) for k in ("producers_accuracy",
                                                               "users_accuracy")),
            percent(entry["f1"]),
            percent(entry["iou"]),
        ]
        for entry in document["per_class"]
    ]  # fmt: skip
    print_table(
        "Counted pixels: accuracy by class (%), with 95 % intervals",
        ("class", "reference pixels", "producer's", "user's", "F1", "IoU"),
        rows,
    )
    from comix_cli.accuracy.report import CAUSES

    left_out = ", ".join(f"{n} {CAUSES[cause]}" for cause, n in document["excluded"].items() if n)
    click.echo(
        f"overall accuracy {percent(document['overall_accuracy'])} %{_interval(intervals)}, "
        f"average accuracy {percent(document['average_accuracy'])} %, "
        f"kappa {number(document['kappa'])}, "
        f"quantity disagreement {percent(document['quantity_disagreement'])} %, "
        f"allocation disagreement {percent(document['allocation_disagreement'])} %, "
        f"{document['pixels']} pixels"
        f"{'; left out: ' + left_out if left_out else ''}"
    )


def _print_estimated(weighted: Mapping[str, Any]) -> None:
    rows = [
        [
            entry["name"],
            _hectares(entry["mapped_area_m2"]),
            _hectares(entry["area_m2"]["value"]),
            _hectares_ends(entry["area_m2"]["interval_95"]),
            *(
                _with_ends(entry[key]["value"], entry[key]["interval_95"])
                for key in ("producers_accuracy", "users_accuracy")
            ),
        ]
        for entry in weighted["per_class"]
    ]
    print_table(
        f"Estimated for the whole map ({weighted['estimator']}; strata: {weighted['strata']})",
        ("class", "mapped ha", "estimated ha", "95 %", "producer's %", "user's %"),
        rows,
    )
    overall = weighted["overall_accuracy"]
    click.echo(
        f"overall accuracy {_with_ends(overall['value'], overall['interval_95'])} %, "
        f"kappa {number(weighted['kappa'])}, "
        f"quantity disagreement {percent(weighted['quantity_disagreement'])} %, "
        f"allocation disagreement {percent(weighted['allocation_disagreement'])} %; "
        f"intervals: {weighted['intervals']}"
    )
    if weighted["strata"] == "map classes":
        click.echo("(true of the map as far as the ground truth is a random sample of each class)")
    if weighted["unsampled"]:
        click.echo(
            f"(without any reference pixel, so left out: {', '.join(weighted['unsampled'])})"
        )


def _interval(intervals: Mapping[str, Any]) -> str:
    """The interval of the overall accuracy, where the report has one."""
    pair = intervals["overall_accuracy"]
    if pair is None:
        return ""
    low, high = (percent(value) for value in pair)
    return f" (95 % interval {low} to {high} %, of {intervals['clusters']} {intervals['unit']})"


def _with_ends(value: float | None, pair: Sequence[float] | None) -> str:
    if pair is None:
        return percent(value)
    low, high = (f"{100 * end:.1f}" for end in pair)
    return f"{percent(value)} ({low} to {high})"


def _hectares(area: float | None) -> str:
    return "-" if area is None else f"{area / _SQUARE_METRES_IN_A_HECTARE:,.1f}"


def _hectares_ends(pair: Sequence[float] | None) -> str:
    return "-" if pair is None else " to ".join(_hectares(end) for end in pair)
