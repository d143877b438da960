"""A job that can be run, and what of it is done already: its folder's ``job.json`` and ``result.json``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.schema.config import BenchConfig
from bench.schema.json_file import from_dict, write_text_atomically
from bench.schema.result import MEASUREMENT_VERSION, PASSES, UNFINISHED, Result, read_result, write_result

_KEPT = (*PASSES, "finetune", "compiled", "interleaved", "model", "machine", "seconds")
"""What a result keeps when another worker goes on with its job."""


@dataclass(frozen=True)
class ComposedJob:
    """A job as the command line asks for it: its configuration, and the chosen option of each of its groups."""

    config: BenchConfig
    choices: dict[str, str]


@dataclass(frozen=True)
class PlannedJob:
    """A job that has passed every check and can be run. It never changes: what is still due follows from its result.

    config: with its device resolved
    choices: the chosen options of the configuration's groups
    folder: where its result lies
    weights_path: the local file to load, None where there is none to load; with fine-tuning, the file to start from
    weights_sha256: of that file
    skip_reason: why the job shall not run; None where it shall
    command: what the user typed
    contents: a digest of each file that the job reads, by what it is (dataset, weights, ...)
    root, cwd: where its worker finds maskbench and the user's own package; None stands for those of this process
    """

    config: BenchConfig
    choices: dict[str, str]
    folder: Path
    weights_path: str | None = None
    weights_sha256: str | None = None
    skip_reason: str | None = None
    command: str = ""
    contents: dict[str, str] = field(default_factory=dict)
    root: str | None = None
    cwd: str | None = None

    @property
    def result_path(self) -> Path:
        """The job's ``result.json``."""
        return self.folder / "result.json"


@dataclass(frozen=True)
class WorkerJob:
    """What a worker is told of its job, as ``job.json`` holds it; the fields are those of :class:`PlannedJob`."""

    config: BenchConfig
    weights_path: str | None
    weights_sha256: str | None
    command: str


def describe(job: PlannedJob) -> dict[str, Any]:
    """A planned job as plain JSON, for another process of maskbench that runs it."""
    return {**dataclasses.asdict(job), "folder": str(job.folder)}


def from_description(description: dict[str, Any]) -> PlannedJob:
    """The reverse of :func:`describe`.

    Raises:
        ValueError, TypeError: another maskbench described it, which knows other keys.
    """
    job = from_dict(PlannedJob, description)
    job = dataclasses.replace(job, folder=Path(job.folder))
    if describe(job) != description:
        raise ValueError("it lacks keys that this maskbench has")
    return job


def told(job: PlannedJob) -> WorkerJob:
    """What the job's worker is told."""
    return WorkerJob(job.config, job.weights_path, job.weights_sha256, job.command)


def write_job(job: PlannedJob) -> None:
    """Write what the job's next worker will read."""
    write_text_atomically(job.folder / "job.json", json.dumps(dataclasses.asdict(told(job)), indent=1))


def read_job(folder: Path) -> WorkerJob:
    """What :func:`write_job` wrote into the folder of a job."""
    return from_dict(WorkerJob, json.loads((folder / "job.json").read_text(encoding="utf-8")))


def passes_due(job: PlannedJob, round_number: int) -> list[str]:
    """What is to be measured in a round: the passes that no earlier run of the same job has measured, and those that go
    round after round where fewer rounds are there. Rounds are counted from 1."""
    earlier = _earlier(job)
    if earlier is None:
        return list(job.config.passes)
    due = [name for name in job.config.passes if getattr(earlier, name) is None]
    if earlier.status == "ok":
        # What an ok result was asked for and lacks does not apply: a replayed results file has no speed.
        due = [name for name in due if name not in earlier.config["passes"]]
    # A result that is not ok still holds the passes measured before the death; the worker goes on from there.
    for name in job.config.passes:
        measured = getattr(earlier, name)
        if PASSES[name].in_rounds and measured is not None and len(measured.rounds) < round_number:
            due.append(name)
    return due


def phases_of(due: Sequence[str]) -> list[list[str]]:
    """The passes that are due, divided among the worker processes that measure them, in the order of these: one process
    for each pass that needs its own, and one for all others."""
    alone = [[name] for name in PASSES if name in due and PASSES[name].own_process]
    others = [name for name in PASSES if name in due and not PASSES[name].own_process]
    return [*alone, others] if others else alone


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
    for name in _KEPT:
        setattr(result, name, getattr(earlier, name))
    write_result(result, job.result_path)


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
