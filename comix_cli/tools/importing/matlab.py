"""Reading .mat files: version 5 through SciPy, version 7.3, which is HDF5, through GDAL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError, matfile_version

from comix_cli.errors import RasterError, listed
from comix_cli.tools.importing.pixels import Pixels, array_pixels

_HDF5_VERSION = 2
_NUMBERS = "biuf"
_RESAVE = "load it in Matlab and save it again with save(..., '-v7')"
_DAMAGED = "compare its size with the original and copy it again"


@contextmanager
def open_matlab(path: str, variables: Sequence[str]) -> Iterator[Pixels]:
    """An image `(H, W)` or `(H, W, bands)` of a .mat file.

    A version 5 file is decompressed as a whole, in the type that it is stored in, which Matlab
    chooses as small as the values allow; of a version 7.3 file only the rows wanted are read.

    Args:
        path: The file.
        variables: Names to try in turn; `a.b` is field b of struct a. Where none is there, the
            only image of the file is taken.

    Raises:
        RasterError: Not a .mat file, damaged, or without such an image.
    """
    if _version(path) == _HDF5_VERSION:
        with _open_hdf5(path, variables) as pixels:
            yield pixels
    else:
        yield array_pixels(path, _image(path, variables))


def read_vector(path: str, variable: str) -> NDArray[np.float64] | None:
    """The numbers of a variable of a version 5 file, flat, or None where it has no such one."""
    if _version(path) == _HDF5_VERSION:
        return None
    found = _lookup(path, variable)
    return None if found is None else np.asarray(found, np.float64).ravel()


def _version(path: str) -> int:
    try:
        return int(matfile_version(path)[0])
    except (ValueError, IndexError, MatReadError, OSError) as error:
        raise RasterError("is not a .mat file", path=path, remedy=_DAMAGED) from error


def _image(path: str, variables: Sequence[str]) -> NDArray[Any]:
    """The first of the variables that is there, else the only image of the file."""
    for name in variables:
        found = _lookup(path, name)
        if found is not None:
            return _checked(path, name, found)
    top = [name for name, shape, _ in _contents(path) if len(shape) in (2, 3) and min(shape) > 1]
    if len(top) == 1:
        found = _lookup(path, top[0])
        if found is not None:
            return _checked(path, top[0], found)
    raise _no_such_variable(path, variables, [name for name, _, _ in _contents(path)])


def _checked(path: str, name: str, found: NDArray[Any]) -> NDArray[Any]:
    if found.dtype.kind not in _NUMBERS or found.ndim not in (2, 3) or 0 in found.shape:
        raise RasterError(
            f"variable '{name}' is no image: {found.dtype} of size "
            f"{' x '.join(map(str, found.shape))}",
            path=path,
            remedy="give the file of the original distribution",
        )
    return found.astype(np.uint8) if found.dtype.kind == "b" else found


def _contents(path: str) -> list[tuple[str, tuple[int, ...], str]]:
    try:
        return list(whosmat(path))
    except (ValueError, TypeError, OSError, MatReadError) as error:
        raise RasterError(f"cannot be read ({error})", path=path, remedy=_DAMAGED) from error


def _lookup(path: str, dotted: str) -> NDArray[Any] | None:
    """A variable, or a field of a struct; of cells and struct arrays the first element."""
    head, *fields = dotted.split(".")
    try:
        found = loadmat(path, variable_names=[head], struct_as_record=False).get(head)
    except Exception as error:  # SciPy lets errors of zlib and of its own parser through
        raise RasterError(f"cannot be read ({error})", path=path, remedy=_DAMAGED) from error
    for name in fields:
        found = getattr(_first(found), name, None)
    return None if found is None else np.asarray(found)


def _first(found: Any) -> Any:
    while isinstance(found, np.ndarray) and found.dtype == object and found.size:
        found = found.flat[0]
    return found


@contextmanager
def _open_hdf5(path: str, variables: Sequence[str]) -> Iterator[Pixels]:
    try:
        dataset = rasterio.open(_hdf5_name(path, variables))
    except RasterioError as error:
        raise RasterError(
            "is of Matlab's version 7.3, and cannot be read", path=path, remedy=_RESAVE
        ) from error
    with dataset:
        # Matlab counts columns first: what is a row to it, is a column of the HDF5 file.
        def read(start: int, stop: int) -> NDArray[Any]:
            window = ((0, dataset.height), (start, stop))
            return np.swapaxes(_values(dataset, path, window), 1, 2)

        yield Pixels(path, dataset.count, dataset.width, dataset.height, read)


def _values(dataset: Any, path: str, window: Any) -> NDArray[Any]:
    try:
        found: NDArray[Any] = dataset.read(window=window)
    except RasterioError as error:
        raise RasterError(f"cannot be read ({error})", path=path, remedy=_DAMAGED) from error
    return found


def _hdf5_name(path: str, variables: Sequence[str]) -> str:
    """GDAL's name of the first of the variables that is there, else of the only one."""
    with rasterio.open(path) as dataset:
        parts = list(dataset.subdatasets)
        single = dataset.count > 0
    for name in variables:
        wanted = f"//{name.replace('.', '/')}"
        for part in parts:
            if part.endswith(wanted):
                return str(part)
    if single:
        return path
    if len(parts) == 1:
        return str(parts[0])
    raise _no_such_variable(path, variables, [part.rpartition("//")[2] for part in parts])


def _no_such_variable(path: str, wanted: Sequence[str], found: Sequence[str]) -> RasterError:
    looked_for = f"none of the variables {listed(wanted)}" if wanted else "no single image"
    return RasterError(
        f"has {looked_for}; it holds {listed(found) if found else 'nothing'}",
        path=Path(path),
        remedy="give the file of the original distribution",
    )
