"""comix demo, comix info, comix init and the help."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli import comix, files

from comix_cli import __version__


def test_the_demo_leaves_everything_to_look_at(tmp_path: Path) -> None:
    outcome = comix(tmp_path, "demo", "out", "--steps", "2")
    assert outcome.code == 0, outcome.err
    assert files(tmp_path / "out") == {
        "hsi.tif", "lidar.tif", "train.gpkg", "test.gpkg", "comix.toml", "model.safetensors",
        "map.tif", "map.tif.aux.xml", "map.qml", "report.json", "report.html", "map.png",
    }  # fmt: skip
    assert "overall accuracy" in outcome.out
    assert (tmp_path / "out" / "map.png").read_bytes().startswith(b"\x89PNG")
    again = comix(tmp_path, "demo", "out", "--steps", "2")
    assert (again.code, "--overwrite" in again.error) == (1, True)
    bare = comix(tmp_path / "out", "evaluate", "--json")
    assert json.loads(bare.out)["pixels"] == json.loads(
        (tmp_path / "out" / "report.json").read_text()
    )["pixels"]  # fmt: skip


def test_info_tells_of_a_model(finished: Path) -> None:
    text = comix(finished, "info", "model.safetensors").out
    for fact in ("HSI + X", "nano", "12 of 12 bands", "450-2300 nm", "40 steps", "grass", "roof"):
        assert fact in text
    document = json.loads(comix(finished, "info", "model.safetensors", "--json").out)
    assert document["spec"]["hsi_bands"] == 12
    assert document["training"]["inputs"][0]["checksum"].startswith("sha256:")


def test_info_tells_of_a_raster_and_of_a_map(finished: Path) -> None:
    text = comix(finished, "info", "hsi.tif", "-v").out
    for fact in ("16 x 16", "EPSG:32633", "12 of int16", "-9999", "450.0"):
        assert fact in text
    document = json.loads(comix(finished, "info", "map.tif", "--json").out)
    assert [entry["name"] for entry in document["classes"]] == ["grass", "roof", "tree"]


def test_init_writes_valid_toml_once(tmp_path: Path) -> None:
    init = ("init", "a b.tif", 'od"d.tif', "--gt", "labels.shp", "--field", "Klasse")
    assert comix(tmp_path, *init).code == 0
    document = tomllib.loads((tmp_path / "comix.toml").read_text())
    assert document["scene"] == {"hsi": "a b.tif", "x": ['od"d.tif']}
    assert document["train"]["field"] == "Klasse"
    assert "--overwrite" in comix(tmp_path, *init).error


def test_every_option_of_the_commented_project_file_exists(tmp_path: Path) -> None:
    comix(tmp_path, "init")
    text = (tmp_path / "comix.toml").read_text()
    lines = [line.removeprefix("# ") for line in text.splitlines() if "=" in line]
    sections = [line for line in text.splitlines() if line.startswith("[") or "=" in line]
    assert len(lines) > 15
    everything = "\n".join(line.removeprefix("# ") for line in sections)
    (tmp_path / "comix.toml").write_text(everything)
    for command in ("train", "classify", "evaluate"):
        outcome = comix(tmp_path, command)
        assert outcome.code != 0
        assert "has no option" not in outcome.error, outcome.error


def test_info_tells_what_computes_the_operator(tmp_path: Path) -> None:
    text = comix(tmp_path, "info", "--backends").out
    assert "dcnv4" in text
    assert "What auto picks" in text
    document = json.loads(comix(tmp_path, "info", "--backends", "--json").out)
    assert list(document["backends"]) == ["dcnv4", "triton", "cpu", "torch"]
    jobs = [job for job in document["auto"] if job["device"] == "cpu"]
    assert {(job["kernel"], job["picked"]) for job in jobs} == {(3, "cpu"), (7, "cpu")}


@pytest.mark.parametrize("arguments", [(), ("hsi.tif", "--backends")])
def test_info_wants_a_file_or_backends(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = comix(tmp_path, "info", *arguments)
    assert refused.code == 2
    assert "give a file, or --backends alone" in refused.error


@pytest.mark.parametrize(
    "command", ["train", "classify", "sample", "evaluate", "info", "init", "demo"]
)
def test_every_command_has_help_and_the_shared_options(tmp_path: Path, command: str) -> None:
    text = comix(tmp_path, command, "--help").out
    for option in ("--debug", "--quiet", "--verbose"):
        assert option in text


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    assert comix(tmp_path, "--version").out.strip() == f"comix, version {__version__}"


def test_help_and_usage_errors_do_not_wait_for_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from comix_cli.commands.app import main_group\n"
        "try: main_group(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'rasterio', 'geopandas', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
