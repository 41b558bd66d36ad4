"""The HSI of a scene, brought to the pixels of an optical X, and kept for the next time."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

from comix_cli import __version__
from comix_cli.errors import UsageError
from comix_cli.files import make_folder
from comix_cli.progress import Progress
from comix_cli.scene.raster import checksum, inspect_raster
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.provenance import plain
from comix_cli.tools.sharpen import SharpenOptions, sharpen

FOLDER = ".comix-sharp"


def with_sharp_hsi(inputs: SceneInputs, progress: Progress) -> SceneInputs:
    """The same scene with a sharp HSI.

    What has been sharpened before from the same files with the same comix is taken again.

    Args:
        inputs: The scene.
        progress: Who watches.

    Raises:
        InputError: The pair cannot be sharpened.
        OutputError: There is no place to keep it.
        UsageError: No X is optical.
    """
    asked = SharpenOptions(
        inputs.hsi, _guide(inputs), Path(), src_crs=inputs.src_crs, quality=False, overwrite=True
    )
    target = _place(asked)
    if target.exists():
        progress.info(f"{target} is of an earlier run")
    else:
        make_folder(target.parent)
        sharpen(replace(asked, output=target), progress)
    return replace(inputs, hsi=str(target), sharpened_from=inputs.hsi)


def _guide(inputs: SceneInputs) -> str:
    """The first X that says wavelengths."""
    for path in inputs.x:
        centres = inspect_raster(path, src_crs=inputs.src_crs).bands.wavelengths_nm
        if all(centre is not None for centre in centres):
            return path
    raise UsageError(
        "--sharpen: no X says wavelengths, and sharpening needs an optical X: it rests "
        "on what both sensors measure of the same light, which heights and backscatter are not",
        remedy="give one, or sharpen with 'comix sharpen --x-wavelengths' first",
    )


def _place(asked: SharpenOptions) -> Path:
    """Where the sharp HSI is kept: beside the HSI, or here where that folder is not ours.

    Raises:
        UsageError: What one of the two holds cannot be told from its name.
    """
    sums = [_sum(path) for path in (asked.hsi, asked.x)]
    options = plain(replace(asked, hsi="", x=""))
    made_by = {"checksums": sums, "options": options, "version": __version__}
    mark = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]
    beside = Path(asked.hsi).parent
    folder = beside if os.access(beside, os.W_OK) else Path.cwd()
    return folder / FOLDER / f"{Path(asked.hsi).stem}-{mark}.tif"


def _sum(path: str) -> str:
    found = checksum(path)
    if found is None:
        raise UsageError(
            f"--sharpen: {path} is no file of its own, so nothing tells when it changes",
            remedy="sharpen it with 'comix sharpen', and give the result as the HSI",
        )
    return found
