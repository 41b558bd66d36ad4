"""One process or several that train a network together, through Lightning Fabric.

`torchrun` starts the processes and tells each of them its place by the environment; each takes the
GPU of its local rank. Without it there is one process.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric

from comix_cli.errors import UsageError

# Fabric's names for what networks compute in; weights stay in single precision.
_PRECISIONS = {
    torch.float32: "32-true",
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
}


@contextmanager
def launched(device: torch.device, number_type: torch.dtype) -> Iterator[Fabric]:
    """What brings networks and tensors to their device, and gradients of all processes together.

    Args:
        device: `cpu`, `cuda`, or one GPU by its number.
        number_type: What the network computes in.

    Raises:
        UsageError: Several processes, and one GPU by its number or too few GPUs.
    """
    # It would report the hardware and the precision; our own lines say what users need.
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    processes, local = (int(os.environ.get(k, "1")) for k in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    kind = "cuda" if device.type == "cuda" else "cpu"
    if processes > 1 and device.index is not None:
        raise UsageError(
            f"--device {device}: {processes} processes cannot share one device",
            remedy="use --device cuda, and give torchrun as many processes as there are GPUs",
        )
    if kind == "cuda" and local > torch.cuda.device_count():
        raise UsageError(
            f"{local} processes need as many GPUs, and this machine has "
            f"{torch.cuda.device_count()}",
            remedy="give torchrun a smaller --nproc-per-node",
        )
    # Depthwise weights have gradients of another layout than DDP keeps them in: a small copy.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    fabric = Fabric(
        accelerator=kind,
        devices=local if device.index is None else [device.index],
        num_nodes=max(1, processes // local),
        strategy="ddp" if processes > 1 else "auto",
        precision=_PRECISIONS[number_type],  # type: ignore[arg-type]  # a literal there
    )
    fabric.launch()
    yield fabric
    # Not after an error: it would wait for work that others never finish, while torchrun waits for
    # this process to end.
    if processes > 1 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
