"""A job that can be run, and what is due of it: its folder holds ``job.json`` and ``result.json``."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.device.fingerprint import Fingerprint
from bench.errors import UserError
from bench.files.digests import Digest, known_digests
from bench.files.json_file import from_dict, write_text_atomically
from bench.files.plain import as_dict
from bench.jobs.start import Checkout
from bench.private.environment import FromEnvironment
from bench.private.paths import publishable_config
from bench.schema.config import BenchConfig
from bench.schema.result import MEASUREMENT_VERSION, PASSES, UNFINISHED, Origin, Result, read_result, write_result

LONGEST_REASON = 1000
"""Characters of a reason in a result."""

_KEPT = (
    *PASSES,
    "finetune",
    "compiled",
    "interleaved",
    "model",
    "machine",
    "sources",
    "origin",
    "notes",
    "seconds",
    "seconds_by_part",
)
"""The fields that a result keeps when another worker continues its job."""


@dataclass(frozen=True)
class ComposedJob:
    """A job as the command line asks for it.

    config: its configuration, in which options that have something from the environment stand as they were written
    choices: the chosen option of each of its groups
    from_environment: what those options have from there
    """

    config: BenchConfig
    choices: dict[str, str]
    from_environment: FromEnvironment = field(default_factory=FromEnvironment)


@dataclass(frozen=True)
class Failure:
    """How a job ended before it began: a status of :data:`bench.schema.result.STATUSES`, and the reason."""

    status: str
    reason: str


@dataclass(frozen=True)
class PlannedJob:
    """A job that has passed every check and can be run. It never changes; what is due follows from its result.

    config: with its device resolved
    choices: the chosen options of the configuration's groups
    folder: the folder of its result
    weights_path: the local file to load, None without one; with fine-tuning, the file to start from
    weights_sha256: the digest of that file
    skip_reason: the reason why the job must not run; None where it can
    command: what the user typed
    failure: status and reason of a job whose model failed in the check already; None where it did not
    contents: a digest of each file that the job reads, by the file's purpose (dataset, weights, ...)
    from_environment: what options of the model have from the environment; no file holds it
    root, cwd: the folders in which its worker finds maskbench and the user's own package; None means those of this
        process
    checkout: the files that it may run, where it is one side of a gate between two commits
    origin: the state of the user's repository
    now: what its figures depend on beside the configuration and ``contents``
    image_notes: what the check of the image files found and its row must say; a worker does not check them again
    replays: whether the model exists only as its predictions
    batches: how many batches a pass over the data set has; 0 where nobody has counted them
    """

    config: BenchConfig
    choices: dict[str, str]
    folder: Path
    weights_path: str | None = None
    weights_sha256: str | None = None
    skip_reason: str | None = None
    failure: Failure | None = None
    command: str = ""
    contents: dict[str, str] = field(default_factory=dict)
    from_environment: FromEnvironment = field(default_factory=FromEnvironment)
    root: str | None = None
    cwd: str | None = None
    checkout: Checkout | None = None
    origin: Origin = field(default_factory=Origin)
    now: Fingerprint = field(default_factory=Fingerprint)
    image_notes: list[str] = field(default_factory=list)
    replays: bool = False
    batches: int = 0

    @property
    def result_path(self) -> Path:
        """Give the path of the job's ``result.json``."""
        return self.folder / "result.json"

    @property
    def cannot_run(self) -> tuple[str, str] | None:
        """Give status and reason of a job for which no worker is started; None where it can run."""
        if self.failure is not None:
            return self.failure.status, self.failure.reason
        return ("skipped", self.skip_reason) if self.skip_reason is not None else None


@dataclass(frozen=True)
class WorkerJob:
    """The part of a job that its worker needs, which ``job.json`` holds; fields are those of :class:`PlannedJob`.

    digests: of files that the command has read, by their absolute paths

    ``job.json`` does not hold ``from_environment``: the worker has it from its own environment.
    """

    config: BenchConfig
    weights_path: str | None
    weights_sha256: str | None
    command: str
    contents: dict[str, str] = field(default_factory=dict)
    checkout: Checkout | None = None
    from_environment: FromEnvironment = field(default_factory=FromEnvironment)
    image_notes: list[str] = field(default_factory=list)
    digests: dict[str, Digest] = field(default_factory=dict)

    @property
    def filled(self) -> BenchConfig:
        """Give the configuration with what options have from the environment: to construct the model, not to write."""
        model = self.config.model
        return replace(self.config, model=replace(model, options=self.from_environment.fill(model.options)))


@dataclass(frozen=True)
class Question:
    """What a check is asked: whether these jobs can run, on a device as the user named it.

    results: the absolute path of the folder that the command writes its results into; "" where nobody says it
    """

    device: str
    jobs: list[WorkerJob]
    results: str = ""


def to_description(job: PlannedJob) -> dict[str, Any]:
    """Give a planned job as plain JSON, for another process of maskbench that runs it."""
    return {**as_dict(job), "folder": str(job.folder)}


def from_description(description: dict[str, Any]) -> PlannedJob:
    """Give the planned job of a description, which :func:`to_description` made.

    Raises:
        ValueError, TypeError: it is from another version of maskbench, which has other keys.
    """
    job = from_dict(PlannedJob, description)
    job = dataclasses.replace(job, folder=Path(job.folder))
    if to_description(job) != description:
        raise ValueError("it lacks keys that this maskbench has")
    return job


