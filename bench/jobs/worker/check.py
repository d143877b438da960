"""Checks jobs in the worker's environment, without running them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import CocoDataset, load, match_labels, training_split
from bench.data.results_file import read_results
from bench.device.numerics import refuse_unsupported
from bench.errors import UserError, absent_library
from bench.jobs.worker.load_model import (
    build_predictor,
    is_class,
    refuse_what_it_cannot,
    size_options,
    trainable,
)
from bench.jobs.worker.locate import import_library, locate
from bench.predictor import Model, ReplayPredictor
from bench.private.environment import FromEnvironment
from bench.schema.config import BenchConfig, DatasetConfig
from bench.schema.json_file import from_dict
from bench.training.initial_weights import start_from


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Check whether each job can run in this environment.

    request: ``device`` as the user gave it, ``jobs`` as in ``job.json``
    Gives ``error``, or ``device`` (resolved) and ``jobs``. For each job: ``{"files": {option: path}}``, the files that
    its figures depend on beside its weights; or ``{"skip": reason}``; or ``{"error": line}``.
    """
    try:
        device = resolve_device(request["device"])
        for precision in dict.fromkeys(job["config"]["precision"] for job in request["jobs"]):
            refuse_unsupported(precision, device)
    except UserError as error:
        return {"error": str(error)}
    for target in dict.fromkeys(job["config"]["model"]["_target_"] for job in request["jobs"]):
        import_library(target)
    loaded: dict[str, CocoDataset] = {}
    return {"device": str(device), "jobs": [_check_job(job, loaded) for job in request["jobs"]]}


def _check_job(job: dict[str, Any], loaded: dict[str, CocoDataset]) -> dict[str, Any]:
    """Check one job; ``loaded`` keeps the datasets of earlier jobs, which the jobs of a study share."""
    values = FromEnvironment(**job.get("from_environment", {}))
    verdict = _verdict(job, values, loaded)
    return {key: values.hide(text) if isinstance(text, str) else text for key, text in verdict.items()}


def _verdict(job: dict[str, Any], values: FromEnvironment, loaded: dict[str, CocoDataset]) -> dict[str, Any]:
    config = from_dict(BenchConfig, job["config"])
    config.model.options = values.fill(config.model.options)
    if "accuracy" in config.passes and importlib.util.find_spec(config.evaluator) is None:
        return {
            "error": f"evaluator={config.evaluator} is not installed in {sys.executable}; install it there, "
            f"or leave accuracy out of passes"
        }
    try:
        cls = locate(config.model._target_)
        size_options(cls, config)
        refuse_what_it_cannot(cls, config)
        files = _files_read(cls, config.model.options)
        if config.finetune is not None:
            _check_training(config, job["weights_path"], loaded)
        elif config.model.weights != "random" or is_class(cls, ReplayPredictor):  # random weights always fit
            _check_predictor(config, cls, files, job["weights_path"], _load_once(config.dataset, loaded))
    except ModuleNotFoundError as error:
        return {"skip": absent_library(error)}
    except UserError as error:
        return {"error": str(error)}
    return {"files": {key: str(path) for key, path in files.items()}}


def _check_predictor(
    config: BenchConfig, cls: object, files: Mapping[str, Path], weights_path: str | None, dataset: CocoDataset
) -> None:
    if is_class(cls, ReplayPredictor) and "results" in files:
        read_results(files["results"], dataset)
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


def _files_read(cls: object, options: Mapping[str, Any]) -> dict[str, Path]:
    """Give the absolute paths of the class's ``files_read``, by the option that names each.

    Raises:
        UserError: a file does not exist.
    """
    if not (isinstance(cls, type) and issubclass(cls, Model)):
        return {}
    paths = {key: Path(path).expanduser().resolve() for key, path in cls.files_read(options).items()}
    for key, path in paths.items():
        if not path.is_file():
            raise UserError(f"{path}: no such file (model.options.{key})")
    return paths


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
