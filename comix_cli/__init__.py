"""comix: classified maps from a hyperspectral image and a second sensor."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("comix")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
