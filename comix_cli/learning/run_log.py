"""What a training went through: a table, TensorBoard's format, and learning curves."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from comix_cli.errors import OutputError
from comix_cli.files import atomic_path, check_writable, make_folder, output_errors

TABLE, CURVES = "log.csv", "curves.png"
_COLUMNS = ("step", "seconds", "loss", "learning_rate", "validation_oa", "validation_aa",
            "validation_kappa")  # fmt: skip
_FIGURES = {"overall_accuracy": "validation_oa", "average_accuracy": "validation_aa",
            "kappa": "validation_kappa"}  # fmt: skip
# The loss of so many steps is averaged in the picture.
_SMOOTHED = 20


class RunLog:
    """Writes every step as it comes, so that nothing is lost with the process."""

    def __init__(self, stream: TextIO, events: Any) -> None:
        self._writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n", restval="")
        self._stream, self._events = stream, events
        self._writer.writeheader()
        self.losses: list[tuple[int, float]] = []
        self.looks: list[tuple[int, float]] = []

    def step(self, number: int, loss: float, rate: float, seconds: float) -> None:
        """A row, and two scalars."""
        row = {"step": number, "seconds": round(seconds, 3), "loss": loss, "learning_rate": rate}
        self._write(row)
        self._events.add_scalar("train/loss", loss, number)
        self._events.add_scalar("train/learning_rate", rate, number)
        self.losses.append((number, loss))

    def look(self, number: int, figures: Mapping[str, Any]) -> None:
        """A row of its own for what validation has found."""
        found = {name: figures[key] for key, name in _FIGURES.items() if figures[key] is not None}
        self._write({"step": number, **found})
        for name, value in found.items():
            self._events.add_scalar(name.replace("_", "/", 1), value, number)
        if "validation_oa" in found:
            self.looks.append((number, found["validation_oa"]))

    def _write(self, row: Mapping[str, Any]) -> None:
        self._writer.writerow(row)
        self._stream.flush()


def check_log(folder: Path, *, overwrite: bool, inputs: Iterable[str] = ()) -> None:
    """Refuse a folder that logs could not be written to, before long work begins.

    Args:
        folder: It need not be there yet.
        overwrite: Whether logs of an earlier training may be replaced.
        inputs: Files that are read meanwhile.

    Raises:
        OutputError: It is a file, cannot be made or written to, or holds logs already.
    """
    if folder.is_dir():
        check_writable(folder / TABLE, overwrite=overwrite, inputs=inputs)
        return
    if folder.exists():
        raise OutputError("is a file", path=folder, remedy="name a folder with --logs")
    first = next(path for path in (folder, *folder.parents) if path.parent.exists())
    check_writable(first, overwrite=False)


@contextmanager
def open_log(folder: Path) -> Iterator[RunLog]:
    """Logs in a folder: `log.csv`, TensorBoard's event file, and at the end `curves.png`.

    Raises:
        OutputError: The folder cannot be written to.
    """
    from tensorboardX import SummaryWriter  # noqa: PLC0415  # a second to import, and seldom asked for

    make_folder(folder)
    with output_errors(folder / TABLE), (folder / TABLE).open("w", encoding="utf-8") as stream:
        events = SummaryWriter(str(folder))
        log = RunLog(stream, events)
        try:
            yield log
        finally:
            events.close()
            if log.losses:
                draw_curves(log, folder / CURVES)


def draw_curves(log: RunLog, path: Path) -> None:
    """Loss and validation accuracy over the steps, as a picture."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # half a second to import

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps, losses = zip(*log.losses, strict=True)
    axes.plot(steps, losses, color="0.8", linewidth=0.8, label="loss")
    axes.plot(steps, _smoothed(losses), color="#1f4e79", label=f"loss, mean of {_SMOOTHED} steps")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    if log.looks:
        right = axes.twinx()
        right.plot(*zip(*log.looks, strict=True), "o-", color="#b35900", label="validation OA")
        right.set(ylabel="overall accuracy of the validation", ylim=(0, 1))
        right.legend(loc="lower right")
    axes.legend(loc="upper right")
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=120)


def _smoothed(values: tuple[float, ...]) -> list[float]:
    """The mean of each value and of those before it."""
    return [
        sum(values[max(0, i + 1 - _SMOOTHED) : i + 1]) / min(i + 1, _SMOOTHED)
        for i in range(len(values))
    ]
