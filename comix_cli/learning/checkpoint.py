"""Where a training stands, in a file from which it goes on as if it had never stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from comix_cli.errors import ModelFileError
from comix_cli.files import atomic_path

_KEY = "comix-checkpoint"
VERSION = 1
# Seconds between two checkpoints: little work is lost, and little time goes into writing.
PAUSE_S = 30.0


@dataclass(frozen=True)
class Snapshot:
    """Everything that the steps to come depend on.

    Attributes:
        tensors: Weights, averages, the optimiser's moments, torch's random state, by name.
        facts: All else, as plain values: the step, the losses, the random state of the sampler.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `name/`, without that."""
        start = f"{name}/"
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


class Keeper:
    """Writes a snapshot from time to time, and knows the one of an earlier run.

    Args:
        path: The checkpoint.
        fingerprint: What must not have changed since: options, inputs, ground truth.
        resumed: Whether to go on from the file; else it is replaced.

    Raises:
        ModelFileError: `resumed`, and the file is damaged or of another training.
    """

    def __init__(self, path: Path, fingerprint: str, *, resumed: bool) -> None:
        self._path, self._fingerprint = path, fingerprint
        self._last = time.monotonic()
        self.found = _read(path, fingerprint) if resumed else None

    def is_due(self) -> bool:
        """Whether it is time for another snapshot."""
        return time.monotonic() - self._last >= PAUSE_S

    def keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot in place of the last one.

        Raises:
            OutputError: It cannot be written.
        """
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in snapshot.tensors.items()}
        facts = {"version": VERSION, "fingerprint": self._fingerprint, **snapshot.facts}
        with atomic_path(self._path) as partial:
            save_file(tensors, partial, metadata={_KEY: json.dumps(facts)})
        self._last = time.monotonic()


def _read(path: Path, fingerprint: str) -> Snapshot:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelFileError(
            f"is no checkpoint, or a damaged one ({type(error).__name__}: {error})",
            path=path,
            remedy="begin anew with --overwrite",
        ) from error
    if facts.get("version") != VERSION or facts.get("fingerprint") != fingerprint:
        raise ModelFileError(
            "is of a training with other options, inputs or ground truth",
            path=path,
            remedy="give the same ones, or begin anew with --overwrite",
        )
    return Snapshot(tensors, facts)
