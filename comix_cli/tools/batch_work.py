"""What a worker does for a batch: a scene, or a part of a large one, or the map of its parts.

These functions are called by name in other processes, so they and their arguments are plain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from comix_cli.errors import InputError, ModelFileError
from comix_cli.files import make_folder
from comix_cli.learning.device import choose_device, every_one
from comix_cli.mapping.budget import MB
from comix_cli.scale.crew import Post
from comix_cli.scene.checksum import KnownFile, look_at, signature
from comix_cli.scene.parts import Part
from comix_cli.tools.batch_jobs import (
    EvaluateJob,
    Job,
    content_mark,
    files_of,
    fitted_to,
)
from comix_cli.tools.batch_orders import MODEL, Order, Parts, Result, Signatures
from comix_cli.tools.batch_parts import in_parts, remove_parts
from comix_cli.tools.batch_words import ANEW, PostProgress
from comix_cli.tools.classify import ClassifyReport, classify
from comix_cli.tools.classify_job import ClassifyOptions
from comix_cli.tools.classify_parts import assemble, map_part
from comix_cli.tools.evaluate import check_report_paths, check_threshold, evaluate, write_report
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.loaded_model import LoadedModel, load
from comix_cli.tools.train import TrainOptions, TrainReport, train


def slots() -> int:
    """Tasks that this machine does at once: one for each GPU, else one."""
    return len(every_one(choose_device("auto")))


def do_scene(post: Post, order: Order) -> Result | Parts:
    """Do what is asked for with a scene, unless it is so large that others should help.

    Raises:
        ComixError: It cannot be done.
    """
    if order.mark:
        found = _looked_at(order)
        _check_there(order, found)
        if content_mark(order.job, _sums(found)) == order.mark:
            return Result(found, order.mark, unchanged=True)
        post.tell((ANEW,))
    before = _signatures(order)
    job, progress = _placed(order.job, post), PostProgress(post)
    for target in files_of(job)[1]:
        make_folder(target.parent)
    if isinstance(job, ClassifyOptions):
        loaded = _loaded(post, order, job)
        parts = in_parts(order, job, progress, loaded, before)
        if parts is not None:
            return parts
        figures = _of_map(classify(job, progress, loaded=loaded))
        remove_parts(job)
    elif isinstance(job, TrainOptions):
        figures = _of_training(_trained(job, progress))
    else:
        figures = _judged(job, progress)
    return _result(order, figures, before)


def do_part(
    post: Post,
    order: Order,
    inputs: SceneInputs,
    part: Part,
    folder: Path,
    signatures: Signatures,
) -> int:
    """Do a part of a scene; the number of windows that it has.

    Args:
        post: Where it is done.
        order: What is asked for.
        inputs: The scene as it was cut.
        part: The part.
        folder: Where it goes.
        signatures: What the files looked like when the scene was cut.

    Raises:
        ComixError: It cannot be done.
    """
    job = _classification(_placed(order.job, post))
    loaded = _loaded(post, order, job)
    job = replace(job, inputs=inputs)
    _check_unchanged(signatures)
    map_part(job, part, folder, PostProgress(post), loaded=loaded, cancelled=post.cancelled)
    _check_unchanged(signatures)
    return part.windows


def do_assembly(post: Post, order: Order, parts: Parts) -> Result:
    """Make the map of its parts, and remove them.

    Raises:
        ComixError: A part is missing or damaged, or the map cannot be written.
    """
    job = _classification(_placed(order.job, post))
    loaded = _loaded(post, order, job)
    _check_unchanged(parts.signatures)
    report = assemble(job, parts.cut, parts.folder, PostProgress(post), loaded=loaded)
    result = _result(order, _of_map(report), parts.signatures)
    remove_parts(job)
    return result


def _placed(job: Job, post: Post) -> Job:
    """The job on the devices and in the memory of a worker."""
    device = None
    if not isinstance(job, EvaluateJob) and job.device in ("auto", "cuda"):
        devices = every_one(choose_device(job.device))
        if devices[0].type == "cuda":
            device = str(devices[post.slot % len(devices)])
    megabytes = None if post.memory is None else max(1, post.memory // MB)
    return fitted_to(job, threads=post.threads, megabytes=megabytes, device=device)


def _classification(job: Job) -> ClassifyOptions:
    if not isinstance(job, ClassifyOptions):
        raise TypeError(f"only maps have parts, not {type(job).__name__}")
    return job


# The model of the last classification in each slot: a worker keeps what it has been sent, ready to
# predict. A model is not for two threads at once.
_KEPT: dict[int, tuple[tuple[str, ...], LoadedModel]] = {}


def _loaded(post: Post, order: Order, job: ClassifyOptions) -> LoadedModel:
    # A worker outlives batches, and a file of the same name may be another model by then.
    known = order.model or f"{job.model} {signature(job.model)}"
    key = (known, job.device, job.precision)
    kept, loaded = _KEPT.get(post.slot, (None, None))
    if loaded is None or kept != key:
        _KEPT.pop(post.slot, None)  # before the next one takes memory
        loaded = _load(post, order, job)
        _KEPT[post.slot] = key, loaded
    return loaded


def _load(post: Post, order: Order, job: ClassifyOptions) -> LoadedModel:
    # A model that could not be read is asked for by its name, so that the error names it.
    source = post.given(order.model) if order.model else job.model
    return load(source, job.device, job.precision, name=job.model)


def _looked_at(order: Order) -> dict[str, KnownFile]:
    """Every file that is read; the model is what was given, whatever lies here under its name."""
    read, _ = files_of(order.job)
    found = {path: look_at(path, order.known.get(path)) for path in read}
    if isinstance(order.job, ClassifyOptions) and order.model:
        path = str(order.job.model)
        found[path] = replace(found[path], checksum=order.model.removeprefix(MODEL))
    return found


def _sums(files: Mapping[str, KnownFile]) -> dict[str, str]:
    return {path: known.checksum for path, known in files.items() if known.checksum is not None}


def _result(order: Order, figures: Mapping[str, Any], before: Signatures) -> Result:
    """What came of a scene, unless that is of files that are not there any more.

    Raises:
        InputError: A file has changed since the work began.
    """
    _check_unchanged(before)
    found = _looked_at(order)
    return Result(found, content_mark(order.job, _sums(found)), _finite(figures))


def _check_there(order: Order, found: Mapping[str, KnownFile]) -> None:
    """Refuse to take a file that is away for one that has changed: it may be back tomorrow.

    Raises:
        InputError: It is away.
    """
    for path, now in found.items():
        known = order.known.get(path)
        if known is not None and known.checksum is not None and now.checksum is None:
            raise InputError("is not there any more", path=path, remedy="bring it back")


def _signatures(order: Order) -> Signatures:
    return {path: signature(path) for path in files_of(order.job)[0]}


def _check_unchanged(before: Signatures) -> None:
    """Refuse to take a result for one of files that are other ones by now.

    Raises:
        InputError: A file has changed.
    """
    for path, known in before.items():
        if signature(path) != known:
            raise InputError(
                "has changed while it was read", path=path, remedy="give the same command again"
            )


def _finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as JSON can hold them."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def _trained(job: TrainOptions, progress: PostProgress) -> TrainReport:
    """Train; where an earlier try was interrupted, go on with it."""
    if job.overwrite and job.checkpoint.exists() and not job.model.at_once:
        try:
            return train(replace(job, resume=True), progress)
        except ModelFileError:  # it was another training
            pass
    return train(job, progress)


def _judged(job: EvaluateJob, progress: PostProgress) -> dict[str, Any]:
    check_report_paths(job.reports, job.options, overwrite=job.overwrite)
    found = evaluate(job.options, progress)
    for path in job.reports.values():
        write_report(found, path)
    document = found.document
    check_threshold(document, job.min_oa)
    names = ("overall_accuracy", "average_accuracy", "kappa", "pixels")
    return {name: document[name] for name in names}


def _of_map(report: ClassifyReport) -> dict[str, Any]:
    return {
        "width": report.grid.width,
        "height": report.grid.height,
        "windows": report.windows,
        "nodata_pixels": report.nodata_pixels,
        "class_pixels": report.class_pixels,
    }


def _of_training(report: TrainReport) -> dict[str, Any]:
    told = report.card.training
    validation = told.get("validation") or {}
    last = (validation.get("history") or [{}])[-1]
    return {
        "model": report.card.spec.model,
        "classes": len(report.card.legend),
        "last_loss": told.get("last_loss"),
        "validation_accuracy": last.get("overall_accuracy"),
    }
