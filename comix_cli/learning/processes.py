"""One process or several that train a network together, through Lightning Fabric.

`torchrun` starts the processes and tells each of them its place by the environment; each takes the
GPU of its local rank. Without it there is one process.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

import torch
from lightning_fabric import Fabric

from comix_cli.errors import UsageError

T = TypeVar("T")

# Between two looks of the processes that wait for the first one.
_PAUSE_S = 0.1
# How long a process takes at most to tell of an error and to end.
_LONGEST_WORD_S = 10
_DONE, _FAILED = "done", "failed"

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


def by_the_first(work: Callable[[], T], fabric: Fabric) -> T:
    """What the first process makes of some work; the others wait for it, however long it takes.

    Their CPU threads are its own meanwhile.

    Args:
        work: What is to be done; its result can be pickled.
        fabric: What brings the processes together.

    Raises:
        Exception: In the first process, whatever the work raises.
        SystemExit: In the others then: the first one tells why.
    """
    if fabric.world_size == 1:
        return work()
    # Waiting in a collective operation would give up after some minutes, and hear no signal.
    store = torch.distributed.TCPStore(  # type: ignore[attr-defined]  # documented all the same
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False
    )
    # torchrun's store outlives processes that it starts anew, and what they have said there.
    key = fabric.broadcast(f"comix/{secrets.token_hex(8)}")
    if not fabric.is_global_zero:
        _wait(store, key)
        return fabric.broadcast(None)  # type: ignore[return-value]  # it gets the first one's
    try:
        with _all_threads():
            found = work()
    except BaseException:
        store.set(key, _FAILED)
        raise
    store.set(key, _DONE)
    return fabric.broadcast(found)


def _wait(store: Any, key: str) -> None:
    """Wait until the first process is done.

    Raises:
        SystemExit: It has failed.
    """
    while not store.check([key]):
        time.sleep(_PAUSE_S)
    if store.get(key).decode() == _FAILED:
        _end_in_silence()


def _end_in_silence() -> NoReturn:
    """End after the first process, which tells why.

    When that ends, torchrun ends the others of its machine; one that ended before it would make
    torchrun end the first one, perhaps in the middle of its word.

    Raises:
        SystemExit: It is on another machine, or takes too long.
    """
    with suppress(ValueError):  # only the main thread may say so
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(_LONGEST_WORD_S)
    raise SystemExit(1)


@contextmanager
def _all_threads() -> Iterator[None]:
    """Compute with the threads of all processes of this machine."""
    own = torch.get_num_threads()
    torch.set_num_threads(own * int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    try:
        yield
    finally:
        torch.set_num_threads(own)
