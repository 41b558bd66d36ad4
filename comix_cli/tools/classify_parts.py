"""One huge scene classified in parts, by many workers, as one machine would do it bit for bit.

`plan_parts` looks at everything and cuts, `map_part` computes one part wherever it is called, and
`assemble` makes of all of them what `classify` writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comix_cli import __version__
from comix_cli.errors import InputError, UsageError, as_ranges
from comix_cli.progress import Progress, Silent
from comix_cli.scene.parts import LEAST, Part, cut, part_of
from comix_cli.scene.windows import WindowPlan
from comix_cli.tools.classify_job import (
    ClassifyOptions,
    OpenScene,
    budget_of,
    check_outputs,
    opened,
    ready,
    spare_sharp,
)
from comix_cli.tools.classify_steps import (
    ClassifyReport,
    finished_outputs,
    map_rows,
    never,
    report,
)
from comix_cli.tools.inputs import SceneInputs, check_alignment
from comix_cli.tools.loaded_model import LoadedModel
from comix_cli.tools.outputs import Outputs, check_creation
from comix_cli.tools.part_files import (
    PartRecord,
    copy_part,
    discard,
    is_intact,
    part_outputs,
    read_record,
    write_record,
)
from comix_cli.tools.provenance import plain

__all__ = ["PartRecord", "SceneCut", "assemble", "map_part", "plan_parts"]


@dataclass(frozen=True)
class SceneCut:
    """A scene cut into parts.

    Attributes:
        shape: Height and width of the scene in pixels of the common grid.
        windows: How many windows the plan of the whole scene has.
        parts: The parts; a single one where it is not worth cutting.
        inputs: The scene as its parts are read, the HSI sharpened where that was asked for. Workers
            that get these in the place of those of the options need not find the sharp HSI again,
            which takes reading both rasters.
    """

    shape: tuple[int, int]
    windows: int
    parts: tuple[Part, ...]
    inputs: SceneInputs


def plan_parts(
    options: ClassifyOptions,
    progress: Progress,
    *,
    parts: int,
    least_windows: int,
    most_windows: int | None = None,
    least_rows: int = LEAST,
    loaded: LoadedModel | None = None,
) -> SceneCut:
    """Check all that `classify` would check, and cut the scene.

    Whatever is to be said of the inputs is said here. An HSI that is to be sharpened first is.

    Args:
        options: What is asked for.
        progress: Who watches.
        parts: About how many parts are wanted; see `cut`. There are more where the memory allowed
            would not suffice for one of them.
        least_windows: A scene is cut only so far that parts have this many windows on average.
        most_windows: A scene is cut until parts have no more windows than this, about, however few
            are wanted; None for any number.
        least_rows: Rows of windows that a strip has of its own at least, see `cut`.
        loaded: The model, where it has been loaded before as the options say; None loads it.

    Raises:
        ComixError: As `classify`, before it begins.
    """

    def cut_up(scene: OpenScene) -> tuple[Part, ...]:
        count = len(scene.plan)
        needed = 1 if most_windows is None else -(-count // most_windows)
        wanted = max(needed, min(parts, count // least_windows))
        return _that_fit(options, scene, wanted, least_rows)

    def check(scene: OpenScene) -> None:
        spare_sharp(options, scene)
        check_creation(options.outputs, scene.card.legend)
        cut_up(scene)

    check_outputs(options)
    with opened(options, progress, check, loaded=loaded) as scene:
        check_alignment(scene.inputs, scene.stack, progress)
        return SceneCut(scene.plan.shape, len(scene.plan), cut_up(scene), scene.inputs)


def map_part(
    options: ClassifyOptions,
    part: Part,
    folder: Path,
    progress: Progress,
    *,
    loaded: LoadedModel | None = None,
    cancelled: Callable[[], bool] = never,
) -> PartRecord:
    """Compute a part of a scene and keep it in a folder, unless that has been done before.

    Nothing looks finished that is not: every file appears whole or not at all, and what says that
    the part is finished comes last.

    Args:
        options: As for `plan_parts`; the outputs only say which scores are wanted. Threads, memory
            and device may be this worker's own, and the inputs may be those of the cut.
        part: One of those that `plan_parts` has cut.
        folder: Where parts are kept: of these options, and of rasters that stay as they are, alone.
        progress: Told of every window.
        loaded: The model, where it has been loaded before as the options say; None loads it.
        cancelled: Asked before every window whether the result is still wanted.

    Raises:
        ComixError: An input cannot be read, or the part cannot be written.
        CrewError: The result is not wanted any more.
    """
    with _as_planned(options, loaded, (part,)) as scene:
        own, mark = part.own, _mark(options, scene, part)
        record = read_record(folder, own, mark)
        if record is not None and is_intact(folder, record):
            with progress.task("classifying", part.windows) as task:
                task.advance(part.windows)
            return record
        discard(folder, own)
        grid, legend = scene.stack.grid, scene.card.legend
        with (
            ready(options, scene, part) as job,
            part_outputs(options.outputs, grid, legend, folder, own) as outputs,
        ):
            outside = map_rows(job, outputs, progress, cancelled)
        return write_record(folder, own, mark, outputs, outside)


def assemble(
    options: ClassifyOptions,
    cut: SceneCut,
    folder: Path,
    progress: Progress,
    *,
    loaded: LoadedModel | None = None,
) -> ClassifyReport:
    """Make of finished parts what `classify` writes. The parts stay where they are.

    Args:
        options: As for `plan_parts`.
        cut: What that has given.
        folder: Where `map_part` has kept the parts.
        progress: Who watches.
        loaded: The model, where it has been loaded before as the options say; None loads it.

    Raises:
        InputError: Parts are missing, or damaged and now removed: `map_part` makes them again.
        OutputError: An output cannot be written.
    """
    check_outputs(options)
    with _as_planned(options, loaded, cut.parts) as scene:
        spare_sharp(options, scene)
        records = [read_record(folder, p.own, _mark(options, scene, p)) for p in cut.parts]
        _refuse(folder, cut, [record is None for record in records], "missing or damaged")
        found = [record for record in records if record is not None]
        with finished_outputs(options, scene, progress) as outputs:
            damaged = _copied(folder, found, outputs, progress)
            _refuse(folder, cut, damaged, "damaged")
        outside = sum(record.outside for record in found)
        return report(options, scene, outputs, outside, progress)


def _that_fit(
    options: ClassifyOptions, scene: OpenScene, parts: int, least_rows: int
) -> tuple[Part, ...]:
    """The parts of a scene, none of them too wide for the memory allowed.

    Raises:
        UsageError: Not even the narrowest would fit.
    """
    found = cut(scene.plan, parts, least=least_rows)
    while True:
        widest = max(found, key=lambda part: (len(part.cols), len(part.rows)))
        try:
            budget_of(options, scene, widest)
        except UsageError:
            narrower = cut(
                scene.plan, parts, least=least_rows, most_width=max(1, len(widest.cols) // 2)
            )
            if max(len(part.cols) for part in narrower) >= len(widest.cols):
                raise
            found = narrower
        else:
            return found


@contextmanager
def _as_planned(
    options: ClassifyOptions, loaded: LoadedModel | None, parts: tuple[Part, ...]
) -> Iterator[OpenScene]:
    """A scene that has been cut before; what there is to be said of it has been said.

    Raises:
        InputError: It is not what it was.
    """
    with opened(options, Silent(), _accept, dry=True, loaded=loaded) as scene:
        if scene.sharp is not None and not scene.sharp.is_there:
            raise InputError(
                "the sharp HSI is not where it was kept",
                path=scene.sharp.kept,
                remedy="let every worker see that folder, or sharpen with 'comix sharpen' first",
            )
        if not all(_belongs(part, scene.plan) for part in parts):
            raise InputError(
                "the scene is no longer the one that was cut into parts",
                path=options.inputs.hsi,
                remedy="give the same command again",
            )
        yield scene


def _accept(scene: OpenScene) -> None:
    """Whatever it is: it has been checked before."""


def _belongs(part: Part, plan: WindowPlan) -> bool:
    try:
        return part_of(plan, part.own) == part
    except ValueError:
        return False


def _mark(options: ClassifyOptions, scene: OpenScene, part: Part) -> str:
    """All that the files of a part depend on, but what is in the rasters, as a checksum."""
    grid, outputs = scene.stack.grid, options.outputs
    made_by = {
        "version": __version__,
        "inputs": plain(scene.inputs),
        "mask": [options.mask, options.mask_layer],
        "grid": [grid.crs.to_wkt(), tuple(grid.transform)],
        "plan": plain(scene.plan),
        "part": plain(part.own),
        "model": [scene.model.checksum, options.precision, options.compile],
        "scores": [
            bool(path) for path in (outputs.probabilities, outputs.confidence, outputs.entropy)
        ],
        "float": outputs.float_scores,
    }
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()


def _copied(
    folder: Path, records: list[PartRecord], outputs: Outputs, progress: Progress
) -> list[bool]:
    """Copy all parts into the outputs; which of them turned out to be damaged."""
    damaged = []
    with progress.task("joining parts", len(records)) as task:
        for record in records:
            damaged.append(not copy_part(folder, record, outputs))
            task.advance()
    return damaged


def _refuse(folder: Path, cut: SceneCut, faulty: list[bool], what: str) -> None:
    """Remove faulty parts, and say which they are.

    Raises:
        InputError: There are some.
    """
    numbers = [number for number, is_faulty in enumerate(faulty) if is_faulty]
    if not numbers:
        return
    for number in numbers:
        discard(folder, cut.parts[number].own)
    noun, verb = ("part", "is") if len(numbers) == 1 else ("parts", "are")
    raise InputError(
        f"{noun} {as_ranges(n + 1 for n in numbers)} of {len(cut.parts)} {verb} {what}",
        path=folder,
        remedy="give the same command again: what is there is not computed again",
    )
