"""What is known of a benchmark dataset: its files, classes, official pixel counts, its place."""

from __future__ import annotations

from dataclasses import dataclass

TRAIN, TEST, LABELS = "train", "test", "labels"


@dataclass(frozen=True)
class Source:
    """One spelling under which a raster is passed around.

    Attributes:
        pattern: File name, of which case does not matter; `*` stands for anything.
        variables: The names that a .mat file is known to keep it under; `a.b` is field b of a.
            Where none of them is there, the only array of the file is taken.
    """

    pattern: str
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImagePart:
    """One image of a dataset.

    Attributes:
        name: What its file is called, without `.tif`.
        bands: The official number of bands; None where it differs between distributions.
        sources: Where to look, the most original first.
        keep: How many of the first bands are data; None for all.
        unknown_above: Larger values stand for no data.
        centres_nm: Band centres in nanometres; () where they are not published.
        centres_from: Who says so.
        centres_variable: Where a .mat file keeps them itself.
    """

    name: str
    bands: int | None
    sources: tuple[Source, ...]
    keep: int | None = None
    unknown_above: float | None = None
    centres_nm: tuple[float, ...] = ()
    centres_from: str | None = None
    centres_variable: str | None = None


@dataclass(frozen=True)
class LabelPart:
    """One official set of labelled pixels.

    Attributes:
        name: `train`, `test`, or `labels` where there is no split.
        counts: Official number of pixels of each class, in the order of the codes 1, 2, ...
        sources: Where to look, the most original first.
    """

    name: str
    counts: tuple[int, ...]
    sources: tuple[Source, ...]

    @property
    def pixels(self) -> int:
        """Official number of labelled pixels."""
        return sum(self.counts)


@dataclass(frozen=True)
class Dataset:
    """A benchmark dataset.

    Attributes:
        key: What the command line calls it.
        title: Its full name.
        citation: The publication to cite.
        classes: Official class names; the first has code 1.
        shape: Official height and width of the HSI in pixels.
        pixel_m: Documented side of the HSI's pixels in metres.
        crs: Documented CRS; None where none is published.
        images: The HSI first.
        labels: Alternatives, the best first: sets of labels that go together.
        axes: Fields of the HSI's .mat file with the eastings of columns and northings of rows.
        remark: What a user of the files has to know.
    """

    key: str
    title: str
    citation: str
    classes: tuple[str, ...]
    shape: tuple[int, int]
    pixel_m: float
    crs: str | None
    images: tuple[ImagePart, ...]
    labels: tuple[tuple[LabelPart, ...], ...]
    axes: tuple[str, str] | None = None
    remark: str | None = None
