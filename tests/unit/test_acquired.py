"""When a raster was taken."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scenes import write_raster

from comix_cli.scene.acquired import Acquired, acquired

WHEN = datetime(2009, 8, 20, 10, 11, 12, tzinfo=UTC)


def image(folder: Path, domain: str | None = None, **tags: str) -> str:
    path = write_raster(folder / "image.tif", np.ones((1, 4, 4), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns=domain, **tags)
    return str(path)


def test_envi_headers_are_read(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "image.dat", np.ones((1, 4, 4), np.uint8), driver="ENVI")
    header = path.with_suffix(".hdr")
    header.write_text(f"{header.read_text()}acquisition time = 2009-08-20T10:11:12.0Z\n")
    assert acquired(str(path)) == Acquired(WHEN, WHEN)


@pytest.mark.parametrize(
    "tags",
    [
        {"ACQUISITIONDATETIME": "2009-08-20 10:11:12"},
        {"ACQUISITIONDATETIME": "2009-08-20T12:11:12+02:00"},
        {"acquisition_time": "2009-08-20T10:11:12Z"},
        {"NC_GLOBAL#time_coverage_start": "2009-08-20T10:11:12Z"},
        {"PRODUCT_START_TIME": "2009-08-20T10:11:12.000Z"},
        {"Product_StartTime": "2009-08-20T10:11:12"},
    ],
)
def test_times_are_looked_for_where_programs_put_them(tags: dict[str, str], tmp_path: Path) -> None:
    assert acquired(image(tmp_path, **tags)) == Acquired(WHEN, WHEN)


def test_gdals_domain_of_images_is_looked_at(tmp_path: Path) -> None:
    path = image(tmp_path, "IMAGERY", ACQUISITIONDATETIME="2009-08-20 10:11:12")
    assert acquired(path) == Acquired(WHEN, WHEN)


def test_a_range_has_two_ends(tmp_path: Path) -> None:
    path = image(
        tmp_path,
        **{
            "NC_GLOBAL#time_coverage_start": "2009-08-20T10:11:12Z",
            "NC_GLOBAL#time_coverage_end": "2009-08-20T10:12:00Z",
        },
    )
    assert acquired(path) == Acquired(WHEN, datetime(2009, 8, 20, 10, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"TIFFTAG_DATETIME": "2009:08:20 10:11:12"},
        {"ACQUISITIONDATETIME": "in summer"},
        {"ACQUISITIONDATETIME": "0001-01-01T00:00:00Z"},
    ],
)
def test_what_is_not_known_is_not_guessed(tags: dict[str, str], tmp_path: Path) -> None:
    assert acquired(image(tmp_path, **tags)) is None


def test_a_missing_file_says_nothing(tmp_path: Path) -> None:
    assert acquired(str(tmp_path / "none.tif")) is None
