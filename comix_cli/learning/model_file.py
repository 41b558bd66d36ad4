"""A model is one safetensors file that carries everything needed to use it.

The tensors are the weights of a network, or what stands for them in a forest or a support vector
machine. The header's metadata holds one JSON document, the card: the model's spec, the bands and
their wavelengths, the normalisation, the legend with colours, the resolution, and what trained it.
Nothing in the file can execute code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file

from comix_cli.errors import ModelFileError
from comix_cli.files import atomic_path
from comix_cli.learning.normalise import BlockNormaliser, Normalisation, joined
from comix_cli.scene.legend import Legend
from comix_models.build import build_model, spec_from_json
from comix_models.spec_base import Spec

FORMAT = "comix-model"
# Since 2 the spec says what kind of model it is; before there was only CoMiX.
FORMAT_VERSION = 2
_KEY = "comix"
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class InputRecord:
    """What the model expects of one raster.

    Attributes:
        name: The file's name in training, for people.
        role: `hsi`, `continuous` or `categorical`.
        count: Bands that the raster had.
        bands: The 1-based bands that are used.
        dropped: Why other bands are not used, by band.
        wavelengths_nm: Centre of each used band in nanometres, None where unknown.
        fwhm_nm: Width of each used band in nanometres, None where unknown.
        resampling: The rasterio name of the resampling to the common grid that was asked for; None
            leaves it to the role.
        normalisation: The scaling of each used band to [0, 1].
        above_ground: True where a terrain model was subtracted, so that heights are above ground.
        sharpened: True of an HSI that was brought to the pixels of X by `comix sharpen`.
    """

    name: str
    role: str
    count: int
    bands: tuple[int, ...]
    dropped: Mapping[int, str]
    wavelengths_nm: tuple[float | None, ...]
    fwhm_nm: tuple[float | None, ...]
    resampling: str | None
    normalisation: Normalisation
    above_ground: bool = False
    sharpened: bool = False

    def to_json(self) -> dict[str, Any]:
        """The record as plain lists and dictionaries."""
        return {
            "name": self.name,
            "role": self.role,
            "count": self.count,
            "bands": list(self.bands),
            "dropped": {str(band): reason for band, reason in self.dropped.items()},
            "wavelengths_nm": list(self.wavelengths_nm),
            "fwhm_nm": list(self.fwhm_nm),
            "resampling": self.resampling,
            "normalisation": self.normalisation.to_json(),
            "above_ground": self.above_ground,
            "sharpened": self.sharpened,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> InputRecord:
        """The inverse of `to_json`."""
        return cls(
            name=str(document["name"]),
            role=str(document["role"]),
            count=int(document["count"]),
            bands=tuple(int(band) for band in document["bands"]),
            dropped={int(band): str(why) for band, why in document["dropped"].items()},
            wavelengths_nm=tuple(document["wavelengths_nm"]),
            fwhm_nm=tuple(document["fwhm_nm"]),
            resampling=None if document["resampling"] is None else str(document["resampling"]),
            normalisation=Normalisation.from_json(document["normalisation"]),
            above_ground=bool(document.get("above_ground", False)),  # older cards lack these
            sharpened=bool(document.get("sharpened", False)),
        )


@dataclass(frozen=True)
class ModelCard:
    """All that a model file says beside its weights.

    Attributes:
        spec: The model.
        hsi: The hyperspectral input.
        x: The other sensors' inputs in order; none for a model of the HSI alone.
        legend: The classes, in the order of the network's output channels.
        window: Side in pixels of the chips it was trained on.
        gsd_m: Metres per pixel of the grid it was trained on.
        training: Provenance: inputs with checksums, options, versions, time, losses.
    """

    spec: Spec
    hsi: InputRecord
    x: tuple[InputRecord, ...]
    legend: Legend
    window: int
    gsd_m: float
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def normaliser(self) -> BlockNormaliser:
        """Turns a raw block of a scene into the network's inputs."""
        return BlockNormaliser(
            self.hsi.normalisation, joined([record.normalisation for record in self.x])
        )

    def to_json(self) -> dict[str, Any]:
        """The card as plain lists and dictionaries."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "spec": self.spec.to_json(),
            "hsi": self.hsi.to_json(),
            "x": [record.to_json() for record in self.x],
            "legend": self.legend.to_json(),
            "window": self.window,
            "gsd_m": self.gsd_m,
            "training": dict(self.training),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ModelCard:
        """The inverse of `to_json`."""
        return cls(
            spec=spec_from_json(document["spec"]),
            hsi=InputRecord.from_json(document["hsi"]),
            x=tuple(InputRecord.from_json(record) for record in document["x"]),
            legend=Legend.from_json(document["legend"]),
            window=int(document["window"]),
            gsd_m=float(document["gsd_m"]),
            training=document["training"],
        )


def save_model(path: Path, weights: Mapping[str, torch.Tensor], card: ModelCard) -> None:
    """Write a model file; it appears whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    text = json.dumps(card.to_json(), allow_nan=False)
    with atomic_path(path) as partial:
        save_file(tensors, partial, metadata={"format": "pt", _KEY: text})


