"""Benchmarks of the command line on a small scene, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cli import Outcome, comix

SCENE = ("benchmark", "hsi.tif", "lidar.tif", "--gt", "train.gpkg", "--test", "test.gpkg",
         "--threads", "1")  # fmt: skip
QUICK = ("--train-options", "--steps 3 --batch-size 1 --window 16 --preset nano --trees 5 "
         "--samples-per-class 40 --validation none")  # fmt: skip
TWO = ("--models", "svm,random-forest", "--seeds", "0,2", *QUICK)


def bench(folder: Path, *more: str) -> Outcome:
    return comix(folder, *SCENE, *more)


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "benchmark.json").read_text())
    return found


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def times(folder: Path) -> dict[str, int]:
    """When the files of the runs were last written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.glob("*/**/*") if p.is_file()}
