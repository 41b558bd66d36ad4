"""One run of a benchmark: a method with a seed and a share of the labels, in a folder of its own.

`model.safetensors`, `map.tif` and `report.json` are what the single commands write. `made.json`
says what the model and the map were made from, and `run.json`, which comes last, holds the figures:
a run that has it, with the same marks, is never done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from comix_cli.accuracy.report import OVERALL
from comix_cli.errors import ModelFileError
from comix_cli.files import make_folder, write_atomic_text
from comix_cli.learning.device import choose_device
from comix_cli.learning.model_file import ModelCard, read_card
from comix_cli.progress import Progress
from comix_cli.tools.classify import ClassifyOptions, classify
from comix_cli.tools.evaluate import EvaluateOptions, evaluate, write_report
from comix_cli.tools.output_files import OutputOptions
from comix_cli.tools.provenance import timestamp, versions
from comix_cli.tools.reference import TruthOptions
from comix_cli.tools.train import TrainOptions, train
from comix_models.fuse import forget_graphs

KIND = "benchmark-run"
SCHEMA_VERSION = 1
MODEL, MAP, REPORT = "model.safetensors", "map.tif", "report.json"
MADE, RECORD = "made.json", "run.json"
_PER_CLASS = (
    "code", "name", "reference_pixels", "producers_accuracy", "users_accuracy", "f1", "iou",
)  # fmt: skip


@dataclass(frozen=True)
class Marks:
    """What a run depends on, each as a checksum: two runs of the same marks are the same run.

    Attributes:
        made: What the model and the map depend on.
        judged: What the report depends on besides.
    """

    made: str
    judged: str


@dataclass(frozen=True)
class Run:
    """A run that is wanted.

    Attributes:
        method: The name of its method.
        fraction: Share of the labels that train, above 0 and at most 1.
        seed: Fixes everything random.
        folder: Where its files are.
        training: How to train; its output lies in the folder.
        test: The ground truth of the report.
        marks: What it depends on.
    """

    method: str
    fraction: float
    seed: int
    folder: Path
    training: TrainOptions
    test: TruthOptions
    marks: Marks

    @property
    def label(self) -> str:
        """What it is called in messages."""
        share = (
            "" if self.fraction == 1 else f", {100 * self.fraction:g} % of the labels that train"
        )
        return f"{self.method}{share}, seed {self.seed}"


@dataclass(frozen=True)
class RunRecord:
    """What came of a run.

    Attributes:
        marks: What it depended on.
        figures: Overall accuracies, `mean_f1`, `pixels` and `per_class` of the report.
        spec: The model, as its file describes it.
        window: Side of its windows in pixels.
        training_seconds: Wall-clock time of reading what is learnt from and of learning, without
            looks of the validation.
        mapping_seconds: Wall-clock time from opening the rasters to the finished map.
        training_device: What trained.
        device: What mapped.
        threads: CPU threads that computed.
        versions: Versions of comix and of libraries.
        date: When it was finished.
    """

    marks: Marks
    figures: Mapping[str, Any]
    spec: Mapping[str, Any]
    window: int
    training_seconds: float
    mapping_seconds: float
    training_device: str
    device: str
    threads: int
    versions: Mapping[str, str]
    date: str


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        run: The run.
        record: What came of it; None where it failed or has not been done.
        error: Why it failed; None where it did not.
    """

    run: Run
    record: RunRecord | None = None
    error: str | None = None


def mark(*told: Any) -> str:
    """A checksum of plain values."""
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def marks_in(folder: Path) -> tuple[str | None, str | None]:
    """What the files in the folder of a run were made from and judged by; None where they are not.

    What is damaged counts as not there.
    """
    record, made = read_document(folder / RECORD), read_document(folder / MADE)
    marks = record.get("marks") or {}
    return made.get("mark") or marks.get("made"), marks.get("judged")


def finished_record(run: Run) -> RunRecord | None:
    """What came of a run that has been finished before; None where it is to be done."""
    document = read_document(run.folder / RECORD)
    try:
        values = {name: document[name] for name in RunRecord.__dataclass_fields__}
        record = RunRecord(**{**values, "marks": Marks(**document["marks"])})
    except (KeyError, TypeError):
        return None
    return record if record.marks == run.marks and (run.folder / REPORT).is_file() else None