def read_card(path: Path) -> ModelCard:
    """What a model file says of itself, without loading its weights.

    Raises:
        ModelFileError: The file is missing, truncated, foreign, or from a newer comix.
    """
    return _parse_card(path, _read_metadata(path))


def load_model(
    path: Path, device: torch.device, data: bytes | None = None
) -> tuple[torch.nn.Module, ModelCard]:
    """The network in evaluation mode on a device, and its card.

    Args:
        path: The model file.
        device: Where the network is wanted.
        data: What is in the file, where it may be out of reach; errors name the file all the same.

    Raises:
        ModelFileError: The file is missing, truncated, foreign, or from a newer comix.
    """
    card = _parse_card(path, _read_metadata(path) if data is None else _metadata_in(path, data))
    network = build_model(card.spec)
    try:
        network.load_state_dict(_read_weights(path) if data is None else load(data))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"its weights do not fit the network it describes ({reason})",
            path=path,
            remedy="train it again or copy it again",
        ) from error
    return network.to(device).eval(), card


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _metadata_in(path: Path, data: bytes) -> Mapping[str, str]:
    """As `_read_metadata`: the header is JSON behind its length, a number of eight bytes."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    try:
        header: dict[str, Any] = json.loads(data[_LENGTH_BYTES:end])
        metadata: Mapping[str, str] = header.pop("__metadata__", None) or {}
        size = max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
        if len(data) != end + size:
            raise ValueError(f"{len(data)} bytes, and {end + size} are announced")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _not_a_model(path, error) from error
    return metadata


def _read_metadata(path: Path) -> Mapping[str, str]:
    if not path.is_file():
        raise ModelFileError(
            "no such model file",
            path=path,
            remedy="train one with 'comix train', or name it with -m",
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _not_a_model(path, error) from error


def _not_a_model(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"not a model file, or a truncated one ({error})",
        path=path,
        remedy="give a .safetensors file that 'comix train' wrote",
    )


def _parse_card(path: Path, metadata: Mapping[str, str]) -> ModelCard:
    if _KEY not in metadata:
        raise ModelFileError(
            "a safetensors file, but not one that comix wrote",
            path=path,
            remedy="give a file that 'comix train' wrote",
        )
    try:
        document = json.loads(metadata[_KEY])
        version = int(document["format_version"])
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}")
        if version > FORMAT_VERSION:
            raise ModelFileError(
                f"its format is version {version}, this comix reads up to {FORMAT_VERSION}",
                path=path,
                remedy="upgrade comix",
            )
        return ModelCard.from_json(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"its description is damaged ({type(error).__name__}: {error})",
            path=path,
            remedy="train it again or copy it again",
        ) from error
