"""Checks jobs in the worker's environment, without running them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.classes import match_labels
from bench.data.dataset import CocoDataset, load, training_split
from bench.data.results.reader import read_results
from bench.device.fingerprint import Fingerprint
from bench.device.machine import describe
from bench.device.numerics import refuse_unsupported
from bench.errors import OtherDeviceError, UserError
from bench.jobs.job import Question, WorkerJob
from bench.jobs.messages import OTHER_DEVICE, WRONG_INPUT, Message, Refused, Resolved, Verdict
from bench.jobs.start import CHECK_LOG
from bench.jobs.worker.failures import classify
from bench.jobs.worker.load_model import (
    build_predictor,
    is_class,
    refuse_device,
    refuse_what_it_cannot,
    size_options,
    trainable,
)
from bench.jobs.worker.locate import import_library, locate
from bench.jobs.worker.one_shape import refuse_other_shapes, wants_one_shape
from bench.jobs.worker.option_files import config_files, files_read
from bench.jobs.worker.sources import fingerprint, started_in
from bench.jobs.worker.without_torch.device import device_of, resolve_device
from bench.jobs.worker.without_torch.need import needs_torch
from bench.passes.compiled import batches_by_shape
from bench.passes.laps import timed_images
from bench.predictor import Predictor, ReplayPredictor
from bench.schema.config import BenchConfig, DatasetConfig
from bench.weights.exported import refuse_other

if TYPE_CHECKING:  # a check of results that are replayed does without it
    import torch


def check(question: Question, send: Callable[[Message], None]) -> None:
    """Check whether each job can run in this environment; send the answers, one for each job as soon as it is known.

    The first answer is about all of them: :class:`Resolved`, or :class:`Refused`, which is the only one. No code of the
    user's runs before it. A :class:`Verdict` on each job follows, in their order.
    """
    if any(needs_torch(job.config.model._target_) for job in question.jobs):
        importlib.import_module("torch")  # before the first answer: what is wrong with it is no fault of a model
    try:
        device = resolve_device(question.device)
        for precision in dict.fromkeys(job.config.precision for job in question.jobs):
            refuse_unsupported(precision, device)
    except UserError as error:
        send(Refused(str(error)))
        return
    send(Resolved(str(device)))
    loaded: dict[str, CocoDataset] = {}
    folder = started_in()
    for job in question.jobs:
        send(_verdict(job, device, loaded, Path(question.results) if question.results else None))
        os.chdir(folder)  # a class may have changed it


def _verdict(job: WorkerJob, device: torch.device, loaded: dict[str, CocoDataset], results: Path | None) -> Verdict:
    """Check one job; ``loaded`` keeps the datasets of earlier jobs, which the jobs of a study share."""
    hide = job.from_environment.hide
    try:
        checked = _checked(job, loaded, device)
        files = {key: str(path) for key, path in checked.files.items()}
        notes = [hide(note) for note in checked.notes]
        cls, name = locate(job.config.model._target_), job.filled.model.config
        of_config = [str(path) for path in config_files(cls, name, started_in())]
        return Verdict("ok", None, files, _now(job, device, results), checked.reads_pixels, notes, of_config)
    except UserError as error:
        return Verdict(OTHER_DEVICE if isinstance(error, OtherDeviceError) else WRONG_INPUT, hide(str(error)))
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        status, reason = classify(error, job.config.model._target_, CHECK_LOG, hide)
        return Verdict(status, hide(reason))


@dataclass(frozen=True)
class _Checked:
    """What is known of a job in which nothing is wrong.

    files: those that its figures depend on beside its weights, by the option that names each
    reads_pixels, notes: see :class:`bench.jobs.messages.Verdict`
    """

    files: dict[str, Path]
    reads_pixels: bool = True
    notes: list[str] = field(default_factory=list)


def _checked(job: WorkerJob, loaded: dict[str, CocoDataset], device: torch.device) -> _Checked:
    """Raise what is wrong with a job, or give what is known of it."""
    config, target = job.filled, job.config.model._target_
    if "accuracy" in config.passes and importlib.util.find_spec(config.evaluator) is None:
        raise UserError(
            f"evaluator={config.evaluator} is not installed in {sys.executable}; install it there, or leave accuracy "
            f"out of passes"
        )
    import_library(target)
    cls = locate(target)
    size_options(cls, config)
    refuse_device(cls, config, device)
    refuse_what_it_cannot(cls, config)
    files = files_read(cls, config.model.options, started_in())
    if config.finetune is not None:
        _check_training(config, job.weights_path, loaded)
    elif config.model.weights != "random" or is_class(cls, ReplayPredictor) or wants_one_shape(config):
        # random weights always fit
        return _check_predictor(config, files, job.weights_path, _load_once(config.dataset, loaded))
    return _Checked(files)


def _now(job: WorkerJob, device: torch.device, results: Path | None) -> Fingerprint:
    """Give what the figures of a checked job would depend on if it were measured now."""
    cls = locate(job.config.model._target_)
    machine = _machine(device, tuple(getattr(cls, "packages", ())))
    return fingerprint(cls, job.filled.model.options, machine, results)


@functools.cache
def _machine(device: torch.device, packages: tuple[str, ...]) -> dict[str, Any]:
    return describe(device, packages)


def _check_predictor(
    config: BenchConfig, files: dict[str, Path], weights_path: str | None, dataset: CocoDataset
) -> _Checked:
    # On the CPU: a check must not leave memory on the GPU that is to be measured.
    predictor = build_predictor(config, dataset, device_of("cpu"), weights_path)
    match_labels(dataset, predictor.classes, config.dataset.aliases)
    runtime = predictor.runtime if isinstance(predictor, Predictor) else None
    told = (runtime.name, runtime.exported_from) if runtime else (None, None)
    refuse_other(config.model.exported_from, *told)
    if not isinstance(predictor, ReplayPredictor):
        if wants_one_shape(config):
            timed = timed_images(dataset.images, config.protocol, on_a_gpu=config.device != "cpu")
            shapes = batches_by_shape(predictor, dataset.images, config.batch_size, timed)
            refuse_other_shapes(config, predictor, shapes)
        return _Checked(files)
    file = predictor.results_file
    notes = read_results(file, dataset, config.dataset).notes if file is not None else ()
    return _Checked(files, reads_pixels=False, notes=list(notes))


def _load_once(config: DatasetConfig, loaded: dict[str, CocoDataset]) -> CocoDataset:
    key = repr(config)
    if key not in loaded:
        loaded[key] = load(config)
    return loaded[key]


def _check_training(config: BenchConfig, weights_path: str | None, loaded: dict[str, CocoDataset]) -> None:
    """Check what a training needs; from scratch all weights fit, so the network is not constructed."""
    from bench.training.initial_weights import start_from

    make_model = trainable(config)
    if weights_path is not None:
        train = _load_once(training_split(config.dataset), loaded)
        start_from(make_model, config, train, device_of("cpu"), weights_path)
