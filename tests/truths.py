"""Ground truth for tests, without a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rasterio.crs import CRS

from comix_cli.scene.labels import GroundTruth

UTM = CRS.from_epsg(32633)


def truth_of(
    geometries: Sequence[Any], codes: Sequence[int] | None = None, crs: CRS = UTM
) -> GroundTruth:
    """Ground truth whose features are the geometries."""
    numbers = np.array([1] * len(geometries) if codes is None else codes, np.int32)
    shapes = np.empty(len(geometries), object)
    shapes[:] = geometries
    return GroundTruth(
        path="labels.gpkg",
        field="class",
        crs=crs,
        classes=tuple((int(code), f"class {code}") for code in np.unique(numbers)),
        geometries=shapes,
        codes=numbers,
        features=np.arange(len(geometries)),
        repaired=0,
        dropped_null=0,
        outside=0,
        warnings=(),
        integer_field=True,
        source_crs=crs,
    )
