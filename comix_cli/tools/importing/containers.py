"""Opening a file of a dataset by what it is: .mat, text of regions, or a raster that GDAL reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rasterio.errors import RasterioError

from comix_cli.errors import RasterError
from comix_cli.scene.bands import read_band_table
from comix_cli.scene.raster import open_raster
from comix_cli.tools.importing.matlab import open_matlab
from comix_cli.tools.importing.pixels import Pixels, array_pixels
from comix_cli.tools.importing.records import Source
from comix_cli.tools.importing.roi_text import read_roi_text


@contextmanager
def open_pixels(path: str, source: Source) -> Iterator[Pixels]:
    """The raster that a source stands for.

    Raises:
        RasterError: It cannot be read, or holds no such image.
        LabelError: A text file that is no list of regions.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".mat":
        with open_matlab(path, source.variables) as pixels:
            yield pixels
    elif suffix == ".txt":
        yield array_pixels(path, read_roi_text(path))
    else:
        with open_raster(path) as dataset:
            yield _of_gdal(path, dataset)


def _of_gdal(path: str, dataset: Any) -> Pixels:
    def read(start: int, stop: int) -> NDArray[Any]:
        try:
            found: NDArray[Any] = dataset.read(window=((start, stop), (0, dataset.width)))
        except RasterioError as error:
            raise RasterError(
                f"cannot be read ({error})", path=path, remedy="check that the file is whole"
            ) from error
        return found

    centres = read_band_table(dataset).wavelengths_nm
    return Pixels(
        path,
        dataset.count,
        dataset.height,
        dataset.width,
        read,
        nodata=dataset.nodata,
        crs=dataset.crs or None,
        transform=None if dataset.transform.is_identity else dataset.transform,
        centres_nm=tuple(nm for nm in centres if nm is not None) if all(centres) else (),
    )
