"""Which device to compute on, and with how many threads."""

from __future__ import annotations

import torch

from comix_cli.errors import UsageError


def choose_device(name: str) -> torch.device:
    """The device by name; `auto` takes a CUDA GPU when there is one, else the CPU.

    Raises:
        UsageError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"--device {name}: not usable here ({str(error).splitlines()[0]})",
            remedy="use --device cpu or --device auto",
        ) from error
    return device


def set_threads(threads: int | None) -> None:
    """Compute with so many CPU threads; None leaves torch's choice."""
    if threads is not None:
        torch.set_num_threads(threads)
