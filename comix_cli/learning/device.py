"""Which device to compute on, and with how many threads."""

from __future__ import annotations

import os

import torch

from comix_cli.errors import UsageError

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def choose_device(name: str) -> torch.device:
    """The device by name; `auto` takes a CUDA GPU when there is one, else the CPU.

    Raises:
        UsageError: There is no such device here.
    """
    if torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        # Each process of torchrun keeps to its own GPU from the first touch on.
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
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


def every_one(device: torch.device) -> tuple[torch.device, ...]:
    """The devices that a name stands for: `cuda` without a number is every GPU that torch sees."""
    if device.type != "cuda" or device.index is not None:
        return (device,)
    return tuple(torch.device("cuda", number) for number in range(torch.cuda.device_count()))


def set_threads(threads: int | None) -> None:
    """Compute with so many CPU threads; None leaves torch's choice."""
    if threads is not None:
        torch.set_num_threads(threads)


def compute_exactly() -> None:
    """Let GPUs compute single precision as it is, and not with the 10 bits of TensorFloat-32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def check_number_type(name: str, device: torch.device) -> torch.dtype:
    """The number type by name; `auto` is bfloat16 on a GPU that has it, else float32.

    Raises:
        UsageError: The device only imitates it, which is slower than single precision.
    """
    if name == "auto":
        half = device.type == "cuda" and has_bfloat16(device)
        return torch.bfloat16 if half else torch.float32
    if name == "float32":
        return torch.float32
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name}: not known", remedy=f"use {', '.join(PRECISIONS)}")
    if name == "float16" and device.type != "cuda":
        raise UsageError(
            f"--precision float16: this is for GPUs, not for {device.type}",
            remedy="leave --precision out",
        )
    if name == "bfloat16" and not has_bfloat16(device):
        raise UsageError(
            f"--precision bfloat16: this {device.type} has no arithmetic for it, and imitating it "
            "is slower than float32",
            remedy="leave --precision out",
        )
    return {"float16": torch.float16, "bfloat16": torch.bfloat16}[name]


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device really computes in bfloat16."""
    if device.type == "cuda":
        # Of every GPU that the name stands for: Ampere and later compute in it.
        return torch.version.hip is not None or all(
            torch.cuda.get_device_capability(each) >= (8, 0) for each in every_one(device)
        )
    flags = torch.backends.cpu.get_cpu_capability()
    known = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    return flags != "DEFAULT" and any(has_it() for has_it in known)


def free_on(device: torch.device) -> int:
    """Bytes that are free on a GPU, those that torch keeps for itself among them."""
    free: int = torch.cuda.mem_get_info(device)[0]
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
