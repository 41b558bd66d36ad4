"""Which files of a folder are which parts of a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Generic, TypeVar

from comix_cli.errors import InputError, listed
from comix_cli.tools.importing.records import Dataset, ImagePart, LabelPart, Source

Part = TypeVar("Part", ImagePart, LabelPart)

# Deep enough for the contests' archives as they unpack.
_DEPTH = 5


@dataclass(frozen=True)
class Found(Generic[Part]):
    """A part of a dataset and the file that holds it."""

    part: Part
    path: str
    source: Source


@dataclass(frozen=True)
class Files:
    """The files of a dataset.

    Attributes:
        images: The HSI first.
        labels: One or more sets that go together.
        absent: Names of label sets that the best alternative would have had.
    """

    images: tuple[Found[ImagePart], ...]
    labels: tuple[Found[LabelPart], ...]
    absent: tuple[str, ...]

    @property
    def paths(self) -> list[str]:
        """Every file, once, in order."""
        images = [found.path for found in self.images]
        return list(dict.fromkeys([*images, *(found.path for found in self.labels)]))


def find_files(dataset: Dataset, folder: Path) -> Files:
    """The files of a dataset in a folder and the folders in it.

    Raises:
        InputError: The folder is none, the HSI or all labels are missing, or two files could be
            the same part.
    """
    if not folder.is_dir():
        cause = "is a file" if folder.exists() else "there is no such folder"
        raise InputError(cause, path=folder, remedy="name the folder that holds the dataset")
    names = _names(folder)
    hsi, *others = (_find(part, names, folder) for part in dataset.images)
    if hsi is None:
        raise _missing(dataset, folder, dataset.images[:1])
    for group in dataset.labels:
        labels = [_find(part, names, folder) for part in group]
        if all(labels):
            kept = tuple(found for found in labels if found is not None)
            wanted = {part.name for part in dataset.labels[0]}
            absent = tuple(sorted(wanted - {found.part.name for found in kept}))
            images = (hsi, *(found for found in others if found is not None))
            return Files(images, kept, absent)
    unfound = (
        part for group in dataset.labels for part in group if _find(part, names, folder) is None
    )
    raise _missing(dataset, folder, list(dict.fromkeys(unfound)))


def _names(folder: Path) -> list[Path]:
    """Visible files, the shallowest first; of each folder in order of name."""
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(here.relative_to(folder).parts) >= _DEPTH:
            folders.clear()
        found.extend(here / name for name in sorted(files) if not name.startswith("."))
    return sorted(found, key=lambda path: len(path.parts))


def _find(part: Part, names: Iterable[Path], folder: Path) -> Found[Part] | None:
    for source in part.sources:
        wanted = source.pattern.lower()
        matches = [path for path in names if fnmatchcase(path.name.lower(), wanted)]
        nearest = [path for path in matches if len(path.parts) == len(matches[0].parts)]
        if len(nearest) > 1:
            shown = listed([str(path.relative_to(folder)) for path in nearest])
            raise InputError(
                f"several files could be the {part.name}: {shown}",
                path=folder,
                remedy="name the folder of one of them",
            )
        if nearest:
            return Found(part, str(nearest[0]), source)
    return None


def _missing(dataset: Dataset, folder: Path, parts: Sequence[ImagePart | LabelPart]) -> InputError:
    looked_for = "; ".join(
        f"{part.name} as {' or '.join(source.pattern for source in part.sources)}" for part in parts
    )
    return InputError(
        f"does not hold {dataset.key}: looked, also in the folders in it, for {looked_for}",
        path=folder,
        remedy="unpack the archives and give one of these files its name",
    )
