"""The JSON Schema of the accuracy report, as a value."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def report_schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12) that every accuracy report keeps to.

    It lies in the package as `comix_cli/accuracy/report.schema.json`. Its `$id` carries the
    version of the report.
    """
    text = files("comix_cli.accuracy").joinpath("report.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
