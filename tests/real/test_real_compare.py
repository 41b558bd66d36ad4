"""Two maps of a real scene whose errors are known, compared by way of their reports."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import rasterio
from cli import comix
from maps import map_rows
from rasterio.features import rasterize
from scenes import needs_real_data, real_data

from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend
from comix_cli.scene.raster import plain_crs

BERLIN = real_data() / "berlin_urban_gradient"
FIELD = "Level_2"


@needs_real_data
def test_the_pixels_of_two_maps_are_those_of_an_independent_count(tmp_path: Path) -> None:
    truth = geopandas.read_file(BERLIN / "test_south.gpkg")
    with rasterio.open(BERLIN / "HighResolution_BerlinUrbanGradient.bsq") as dataset:
        grid = Grid(plain_crs(dataset.crs), dataset.transform, dataset.width, dataset.height)
    names = sorted(truth[FIELD].unique())
    codes = [names.index(name) + 1 for name in truth[FIELD]]
    shapes = list(zip(truth.geometry, codes, strict=True))
    # Polygons overlap here and there: the last one wins, so the two disagree on such pixels.
    first, last = (
        rasterize(order, out_shape=grid.shape, transform=grid.transform, dtype="uint8")
        for order in (sorted(shapes, key=lambda s: s[1]), sorted(shapes, key=lambda s: -s[1]))
    )
    labels = np.where(first == last, first, 0)
    rng = np.random.default_rng(0)
    right = {}
    for name, errors in (("one", 0.3), ("two", 0.35)):
        wrong = rng.random(grid.shape) < errors
        predicted = np.where(wrong | (labels == 0), labels % len(names) + 1, labels)
        right[name] = (predicted == labels)[labels > 0]
        with map_rows(tmp_path / f"{name}.tif", grid, Legend.from_names(enumerate(names, 1))) as to:
            to.write_rows(0, predicted)
        evaluated = comix(
            tmp_path, "evaluate", f"{name}.tif", "--gt", BERLIN / "test_south.gpkg",
            "--field", FIELD, "-o", f"{name}.json",
        )  # fmt: skip
        assert evaluated.code == 0, evaluated.err
    compared = comix(tmp_path, "compare", "one.json", "two.json", "--json")
    assert compared.code == 0, compared.err
    (test,) = json.loads(compared.out)["mcnemar"]["tests"]
    one, two = right["one"], right["two"]
    assert test["pixels"] == one.size > 20_000
    assert test["only_first_right"] == (one & ~two).sum()
    assert test["only_second_right"] == (two & ~one).sum()
    low, high = test["difference_95"]
    assert low < 0.05 < high
