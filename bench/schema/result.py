"""``result.json``: what one job measured. It is read and written only here.

The names of the fields end in their units. What was not measured is None (``null``), never 0. Raw samples are kept;
every reader derives its summaries from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from bench.files import json_file
from bench.files.bounds import Agreeing, Amount, Count, Like, PositiveCount
from bench.schema.config import BenchConfig, PublishedConfig
from bench.schema.machine import Machine
from bench.schema.parts.accuracy import AccuracyResult
from bench.schema.parts.busy import BusyResult
from bench.schema.parts.costs import EnergyResult, FlopsResult, MemoryResult
from bench.schema.parts.speed import CompileResult, SpeedResult
from bench.schema.parts.training import FinetuneResult
from bench.schema.passes import PASSES as PASSES  # each is the name of a field of Result

SCHEMA_VERSION = 3

EARLIER = "earlier"
"""The folder beside ``jobs/`` for results that are no longer what their jobs would measure. No report reads it."""

SHARDS = "shards"
"""The folder in that of a job for the shards of its accuracy, ``1-of-3``. Their results are no rows."""

MEASUREMENT_VERSION = 4
"""Raised when the way of measuring changes, so that figures of before and after are not compared: what a timing
contains, how memory is read, which images are evaluated.

1: results from before there was such a number. 2: memory in a process of its own, whose heap does not adapt.
3: no timing contains the first call of a shape of input, which ``end_to_end`` did.
"""

STATUSES = ("ok", "failed", "out_of_memory", "timeout", "crashed", "skipped")

UNFINISHED = "unfinished"
INTERRUPTED = "interrupted"
"""Reasons of a job that still runs or died without a word, and of a job that the user stopped."""

SECONDS_PARTS = ("start", "import", "data", "build", "finetune", "warm_up", "end", "wait")
"""Parts of ``Result.seconds_by_part`` beside the passes: the interpreter's start, imports of torch and the library, the
data set, the model with its weights on the device, the training, the warm-up of the speed pass, what remained until the
process had ended, and what was none of these: turns of a gate's other side, and maskbench itself between two
workers."""

ALL_SECONDS_PARTS = (*SECONDS_PARTS[:-2], *PASSES, *SECONDS_PARTS[-2:])
"""Every part, in the order in which a worker comes to it."""

FINETUNED = "fine-tuned"
"""``ModelInfo.weights`` of a model that the job itself has trained."""


@dataclass(frozen=True)
class Origin:
    """The state of the user's own repository at which a result was measured.

    commit: its full name; None where there is no repository
    branch: None where no branch is checked out
    changed: whether tracked files differed from the commit; None where that is unknown
    changes: a digest of these differences; None where there are none
    """

    commit: str | None = None
    branch: str | None = None
    changed: bool | None = None
    changes: str | None = None


@dataclass
class RuntimeInfo:
    """What ran a network that is no torch module.

    provider: the part of the runtime that really computed
    file_precision: what the file of the network holds: fp32, fp16, bf16 or int8
    opset: version of the file's operators
    build_seconds: how long the runtime took to load and to optimise the network
    threads: of the runtime on the host; None where it has none of its own
    layout, preprocessing: how its outputs are read, and what images are made of before it, in words
    exported_from: SHA-256 of the weights that the file was exported from; None where the file does not say it
    exported_network: :func:`bench.schema.facts.network_sha256` of the model that it was exported from; None where the
        file does not say it
    exported_size: ``input_size`` with which it was exported; None is the model's own
    calibration: the images by which an int8 file was calibrated, in words; None where the file does not say it
    """

    name: str
    version: str
    provider: str
    file_precision: str
    opset: Count
    file_bytes: Count
    build_seconds: Amount
    threads: PositiveCount | None = None
    layout: str = ""
    preprocessing: str = ""
    exported_from: str | None = None
    exported_network: str | None = None
    exported_size: str | None = None
    calibration: str | None = None


@dataclass
class ModelInfo:
    """The network itself.

    classes: the names of its labels, in order
    weights: ``random``, ``zoo``, :data:`FINETUNED` or the path that was given
    weights_sha256: of the file that was read
    parameters: how many there are
    runtime: what ran it; None for torch
    """

    classes: list[str]
    weights: str
    weights_sha256: str | None = None
    parameters: Count | None = None
    runtime: RuntimeInfo | None = None


@dataclass
class Result(Agreeing):
    """What one job measured.

    status: one of :data:`STATUSES`, ``reason`` says why where it is not ``ok``
    config: the resolved :class:`bench.schema.config.BenchConfig`
    choices: the chosen options of its groups
    published: the figures that the library publishes for these weights, with their source
    started: when the newest worker started, UTC, ISO 8601
    seconds: wall time of the job's workers
    seconds_by_part: the part of it that each thing took (:data:`ALL_SECONDS_PARTS`), over all workers; they add up to
        ``seconds``. What a worker did while the one before it was still at work is not in it: the row did not wait
    contents: digests of the files that were read (data set, weights, files that options name)
    sources: digests of the source files of the model's class and of the modules that it imported from outside the
        installed libraries; a name is relative to the repository, or to the folder that Python found it in
    origin: where these sources come from
    interleaved: equal in two results whose rounds were interleaved, None in others
    """

    status: str
    config: Annotated[dict[str, Any], Like(BenchConfig)]
    reason: str | None = None
    choices: dict[str, str] = field(default_factory=dict)
    published: Annotated[dict[str, Any], Like(PublishedConfig)] = field(default_factory=dict)
    machine: Annotated[dict[str, Any], Like(Machine)] | None = None
    model: ModelInfo | None = None
    finetune: FinetuneResult | None = None
    compiled: CompileResult | None = None
    speed: SpeedResult | None = None
    busy: BusyResult | None = None
    memory: MemoryResult | None = None
    energy: EnergyResult | None = None
    flops: FlopsResult | None = None
    accuracy: AccuracyResult | None = None
    started: str | None = None
    seconds: Amount | None = None
    seconds_by_part: dict[str, Amount] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    origin: Origin | None = None
    interleaved: str | None = None
    measurement_version: Count = 1
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is none of {', '.join(STATUSES)}")

    def check(self) -> None:
        """See :class:`Agreeing`."""
        parts = sum(self.seconds_by_part.values())
        if self.seconds is not None and parts > 1.05 * self.seconds + 1:
            raise ValueError(f"seconds_by_part add up to {parts:.1f}, of seconds {self.seconds:.1f}")
        asked = self.config.get("batch_size")
        if self.speed is not None and asked is not None and self.speed.batch_size != asked:
            raise ValueError(
                f"it contradicts itself: config.batch_size is {asked}, and speed.batch_size {self.speed.batch_size}"
            )

    @property
    def measured(self) -> bool:
        """Whether it holds a figure."""
        return any(getattr(self, name) is not None for name in PASSES)


def write_result(result: Result, path: Path) -> None:
    """Write the result; a reader sees the old file or the new one, never a part of it."""
    json_file.write(result, path)


def read_result(path: Path) -> Result:
    """Read a ``result.json``.

    Raises:
        UserError: the file is absent, is not JSON, is of another schema version, or is no :class:`Result`.
    """
    return parse_result(json_file.read_file(path), str(path))


def parse_result(content: bytes, where: str) -> Result:
    """Parse the bytes of a ``result.json``; ``where`` they are from is for the message of the error.

    Raises:
        UserError: the content is not JSON, is of another schema version, or is no :class:`Result`.
    """
    return json_file.parse(Result, "result.json", content, where, SCHEMA_VERSION)


def read_own_result(path: Path) -> Result:
    """Read a ``result.json`` that this program has just written, by the standard library alone.

    Raises:
        UserError: it cannot be read, or is of another schema version.
    """
    return json_file.parse_own(Result, "result.json", json_file.read_file(path), str(path), SCHEMA_VERSION)


def results_under(folder: Path) -> list[Path]:
    """Give the path of every ``result.json`` under a folder, in the order of the paths, without those set aside and
    those of shards."""
    found = sorted(folder.rglob("result.json"))
    return [path for path in found if EARLIER not in path.relative_to(folder).parts[:-1] and not _of_a_shard(path)]


def _of_a_shard(path: Path) -> bool:
    return path.parent.parent.name == SHARDS and re.fullmatch(r"\d+-of-\d+", path.parent.name) is not None
