"""A model that is loaded once, and kept ready for many scenes."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from comix_cli.learning.device import (
    check_number_type,
    choose_device,
    compute_exactly,
    every_one,
)
from comix_cli.learning.model_file import ModelCard, load_model
from comix_cli.mapping.predictor import Predictor
from comix_cli.mapping.rehearsal import rehearse
from comix_cli.scene.checksum import checksum
from comix_cli.tools.machine import return_large_blocks
from comix_models.fuse import fuse, traced


class LoadedModel:
    """A network ready to predict, and all that it takes to get it ready, done once.

    torch keeps what it has traced for as long as the process lives, 40 MB each time, so a process
    that maps many scenes should load a model once and hand it on. Not to be used by several threads
    at the same time.

    Args:
        predictor: The network, on its device; on the first one where that is a kind of device.
        card: What the model says of itself.
        checksum: Of the file that it was loaded from; None where it could not be read.
    """

    def __init__(self, predictor: Predictor, card: ModelCard, checksum: str | None) -> None:
        self.predictor = predictor
        self.card = card
        self.checksum = checksum
        self._tried: dict[tuple[int, int, int, bool], tuple[Predictor, int]] = {}
        self._ready: dict[tuple[int, int, int, bool], tuple[Predictor, ...]] = {}

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Every device that computes."""
        return every_one(self.predictor.device)

    def forward_bytes(self, bands: int, channels: int, side: int, *, compiled: bool = False) -> int:
        """What one window takes besides its inputs, see `rehearse`.

        Args:
            bands: Bands of the HSI.
            channels: Channels of X.
            side: Side of the windows.
            compiled: Whether torch is to compile the network.
        """
        return self._rehearsed(bands, channels, side, compiled)[1]

    def predictors(
        self, bands: int, channels: int, side: int, *, compiled: bool = False
    ) -> tuple[Predictor, ...]:
        """The network as it computes windows of a shape, once for each device.

        Args:
            bands: Bands of the HSI.
            channels: Channels of X.
            side: Side of the windows.
            compiled: Let torch compile the network.
        """
        key = (bands, channels, side, compiled)
        if key not in self._ready:
            self._ready[key] = self._on_every_device(*key)
        return self._ready[key]

    def _rehearsed(
        self, bands: int, channels: int, side: int, compiled: bool
    ) -> tuple[Predictor, int]:
        """The network on the first device, and what one window takes."""
        key = (bands, channels, side, compiled)
        if key not in self._tried:
            own = self.predictor
            if compiled:  # what has been compiled knows its shapes, and cannot be undone
                own = replace(own, network=copy.deepcopy(own.network))
            fixed = self.card.spec.window
            taken = rehearse(own, bands, channels, side, fixed=fixed, compiled=compiled)
            self._tried[key] = own, taken
        return self._tried[key]

    def _on_every_device(
        self, bands: int, channels: int, side: int, compiled: bool
    ) -> tuple[Predictor, ...]:
        own, _ = self._rehearsed(bands, channels, side, compiled)
        first, *others = self.devices
        if not compiled:
            own = _without_python(own, bands, channels, side)
        copies = (_copied(own, other, compiled) for other in others)
        return replace(own, device=first), *copies


def load(
    source: Path | bytes,
    device: str = "auto",
    precision: str = "auto",
    *,
    name: str | Path = "the model",
) -> LoadedModel:
    """Load a model to map scenes with.

    Args:
        source: The model file, or what is in it where the file may be out of reach.
        device: `auto`, `cpu`, `cuda` (every GPU there is), `cuda:1`, ...
        precision: Number type to compute in: `auto`, `float32`, `bfloat16` or `float16`.
        name: What errors call a file that is given by what is in it.

    Raises:
        ModelFileError: It is missing, truncated, foreign, or from a newer comix.
        UsageError: There is no such device, or it does not compute in that number type.
    """
    return_large_blocks()
    place = choose_device(device)
    number_type = check_number_type(precision, place)
    if number_type == torch.float32:
        compute_exactly()
    if isinstance(source, bytes):
        found: str | None = f"sha256:{hashlib.sha256(source).hexdigest()}"
        network, card = load_model(Path(name), place, source)
    else:
        network, card = load_model(source, place)
        found = checksum(source)
    predictor = Predictor(fuse(network), len(card.legend), place, number_type)
    return LoadedModel(predictor, card, found)


def _without_python(predictor: Predictor, bands: int, channels: int, side: int) -> Predictor:
    """The predictor with its network as one graph, where that is worth it."""
    if predictor.device.type != "cpu" or predictor.number_type != torch.float32:
        return predictor
    shapes = [count for count in (bands, channels) if count]
    inputs = [torch.zeros(1, count, side, side) for count in shapes]
    return replace(predictor, network=traced(predictor.network, *inputs))


def _copied(predictor: Predictor, device: torch.device, compiled: bool) -> Predictor:
    """The predictor once more, on another device."""
    network = copy.deepcopy(predictor.network).to(device)
    if compiled:
        network.compile()
    return replace(predictor, network=network, device=device)
