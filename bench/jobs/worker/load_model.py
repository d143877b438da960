"""Constructs a job's model in the worker's environment, and refuses what its class cannot do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.dataset import CocoDataset
from bench.errors import UserError
from bench.jobs.worker.locate import locate
from bench.jobs.worker.promises import OnNote, refuse_broken_promises, refuse_call, watched
from bench.predictor import Predictor, ReplayPredictor, Settings, TorchPredictor, Trainable
from bench.schema.config import BenchConfig

if TYPE_CHECKING:  # a worker that replays results may do without it, and it takes seconds
    import torch


def build_predictor(
    config: BenchConfig,
    dataset: CocoDataset,
    device: torch.device,
    weights_path: str | None,
    note: OnNote = lambda text: None,
) -> Predictor | ReplayPredictor:
    """Construct the model of a job on its device, in eval mode and seeded.

    note: takes what belongs to the row as a note

    Raises:
        UserError: the class does not exist, the checkpoint does not fit, or the model breaks a promise that it shows.
        ModuleNotFoundError: the model's library is not installed here.
    """
    model, cls = config.model, locate(config.model._target_)
    checkpoint = None
    if weights_path and not getattr(cls, "reads_weights_itself", False):
        from bench.weights.load import load_checkpoint

        checkpoint = load_checkpoint(Path(weights_path), allow_pickle=model.allow_pickle)
    classes = tuple(model.classes) if model.classes else (checkpoint.classes if checkpoint else dataset.class_names)
    settings = Settings(
        device=device,
        checkpoint=checkpoint,
        classes=classes,
        score_threshold=config.score_threshold,
        max_detections=config.protocol.max_detections,
        config=model.config,
        precision=config.precision,
        weights_path=Path(weights_path) if weights_path else None,
        pad_to=max(config.input_edges) if config.protocol.pad_to and config.input_edges else None,
        classes_told=bool(model.classes or (checkpoint and checkpoint.classes)),
    )
    if "torch" in sys.modules or not is_class(cls, ReplayPredictor) or cls.needs_torch:
        import torch

        torch.manual_seed(config.protocol.seed)
    return make(cls, config, settings, note)


def make(
    cls: Any, config: BenchConfig, settings: Settings, note: OnNote = lambda text: None
) -> Predictor | ReplayPredictor:
    """Call the class of a job's model with its settings and options.

    Raises:
        UserError: the class lacks an option, cannot take the input size or the precision, is no predictor, is a
            TorchPredictor without a network, or breaks another promise that it shows.
    """
    model = config.model
    options = {**model.options, **size_options(cls, config)}
    refuse_call(cls, config, options)
    told = watched(settings)
    try:
        predictor = cls(told, **options)
    except TypeError as error:
        # An option may be handed on to the base class. Any other TypeError is a bug and keeps its traceback.
        if "__init__() got an unexpected keyword" in str(error):
            raise UserError(f"model.options of {model.name}: {error}") from error
        raise
    if not isinstance(predictor, (Predictor, ReplayPredictor)):
        raise UserError(f"model._target_={model._target_}: not a bench.predictor.Predictor")
    if isinstance(predictor, TorchPredictor) and not _has_module(predictor):
        raise UserError(
            f"model._target_={model._target_}: a TorchPredictor keeps its network in self.module, and this one has "
            f"none; set it in __init__, or derive the class from Predictor"
        )
    # Again, because the target may be a function, which has no precisions of its own to check beforehand.
    refuse_what_it_cannot(type(predictor), config)
    if isinstance(predictor, Predictor):
        predictor.settle_promises()
        _refuse_padding(predictor, config)
        _refuse_precision(predictor.precisions, predictor, config)
        _refuse_batch(predictor, config)
    refuse_broken_promises(predictor, config, told, note)
    return predictor


def refuse_what_it_cannot(cls: object, config: BenchConfig) -> None:
    """Raise a UserError where a job asks for a precision that the model's class does not offer, or for an option that
    needs a torch network. A class that replays results is never refused."""
    if not (isinstance(cls, type) and issubclass(cls, Predictor)):
        return
    target, is_torch = config.model._target_, issubclass(cls, TorchPredictor)
    _refuse_precision(cls.precisions, cls, config)
    _refuse_padding(cls, config)
    asked = {"compile": config.compile != "none", "protocol.channels_last": config.protocol.channels_last}
    for key in (key for key, wanted in asked.items() if wanted and not is_torch):
        raise UserError(
            f"{key}: {target} is no bench.predictor.TorchPredictor and has no network to change; leave {key} out, or "
            f"derive the class from it"
        )


def _refuse_padding(cls_or_model: type[Predictor] | Predictor, config: BenchConfig) -> None:
    if config.protocol.pad_to and not cls_or_model.pads_inputs:
        raise UserError(
            f"protocol.pad_to: {config.model._target_} cannot pad its inputs to one shape (its pads_inputs is False); "
            f"leave protocol.pad_to out"
        )


def _refuse_precision(precisions: Sequence[str], cls_or_model: object, config: BenchConfig) -> None:
    """Refuse a precision that a class, or a model whose file decides, does not compute in."""
    if config.precision in precisions:
        return
    cls = cls_or_model if isinstance(cls_or_model, type) else type(cls_or_model)
    is_torch = is_class(cls, TorchPredictor)
    remedy = "" if is_torch else ", or derive the class from bench.predictor.TorchPredictor, which can all four"
    raise UserError(
        f"precision={config.precision}: {config.model._target_} computes in {' or '.join(precisions)} (its "
        f"precisions); give precision={precisions[0]}{remedy}"
    )


def _refuse_batch(predictor: Predictor, config: BenchConfig) -> None:
    if predictor.fixed_batch not in (None, config.batch_size):
        raise UserError(
            f"batch_size={config.batch_size}: the network of {config.model.name} takes {predictor.fixed_batch} images "
            f"at a time and no other number; give batch_size={predictor.fixed_batch}, or a file with a dynamic batch"
        )


def refuse_device(cls: object, config: BenchConfig, device: torch.device) -> None:
    """Raise a UserError where the runtime of a model's class cannot compute on the job's device."""
    if is_class(cls, Predictor):
        cls.refuse_device(device, config.model.options)  # type: ignore[attr-defined]


def _has_module(predictor: object) -> bool:
    import torch

    return isinstance(getattr(predictor, "module", None), torch.nn.Module)


def note_on_module(predictor: Predictor | ReplayPredictor) -> str | None:
    """Give the note for a predictor that keeps a torch network and is no TorchPredictor; None for any other."""
    if isinstance(predictor, TorchPredictor) or not _has_module(predictor):
        return None
    name = type(predictor).__name__
    return (
        f"{name} keeps a torch.nn.Module in self.module: derived from bench.predictor.TorchPredictor in place of "
        f"Predictor it would have its parameters counted, and could be asked for tf32, fp16, bf16 and compile"
    )


def trainable(config: BenchConfig) -> Callable[[Settings], Trainable]:
    """Give a function that constructs a job's model for a training, as often as it is called.

    Raises:
        UserError: the model's class is no :class:`TorchPredictor` that is :class:`Trainable`.
    """
    model = config.model
    cls = locate(model._target_)
    if not (is_class(cls, TorchPredictor) and is_class(cls, Trainable)):
        lacks = "is not derived from Trainable" if hasattr(cls, "training_step") else "defines no training_step"
        raise UserError(
            f"model={model.name}: {model._target_} {lacks}, so it cannot be trained; leave finetune out, or derive the "
            f"class from TorchPredictor and Trainable of bench.predictor"
        )

    def make_trainable(settings: Settings) -> Trainable:
        predictor = make(cls, config, settings)
        assert isinstance(predictor, Trainable)
        return predictor

    return make_trainable


def is_class(cls: object, base: type) -> bool:
    """Tell whether a target is a class derived from ``base``; a function or another callable is not."""
    return isinstance(cls, type) and issubclass(cls, base)


def size_options(cls: Any, config: BenchConfig) -> dict[str, Any]:
    """Give the options that tell the class the job's ``input_size``; empty without one.

    Raises:
        UserError: the class takes no input size.
    """
    edges = config.input_edges
    if edges is None:
        return {}
    if not (isinstance(cls, type) and issubclass(cls, Predictor)):
        why = (
            "sees no image" if is_class(cls, ReplayPredictor) else "is no class derived from bench.predictor.Predictor"
        )
        raise UserError(f"input_size={config.input_size}: {config.model._target_} {why}; leave input_size out")
    return cls.options_for_input_size(*edges)
