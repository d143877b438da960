"""A job that can be run, and what of it is done already: its folder's ``job.json`` and ``result.json``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.schema.config import BenchConfig
from bench.schema.json_file import write_text_atomically
from bench.schema.result import MEASUREMENT_VERSION, UNFINISHED, Result, read_result, write_result

_KEPT = ("finetune", "compiled", "speed", "memory", "energy", "accuracy", "interleaved")
"""What a result keeps when another worker goes on with its job."""

_OF_THE_PARENT = ("root", "cwd", "described")
"""Fields of a planned job that its worker is not told."""


@dataclass
class PlannedJob:
    """A job that has passed every check and can be run.

    config: with its device resolved. weights_path: the local file to load, None where there is none to load; with
    fine-tuning, what it starts from, and then what it gave. command: what the user typed. skip_reason: why it shall
    not run, if so. due: the passes of its next worker. contents: what each file that it reads holds, as a digest.
    root, cwd: where its worker finds maskbench and the user's own package, null for those of this process. described:
    by the maskbench that planned it, where that is another.
    """

    config: BenchConfig
    choices: dict[str, str]
    folder: Path
    weights_path: str | None = None
    weights_sha256: str | None = None
    skip_reason: str | None = None
    command: str = ""
    due: list[str] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)
    root: str | None = None
    cwd: str | None = None
    described: dict[str, Any] | None = None

    @property
    def result_path(self) -> Path:
        return self.folder / "result.json"

    def description(self) -> dict[str, Any]:
        """What the worker is told, ready for JSON."""
        if self.described is not None:
            return {**self.described, "folder": str(self.folder), "due": self.due}
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in _OF_THE_PARENT} | {
            "folder": str(self.folder)
        }


def passes_due(job: PlannedJob, round_number: int) -> list[str]:
    """What the worker of a round has to measure: the passes that no earlier run of the same job has measured, and the
    speed if that has been done in fewer rounds. Rounds are counted from 1."""
    earlier = _earlier(job)
    if earlier is None:
        return list(job.config.passes)
    due = [name for name in job.config.passes if getattr(earlier, name) is None]
    if earlier.status == "ok":
        # What an ok result was asked for and lacks does not apply: a replayed results file has no speed.
        due = [name for name in due if name not in earlier.config["passes"]]
    # A result that is not ok still holds the passes measured before the death; the worker goes on from there.
    if "speed" in job.config.passes and earlier.speed is not None and len(earlier.speed.rounds) < round_number:
        due.append("speed")
    return due


def _earlier(job: PlannedJob) -> Result | None:
    """What an earlier run of the job has left; of one that measured in another way, only the training."""
    try:
        earlier = read_result(job.result_path)
    except UserError:
        return None
    if earlier.measurement_version == MEASUREMENT_VERSION:
        return earlier
    if earlier.finetune is None:
        return None
    return dataclasses.replace(new_result(job, "failed", UNFINISHED), finetune=earlier.finetune)


def training_left(job: PlannedJob) -> bool:
    """Whether the job's model is still to be trained, wholly or in part."""
    if job.config.finetune is None:
        return False
    try:
        earlier = read_result(job.result_path).finetune
    except UserError:
        return True
    return earlier is None or earlier.checkpoint is None


def new_result(job: PlannedJob, status: str, reason: str | None) -> Result:
    """A Result of this job in which nothing is measured."""
    return Result(
        status=status,
        reason=reason,
        config=dataclasses.asdict(job.config),
        choices=job.choices,
        # What a library publishes is not for a model that was trained here.
        published={} if job.config.finetune else dataclasses.asdict(job.config.model.published),
        contents=dict(job.contents),
        measurement_version=MEASUREMENT_VERSION,
    )


def open_result(job: PlannedJob) -> None:
    """Put an unfinished result on disk, with the passes that an earlier run measured: whatever dies, a row is left."""
    result = new_result(job, "failed", UNFINISHED)
    earlier = _earlier(job) or result
    for name in (*_KEPT, "model", "machine", "seconds"):
        setattr(result, name, getattr(earlier, name))
    write_result(result, job.result_path)


def write_job(job: PlannedJob) -> None:
    """What the next worker of the job will read."""
    write_text_atomically(job.folder / "job.json", json.dumps(job.description(), indent=1))
