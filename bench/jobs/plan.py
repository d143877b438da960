"""Planning: every job is checked, and its files are fetched, before any model runs."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.data import dataset as datasets
from bench.data.classes import match_labels
from bench.device.origin import find_origin
from bench.device.slots.slot import Slot
from bench.errors import UserError, absent_library
from bench.files.digests import sha256_of
from bench.files.paths import expanded
from bench.jobs.ask import Answer, ask_interpreters
from bench.jobs.identity import CONFIG_KEY, digest_named, digest_together, job_name, named_key, option_key
from bench.jobs.job import ComposedJob, PlannedJob
from bench.jobs.start import CHECK_LOG, ROOT, Checkout
from bench.jobs.worker.told import notes_on_data, without_images
from bench.private.texts import without_credentials
from bench.schema.config import AUTO, BenchConfig, DatasetConfig, PublishedConfig, ZooConfig
from bench.weights.download import fetch
from bench.weights.exported import exported_from
from bench.weights.zoo_export import LibraryAbsentError, exported

OnDownload = Callable[[str, int, "int | None"], None]
"""Takes the model's name, the bytes received, and the bytes in all where they are known."""

Say = Callable[[str], None]


@dataclass
class CheckedDataset:
    """A dataset without errors.

    asked: its configuration as it was given
    config: with absolute paths; without an image folder where the dataset has none
    content: as it was read
    digest: of its files
    image_notes: what the check of its image files found and is no problem
    told: what a reader of figures must know of it, by whether an AP is measured and the most detections of an image
    """

    asked: DatasetConfig
    config: DatasetConfig
    content: datasets.CocoDataset
    digest: str
    image_notes: list[str]
    told: dict[tuple[bool, int], tuple[str, ...]] = field(default_factory=dict)

    def notes(self, config: BenchConfig) -> tuple[str, ...]:
        """Give the lines of :func:`notes_on_data` for a job, computed once for all jobs that they are equal for."""
        key = "accuracy" in config.passes and config.trained, config.protocol.max_detections
        if key not in self.told:
            self.told[key] = tuple(notes_on_data(self.content, config, config.passes))
        return self.told[key]


def plan(
    jobs: Sequence[ComposedJob],
    out: Path,
    on_download: OnDownload,
    command: str = "",
    checkout: Checkout | None = None,
    say: Say = lambda line: None,
    slot: Slot | None = None,
    results: Path | None = None,
) -> list[PlannedJob]:
    """Check the jobs of a study and give them ready to run; ``command`` is what the user typed.

    checkout: the files that they may run, where they are one side of a gate between two commits
    say: tells, once all jobs are right, what was repaired in the data and what would mislead in figures of them
    slot: one of those that they will run on, where they run on slots
    results: the folder that the command writes its results into, where that is not ``out``

    It generates the shapes, fetches the weights of the zoos, and asks every interpreter whether it has the device and
    can construct the models with weights. A job whose model fails there cannot run. No composed job is changed.

    Raises:
        UserError: the first error of the user's input.
    """
    used_before = (out / "jobs").exists()
    _check_writable(out)
    try:
        checked: dict[str, CheckedDataset] = {}
        drafts = [_draft(job, results or out, checked, on_download, command) for job in jobs]
        origin = find_origin()
        drafts = [dataclasses.replace(draft, checkout=checkout, origin=origin) for draft in drafts]
        answers = ask_interpreters(drafts, out / CHECK_LOG, slot)
        _require_images_where_read(jobs, answers, checked)
    except UserError:
        if not used_before:  # nothing was measured
            _leave_nothing(out)
        raise
    for job, answer in zip(jobs, answers, strict=True):
        for line in _told(job.config, answer, _check_dataset(job.config.dataset, checked)):
            say(line)
    return [_planned(draft, answer, out) for draft, answer in zip(drafts, answers, strict=True)]


def _leave_nothing(out: Path) -> None:
    """Remove the log of the check, and the folder where it is empty: who holds the lock of ``out=`` made it."""
    (out / CHECK_LOG).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        out.rmdir()


