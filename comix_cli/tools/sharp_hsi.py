"""The HSI of a scene, brought to the pixels of an optical X, and kept for the next time."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from comix_cli import __version__
from comix_cli.errors import InputError, UsageError
from comix_cli.files import make_folder, partial_folder
from comix_cli.progress import Progress, Silent
from comix_cli.scene.checksum import checksum
from comix_cli.scene.raster import describe, inspect_raster, open_raster
from comix_cli.scene.stack import usable_bands
from comix_cli.sharpening.pair import open_pair
from comix_cli.tools.band_match import spectrum_of
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.provenance import plain
from comix_cli.tools.sharpen import SharpenOptions, sharpen
from comix_cli.tools.sharpen_inputs import channels_and_response

FOLDER = ".comix-sharp"


@dataclass(frozen=True)
class SharpHsi:
    """A sharp HSI that is asked for, be it there or not.

    Attributes:
        given: The scene with the HSI as it is.
        x: The X that guides.
        mark: All that it depends on, as a checksum.
        kept: The file that holds it, once it is made.
    """

    given: SceneInputs
    x: str
    mark: str
    kept: Path

    @property
    def is_there(self) -> bool:
        """Whether an earlier run has made it."""
        return self.kept.exists()

    @property
    def scene(self) -> SceneInputs:
        """The scene with the sharp HSI."""
        return replace(self.given, hsi=str(self.kept), sharpened_from=self.given.hsi)

    def make(self, progress: Progress) -> None:
        """Sharpen, unless that has been done before from the same files with the same comix.

        Raises:
            InputError: The pair cannot be sharpened.
            OutputError: There is no place to keep it.
        """
        if self.is_there:
            progress.info(f"{self.kept} is of an earlier run")
            return
        folder = self.kept.parent
        make_folder(folder)
        try:
            # Something of ours is in the folder all the time: another run that fails takes it away
            # where it is empty.
            with partial_folder(self.kept):
                sharpen(_options(self.given, self.x, self.kept), progress)
        finally:
            with suppress(OSError):
                folder.rmdir()


def plan_sharp_hsi(inputs: SceneInputs, progress: Progress) -> SharpHsi:
    """Which pair is to be sharpened, and where the result is kept; nothing is written.

    Args:
        inputs: The scene with the HSI as it is.
        progress: Who watches: the checksums of large files take a while.

    Raises:
        InputError: A raster cannot be used.
        UsageError: The HSI is sharp already, no X can guide, or what one of the two holds cannot be
            told from its name.
    """
    if inspect_raster(inputs.hsi, src_crs=inputs.src_crs).sharpened:
        raise UsageError(
            f"--sharpen: {inputs.hsi} is sharpened already", remedy="leave --sharpen out"
        )
    x = _guide(inputs)
    mark = _mark(_options(inputs, x, Path()), progress)
    beside = Path(inputs.hsi).parent
    # Beside the HSI, or here where that folder is not ours.
    folder = beside if os.access(beside, os.W_OK) else Path.cwd()
    kept = folder / FOLDER / f"{Path(inputs.hsi).stem}-{mark[:16]}.tif"
    return SharpHsi(inputs, x, mark, kept)


def _options(inputs: SceneInputs, x: str, output: Path) -> SharpenOptions:
    return SharpenOptions(
        inputs.hsi, x, output, src_crs=inputs.src_crs, quality=False, overwrite=True
    )


def _guide(inputs: SceneInputs) -> str:
    """The first X that can guide.

    Raises:
        InputError: The HSI or an X cannot be used at all.
        UsageError: There is none; with the reason for each.
    """
    reasons = []
    for path in inputs.x:
        why_not = _why_not(inputs, path)
        if why_not is None:
            return path
        reasons.append(f"{path}: {why_not}")
    raise UsageError(
        "--sharpen: sharpening needs an optical X that is finer than the HSI, and "
        + (f"none is ({'; '.join(reasons)})" if reasons else "no X is given"),
        remedy="give one, or sharpen with 'comix sharpen --x-wavelengths' first",
    )


def _why_not(inputs: SceneInputs, path: str) -> str | None:
    """Why an X cannot guide, by what `comix sharpen` itself would refuse; None where it can."""
    with open_raster(path) as dataset:
        info = describe(dataset, path, src_crs=inputs.src_crs)
        bands, _ = usable_bands(dataset, info)
    if bands and spectrum_of(info, bands) is None:
        return "says no wavelengths, as heights and backscatter have none"
    try:
        with open_pair(inputs.hsi, path, src_crs=inputs.src_crs) as pair:
            channels_and_response(pair, Silent())
    except InputError as error:
        if error.path == inputs.hsi:
            raise
        return error.cause
    return None


def _mark(asked: SharpenOptions, progress: Progress) -> str:
    """Checksums, options and the version of comix, as one checksum.

    Raises:
        UsageError: What one of the two holds cannot be told from its name.
    """
    paths = (asked.hsi, asked.x)
    for path in paths:
        if not Path(path).is_file():
            raise UsageError(
                f"--sharpen: {path} is no file of its own, so nothing tells when it changes",
                remedy="sharpen it with 'comix sharpen', and give the result as the HSI",
            )
    sums = []
    with progress.task("checksums", len(paths)) as task:
        for path in paths:
            sums.append(checksum(path))
            task.advance()
    options = plain(replace(asked, hsi="", x=""))
    # GDAL keeps CRS, nodata and wavelengths that were set later in files that no checksum counts.
    said = [repr(replace(inspect_raster(path, src_crs=asked.src_crs), path="")) for path in paths]
    made_by = {"checksums": sums, "said": said, "options": options, "version": __version__}
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
