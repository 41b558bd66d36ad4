"""The pixels that a sample is drawn from, strip by strip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import write_raster

from comix_cli.mapping import population
from comix_cli.mapping.map_file import open_map
from comix_cli.mapping.population import Population, strip_rows


@pytest.mark.parametrize(
    ("width", "block_rows", "rows"),
    [(1000, 256, 256), (1000, 1, 300), (100, 512, 2560), (100_000, 512, 3), (10**9, 512, 1)],
)
def test_strips_are_whole_blocks_where_memory_allows(
    width: int, block_rows: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(population, "_STRIP_PIXELS", 300_000)
    assert strip_rows(width, block_rows) == rows


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_strips_make_the_map_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(population, "_STRIP_PIXELS", 100)
    codes = np.random.default_rng(0).integers(0, 5, (37, 23))
    regions = np.random.default_rng(1).integers(0, 3, (37, 23))
    write_raster(tmp_path / "m.tif", codes[np.newaxis].astype(dtype), nodata=0)
    write_raster(tmp_path / "r.tif", regions[np.newaxis].astype(dtype), nodata=0)
    with open_map(tmp_path / "m.tif") as map_file, open_map(tmp_path / "r.tif") as strata:
        strips = list(Population(map_file).strips())
        divided = list(Population(map_file, strata).strips())
    assert len(strips) == 10
    assert (np.concatenate([strip.codes for strip in strips]) == codes).all()
    found = np.concatenate([strip.codes for strip in divided])
    assert (found == np.where(codes == 0, 0, regions)).all()
    unassigned = (codes > 0) & (regions == 0)
    assert sum(strip.unassigned for strip in divided) == unassigned.sum()
