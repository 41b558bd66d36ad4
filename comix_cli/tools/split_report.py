"""The report of a split: one document of plain numbers, and what the user must be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from comix_cli.errors import counted, metres
from comix_cli.scene.apart import Distance
from comix_cli.scene.checksum import checksum
from comix_cli.scene.grid import crs_label
from comix_cli.scene.pieces import Pieces, dimensions, measures
from comix_cli.scene.split import Split
from comix_cli.scene.variogram import Variogram
from comix_cli.tools.provenance import plain, timestamp, versions
from comix_cli.tools.split_ground import Ground
from comix_cli.tools.split_plan import Plan, SplitOptions

SCHEMA_VERSION = 1
# A class that gets less than this part of its share in a set is told of.
LITTLE = 0.5
# So is a buffer that takes more than this share of the ground.
MUCH_LOST = 1 / 3
OF = {"classes": "the classes", "image": "the image's first principal component"}


@dataclass(frozen=True)
class NamedSet:
    """One set that is written to a file.

    Attributes:
        name: 'train', 'validation' or 'test'.
        fold: Which fold it is of, from 1; None without folds.
        asked: The share of the ground that it should have.
        pieces: What it holds.
        held: How much of each stratum of its split that is.
    """

    name: str
    fold: int | None
    asked: float
    pieces: Pieces
    held: NDArray[np.float64]

    @property
    def label(self) -> str:
        """Its name among all sets, which is that of its file."""
        return self.name if self.fold is None else f"fold_{self.fold}_{self.name}"


@dataclass(frozen=True)
class Result:
    """Everything that a split has found.

    Attributes:
        plan: Block and buffer.
        sets: All sets, split by split.
        splits: The splits themselves: one, or one for each fold.
        distances: Labels of two sets of one split, and how far apart they are.
        variograms: What is known of the autocorrelation, by what it is of.
        pixels: Pixels of each class in each set, `(sets, classes)`; None without a raster.
    """

    plan: Plan
    sets: tuple[NamedSet, ...]
    splits: tuple[Split, ...]
    distances: tuple[tuple[str, str, Distance | None], ...]
    variograms: Mapping[str, Variogram]
    pixels: NDArray[np.int64] | None


def split_document(
    options: SplitOptions, ground: Ground, result: Result, warnings: Sequence[str]
) -> dict[str, Any]:
    """Everything as plain numbers, lists and text; unknown figures are None."""
    return {
        "kind": "split",
        "schema_version": SCHEMA_VERSION,
        "method": options.method,
        "folds": options.folds,
        "crs": crs_label(ground.truth.source_crs) if ground.has_place else None,
        "parameters": {
            "shares": None if options.folds else dict(options.wanted),
            "block_m": result.plan.block,
            "buffer_m": result.plan.buffer,
            "buffer_from": result.plan.buffer_from,
            "seed": options.seed,
        },
        "sets": [_set(ground, result, number) for number in range(len(result.sets))],
        "buffer_loss": [
            {"fold": None if options.folds is None else i, **_loss(ground, each)}
            for i, each in enumerate(result.splits, start=1)
        ],
        "distances": [
            {
                "sets": [one, other],
                "minimum_m": None if found is None else found.minimum,
                "median_m": None if found is None else found.median,
            }
            for one, other, found in result.distances
        ],
        "autocorrelation": {name: _variogram(v) for name, v in result.variograms.items()},
        "warnings": list(warnings),
        "provenance": _provenance(options, ground),
    }


def _set(ground: Ground, result: Result, number: int) -> dict[str, Any]:
    one = result.sets[number]
    truth = one.pieces.truth
    shares = class_shares(result, one)
    rows = []
    for place, (code, name) in enumerate(ground.truth.classes):
        mine = truth.codes == code
        rows.append(
            {
                "code": code,
                "name": name,
                "share": shares.get(code),
                "features": len(np.unique(truth.features[mine])),
                **_amounts(truth.geometries[mine]),
                "pixels": None if result.pixels is None else int(result.pixels[number, place]),
            }
        )
    return {
        "name": one.label,
        "file": f"{one.label}.gpkg",
        "fold": one.fold,
        "asked_share": one.asked,
        "groups": len(np.unique(one.pieces.groups)),
        "features": len(np.unique(truth.features)),
        **_amounts(truth.geometries),
        "pixels": None if result.pixels is None else int(result.pixels[number].sum()),
        "per_class": rows,
    }


def _amounts(shapes: NDArray[Any]) -> dict[str, Any]:
    kinds = dimensions(shapes)
    sizes = measures(shapes)
    return {
        "area_m2": float(sizes[kinds == 2].sum()),
        "length_m": float(sizes[kinds == 1].sum()),
        "points": int((kinds == 0).sum()),
    }


def class_shares(result: Result, one: NamedSet) -> dict[int, float]:
    """The share of each class's ground that a set has, by code; kinds of geometry weigh alike."""
    strata = result.splits[0 if one.fold is None else one.fold - 1].strata
    return _by_class(strata.codes, _parts(one.held, strata.totals))


def _by_class(codes: NDArray[np.int32], parts: NDArray[np.float64]) -> dict[int, float]:
    return {int(code): float(parts[codes == code].mean()) for code in np.unique(codes)}


