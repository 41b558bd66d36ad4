"""The parts of a dataset on their way from the files of a distribution to rasters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from comix_cli.tools.importing.containers import open_pixels
from comix_cli.tools.importing.finding import Found
from comix_cli.tools.importing.matlab import read_vector
from comix_cli.tools.importing.pixels import Pixels
from comix_cli.tools.importing.placing import Place
from comix_cli.tools.importing.records import ImagePart, LabelPart


@dataclass(frozen=True)
class Image:
    """An image that is going to be written.

    Attributes:
        part: What is known of it.
        pixels: The open source.
        place: Where it lies.
        dtype: Of the file.
    """

    part: ImagePart
    pixels: Pixels
    place: Place
    dtype: str

    @property
    def bands(self) -> int:
        """How many bands the file has."""
        return self.part.keep or self.pixels.bands

    @property
    def file(self) -> str:
        """What the file is called."""
        return f"{self.part.name}.tif"

    @property
    def centres_nm(self) -> tuple[float, ...]:
        """Band centres: those of the source itself, else the published ones, else ()."""
        candidates = (self.pixels.centres_nm[: self.bands], self.part.centres_nm)
        return next((known for known in candidates if len(known) == self.bands), ())

    @property
    def centres_from(self) -> str | None:
        """Who says so."""
        if not self.centres_nm:
            return None
        own = len(self.pixels.centres_nm) >= self.bands
        return self.pixels.path if own else self.part.centres_from


@dataclass(frozen=True)
class LabelSet:
    """A label set that is going to be written.

    Attributes:
        part: What is known of it.
        pixels: The open source.
        place: Where it lies.
        counts: Its pixels of each class, in the order of the codes 1, 2, ...
    """

    part: LabelPart
    pixels: Pixels
    place: Place
    counts: tuple[int, ...]

    @property
    def file(self) -> str:
        """What the file is called."""
        return f"{self.part.name}.tif"

    @property
    def matches(self) -> bool:
        """Whether it has the official number of pixels of each class."""
        return self.counts == self.part.counts


@contextmanager
def open_image(found: Found[ImagePart]) -> Iterator[Pixels]:
    """The source of an image, with the band centres that its .mat file tells of.

    Raises:
        RasterError: As `open_pixels`.
    """
    variable = found.part.centres_variable
    with open_pixels(found.path, found.source) as pixels:
        if variable is None or Path(found.path).suffix.lower() != ".mat":
            yield pixels
        else:
            centres = read_vector(found.path, variable)
            known = () if centres is None else tuple(centres.tolist())
            yield replace(pixels, centres_nm=known)


@contextmanager
def open_labels(found: Found[LabelPart]) -> Iterator[Pixels]:
    """The source of a label set.

    Raises:
        InputError: As `open_pixels`.
    """
    with open_pixels(found.path, found.source) as pixels:
        yield pixels
