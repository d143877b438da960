"""Checks jobs in the worker's environment, without running them."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import CocoDataset, load, match_labels, training_split
from bench.data.results_file import read_results
from bench.device.fingerprint import Fingerprint
from bench.device.machine import describe
from bench.device.numerics import refuse_unsupported
from bench.errors import UserError
from bench.jobs.job import Question, WorkerJob
from bench.jobs.messages import WRONG_INPUT, Message, Refused, Resolved, Verdict
from bench.jobs.start import CHECK_LOG
from bench.jobs.worker.failures import classify
from bench.jobs.worker.load_model import (
    build_predictor,
    is_class,
    refuse_what_it_cannot,
    size_options,
    trainable,
)
from bench.jobs.worker.locate import import_library, locate
from bench.jobs.worker.option_files import files_read
from bench.jobs.worker.sources import fingerprint, started_in
from bench.predictor import ReplayPredictor
from bench.schema.config import BenchConfig, DatasetConfig
from bench.training.initial_weights import start_from


def check(question: Question, send: Callable[[Message], None]) -> None:
    """Check whether each job can run in this environment; send the answers, one for each job as soon as it is known.

    The first answer is about all of them: :class:`Resolved`, or :class:`Refused`, which is the only one. No code of the
    user's runs before it. A :class:`Verdict` on each job follows, in their order.
    """
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
        send(_verdict(job, device, loaded))
        os.chdir(folder)  # a class may have changed it


def _verdict(job: WorkerJob, device: torch.device, loaded: dict[str, CocoDataset]) -> Verdict:
    """Check one job; ``loaded`` keeps the datasets of earlier jobs, which the jobs of a study share."""
    hide = job.from_environment.hide
    try:
        files = _checked_files(job, loaded)
        now = _now(job, device)
        return Verdict("ok", files={key: str(path) for key, path in files.items()}, now=now)
    except UserError as error:
        return Verdict(WRONG_INPUT, hide(str(error)))
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        status, reason = classify(error, job.config.model._target_, CHECK_LOG, hide)
        return Verdict(status, hide(reason))


def _checked_files(job: WorkerJob, loaded: dict[str, CocoDataset]) -> dict[str, Path]:
    """Raise what is wrong with a job, or give the files that its figures depend on beside its weights."""
    config, target = job.filled, job.config.model._target_
    if "accuracy" in config.passes and importlib.util.find_spec(config.evaluator) is None:
        raise UserError(
            f"evaluator={config.evaluator} is not installed in {sys.executable}; install it there, or leave accuracy "
            f"out of passes"
        )
    import_library(target)
    cls = locate(target)
    size_options(cls, config)
    refuse_what_it_cannot(cls, config)
    files = files_read(cls, config.model.options, started_in())
    if config.finetune is not None:
        _check_training(config, job.weights_path, loaded)
    elif config.model.weights != "random" or is_class(cls, ReplayPredictor):  # random weights always fit
        _check_predictor(config, cls, files, job.weights_path, _load_once(config.dataset, loaded))
    return files


def _now(job: WorkerJob, device: torch.device) -> Fingerprint:
    """Give what the figures of a checked job would depend on if it were measured now."""
    cls = locate(job.config.model._target_)
    return fingerprint(cls, job.filled.model.options, _machine(device, tuple(getattr(cls, "packages", ()))))


@functools.cache
def _machine(device: torch.device, packages: tuple[str, ...]) -> dict[str, Any]:
    return describe(device, packages)


def _check_predictor(
    config: BenchConfig, cls: object, files: Mapping[str, Path], weights_path: str | None, dataset: CocoDataset
) -> None:
    if is_class(cls, ReplayPredictor) and "results" in files:
        read_results(files["results"], dataset, config.dataset.max_json_gb)
    # On the CPU: a check must not leave memory on the GPU that is to be measured.
    predictor = build_predictor(config, dataset, torch.device("cpu"), weights_path)
    match_labels(dataset, predictor.classes, config.dataset.aliases)


def _load_once(config: DatasetConfig, loaded: dict[str, CocoDataset]) -> CocoDataset:
    key = repr(config)
    if key not in loaded:
        loaded[key] = load(config)
    return loaded[key]


def _check_training(config: BenchConfig, weights_path: str | None, loaded: dict[str, CocoDataset]) -> None:
    """Check what a training needs; from scratch all weights fit, so the network is not constructed."""
    make_model = trainable(config)
    if weights_path is not None:
        train = _load_once(training_split(config.dataset), loaded)
        start_from(make_model, config, train, torch.device("cpu"), weights_path)


def resolve_device(name: str) -> torch.device:
    """Give the device of a name on this machine; ``auto`` is ``cuda:0`` where there is one, else ``cpu``.

    Raises:
        UserError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = f"cpu, {', '.join(f'cuda:{i}' for i in range(count))}" if count else "cpu"
            raise UserError(f"device={name}: torch {torch.__version__} sees no such device here; available: {there}")
        return torch.device("cuda", device.index or 0)
    try:
        torch.empty(1, device=device)
    except Exception as error:
        raise UserError(f"device={name}: {str(error).splitlines()[0]}") from error
    return device
