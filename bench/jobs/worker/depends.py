"""Writes into a result what its figures depend on, and ends a job whose parts would depend on different things."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.dataset import CocoDataset, digest
from bench.device import machine
from bench.device.fingerprint import Fingerprint, changes, in_words
from bench.errors import UserError
from bench.files.digests import sha256_of
from bench.jobs.identity import CONFIG_KEY, digest_named, digest_together, named_key, option_key
from bench.jobs.job import WorkerJob
from bench.jobs.worker.locate import locate
from bench.jobs.worker.option_files import config_files, files_read
from bench.jobs.worker.sources import fingerprint, own_files, own_sources, started_in
from bench.schema.result import Result

if TYPE_CHECKING:  # a worker that replays results may do without it, and it takes seconds
    import torch


def record(
    job: WorkerJob, result: Result, device: torch.device, packages: Iterable[str], dataset: CocoDataset
) -> Fingerprint:
    """Write machine and sources into the result of a job whose model is constructed; give what it depends on.

    Raises:
        UserError: a file that the model read is another one than was planned; or the result holds figures of other
            sources, libraries or another machine; or a source file belongs to the other side of a gate.
    """
    cls = locate(job.config.model._target_)
    described = machine.describe(device, packages)
    now = fingerprint(cls, job.filled.model.options, described)
    if job.checkout is not None:
        job.checkout.refuse_strays(now.paths.values())
    _check_contents(job, cls, dataset)
    for option, path in now.named.items():
        planned = job.contents.get(named_key(option))
        if planned not in (None, digest_named(Path(path))):  # the class itself may write such a file, as a log
            note = f"model.options.{option}: {Path(path).name} has changed since the job was planned"
            result.notes += [note] if note not in result.notes else []  # another round may have said it
    if changed := changes(result, now):
        raise UserError(
            f"{in_words(changed)} since the first part of this was measured, and figures of both cannot stand in one "
            f"result; the same command measures it anew"
        )
    result.machine = described
    result.sources = {**now.sources, **result.sources}
    return now


def add_sources(job: WorkerJob, cls: Any, result: Result) -> None:
    """Add to a result the sources that were imported since, as by a ``forward`` that imports what it needs.

    Raises:
        UserError: one of them belongs to the other side of a gate.
    """
    files = own_files(cls)
    if job.checkout is not None:
        job.checkout.refuse_strays(str(path) for path in files.values())
    result.sources = {**own_sources(files), **result.sources}


def _check_contents(job: WorkerJob, cls: Any, dataset: CocoDataset) -> None:
    """Compare the files with the digests that were planned, after the model has read them.

    A file that was replaced before or while it was read has another digest now.
    """
    if job.weights_path is not None and job.weights_sha256 is not None:
        _refuse_other("the weights", Path(job.weights_path), sha256_of(job.weights_path), job.weights_sha256)
    if "dataset" in job.contents:
        _refuse_other("the data set", dataset.annotations_path, digest(dataset), job.contents["dataset"])
    for option, path in files_read(cls, job.filled.model.options, started_in()).items():
        if (key := option_key(option)) in job.contents:
            _refuse_other(key, path, digest_named(path), job.contents[key])
    name = job.filled.model.config
    if name and CONFIG_KEY in job.contents:
        found = digest_together(config_files(cls, name, started_in()))
        _refuse_other(CONFIG_KEY, Path(name), found, job.contents[CONFIG_KEY])


def _refuse_other(what: str, path: Path, found: str, planned: str) -> None:
    if found != planned:
        raise UserError(
            f"{what}: {path.name} was replaced after it was checked, so the figures would stand beside the digest of "
            f"another file; the same command measures it anew"
        )
