"""The STAC item of the model that made a map, by the Machine Learning Model extension (MLM).

It is an item of its own because the extension says so: an item that declares it describes a model,
and what a model has made links to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac

from comix_cli.learning.model_file import InputRecord, ModelCard
from comix_cli.tools.stac_classes import class_objects, plain_name
from comix_cli.tools.stac_links import MEDIA_TYPES, multihash, reference
from comix_models.build import build_model, count_parameters

# The newest that pystac reads.
_MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
# MLM wants bands described in the words of this one: STAC 1.1 has no bands beside the assets, where
# MLM looks for them, and later versions of this extension are unknown to it.
_EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_ARCHITECTURES = {
    "comix": "CoMiX",
    "unet": "U-Net",
    "fusion-fcn": "Fusion-FCN",
    "random-forest": "Random Forest",
    "svm": "Support Vector Machine",
}
_TASKS = ["semantic-segmentation"]
# What the extension takes for a version.
_SEMANTIC_VERSION = re.compile(r"\d+\.\d+\.\d+(\+[0-9A-Za-z.-]+)?")
_NM_PER_MICROMETRE = 1000.0


def model_name(path: str | Path) -> str:
    """The name of a model, from that of its file, as the extension wants names."""
    name = plain_name(Path(path).stem).strip("-")
    return name if re.fullmatch(r"[A-Za-z][\w-]+[A-Za-z0-9]", name) else f"comix_{name or 'model'}"


def model_item(card: ModelCard, path: str, checksum: str | None, folder: Path) -> pystac.Item:
    """Describe a model.

    Args:
        card: What the model says of itself.
        path: Its file.
        checksum: Of the file, `sha256:...`; None where it is not known.
        folder: Where the item will be.
    """
    name = model_name(path)
    bands = [*_bands("hsi", card.hsi)]
    for position, record in enumerate(card.x):
        bands += _bands(f"x{position + 1}", record)
    item = pystac.Item(
        id=f"{name}-{checksum.removeprefix('sha256:')[:12]}" if checksum else name,
        geometry=None,  # a card does not say where its training scene lies
        bbox=None,
        datetime=_trained(card),
        properties=_properties(card, name),
        stac_extensions=[_MLM, _EO, _CLASSIFICATION, _FILE],
    )
    item.add_asset("model", _asset(path, checksum, bands, folder))
    return item


def _trained(card: ModelCard) -> datetime:
    try:
        return datetime.fromisoformat(str(card.training.get("date"))).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC).replace(microsecond=0)


def _properties(card: ModelCard, name: str) -> dict[str, Any]:
    architecture = _ARCHITECTURES.get(card.spec.model, card.spec.model)
    inputs = [_input("hsi", card.hsi, card)]
    inputs += [_input(f"x{i + 1}", record, card) for i, record in enumerate(card.x)]
    parameters = count_parameters(build_model(card.spec))
    framework, package = ("scikit-learn",) * 2 if card.spec.pixelwise else ("PyTorch", "torch")
    version = str(card.training.get("versions", {}).get(package, ""))
    return {
        "title": f"{architecture}, {len(card.legend)} classes",
        "gsd": card.gsd_m,
        "mlm:name": name,
        "mlm:architecture": architecture,
        "mlm:tasks": _TASKS,
        "mlm:framework": framework,
        **({"mlm:framework_version": version} if _SEMANTIC_VERSION.fullmatch(version) else {}),
        **({"mlm:total_parameters": parameters} if parameters else {}),
        "mlm:input": inputs,
        "mlm:output": [_output(card)],
        "mlm:hyperparameters": card.spec.to_json(),
        "comix:training": dict(card.training),
    }


def _bands(prefix: str, record: InputRecord) -> Iterator[dict[str, Any]]:
    """The bands of an input: name by number in the file, and wavelengths where they are known."""
    described = zip(record.bands, record.wavelengths_nm, record.fwhm_nm, strict=True)
    for number, centre, width in described:
        band: dict[str, Any] = {"name": _band_name(prefix, number)}
        if centre is not None:
            band["center_wavelength"] = round(centre / _NM_PER_MICROMETRE, 6)
        if width is not None:
            band["full_width_half_max"] = round(width / _NM_PER_MICROMETRE, 6)
        yield band


def _band_name(prefix: str, number: int) -> str:
    return f"{prefix}_{number}"


def _input(prefix: str, record: InputRecord, card: ModelCard) -> dict[str, Any]:
    scaling = record.normalisation
    what = "hyperspectral image" if prefix == "hsi" else "raster of another sensor"
    height = ", heights above ground" if record.above_ground else ""
    sharp = ", sharpened" if record.sharpened else ""
    return {
        "name": prefix,
        "description": f"{what}{height}{sharp}; scaled values beyond 0 and 1 are clipped",
        "bands": [_band_name(prefix, number) for number in record.bands],
        "input": _tensor(len(record.bands), "bands", card.window),
        "value_scaling": [
            {"type": "min-max", "minimum": low, "maximum": high}
            for low, high in zip(scaling.low, scaling.high, strict=True)
        ],
    }


def _output(card: ModelCard) -> dict[str, Any]:
    return {
        "name": "classes",
        "description": "logits; comix takes their softmax for probabilities",
        "tasks": _TASKS,
        "result": _tensor(len(card.legend), "class", card.window),
        "classification:classes": class_objects(card.legend),
    }


def _tensor(channels: int, of_what: str, window: int) -> dict[str, Any]:
    return {
        "shape": [-1, channels, window, window],
        "dim_order": ["batch", of_what, "height", "width"],
        "data_type": "float32",
    }


def _asset(
    path: str, checksum: str | None, bands: Sequence[Mapping[str, Any]], folder: Path
) -> pystac.Asset:
    there = Path(path).is_file()
    return pystac.Asset(
        href=reference(path, folder),
        title="weights, and the card that describes them",
        media_type=MEDIA_TYPES[".safetensors"],
        roles=["mlm:model", "mlm:weights", "data"],
        extra_fields={
            "mlm:artifact_type": "safetensors.torch.save_file",
            "eo:bands": [*bands],
            **({"file:size": Path(path).stat().st_size} if there else {}),
            **({"file:checksum": multihash(checksum)} if checksum else {}),
        },
    )
