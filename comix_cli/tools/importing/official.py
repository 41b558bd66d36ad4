"""What of the files differs from what is published, with both numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from comix_cli.tools.importing.finding import Files
from comix_cli.tools.importing.pixels import Pixels
from comix_cli.tools.importing.records import Dataset, LabelPart

_CLASSES_TOLD = 4


def label_differences(
    dataset: Dataset, files: Files, counts: Sequence[tuple[int, ...]]
) -> list[str]:
    """One text for each label set whose pixels by class are not the official ones."""
    pairs = zip(files.labels, counts, strict=True)
    told = (_of_set(dataset, found.part, numbers) for found, numbers in pairs)
    return [text for text in told if text]


def _of_set(dataset: Dataset, part: LabelPart, counts: tuple[int, ...]) -> str:
    wrong = [
        f"'{name}' {found} (official {official})"
        for name, found, official in zip(dataset.classes, counts, part.counts, strict=True)
        if found != official
    ]
    if not wrong:
        return ""
    shown = ", ".join(wrong[:_CLASSES_TOLD])
    if len(wrong) > _CLASSES_TOLD:
        shown += f" and {len(wrong) - _CLASSES_TOLD} more"
    return f"{part.name} has {sum(counts)} labelled pixels (official {part.pixels}): {shown}"


def image_differences(dataset: Dataset, files: Files, rasters: Sequence[Pixels]) -> list[str]:
    """One text for the HSI's size and for each number of bands that is not the official one."""
    return [*_of_size(dataset, rasters[0]), *_of_bands(files, rasters)]


def _of_size(dataset: Dataset, hsi: Pixels) -> Iterator[str]:
    height, width = dataset.shape
    if hsi.shape != dataset.shape:
        yield f"hsi is {hsi.width} x {hsi.height} pixels (official {width} x {height})"


def _of_bands(files: Files, rasters: Sequence[Pixels]) -> Iterator[str]:
    for found, pixels in zip(files.images, rasters, strict=True):
        bands = min(pixels.bands, found.part.keep or pixels.bands)
        if found.part.bands not in (None, bands):
            yield f"{found.part.name} has {bands} bands (official {found.part.bands})"