def _parts(amounts: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    parts: NDArray[np.float64] = amounts / np.where(totals > 0, totals, 1.0)
    return np.clip(parts, 0, 1)


def _loss(ground: Ground, each: Split) -> dict[str, Any]:
    """What the buffer has taken, as shares."""
    by_class = _by_class(each.strata.codes, _parts(each.lost, each.strata.totals))
    return {
        "share": _lost_share(each),
        "per_class": [
            {"code": code, "name": name, "share": by_class.get(code)}
            for code, name in ground.truth.classes
        ],
    }


def _lost_share(each: Split) -> float:
    """The share of all ground that the buffer has taken; kinds of geometry weigh alike."""
    parts = [
        each.lost[each.strata.kinds == kind].sum()
        / each.strata.totals[each.strata.kinds == kind].sum()
        for kind in np.unique(each.strata.kinds)
    ]
    return float(np.clip(np.mean(parts), 0, 1))


def _variogram(found: Variogram) -> dict[str, Any]:
    measured = found.measured
    return {
        "model": found.model,
        "nugget": found.nugget,
        "sill": found.sill,
        "range_m": found.range,
        "reason": found.reason,
        "lags_m": measured.lags.tolist(),
        "semivariance": measured.values.tolist(),
        "pairs": measured.pairs.astype(np.int64).tolist(),
        "fitted": None if found.fitted is None else found.fitted.tolist(),
    }


def _provenance(options: SplitOptions, ground: Ground) -> dict[str, Any]:
    rasters = {"hsi": options.hsi, "like": options.like}
    return {
        "date": timestamp(),
        "versions": versions() | {name: version(name) for name in ("shapely", "scipy")},
        "geos": shapely.geos_version_string,
        "ground_truth": {
            "path": ground.truth.path,
            "checksum": checksum(ground.truth.path),
            "field": ground.truth.field,
            "layer": options.truth.layer,
            "features": len(ground.frame),
            "repaired": ground.truth.repaired,
            "features_outside": ground.truth.outside,
            "features_without_class": ground.truth.dropped_null,
        },
        **{name: path and {"path": path} for name, path in rasters.items()},
        "options": plain(options),
    }


def warnings_of(options: SplitOptions, ground: Ground, result: Result) -> list[str]:
    """What may change how figures on this split are read, one line each."""
    if options.method == "random":
        return [_about_random(ground, result)]
    told = [*_about_range(result), *_about_loss(result)]
    names = dict(ground.truth.classes)
    for one in result.sets:
        told.extend(_about_shares(one, names, result))
    return told


def _about_random(ground: Ground, result: Result) -> str:
    reach = " and ".join(
        f"{metres(v.range)} in {OF[name]}" for name, v in result.variograms.items() if v.range
    )
    pixel = f"pixels are {metres(ground.grid.gsd_m)}" if ground.grid else "pixels are close"
    return (
        "a random split puts neighbouring pixels into different sets, and neighbours are alike"
        f"{f' (likeness reaches {reach}; {pixel})' if reach else ''}: every accuracy on such a "
        "test flatters; use --method blocks for one that can be believed"
    )


def _about_range(result: Result) -> Iterator[str]:
    short = []
    for name, found in result.variograms.items():
        if found.range is not None and result.plan.buffer < found.range:
            short.append(f"{metres(found.range)} in {OF[name]}")
        elif found.longer_than is not None and result.plan.buffer < found.longer_than:
            short.append(f"more than {metres(found.longer_than)} in {OF[name]}")
    if short:
        yield (
            f"the buffer of {metres(result.plan.buffer)} is shorter than the autocorrelation "
            f"range: {', '.join(short)}; accuracy near the sets' edges flatters"
        )


def _about_loss(result: Result) -> Iterator[str]:
    lost = max(_lost_share(each) for each in result.splits)
    if lost > MUCH_LOST:
        yield (
            f"the buffer of {metres(result.plan.buffer)} takes {100 * lost:.0f} % of the ground; "
            "a smaller --buffer or a larger --block keeps more"
        )


def _about_shares(one: NamedSet, names: Mapping[int, str], result: Result) -> Iterator[str]:
    """Classes of which a set has nothing, and those of which it has little."""
    shares = class_shares(result, one)
    wanted = f"{100 * one.asked:.0f} % asked"
    group = "group" if result.plan.block is None else "block"
    for code, share in shares.items():
        if share == 0:
            lies = f"all that is left of it lies in {counted(_groups_of(result, one, code), group)}"
            yield f"{one.label} has nothing of class '{names[code]}' ({wanted}; {lies})"
    little = [
        f"'{names[code]}' {100 * share:.1f} %"
        for code, share in shares.items()
        if 0 < share < LITTLE * one.asked
    ]
    if little:
        cut = ", ".join(little[:12]) + (f" and {len(little) - 12} more" if len(little) > 12 else "")
        yield f"{one.label} has little of some classes ({wanted}): {cut}"


def _groups_of(result: Result, one: NamedSet, code: int) -> int:
    """In how many groups a class's ground lies, as far as the buffer has left it."""
    held = [
        each.pieces.groups[each.pieces.truth.codes == code]
        for each in result.sets
        if each.fold == one.fold
    ]
    return len(np.unique(np.concatenate(held)))
