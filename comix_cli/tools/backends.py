"""What can compute the deformable operator here, and what is picked for which job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from comix_cli.learning.device import every_one, has_bfloat16
from comix_models.deform import available_backends, verdict

# The windows of the presets.
WINDOWS = (3, 7)


def describe_backends() -> dict[str, Any]:
    """One document: every backend and why it does not work, and the choice of ``auto`` for jobs."""
    jobs = [
        asdict(verdict(device, number_type, kernel))
        for device in (torch.device("cpu"), *every_one(torch.device("cuda")))
        for number_type in _number_types(device)
        for kernel in WINDOWS
    ]
    return {"kind": "backends", "backends": available_backends(), "auto": jobs}


def _number_types(device: torch.device) -> list[torch.dtype]:
    """What maps and training compute in on a device."""
    return [torch.float32, *([torch.bfloat16] if has_bfloat16(device) else [])]
