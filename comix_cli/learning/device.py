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


def check_number_type(name: str, device: torch.device) -> torch.dtype:
    """The number type by name, where the device really has it.

    Raises:
        UsageError: This processor only imitates it, which is slower than single precision.
    """
    if name == "float32":
        return torch.float32
    if name != "bfloat16":
        raise UsageError(f"--precision {name}: not known", remedy="use float32 or bfloat16")
    if not _has_bfloat16(device):
        raise UsageError(
            f"--precision bfloat16: this {device.type} has no arithmetic for it, and imitating it "
            "is slower than float32",
            remedy="leave --precision out",
        )
    return torch.bfloat16


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = torch.backends.cpu.get_cpu_capability()
    known = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    return flags != "DEFAULT" and any(has_it() for has_it in known)
