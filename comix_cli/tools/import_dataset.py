"""A benchmark dataset as the community distributes it, made into rasters that comix reads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comix_cli.errors import InputError, LabelError, RasterError, UsageError, listed
from comix_cli.progress import Progress
from comix_cli.tools.importing.datasets import DATASETS
from comix_cli.tools.importing.document import import_document
from comix_cli.tools.importing.finding import Files, find_files
from comix_cli.tools.importing.label_sets import count_classes
from comix_cli.tools.importing.official import image_differences, label_differences
from comix_cli.tools.importing.outputs import check_outputs, write_outputs
from comix_cli.tools.importing.parts import Image, LabelSet, open_image, open_labels
from comix_cli.tools.importing.pixels import Pixels, smallest_dtype
from comix_cli.tools.importing.placing import Place, place_all
from comix_cli.tools.importing.records import LABELS, Dataset


@dataclass(frozen=True)
class ImportOptions:
    """Everything `comix import` can be told.

    Attributes:
        dataset: One of the keys of `DATASETS`.
        folder: Where the files of the distribution are, also in folders in it.
        output: The folder for the rasters; made if it is not there.
        any_counts: Take labels and images that differ from what is published, with a warning.
        overwrite: Replace the files of an earlier import.
    """

    dataset: str
    folder: Path
    output: Path
    any_counts: bool = False
    overwrite: bool = False


def import_dataset(options: ImportOptions, progress: Progress) -> dict[str, Any]:
    """Write `hsi.tif`, a raster for each X, the official label sets and `import.json`.

    Returns:
        What `import.json` says (see `importing/document.py`).

    Raises:
        UsageError: There is no such dataset.
        ComixError: Files are missing, cannot be read, or differ from what is published; outputs
            exist or cannot be written.
    """
    dataset = _dataset(options.dataset)
    files = find_files(dataset, options.folder)
    check_outputs(options.output, files, overwrite=options.overwrite)
    with ExitStack() as stack:
        # Labels are small, and what is wrong with them is known before a cube is read.
        labels = [stack.enter_context(open_labels(found)) for found in files.labels]
        counts = [count_classes(pixels, len(dataset.classes)) for pixels in labels]
        _settle(options, label_differences(dataset, files, counts), LabelError, progress)
        rasters = [stack.enter_context(open_image(found)) for found in files.images]
        _settle(options, image_differences(dataset, files, rasters), RasterError, progress)
        places = place_all(dataset, [*rasters, *labels])
        images = _images(files, rasters, places, progress)
        sets = [
            LabelSet(found.part, pixels, place, numbers)
            for found, pixels, place, numbers in zip(
                files.labels, labels, places[len(images) :], counts, strict=True
            )
        ]
        document = import_document(dataset, options.folder, images, sets)
        write_outputs(dataset, options.output, images, sets, document, progress)
    _warn(dataset, files, places[0], progress)
    return document


def _dataset(key: str) -> Dataset:
    if key not in DATASETS:
        raise UsageError(
            f"there is no dataset '{key}'", remedy=f"the known ones are {listed(list(DATASETS))}"
        )
    return DATASETS[key]


def _images(
    files: Files, rasters: Sequence[Pixels], places: Sequence[Place], progress: Progress
) -> list[Image]:
    images = []
    with progress.task("reading", len(rasters)) as task:
        for found, pixels, place in zip(files.images, rasters, places, strict=False):
            dtype = smallest_dtype(pixels, found.part.keep)
            images.append(Image(found.part, pixels, place, dtype))
            task.advance(status=found.part.name)
    return images


def _settle(
    options: ImportOptions, differences: Sequence[str], kind: type[InputError], progress: Progress
) -> None:
    """Refuse what differs from what is published, or warn of it where it is wanted all the same."""
    if not differences:
        return
    cause = f"differs from the official {options.dataset}: {'; '.join(differences)}"
    if not options.any_counts:
        raise kind(
            cause,
            path=options.folder,
            remedy="get the original distribution, or take it as it is with --any-counts",
        )
    progress.warn(f"{options.folder}: {cause}")


def _warn(dataset: Dataset, files: Files, hsi: Place, progress: Progress) -> None:
    """What a user of the rasters has to know."""
    if hsi.is_local:
        progress.warn(
            f"the files of {dataset.key} carry no place: the rasters lie on a local grid of "
            f"{dataset.pixel_m:g} m, and fit each other but no other data"
        )
    if files.absent:
        what = (
            "no official split was found, so labels.tif holds all labelled pixels"
            if files.labels[0].part.name == LABELS
            else f"no labels were found for {' and '.join(files.absent)}"
        )
        sources = (source for part in dataset.labels[0] for source in part.sources)
        progress.warn(f"{what} (looked for {', '.join(source.pattern for source in sources)})")
    if len(files.images) == 1:
        others = listed([part.name for part in dataset.images[1:]])
        progress.warn(f"no other sensor was found beside the HSI; {dataset.key} has {others}")
