"""What a split is asked for, and what is decided where nothing is said: block and buffer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comix_cli.errors import UsageError
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.split import (
    BUFFERS_PER_BLOCK,
    LEAST_BUFFERS_PER_BLOCK,
    default_block,
    default_buffer,
)
from comix_cli.scene.variogram import Variogram
from comix_cli.tools.reference import TruthOptions

Method = Literal["blocks", "polygons", "random"]

NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitOptions:
    """Everything `comix split` can be told.

    Attributes:
        truth: The ground truth.
        output: The folder to write to.
        method: Whole blocks of a grid, whole features, or random pixels.
        folds: How many folds, instead of one split; None for none.
        shares: Of train, validation and test; 0 for a set that is not wanted. Not for folds.
        block: Side of the blocks in metres; None by the extent and the buffer.
        buffer: The least distance between sets in metres; None by the autocorrelation range.
        hsi: An image whose autocorrelation is to be told as well.
        like: A raster whose pixels are counted, or drawn.
        src_crs: The CRS of rasters that carry none.
        seed: Fixes everything random.
        overwrite: Replace what exists.
    """

    truth: TruthOptions
    output: Path
    method: Method = "blocks"
    folds: int | None = None
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    block: float | None = None
    buffer: float | None = None
    hsi: str | None = None
    like: str | None = None
    src_crs: str | None = None
    seed: int = 0
    overwrite: bool = False

    @property
    def raster(self) -> str | None:
        """The raster that the ground truth is for."""
        return self.like or self.hsi

    @property
    def wanted(self) -> tuple[tuple[str, float], ...]:
        """Name and share of each set of a single split."""
        return tuple(
            (name, share) for name, share in zip(NAMES, self.shares, strict=True) if share > 0
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all sets that are written."""
        if self.folds is None:
            return tuple(name for name, _ in self.wanted)
        return tuple(
            f"fold_{i}_{name}" for i in range(1, self.folds + 1) for name in ("train", "test")
        )

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: Options that contradict each other.
        """
        if self.folds is None and (self.shares[0] <= 0 or len(self.wanted) < 2):
            raise UsageError(
                "--shares need training ground, and validation or test ground",
                remedy="give train,validation,test, such as 0.6,0.2,0.2 or 0.7,0,0.3",
            )
        if self.method == "random":
            self._check_random()
        elif self.method == "polygons" and self.block is not None:
            raise UsageError("--block is for --method blocks", remedy="leave it out")
        if self.block and self.buffer and self.block < LEAST_BUFFERS_PER_BLOCK * self.buffer:
            raise UsageError(
                f"--block {self.block:g} is less than twice --buffer {self.buffer:g}: nothing "
                "would be left of a block between others",
                remedy=f"give blocks of at least {BUFFERS_PER_BLOCK * self.buffer:g} m",
            )

    def _check_random(self) -> None:
        if self.raster is None:
            raise UsageError(
                "--method random draws pixels, and there is no raster that has any",
                remedy="give one with --like or --hsi",
            )
        if self.block or self.buffer:
            raise UsageError(
                "random pixels have neither blocks nor a buffer",
                remedy="leave --block and --buffer out, or use --method blocks",
            )


@dataclass(frozen=True)
class Plan:
    """Lengths that a split works with, in metres.

    Attributes:
        buffer: The least distance between sets.
        buffer_from: Where that comes from, for the report.
        block: Side of the blocks; None without blocks.
    """

    buffer: float
    buffer_from: str
    block: float | None


def make_plan(
    options: SplitOptions, truth: GroundTruth, variograms: Mapping[str, Variogram]
) -> Plan:
    """Block and buffer: those asked for, or the autocorrelation range where it fits.

    Args:
        options: What is asked for.
        truth: The ground truth, in metres.
        variograms: What is known of the autocorrelation, by what it is of.
    """
    if options.method == "random":
        return Plan(0.0, "none between random pixels", None)
    if options.buffer is not None:
        buffer, source = options.buffer, "given"
    else:
        buffer, source = default_buffer(truth, variograms.values(), options.block)
    if options.method == "polygons":
        return Plan(buffer, source, None)
    return Plan(buffer, source, options.block or default_block(truth, buffer))
