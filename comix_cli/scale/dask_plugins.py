"""What every Dask worker of a crew is given, those that come later too.

Workers of a cluster may be without comix, or have another one, and a plugin that they cannot load
would keep them from starting. So these classes are made inside functions: such a class travels
whole, and needs nothing of ours where it arrives.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker, WorkerPlugin

READY, REFUSED = "ready", "refused"


def outfit(
    topic: str, version: str, memory: int | None, slots: Callable[[], int] | None
) -> WorkerPlugin:
    """What prepares a worker, and tells the crew whether it can be used.

    Args:
        topic: Of the crew's events.
        version: Of comix, which has to be the worker's too.
        memory: Bytes for each task; None leaves it to the worker's own limit.
        slots: Tasks that a worker does at once, to be asked there; None is one.
    """
    from distributed import WorkerPlugin  # noqa: PLC0415  # an optional package

    asked = pickle.dumps(slots)

    class Outfit(WorkerPlugin):
        async def setup(self, worker: Worker) -> None:
            report: dict[str, object] = {"worker": worker.address}
            try:
                from comix_cli import __version__  # noqa: PLC0415  # the worker's own

                if __version__ != version:
                    raise ImportError(f"comix {__version__}")

                from comix_cli.scale import dask_worker  # noqa: PLC0415  # the worker's own

                self.place = await dask_worker.prepare(worker, topic, asked, memory)
                report |= {"kind": READY, "slots": self.place.slots}
            except ModuleNotFoundError as error:
                cause = "no comix" if error.name == "comix_cli" else str(error)
                report |= {"kind": REFUSED, "cause": cause}
            except Exception as error:
                report |= {"kind": REFUSED, "cause": str(error) or type(error).__name__}
            worker.log_event(topic, report)

    return Outfit()


def gift(value: bytes) -> WorkerPlugin:
    """What keeps a value in a worker."""
    from distributed import WorkerPlugin  # noqa: PLC0415  # an optional package

    class Gift(WorkerPlugin):
        def __init__(self) -> None:
            self.value = value

    return Gift()


def gift_name(crew: str, name: str) -> str:
    """What the plugin that keeps a value is called."""
    return f"{crew}-gift-{name}"
