"""The files of a split: a GeoPackage for each set and the report, all at once or none."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from comix_cli.accuracy.report_text import to_json_text
from comix_cli.errors import OutputError
from comix_cli.files import check_writable, make_folder, output_errors, partial_folder, publish_all
from comix_cli.progress import Progress
from comix_cli.scene.pieces import Pieces, dimensions
from comix_cli.scene.vector import reproject
from comix_cli.tools.split_ground import Ground
from comix_cli.tools.split_plan import SplitOptions
from comix_cli.tools.split_report import NamedSet

REPORT = "split.json"
# What programs of 2018 read without a warning.
_VERSION = "1.2"
_BUILD: dict[int, Callable[..., Any]] = {
    0: shapely.multipoints,
    1: shapely.multilinestrings,
    2: shapely.multipolygons,
}


def check_outputs(options: SplitOptions) -> None:
    """Refuse files that could not be written, before long work begins.

    Where the folder is yet to be made, the nearest one above it has to be writable.

    Raises:
        OutputError: A file exists already or is an input, or the folder cannot be written to.
    """
    folder = options.output
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    inputs = [path for path in (options.truth.path, options.hsi, options.like) if path]
    overwrite = options.overwrite or folder != options.output
    for name in (*(f"{name}.gpkg" for name in options.names), REPORT):
        check_writable(folder / name, overwrite=overwrite, inputs=inputs)
    # Sets of an older split go away, so that none of them may be what is cut now.
    for name in _files_of(folder / REPORT):
        check_writable(folder / name, overwrite=overwrite, inputs=inputs)


def write_split(
    options: SplitOptions,
    ground: Ground,
    sets: Sequence[NamedSet],
    document: dict[str, Any],
    progress: Progress,
) -> None:
    """Write every set and the report; sets of an older split in this folder are removed.

    Raises:
        OutputError: The disk is full, or fails.
    """
    make_folder(options.output)
    report = options.output / REPORT
    targets = [options.output / f"{one.label}.gpkg" for one in sets]
    stale = _files_of(report) - {target.name for target in targets}
    with partial_folder(report) as folder, output_errors(report):
        with progress.task("writing", len(sets)) as task:
            for one, target in zip(sets, targets, strict=True):
                _write(set_frame(ground, one.pieces), folder / target.name, target)
                task.advance()
        (folder / REPORT).write_text(to_json_text(document), encoding="utf-8")
        finished = [(folder / target.name, target) for target in (*targets, report)]
        publish_all(finished, stale=[options.output / name for name in stale])


def _files_of(report: Path) -> set[str]:
    """The files that an older report in the same folder tells of."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads(report.read_text(encoding="utf-8"))
        if document["kind"] == "split":
            return {Path(each["file"]).name for each in document["sets"]}
    return set()


def set_frame(ground: Ground, pieces: Pieces) -> geopandas.GeoDataFrame:
    """One row for each feature and group of a set, in the CRS of the source.

    All attributes of the feature are kept; `source_feature` is its number in the source, from 1,
    and `split_group` the number of the block or group that stays together.
    """
    truth = pieces.truth
    kinds = dimensions(truth.geometries)
    keys = np.stack([truth.features, pieces.groups, kinds], axis=1)
    rows, row_of = np.unique(keys, axis=0, return_inverse=True)
    shapes = _joined(truth.geometries, row_of.reshape(-1), rows[:, 2])
    shapes = reproject(shapes, truth.crs, truth.source_crs)
    attributes = _plain_attributes(ground.frame).iloc[rows[:, 0]].reset_index(drop=True)
    for name, values in (("source_feature", rows[:, 0] + 1), ("split_group", rows[:, 1] + 1)):
        attributes[_free(name, attributes.columns)] = values
    crs = truth.source_crs.to_wkt() if ground.has_place else None
    return geopandas.GeoDataFrame(attributes, geometry=shapes, crs=crs)


def _joined(
    parts: NDArray[Any], row_of: NDArray[np.int64], kinds: NDArray[np.int64]
) -> NDArray[Any]:
    """The parts of each row as one geometry; single points stay as they are."""
    order = np.argsort(row_of, kind="stable")
    shapes = np.empty(len(kinds), object)
    for kind, build in _BUILD.items():
        wanted = kinds[row_of[order]] == kind
        rows = np.flatnonzero(kinds == kind)
        if len(rows):
            numbers = np.searchsorted(rows, row_of[order][wanted])
            shapes[rows] = build(parts[order][wanted], indices=numbers)
    single = (kinds == 0) & (shapely.get_num_geometries(shapes) == 1)
    if single.sum() == (kinds == 0).sum():
        shapes[single] = shapely.get_geometry(shapes[single], 0)
    # Parts that repair or a cut has left side by side are no valid multipolygon.
    broken = ~np.asarray(shapely.is_valid(shapes))
    shapes[broken] = shapely.make_valid(shapes[broken])
    return shapes


def _plain_attributes(frame: geopandas.GeoDataFrame) -> pd.DataFrame:
    """The attributes under names that SQLite tells apart, lists and the like as JSON text."""
    table = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    names: list[str] = []
    for name in table.columns:
        names.append(_free(str(name), names))
    table.columns = pd.Index(names)
    for name in names:
        if table[name].map(lambda value: isinstance(value, (list, dict, np.ndarray))).any():
            table[name] = table[name].map(_as_text)
    return table


def _as_text(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def _free(name: str, taken: Iterable[str]) -> str:
    """A name that differs from all others by more than the case of its letters."""
    others = {str(other).lower() for other in taken}
    number, found = 1, name
    while found.lower() in others:
        number += 1
        found = f"{name}_{number}"
    return found


def _write(frame: geopandas.GeoDataFrame, path: Path, target: Path) -> None:
    """Write a GeoPackage whose own columns have other names than the attributes.

    Raises:
        OutputError: GDAL cannot write it.
    """
    names = [str(name) for name in frame.columns if name != frame.geometry.name]
    try:
        with warnings.catch_warnings():
            # Ground truth without a CRS was told of when it was read.
            warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
            frame.to_file(
                path,
                driver="GPKG",
                layer=target.stem,
                engine="pyogrio",
                index=False,
                dataset_options={"VERSION": _VERSION},
                layer_options={"FID": _free("fid", names), "GEOMETRY_NAME": _free("geom", names)},
            )
    except (DataSourceError, DataLayerError) as error:
        raise OutputError(f"cannot be written ({error})", path=target) from error