def _draft(
    job: ComposedJob, results: Path, checked: dict[str, CheckedDataset], on_download: OnDownload, command: str
) -> PlannedJob:
    """Plan what needs no library of the model; device and folder, which is ``results``, are settled later."""
    config = copy.deepcopy(job.config)
    dataset = _check_dataset(config.dataset, checked, on_download)
    contents = {"dataset": dataset.digest}
    batches = _batches(config, dataset.content)
    skip_reason = _fill_from_zoo(config)
    has_weights = skip_reason is None and config.model.weights not in ("random", "own")
    if config.finetune is not None or has_weights:  # a replay has neither; so it is known before any download
        _require_images(config, checked)
    config.dataset = dataset.config
    if config.finetune is not None:
        contents["train"] = _check_training(config, dataset.content, checked).digest
    weights = None
    if not skip_reason:
        try:
            weights = weights_file(config, on_download)
        except LibraryAbsentError as error:
            skip_reason = str(error)
    if weights:
        contents["weights"] = sha256_of(weights)
    if config.model.exported_from is not None:
        config.model.exported_from = exported_from(config.model.exported_from)
    if config.model.zoo.url:  # from here on it is only stored and shown
        config.model.zoo.url = without_credentials(config.model.zoo.url)
    return PlannedJob(
        config=config,
        choices=job.choices,
        folder=results,
        weights_path=str(weights) if weights else None,
        weights_sha256=contents.get("weights"),
        skip_reason=skip_reason,
        command=command,
        contents=contents,
        from_environment=job.from_environment,
        image_notes=dataset.image_notes,
        batches=batches,
    )


