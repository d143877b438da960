"""Building a job's model in the worker's environment, and saying beforehand what stands against it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import CocoDataset, load, match_labels, training_split
from bench.device.numerics import refuse_unsupported
from bench.errors import UserError, absent_library
from bench.jobs.locate import import_library, locate
from bench.predictor import Predictor, ReplayPredictor, Settings
from bench.schema.config import BenchConfig, DatasetConfig
from bench.schema.json_file import from_dict
from bench.training.initial_weights import start_from
from bench.weights.load import load_checkpoint


def build_predictor(
    config: BenchConfig, dataset: CocoDataset, device: torch.device, weights_path: str | None
) -> Predictor | ReplayPredictor:
    """The model of a job, on its device and in eval mode, seeded.

    Raises:
        UserError: the class cannot be found, or the checkpoint does not fit.
        ModuleNotFoundError: the model's library is not installed here.
    """
    model = config.model
    checkpoint = load_checkpoint(Path(weights_path), allow_pickle=model.allow_pickle) if weights_path else None
    classes = tuple(model.classes) if model.classes else (checkpoint.classes if checkpoint else dataset.class_names)
    settings = Settings(
        device=device,
        checkpoint=checkpoint,
        classes=classes,
        score_threshold=0.0 if config.detections == "saturated" else model.score_threshold,
        max_detections=config.protocol.max_detections,
        config=model.config,
    )
    torch.manual_seed(config.protocol.seed)
    return make(locate(model._target_), config, settings)


def make(cls: Any, config: BenchConfig, settings: Settings) -> Predictor | ReplayPredictor:
    """Call the class of a job's model with its settings and options.

    Raises:
        UserError: an option that it does not have, an input size that it cannot take, or a class that is no predictor.
    """
    model = config.model
    options = {**model.options, **_size_options(cls, config)}
    try:
        predictor = cls(settings, **options)
    except TypeError as error:
        # A wrong keyword is the user's; a TypeError from inside the constructor is a bug and keeps its traceback.
        if "__init__() got an unexpected keyword" in str(error) or "missing" in str(error):
            raise UserError(f"model.options of {model.name}: {error}") from error
        raise
    if not isinstance(predictor, (Predictor, ReplayPredictor)):
        raise UserError(f"model._target_={model._target_}: not a bench.predictor.Predictor")
    return predictor


def trainable(config: BenchConfig) -> Callable[[Settings], Predictor]:
    """What builds a job's model for a training, as often as that needs it.

    Raises:
        UserError: the model's class defines no ``training_step``.
    """
    model = config.model
    cls = locate(model._target_)
    if not issubclass(cls, Predictor) or cls.training_step is Predictor.training_step:
        raise UserError(
            f"model={model.name}: {model._target_} defines no training_step, so it cannot be trained; "
            f"leave finetune out"
        )

    def make_trainable(settings: Settings) -> Predictor:
        predictor = make(cls, config, settings)
        assert isinstance(predictor, Predictor)
        return predictor

    return make_trainable


def _size_options(cls: Any, config: BenchConfig) -> dict[str, Any]:
    """What tells the class the job's ``input_size``.

    Raises:
        UserError: it takes none.
    """
    edges = config.input_edges
    if edges is None:
        return {}
    if not isinstance(cls, type) or not issubclass(cls, Predictor):
        raise UserError(f"input_size={config.input_size}: {config.model._target_} sees no image; leave input_size out")
    return cls.options_for_input_size(*edges)


def check(request: dict[str, Any]) -> dict[str, Any]:
    """What stands against each job in this environment, found without running it.

    request: ``device`` as the user gave it, ``jobs`` as in ``job.json``.
    Gives ``device`` (resolved) or ``error``; and per job ``{}``, ``{"skip": reason}`` or ``{"error": line}``.
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


def _check_job(job: dict[str, Any], loaded: dict[str, CocoDataset]) -> dict[str, str]:
    """``loaded`` keeps the datasets of earlier jobs: the jobs of a study share them."""
    config = from_dict(BenchConfig, job["config"])
    if "accuracy" in config.passes and importlib.util.find_spec(config.evaluator) is None:
        return {
            "error": f"evaluator={config.evaluator} is not installed in {sys.executable}; install it there, "
            f"or leave accuracy out of passes"
        }
    try:
        if config.finetune is not None:
            return _check_training(config, job["weights_path"], loaded)
        if config.model.weights == "random":  # nothing to load, hence nothing that could not fit
            _size_options(locate(config.model._target_), config)
            return {}
        dataset = _load_once(config.dataset, loaded)
        # On the CPU: a check must not leave memory on the GPU that is to be measured.
        predictor = build_predictor(config, dataset, torch.device("cpu"), job["weights_path"])
        match_labels(dataset, predictor.classes, config.dataset.aliases)
    except ModuleNotFoundError as error:
        return {"skip": absent_library(error)}
    except UserError as error:
        return {"error": str(error)}
    return {}


def _load_once(config: DatasetConfig, loaded: dict[str, CocoDataset]) -> CocoDataset:
    key = repr(config)
    if key not in loaded:
        loaded[key] = load(config)
    return loaded[key]


def _check_training(config: BenchConfig, weights_path: str | None, loaded: dict[str, CocoDataset]) -> dict[str, str]:
    """From scratch there is nothing that could not fit, so the network is not built."""
    make_model = trainable(config)
    _size_options(locate(config.model._target_), config)
    if weights_path is not None:
        train = _load_once(training_split(config.dataset), loaded)
        start_from(make_model, config, train, torch.device("cpu"), weights_path)
    return {}


def resolve_device(name: str) -> torch.device:
    """The device that a name means here; ``auto`` is ``cuda:0`` where there is one, else ``cpu``.

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