def finished_besides(folder: Path, runs: Iterable[Run]) -> list[str]:
    """The method of each finished run in the folder of a benchmark that is none of these."""
    own = {run.folder for run in runs}
    others = (path for path in folder.glob(f"*/**/{RECORD}") if path.parent not in own)
    documents = map(read_document, others)
    return [str(found.get("method")) for found in documents if found.get("kind") == KIND]


def carry_out(run: Run, progress: Progress) -> RunRecord:
    """Train, map, evaluate; what is there already of this very run is not done again.

    Raises:
        ComixError: An input cannot be used, or training cannot go on.
    """
    make_folder(run.folder)
    # First of all: what an interruption leaves must never be taken for a run that is finished.
    (run.folder / RECORD).unlink(missing_ok=True)
    made = read_document(run.folder / MADE)
    if made.get("mark") != run.marks.made or not (run.folder / MODEL).is_file():
        (run.folder / MADE).unlink(missing_ok=True)
        _train(run, progress)
        made = _note(run, {"mark": run.marks.made, **_machine(run)})
    if "mapping_seconds" not in made or not (run.folder / MAP).is_file():
        made = _note(run, {**made, "mapping_seconds": _map(run, progress)})
    figures = _evaluate(run, progress)
    return _finish(run, made, figures, read_card(run.folder / MODEL))


def _train(run: Run, progress: Progress) -> None:
    """Train, or go on with a training that was interrupted.

    Raises:
        ModelFileError: That was of another training, and nothing may be replaced.
    """
    options = replace(run.training, overwrite=True, resume=not run.training.model.at_once)
    try:
        train(options, progress)
    except ModelFileError:
        if not run.training.overwrite or not options.checkpoint.exists():
            raise
        options.checkpoint.unlink()
        train(options, progress)


def _map(run: Run, progress: Progress) -> float:
    """Map the scene; the seconds that it took."""
    training = run.training
    options = ClassifyOptions(
        inputs=training.inputs,
        model=run.folder / MODEL,
        outputs=OutputOptions(run.folder / MAP, overwrite=True),
        device=training.device,
        threads=training.threads,
        precision=training.precision,
    )
    begin = time.perf_counter()
    classify(options, progress)
    taken = round(time.perf_counter() - begin, 3)
    forget_graphs()
    return taken


def _evaluate(run: Run, progress: Progress) -> dict[str, Any]:
    """Judge the map as `comix evaluate` does, and write the report."""
    found = evaluate(EvaluateOptions(str(run.folder / MAP), run.test), progress)
    write_report(found, run.folder / REPORT)
    document = found.document
    return {
        **{key: document[key] for key in ("pixels", *OVERALL)},
        "mean_f1": document["means"]["macro"]["f1"],
        "per_class": [{key: row[key] for key in _PER_CLASS} for row in document["per_class"]],
    }


def _finish(
    run: Run, made: Mapping[str, Any], figures: Mapping[str, Any], card: ModelCard
) -> RunRecord:
    record = RunRecord(
        marks=run.marks,
        figures=figures,
        spec=card.spec.to_json(),
        window=card.window,
        training_seconds=float(card.training["seconds"]),
        mapping_seconds=made["mapping_seconds"],
        training_device=made["training_device"],
        device=made["device"],
        threads=made["threads"],
        versions=versions(),
        date=timestamp(),
    )
    head = {"kind": KIND, "schema_version": SCHEMA_VERSION, **told(run)}
    _write(run.folder / RECORD, {**head, **vars(record), "marks": vars(run.marks)})
    return record


def told(run: Run) -> dict[str, Any]:
    """Which run it is, for documents."""
    return {"method": run.method, "label_fraction": run.fraction, "seed": run.seed}


def _machine(run: Run) -> dict[str, Any]:
    """What computes. The threads are those that the training has set."""
    device = choose_device(run.training.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "training_device": "cpu" if run.training.model.at_once else name,
        "device": name,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def _note(run: Run, made: dict[str, Any]) -> dict[str, Any]:
    _write(run.folder / MADE, made)
    return made


def _write(path: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic_text(path, f"{text}\n")


def read_document(path: Path) -> dict[str, Any]:
    """A JSON document; empty where it is missing or damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
