"""`comix.toml`: a folder's defaults for every option.

`[scene]` and `[compute]` speak to every command that has such options; `[split]`, `[train]`,
`[classify]`, `[sample]`, `[evaluate]`, `[benchmark]` and `[batch]` to that command alone, but that
the map of `[evaluate]` is also the one to sample, a benchmark trains its methods as `[train]` says
and judges them by the ground truth of `[evaluate]`, and a batch does with each scene as the section
of its command says.
Keys are the long names of the options, with `-` or `_`. What is given on the command line wins.
Paths are relative to the folder of the file, which is the folder that comix runs in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comix_cli.errors import InputError, UsageError

FILE_NAME = "comix.toml"
COMMANDS = ("split", "train", "classify", "sample", "evaluate", "benchmark", "batch")
SCENE_KEYS = ("hsi", "x", "dtm", "src_crs", "resampling", "like", "res", "dst_crs", "bounds")
COMPUTE_KEYS = ("device", "threads", "batch_size")
TRUTH_KEYS = ("gt", "field", "layer", "gt_crs", "all_touched", "min_coverage")
# What [train] says that the methods of a benchmark have in common; the rest is a method's own.
_OF_ALL_METHODS = ("inputs", *SCENE_KEYS[1:], *TRUTH_KEYS, "device", "threads", "precision")
# What [evaluate] calls the ground truth that judges, and what a benchmark does.
_JUDGES = {"gt": "test", "field": "test_field", "layer": "test_layer"}
# What [evaluate] says of the map holds for whatever looks at it.
_OF_MAP = ("map", "map_path", "src_crs")
_SHARED = {"scene": SCENE_KEYS, "compute": COMPUTE_KEYS}

Defaults = dict[str, dict[str, Any]]


def read_project(folder: Path) -> Defaults:
    """The defaults of each command by parameter name; empty where the folder has no `comix.toml`.

    Raises:
        InputError: The file is not valid TOML.
        UsageError: It has a section or a shared key that nobody reads.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"not valid TOML ({error})", path=path, remedy="mend it, or write one with 'comix init'"
        ) from error
    sections = {name: _section(path, name, value) for name, value in document.items()}
    scene = _scene_parameters(sections.get("scene", {}))
    compute = sections.get("compute", {})
    evaluate = sections.get("evaluate", {})
    training = sections.get("train", {})
    common = {key: value for key, value in training.items() if key in _OF_ALL_METHODS}
    judges = {_JUDGES[key]: value for key, value in evaluate.items() if key in _JUDGES}
    # Chips of a step and windows of a map are the methods' own business.
    machine = {key: value for key, value in compute.items() if key != "batch_size"}
    of_map = {key: value for key, value in evaluate.items() if key in _OF_MAP}
    return {
        "split": sections.get("split", {}),
        "train": {**scene, **compute, **training},
        "classify": {**scene, **compute, **sections.get("classify", {})},
        "sample": _renamed({**of_map, **sections.get("sample", {})}, "map", "map_path"),
        "evaluate": _renamed(evaluate, "map", "map_path"),
        "benchmark": {**scene, **machine, **common, **judges, **sections.get("benchmark", {})},
        "batch": sections.get("batch", {}),
    }


def _section(path: Path, name: str, value: Any) -> dict[str, Any]:
    if name not in (*_SHARED, *COMMANDS) or not isinstance(value, Mapping):
        raise UsageError(
            f"{path}: '{name}' is no section that comix reads",
            remedy=f"the sections are {', '.join((*_SHARED, *COMMANDS))}",
        )
    section = {key.replace("-", "_"): item for key, item in value.items()}
    for key in section:
        if name in _SHARED and key not in _SHARED[name]:
            raise UsageError(
                f"{path}: [{name}] has no option '{key}'",
                remedy=f"its options are {', '.join(_SHARED[name])}",
            )
    return section


def _scene_parameters(scene: Mapping[str, Any]) -> dict[str, Any]:
    """The section as the parameters of a command: one list of inputs, `KEY=METHOD` resampling."""
    parameters = {key: value for key, value in scene.items() if key not in ("hsi", "x")}
    x = scene.get("x", [])
    if x and "hsi" not in scene:
        raise UsageError(f"{FILE_NAME}: [scene] has x but no hsi", remedy="name the HSI as well")
    if "hsi" in scene:
        parameters["inputs"] = [scene["hsi"], *([x] if isinstance(x, str) else x)]
    if isinstance(parameters.get("resampling"), Mapping):
        parameters["resampling"] = [f"{k}={v}" for k, v in parameters["resampling"].items()]
    return parameters


def _renamed(section: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old else key: value for key, value in section.items()}
