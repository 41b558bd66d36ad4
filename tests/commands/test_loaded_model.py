"""A process that maps many scenes loads and traces its model once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rasterio
import torch

from comix_cli.errors import ModelFileError, UsageError
from comix_cli.progress import Silent
from comix_cli.scene.checksum import checksum
from comix_cli.tools import loaded_model
from comix_cli.tools.classify import ClassifyOptions, classify, forecast
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.loaded_model import load
from comix_cli.tools.output_files import OutputOptions


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been loaded, rehearsed and traced, in order."""
    found: list[str] = []

    def counting(name: str) -> None:
        original = getattr(loaded_model, name)

        def counted(*arguments: object, **named: object) -> object:
            found.append(name)
            return original(*arguments, **named)

        monkeypatch.setattr(loaded_model, name, counted)

    for name in ("load_model", "rehearse", "traced"):
        counting(name)
    return found


def options(scene: Path, name: str, **changes: Any) -> ClassifyOptions:
    inputs = SceneInputs(str(scene / "hsi.tif"), (str(scene / "lidar.tif"),))
    outputs = OutputOptions(scene / name)
    asked = ClassifyOptions(inputs, scene / "model.safetensors", outputs, device="cpu", threads=1)
    return replace(asked, **changes)


def test_a_model_is_loaded_and_traced_once_for_many_scenes(scene: Path, calls: list[str]) -> None:
    classify(options(scene, "alone.tif"), Silent())
    assert calls == ["load_model", "rehearse", "traced"]
    calls.clear()
    model = load(scene / "model.safetensors", "cpu")
    for number in range(3):
        classify(options(scene, f"map{number}.tif"), Silent(), loaded=model)
    forecast(options(scene, "forecast.tif"), Silent(), loaded=model)
    assert calls == ["load_model", "rehearse", "traced"]
    maps = [(scene / f"{name}.tif") for name in ("alone", "map0", "map1", "map2")]
    pixels = []
    for path in maps:
        with rasterio.open(path) as dataset:
            pixels.append(dataset.read().tobytes())
    assert len(set(pixels)) == 1


def test_windows_of_another_size_are_another_graph(scene: Path, calls: list[str]) -> None:
    model = load(scene / "model.safetensors", "cpu")
    for number, side in enumerate((16, 24, 16, 24)):
        asked = options(scene, f"map{number}.tif", window=side)
        classify(asked, Silent(), loaded=model)
    assert calls == ["load_model", *["rehearse", "traced"] * 2]


def test_what_is_compiled_is_no_longer_the_plain_network(
    scene: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[torch.nn.Module] = []

    def compile_it(network: torch.nn.Module) -> None:
        compiled.append(network)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_it)
    model = load(scene / "model.safetensors", "cpu")
    bands, channels = 12, 1
    (first,) = model.predictors(bands, channels, 16, compiled=True)
    (again,) = model.predictors(bands, channels, 16, compiled=True)
    (plain,) = model.predictors(bands, channels, 16)
    assert first is again
    assert compiled == [first.network]
    assert plain.network is not first.network
    assert calls == ["load_model", "rehearse", "rehearse", "traced"]


def test_the_checksum_is_of_what_was_loaded(scene: Path) -> None:
    path = scene / "model.safetensors"
    expected = checksum(path)
    data = path.read_bytes()
    model = load(path, "cpu")
    path.write_bytes(b"another one by now")
    assert model.checksum == load(data, "cpu").checksum == expected


def test_errors_name_the_model_and_the_option(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"far\.safetensors: not a model file"):
        load(b"nothing", "cpu", name="far.safetensors")
    with pytest.raises(ModelFileError, match=r"near\.safetensors: no such model file"):
        load(tmp_path / "near.safetensors", "cpu")
    with pytest.raises(UsageError, match="--device gpu"):
        load(b"nothing", "gpu")