def _batches(config: BenchConfig, dataset: datasets.CocoDataset) -> int:
    """Give the number of batches of a pass over the data set; refuse more shards than these."""
    batches = -(-len(dataset.images) // config.batch_size)
    shards = config.accuracy.shards
    if shards not in (None, AUTO) and int(shards or 0) > batches:
        raise UserError(
            f"accuracy.shards={shards}: {config.dataset.name} has {len(dataset.images)} images, which are {batches} "
            f"batches of {config.batch_size}, and a batch is never divided; give accuracy.shards={batches} or fewer"
        )
    return batches


def _told(config: BenchConfig, answer: Answer, dataset: CheckedDataset) -> Iterator[str]:
    """Give the lines about the data of a job that will run."""
    if answer.can_run:
        for note in (*dataset.image_notes, *dataset.notes(config), *without_images(dataset.content, config)):
            yield f"{config.dataset.name}: {note}"
        for note in answer.notes:
            yield f"{config.model.name}: {note}"


def _planned(draft: PlannedJob, answer: Answer, out: Path) -> PlannedJob:
    """Give the planned job of a draft and of its interpreter's answer."""
    config = dataclasses.replace(draft.config, device=answer.device)
    read = {option_key(option): digest_named(Path(path)) for option, path in answer.files.items()}
    named = {named_key(option): digest_named(Path(path)) for option, path in answer.now.named.items()}
    contents = draft.contents | read | named
    if answer.config_files:
        contents[CONFIG_KEY] = digest_together([Path(path) for path in answer.config_files])
    if (values := draft.from_environment.digest(but=answer.files)) is not None:
        contents["environment"] = values
    return dataclasses.replace(
        draft,
        config=config,
        skip_reason=draft.skip_reason or answer.skip_reason,
        failure=answer.failure,
        contents=contents,
        folder=out / "jobs" / job_name(config, contents),
        now=answer.now,
        replays=answer.can_run and not answer.reads_pixels,
    )


def _check_writable(out: Path) -> None:
    probe = out / f".writable-{os.getpid()}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"out={out}: cannot be written ({error.strerror}); give a folder that can") from error


def _check_dataset(
    config: DatasetConfig, checked: dict[str, CheckedDataset], on_download: OnDownload = lambda *_: None
) -> CheckedDataset:
    """Give the dataset once its files are checked, which happens only once for all jobs that use it."""
    key = repr(config)
    if key not in checked:
        here = datasets.local(config, lambda done, total: on_download(config.name, done, total))
        loaded = datasets.load(here)
        image_notes = datasets.check_images(loaded, here) if loaded.has_images else []
        images, annotations = datasets.paths(here)
        resolved = dataclasses.replace(
            config, images=None if images is None else str(images.resolve()), annotations=str(annotations.resolve())
        )
        checked[key] = CheckedDataset(config, resolved, loaded, datasets.digest(loaded), image_notes)
    return checked[key]


def _require_images_where_read(
    jobs: Sequence[ComposedJob], answers: Sequence[Answer], checked: dict[str, CheckedDataset]
) -> None:
    for job, answer in zip(jobs, answers, strict=True):
        if answer.reads_pixels and answer.can_run:
            _require_images(job.config, checked)


def _require_images(config: BenchConfig, checked: dict[str, CheckedDataset]) -> None:
    """Refuse a job that reads pixels of a dataset that has none."""
    dataset = _check_dataset(config.dataset, checked)
    datasets.require_images(dataset.content, dataset.asked, f"model={config.model.name}")


def _check_training(
    config: BenchConfig, measured: datasets.CocoDataset, checked: dict[str, CheckedDataset]
) -> CheckedDataset:
    """Check that the training set has no error, has annotations, and has every category that is measured.

    It settles ``finetune.start`` and the paths of ``dataset.train``, and gives the training set.
    """
    assert config.finetune is not None
    train = _check_dataset(datasets.training_split(config.dataset), checked)
    datasets.require_images(train.content, train.asked, "finetune")
    if not any(a["iscrowd"] == 0 for a in train.content.annotations):
        raise UserError(
            f"{train.config.annotations}: no annotation to learn from (dataset.train; crowds do not count); give a set "
            f"with annotations"
        )
    match_labels(measured, train.content.class_names, config.dataset.aliases, "category of the training set")
    assert config.dataset.train is not None
    config.dataset.train.images, config.dataset.train.annotations = train.config.images, train.config.annotations
    if config.finetune.start == "auto":
        named = config.model.weights not in ("random", "zoo", "own")
        config.finetune.start = "weights" if named else "published" if config.model.zoo.url else "scratch"
    start = config.finetune.start
    if start in ("weights", "partial") and config.model.weights in ("random", "own"):
        raise UserError(
            f"finetune.start={start}: model.weights={config.model.weights} is nothing to start from; give "
            f"model.weights=PATH, or finetune.start=scratch"
        )
    return train


def _fill_from_zoo(config: BenchConfig) -> str | None:
    """Fill in, from the library's zoo, where the weights of ``model.config`` are and what is published for them.

    It gives the reason to skip the job where the library is not installed, or where a file would be made from weights
    and none are given; else None.
    """
    model = config.model
    if model.zoo.export and model.weights == "random":
        return f"an ONNX file holds its weights; give model.weights=zoo, which exports {model.zoo.export}"
    if model.zoo.lookup is None:
        return None
    if not model.config:
        raise UserError("model.config is missing; give the name of a configuration of the library's zoo")
    module_name, _, function = model.zoo.lookup.partition(":")
    try:
        entry = getattr(importlib.import_module(module_name), function)(model.config)
    except ModuleNotFoundError as error:
        if model.python is not None:  # only the other environment has the zoo, so the row has no published figure
            return None
        return absent_library(error)
    model.family, url, mask_ap, source, model.backbone = entry
    model.zoo = ZooConfig(url=url, sha256=model.zoo.sha256, lookup=model.zoo.lookup)
    model.published = PublishedConfig(mask_ap=mask_ap, source=source)
    return None


def weights_file(config: BenchConfig, on_download: OnDownload) -> Path | None:
    """Give the file of a job's weights, downloaded where it must be; None for a job without one.

    Raises:
        UserError: there is no such file.
        LibraryAbsentError: it would be exported by a library that this interpreter lacks.
    """
    model, start = config.model, config.finetune.start if config.finetune else None
    if start == "scratch" or (start is None and model.weights in ("random", "own")):
        return None
    if start == "published" or (start is None and model.weights == "zoo"):
        if model.zoo.export:
            return exported(model.zoo.export)
        if not model.zoo.url:
            key = "finetune.start=published" if start else "model.weights=zoo"
            raise UserError(f"{key}: {model.name} has no published weights (model.zoo.url); give a path or random")
        return fetch(model.zoo.url, model.zoo.sha256, progress=lambda n, total: on_download(model.name, n, total))
    path = expanded(model.weights, "model.weights")
    if not path.is_file() and (ROOT / path).is_file():  # the weights that come with maskbench
        path = ROOT / path
    if not path.is_file():
        what = "not a regular file" if path.exists() else "no such file"
        given = without_credentials(model.weights)
        raise UserError(f"model.weights={given}: {what}; give random, zoo, own or the path of a checkpoint")
    return path.resolve()
