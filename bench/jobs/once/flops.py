"""Finds another row of the same output folder that has counted the operations which a row would count.

Two rows count the same where they differ in nothing but :data:`NOT_COUNTED`: the counting calls the model on images of
one data set, one by one and without autocast, whatever the row's precision, batch size or compiler. What finds a row
here is still compared with the row's own count of its first image (:mod:`bench.passes.flops`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.device.fingerprint import Fingerprint, changes
from bench.errors import UserError
from bench.jobs.identity import without_no_figure
from bench.jobs.job import WorkerJob, read_job
from bench.schema.config import BenchConfig
from bench.schema.parts.costs import FlopsResult
from bench.schema.result import Result, read_own_result

NOT_COUNTED = frozenset(
    (
        *("device", "precision", "compile", "batch_size", "overlap", "evaluator"),
        *("protocol.warmup_batches", "protocol.max_warmup_seconds", "protocol.min_samples", "protocol.precision"),
        *("protocol.max_seconds", "protocol.energy_seconds", "protocol.threads", "protocol.pin"),
        *("protocol.cudnn_benchmark", "protocol.channels_last"),
    )
)
"""Keys of the configuration that change no count. A key that is not here, as a new one, is held equal."""


def counted_by_another(job: WorkerJob, folder: Path, result: Result, now: Fingerprint) -> FlopsResult | None:
    """Give what another row has counted that differs in nothing that is counted; None where there is none.

    folder: of the job; the rows are those in the folders beside it
    result: of the job, with the digests of the files that it reads
    now: what the job's figures depend on beside these files and the configuration
    """
    if not _is_known(job.config):
        return None
    for path in sorted(folder.parent.glob("*/result.json")):
        if path.parent == folder:
            continue
        try:
            if not _asks_the_same(job, read_job(path.parent)):
                continue
            other = read_own_result(path)
        except (UserError, OSError, ValueError, TypeError):  # damaged, or of another version
            continue
        if other.flops is not None and other.flops.counts and _ran_the_same(result, other, now):
            return dataclasses.replace(other.flops, counted_by=other.flops.counted_by or path.parent.name)
    return None


def _is_known(config: BenchConfig) -> bool:
    """Tell whether a digest stands for the weights: not of those that a class fetches itself, or that are trained."""
    return config.finetune is None and config.model.weights != "own"


def _asks_the_same(job: WorkerJob, other: WorkerJob) -> bool:
    return _counted(other.config) == _counted(job.config) and other.weights_sha256 == job.weights_sha256


def _ran_the_same(result: Result, other: Result, now: Fingerprint) -> bool:
    """Tell whether two rows read the same files, and ran the same code on the same machine and libraries."""
    # Both ways: what the other ran is here, unchanged, and nothing was imported here that the other did not run.
    return other.contents == result.contents and set(result.sources) <= set(other.sources) and not changes(other, now)


def _counted(config: BenchConfig) -> dict[str, Any]:
    """Give the part of a configuration that decides what is counted, by its dotted keys."""
    flat = dict(_flat(without_no_figure(config), ""))
    return {key: value for key, value in flat.items() if key not in NOT_COUNTED}


def _flat(part: Mapping[str, Any], prefix: str) -> Any:
    for name, value in part.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
