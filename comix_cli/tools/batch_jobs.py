"""What can be done to one scene of a batch, and which files that reads and writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from comix_cli import __version__
from comix_cli.tools.classify_job import ClassifyOptions
from comix_cli.tools.evaluate import EvaluateOptions
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.provenance import plain
from comix_cli.tools.reference import TruthOptions
from comix_cli.tools.train import TrainOptions
from comix_cli.tools.validation import AUTO, NONE

# What no pixel, weight or figure depends on.
_NO_MATTER = ("device", "threads", "ram", "batch_size", "overwrite", "resume", "logs")


@dataclass(frozen=True)
class EvaluateJob:
    """A map that is to be judged.

    Attributes:
        options: What is compared.
        reports: The files to write, by the option that names them: `-o`, `--report`.
        min_oa: The least overall accuracy, 0 to 1, below which it fails; None for any.
        overwrite: Replace existing reports.
    """

    options: EvaluateOptions
    reports: Mapping[str, Path]
    min_oa: float | None = None
    overwrite: bool = False


Job = ClassifyOptions | TrainOptions | EvaluateJob


@dataclass(frozen=True)
class Scene:
    """One scene of a batch.

    Attributes:
        id: A name that no other scene has; logs and records are called so.
        where: Where the table has it, for messages.
        job: What is to be done; every path in it is absolute, or a name of GDAL's.
        cells: The scene as a row of a table, with absolute paths, to be fed back in.
    """

    id: str
    where: str
    job: Job
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def command_of(job: Job) -> str:
    """The command that does it."""
    kinds = {ClassifyOptions: "classify", TrainOptions: "train", EvaluateJob: "evaluate"}
    return kinds[type(job)]


def with_paths(
    job: Job, read: Callable[[str], str], written: Callable[[Path], Path] = lambda path: path
) -> Job:
    """The job with every path that it reads, and every path that it writes, replaced."""
    if isinstance(job, EvaluateJob):
        reports = {name: written(path) for name, path in job.reports.items()}
        return replace(job, options=_evaluated(job.options, read), reports=reports)
    inputs = _scene(job.inputs, read)
    if isinstance(job, TrainOptions):
        validation = job.validation
        return replace(
            job,
            inputs=inputs,
            truth=_truth(job.truth, read),
            output=written(job.output),
            validation=validation if validation in (AUTO, NONE) else read(validation),
            logs=None if job.logs is None else written(job.logs),
        )
    outputs = job.outputs
    asked: dict[str, Any] = {
        name: written(path) for name, path in vars(outputs).items() if isinstance(path, Path)
    }
    return replace(
        job,
        inputs=inputs,
        model=Path(read(str(job.model))),
        outputs=replace(outputs, **asked),
        mask=None if job.mask is None else read(job.mask),
    )


def _scene(inputs: SceneInputs, read: Callable[[str], str]) -> SceneInputs:
    like = inputs.grid.like
    return replace(
        inputs,
        hsi=read(inputs.hsi),
        x=tuple(map(read, inputs.x)),
        dtm=None if inputs.dtm is None else read(inputs.dtm),
        grid=inputs.grid if like is None else replace(inputs.grid, like=read(like)),
    )


def _truth(truth: TruthOptions, read: Callable[[str], str]) -> TruthOptions:
    return replace(truth, path=read(truth.path))


def _evaluated(options: EvaluateOptions, read: Callable[[str], str]) -> EvaluateOptions:
    class_map, design = options.class_map, options.design
    return replace(
        options,
        map_path=read(options.map_path),
        truth=_truth(options.truth, read),
        class_map=None if class_map is None else Path(read(str(class_map))),
        design=None if design is None else read(design),
    )


def files_of(job: Job) -> tuple[list[str], list[Path]]:
    """What a job reads, and the files that it writes: the one it is known by first."""
    read: list[str] = []
    written: list[Path] = []

    def note(path: str) -> str:
        read.append(path)
        return path

    def note_output(path: Path) -> Path:
        written.append(path)
        return path

    with_paths(job, note, note_output)
    if isinstance(job, TrainOptions) and job.logs is not None:
        written.remove(job.logs)
    return list(dict.fromkeys(read)), written


def asked_mark(job: Job) -> str:
    """A checksum of all that is asked for: options and names of files, and the version of comix."""
    return _mark(_what_matters(job))


def content_mark(job: Job, sums: Mapping[str, str]) -> str:
    """A checksum of all that the result depends on: options, the version, contents of files.

    Args:
        job: The job.
        sums: The checksum of each file that is read; one that has none counts by its name.
    """
    known = with_paths(job, lambda path: sums.get(path, path), lambda path: Path(path.name))
    return _mark(_what_matters(known))


def _what_matters(job: Job) -> dict[str, Any]:
    told: dict[str, Any] = plain(job)
    for part in (told, told.get("outputs", {})):
        for name in _NO_MATTER:
            part.pop(name, None)
    return {"command": command_of(job), "options": told}


def _mark(told: Mapping[str, Any]) -> str:
    text = json.dumps({"version": __version__, **told}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def may_replace(job: Job) -> Job:
    """The job, allowed to replace what it writes."""
    if isinstance(job, ClassifyOptions):
        return replace(job, outputs=replace(job.outputs, overwrite=True))
    return replace(job, overwrite=True)


def with_item(scene: Scene) -> Scene:
    """A scene whose map gets a STAC item, beside it unless the table says where."""
    job = scene.job
    if not isinstance(job, ClassifyOptions):
        return scene
    outputs = job.outputs
    item = outputs.stac or outputs.map.with_suffix(".json")
    # Maps of several scenes may be called alike, and items of a collection may not.
    described = replace(outputs, stac=item, stac_id=scene.id)
    return replace(scene, job=replace(job, outputs=described))


def replaces(job: Job) -> bool:
    """Whether it may replace what it writes."""
    return job.outputs.overwrite if isinstance(job, ClassifyOptions) else job.overwrite


def fitted_to(job: Job, *, threads: int, megabytes: int | None, device: str | None) -> Job:
    """The job for a worker: what nobody has said otherwise.

    Args:
        job: The job.
        threads: CPU threads.
        megabytes: Memory to keep within; None for what is free.
        device: The device; None for what the job says.
    """
    if isinstance(job, EvaluateJob):
        return job
    fitted = replace(job, threads=job.threads or threads, device=device or job.device)
    if isinstance(fitted, ClassifyOptions) and fitted.ram is None:
        return replace(fitted, ram=megabytes)
    return fitted
