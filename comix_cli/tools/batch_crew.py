"""Who does the work of a batch: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from comix_cli.errors import UsageError
from comix_cli.progress import Progress
from comix_cli.scale.cluster import ClusterCrew
from comix_cli.scale.crew import Crew
from comix_cli.scale.processes import ProcessCrew
from comix_cli.tools.batch_work import slots
from comix_cli.tools.machine import share_of_memory


@dataclass(frozen=True)
class CrewOptions:
    """Where work is to be done.

    Attributes:
        workers: Processes of this machine; None for one for each GPU, else one.
        threads: CPU threads of each; None shares the cores out.
        scheduler: Address or file of the scheduler of a Dask cluster, in place of this machine.
    """

    workers: int | None = None
    threads: int | None = None
    scheduler: str | None = None

    def check(self) -> None:
        """Refuse what is of one machine where a cluster is asked for.

        Raises:
            UsageError: It is asked for.
        """
        for name in ("workers", "threads"):
            if self.scheduler is not None and getattr(self, name) is not None:
                raise UsageError(
                    f"--{name} is of this machine, and --scheduler of a cluster",
                    remedy=f"leave --{name} out: workers of a cluster are started with theirs",
                )


def crew_for(options: CrewOptions, progress: Progress) -> AbstractContextManager[Crew]:
    """The workers, which begin to exist when the context is entered.

    Raises:
        UsageError: Dask is not installed.
    """
    if options.scheduler is not None:
        return ClusterCrew(options.scheduler, slots=slots, warn=progress.warn)
    workers = options.workers or slots()
    memory = share_of_memory(workers) if workers > 1 else None
    return ProcessCrew(workers, threads=options.threads, memory=memory)