def for_worker(job: PlannedJob) -> WorkerJob:
    """Give the part of a job that its worker needs."""
    return WorkerJob(
        job.config,
        job.weights_path,
        job.weights_sha256,
        job.command,
        job.contents,
        job.checkout,
        job.from_environment,
        job.image_notes,
    )


def write_job(job: PlannedJob) -> None:
    """Write the ``job.json`` that the job's next worker will read."""
    kept = as_dict(replace(for_worker(job), digests=known_digests()))
    del kept["from_environment"]
    write_text_atomically(job.folder / "job.json", json.dumps(kept, indent=1))


def read_job(folder: Path) -> WorkerJob:
    """Read, in a worker, what :func:`write_job` wrote, and what the worker's environment hands over."""
    job = from_dict(WorkerJob, json.loads((folder / "job.json").read_text(encoding="utf-8")))
    return replace(job, from_environment=FromEnvironment.handed_over())


def passes_due(job: PlannedJob, round_number: int) -> list[str]:
    """Give the passes that are to be measured in a round, counted from 1.

    These are the passes that no earlier run has measured for this job, and those that are measured in every round and
    have fewer rounds than ``round_number``. The accuracy is measured again where it lacks one of ``accuracy.parts``.
    Nothing else is due of results that are replayed, where it is asked for.
    """
    earlier, passes = _earlier(job), list(job.config.passes)
    if job.replays:
        passes = [name for name in passes if not PASSES[name].runs_the_model] or passes  # a row without any says so
    if earlier is None:
        return passes
    due = [name for name in passes if getattr(earlier, name) is None]
    if earlier.status == "ok":
        # A pass that an ok result was asked for and lacks does not apply: a replayed results file has no speed.
        due = [name for name in due if name not in earlier.config.get("passes", ())]
    # A result that is not ok still holds the passes that ended; the next worker measures only the others.
    for name in job.config.passes:
        measured = getattr(earlier, name)
        if PASSES[name].in_rounds and measured is not None and len(measured.rounds) < round_number:
            due.append(name)
    return [*due, "accuracy"] if _lacks_parts(job.config, earlier) else due


def _lacks_parts(config: BenchConfig, earlier: Result) -> bool:
    """Tell whether a measured accuracy lacks parts that are asked for now; random weights have none of them."""
    measured = earlier.accuracy if "accuracy" in config.passes and config.trained else None
    return (
        measured is not None and measured.figures is not None and not set(config.accuracy.parts) <= set(measured.parts)
    )


def phases_of(due: Sequence[str], *, shards: bool = False) -> list[list[str]]:
    """Divide the passes that are due among worker processes, in the order in which these run.

    Each pass that needs its own process gets one; all others share one.

    shards: whether the accuracy is measured in shards; it then has a process of its own, which merges them
    """
    last = [["accuracy"]] if shards and "accuracy" in due else []
    due = [name for name in due if [name] not in last]
    alone = [[name] for name in PASSES if name in due and PASSES[name].own_process]
    others = [name for name in PASSES if name in due and not PASSES[name].own_process]
    return [*alone, *([others] if others else []), *last]


def training_left(job: PlannedJob) -> bool:
    """Tell whether the job's model is still to be trained, wholly or in part."""
    if job.config.finetune is None:
        return False
    stored = read_stored(job)
    return stored is None or stored.finetune is None or stored.finetune.checkpoint is None


def new_result(job: PlannedJob, status: str, reason: str | None) -> Result:
    """Give a Result of this job in which nothing is measured."""
    return Result(
        status=status,
        reason=reason,
        config=publishable_config(as_dict(job.config)),
        choices=job.choices,
        # The published figures are of the library's own weights, not of a model that was trained here.
        published={} if job.config.finetune else as_dict(job.config.model.published),
        contents=dict(job.contents),
        origin=job.origin,
        measurement_version=MEASUREMENT_VERSION,
    )


def hide(values: FromEnvironment, result: Result) -> None:
    """Let the reason and the notes of a result, which may quote the model's own code, hold no value from there."""
    # Cut only here: a text that is cut first may end in the middle of a value.
    result.reason = values.hide(result.reason)[:LONGEST_REASON] if result.reason else result.reason
    result.notes = [values.hide(note) for note in result.notes]


def open_result(job: PlannedJob) -> None:
    """Write an unfinished result with the passes that an earlier run measured: if a worker dies, the row is kept."""
    result = new_result(job, "failed", UNFINISHED)
    earlier = _earlier(job)
    if earlier is not None and (earlier.measured or earlier.finetune is not None):
        for name in _KEPT:
            setattr(result, name, getattr(earlier, name))
    write_result(result, job.result_path)


def read_stored(job: PlannedJob) -> Result | None:
    """Give the result that is in the job's folder; None where none is there.

    Raises:
        UserError: it cannot be read, so it must not be overwritten.
    """
    if not os.path.lexists(job.result_path):
        return None
    try:
        return read_result(job.result_path)
    except UserError as error:
        raise UserError(f"{error}; it is kept: give another out=, or delete {job.folder} to measure anew") from error


def _earlier(job: PlannedJob) -> Result | None:
    """Give the result of an earlier run of the job; only its training where it measured in another way."""
    earlier = read_stored(job)
    if earlier is None or earlier.measurement_version == MEASUREMENT_VERSION:
        return earlier
    if earlier.finetune is None:
        return None
    return dataclasses.replace(new_result(job, "failed", UNFINISHED), finetune=earlier.finetune)
