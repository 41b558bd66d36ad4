"""What may know what: the arrows of ARCHITECTURE.md, held by a walk over every import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "comix_cli.commands": {"tools", "mapping", "accuracy", "learning", "sharpening", "scene"},
    "comix_cli.tools": {"mapping", "learning", "sharpening", "accuracy", "scale", "scene"},
    "comix_cli.mapping": {"scene"},
    "comix_cli.learning": {"scene"},
    "comix_cli.sharpening": {"scene"},
    "comix_cli.accuracy": {"scene"},
    "comix_cli.scale": set[str](),
    "comix_cli.scene": set[str](),
}
SHARED = {"errors", "progress", "files", "project", "__init__"}
NEITHER_FILES_NOR_TORCH = (
    "comix_cli/scene/grid.py",
    "comix_cli/scene/windows.py",
    "comix_cli/scene/parts.py",
    "comix_cli/mapping/blend.py",
    "comix_cli/accuracy",
)
FILES_AND_TORCH = ("torch", "comix_models", "pyogrio", "geopandas", "pathlib", "os", "safetensors")


def modules(folder: str) -> list[Path]:
    found = ROOT / folder
    return [found] if found.suffix == ".py" else sorted(found.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module


def is_part(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_knows_only_the_rooms_below_it(room: str) -> None:
    allowed = ROOMS[room] | {room.split(".")[1]} | SHARED
    for path in modules(room.replace(".", "/")):
        for name in imports(path):
            if is_part(name, "comix_cli") and name != "comix_cli":
                assert name.split(".")[1] in allowed, f"{path.name} imports {name}"


def test_the_networks_know_torch_and_nothing_of_the_tool() -> None:
    strangers = ("comix_cli", "click", "rich", "rasterio", "geopandas", "shapely", "pyogrio")
    for path in modules("models/comix_models"):
        for name in imports(path):
            assert not is_part(name, *strangers), f"{path.name} imports {name}"


def test_only_the_command_line_knows_click_and_rich() -> None:
    for path in modules("comix_cli"):
        if "commands" not in path.parts:
            assert not [n for n in imports(path) if is_part(n, "click", "rich")], path


def test_only_the_operators_room_knows_kernels() -> None:
    for folder in ("comix_cli", "models/comix_models"):
        for path in modules(folder):
            if "deform" not in path.parts:
                found = [n for n in imports(path) if is_part(n, "numba", "triton", "DCNv4")]
                assert not found, f"{path} imports {found}"


@pytest.mark.parametrize("place", NEITHER_FILES_NOR_TORCH)
def test_the_arithmetic_knows_neither_files_nor_torch(place: str) -> None:
    for path in modules(place):
        assert not [n for n in imports(path) if is_part(n, *FILES_AND_TORCH)], path


def test_the_folder_models_is_no_package() -> None:
    assert not (ROOT / "models" / "__init__.py").exists()
