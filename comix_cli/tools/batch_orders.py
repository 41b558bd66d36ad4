"""What a batch and its workers tell each other of a scene: plain records for every process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comix_cli.scene.checksum import KnownFile, Signature
from comix_cli.tools.batch_jobs import Job
from comix_cli.tools.classify_parts import SceneCut

Signatures = Mapping[str, Signature]

# A model is given to workers under this and its checksum.
MODEL = "model-"


@dataclass(frozen=True)
class Order:
    """A scene as a worker gets it.

    Attributes:
        job: What to do.
        model: The name that the model of a classification was given under; empty without one.
        known: Files whose checksums were found before.
        mark: What the outputs that are there were made from; empty where they are to be made.
        parts: How many parts a scene may be cut into.
        exactly: Whether somebody has asked for just so many, however small they are.
    """

    job: Job
    model: str = ""
    known: Mapping[str, KnownFile] = field(default_factory=dict)
    mark: str = ""
    parts: int = 1
    exactly: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a scene.

    Attributes:
        inputs: Every file that was read.
        mark: What the result depends on.
        figures: What the summary shows.
        unchanged: Whether it was there already.
    """

    inputs: Mapping[str, KnownFile]
    mark: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    unchanged: bool = False


@dataclass(frozen=True)
class Parts:
    """A scene that is to be done in parts.

    Attributes:
        cut: The parts.
        folder: Where each is written, on storage that all workers share.
        signatures: What the files that are read looked like when the scene was cut.
    """

    cut: SceneCut
    folder: Path
    signatures: Signatures
