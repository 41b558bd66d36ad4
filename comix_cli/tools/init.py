"""A commented `comix.toml` to start from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from comix_cli.files import check_writable, write_atomic_text

_TEMPLATE = """\
# Defaults for comix in this folder. What is given on the command line wins.
# Keys are the long names of the options; 'comix train --help' and so on list them.
# Paths are relative to this folder.

[scene]
hsi = {hsi}            # the hyperspectral image
x = {x}        # rasters of other sensors, in a fixed order; [] for the HSI alone
# src_crs = "EPSG:32633"    # CRS of rasters that carry none
# res = 1.0                 # pixel size of the map; default: the finest input's
# dst_crs = "EPSG:25833"    # CRS of the map; default: the finest input's
# like = "grid.tif"         # or take the whole grid from another raster
# bounds = [383480.0, 5815900.0, 385240.0, 5818300.0]   # left, bottom, right, top
# resampling = {{ hsi = "nearest", x1 = "bilinear" }}

[compute]
# device = "auto"           # cpu, cuda, cuda:1, ...
# threads = 8               # default: all
# batch_size = 4

[train]
gt = {gt}         # vector ground truth to learn from
{field}   # its attribute that holds the class
output = "model.safetensors"
# model = "comix"           # or unet, fusion-fcn, random-forest, svm, to compare with
preset = "small"            # nano, tiny, small, base, paper
steps = 200
# max_minutes = 20          # finish within this time, with fewer steps if need be
# seed = 0

[classify]
model = "model.safetensors"
output = "map.tif"
# window = 128              # default: as in training
# overlap = 42              # default: a third of the window

[evaluate]
map = "map.tif"
gt = {gt_test}         # ground truth that training has not seen
"""


@dataclass(frozen=True)
class InitOptions:
    """What `comix init` can be told; what is left out becomes a placeholder.

    Attributes:
        output: The file to write.
        inputs: The rasters, the HSI first.
        truth: Ground truth to train on.
        test_truth: Ground truth to evaluate with; None for the same.
        field: The attribute that holds the class.
        overwrite: Replace an existing file.
    """

    output: Path
    inputs: tuple[str, ...] = ()
    truth: str = "labels.shp"
    test_truth: str | None = None
    field: str | None = None
    overwrite: bool = False


def init(options: InitOptions) -> None:
    """Write a commented `comix.toml`.

    Raises:
        OutputError: The file exists already, or cannot be written.
    """
    check_writable(options.output, overwrite=options.overwrite)
    hsi, *x = options.inputs or ("hsi.tif", "lidar.tif")
    field = f"field = {_toml(options.field)}" if options.field else '# field = "class"'
    text = _TEMPLATE.format(
        hsi=_toml(hsi),
        x="[" + ", ".join(_toml(path) for path in x) + "]",
        gt=_toml(options.truth),
        gt_test=_toml(options.test_truth or options.truth),
        field=field,
    )
    write_atomic_text(options.output, text)


def _toml(value: str) -> str:
    # A JSON string is a TOML basic string as well.
    return json.dumps(value, ensure_ascii=False)
