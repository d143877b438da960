"""Refuses a model that does not keep what its class promises, as far as it shows before anything runs.

A row says of its model: these weights, this precision, this device. What is checked here is that the class was asked
for them, and that its network shows them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, nearest
from bench.jobs.worker.weights_taken import weights_taken
from bench.predictor import Predictor, ReplayPredictor, ResultsFile, Settings, TorchPredictor
from bench.schema.config import BenchConfig

if TYPE_CHECKING:  # a worker that replays results may do without it, and it takes seconds
    import torch

OnNote = Callable[[str], None]
"""Takes a note for the row."""

NEARLY_ALL = 0.9
"""The share of a network's parameters that the checkpoint must explain; below it, the row gets a note."""

_WHOLE = ("__dict__", "__deepcopy__", "__copy__", "__reduce_ex__", "__getstate__")
"""What copies, pickles and ``vars`` ask for; what they read of the copy is not seen."""


class WatchedSettings(Settings):
    """Settings that know which of their fields have been read (``fields_read``)."""

    fields_read: set[str]

    def __init__(self, *values: Any, **named: Any) -> None:
        object.__setattr__(self, "fields_read", set())
        super().__init__(*values, **named)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        seen = super().__getattribute__("__dict__").get("fields_read", set())  # a copy has none until it is whole
        if name in Settings.__dataclass_fields__:
            seen.add(name)
        elif name in _WHOLE:
            seen.update(Settings.__dataclass_fields__)
        return value


def watched(settings: Settings) -> WatchedSettings:
    """Give a copy of the settings that knows which of its fields have been read, none so far."""
    return WatchedSettings(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(Settings)})


def refuse_call(target: Callable[..., Any], config: BenchConfig, options: Mapping[str, Any]) -> None:
    """Check that a class or function can be called with the settings and these options.

    Raises:
        UserError: it takes no settings, lacks an option, or needs one that is not given.
    """
    model, name = config.model, getattr(target, "__name__", str(target))
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # of a class in C nothing is known before the call
        return
    kinds = inspect.Parameter
    if not parameters or parameters[0].kind in (kinds.KEYWORD_ONLY, kinds.VAR_KEYWORD):
        written = (
            f"def __init__(self, settings, ...) in {name}" if isinstance(target, type) else f"def {name}(settings)"
        )
        raise UserError(
            f"model._target_={model._target_}: {name}() takes no settings, and maskbench calls "
            f"{name}(settings, **model.options); write {written}"
        )
    others = [p for p in parameters[1:] if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)]
    known = [p.name for p in others]
    takes_any = any(p.kind is kinds.VAR_KEYWORD for p in parameters)
    for key in options:
        if key not in known and not takes_any:
            raise UserError(
                f"model.options.{key} of {model.name}: {name} has no such option; {nearest(key, known)} "
                f"(options of one model among several are given in a command of their own, with the same out=)"
            )
    for parameter in others:
        if parameter.default is kinds.empty and parameter.name not in options:
            raise UserError(
                f"model.options of {model.name}: {name} needs the option {parameter.name}; give "
                f"model.options.{parameter.name}=VALUE"
            )


def refuse_broken_promises(
    predictor: Predictor | ReplayPredictor, config: BenchConfig, settings: WatchedSettings, note: OnNote
) -> None:
    """Check the object that the class or function of a job gave.

    settings: those that it was called with
    note: takes what is no fault but belongs to the row

    Raises:
        UserError: a promise is not kept; the message names the class, and says what to do.
    """
    read = _read_by(predictor, settings)  # before the lines below read any
    _settle_classes(predictor, config)
    if not isinstance(predictor, Predictor):
        _refuse_no_results(predictor)
        return
    name, told = type(predictor).__name__, settings.precision
    if isinstance(predictor, TorchPredictor):
        _refuse_module(predictor, config, settings.device)
    elif told != predictor.precisions[0] and "precision" not in read:
        raise UserError(
            f"precision={told}: {name} never read settings.precision, so the row would say what the model was not "
            f"told; compute in settings.precision, or leave {told} out of the class's precisions"
        )
    if settings.checkpoint or settings.weights_path:
        _refuse_unread_weights(predictor, settings, read, note)


def _refuse_no_results(predictor: ReplayPredictor) -> None:
    """Check that a class that replays results names a file, or gives them itself."""
    name, file = type(predictor).__name__, predictor.results_file
    if file is None and type(predictor).results is ReplayPredictor.results:
        raise UserError(
            f"{name} replays nothing; set self.results_file = bench.predictor.ResultsFile(Path(...)) in __init__, or "
            f"define results(image_id)"
        )
    if file is not None and not isinstance(file, ResultsFile):
        raise UserError(f"{name}.results_file is a {type(file).__name__}, must be a bench.predictor.ResultsFile")


def _read_by(predictor: object, settings: WatchedSettings) -> frozenset[str]:
    """Give the fields that the class has read, or may still read where it keeps the settings."""
    if any(kept is settings for kept in getattr(predictor, "__dict__", {}).values()):
        return frozenset(Settings.__dataclass_fields__)
    return frozenset(settings.fields_read)


def _settle_classes(predictor: Predictor | ReplayPredictor, config: BenchConfig) -> None:
    """Make a list of class names a tuple; raise a UserError where there is nothing of the kind."""
    classes: Any = getattr(predictor, "classes", None)
    name = type(predictor).__name__
    if isinstance(classes, list):
        classes = predictor.classes = tuple(classes)
    if isinstance(classes, tuple) and all(isinstance(each, str) for each in classes):
        if classes or isinstance(predictor, ReplayPredictor):
            return
        given = "is empty"
    elif isinstance(classes, tuple):
        given = f"holds {next(each for each in classes if not isinstance(each, str))!r:.40}"
    else:
        given = "is not set" if classes is None else f"is a {type(classes).__name__}"
    raise UserError(
        f"model._target_={config.model._target_}: {name}.classes {given}, must be a tuple of the names of the model's "
        f"labels in order; set self.classes in __init__, such as self.classes = settings.classes (which are those of "
        f"model.classes=[...] where the checkpoint names none)"
    )


def _refuse_module(predictor: TorchPredictor, config: BenchConfig, device: torch.device) -> None:
    """Check device, types and mode of a network.

    A check constructs the model on the CPU whatever the job's device is; where the network is says nothing then.
    """
    import torch

    from bench.passes.runner import AUTOCAST

    name = type(predictor).__name__
    allowed = {torch.float32, AUTOCAST[config.precision]}
    on_its_device = config.device.partition(":")[0] == device.type
    for key, parameter in predictor.module.named_parameters():
        if on_its_device and parameter.device.type not in (device.type, "meta"):
            raise UserError(
                f"{name}: parameter {key} of self.module is on {parameter.device}, must be on {device}; move the "
                f"network there in __init__: self.module.to(settings.device)"
            )
        if parameter.is_floating_point() and parameter.dtype not in allowed:
            raise UserError(
                f"precision={config.precision}: parameter {key} of {name}.module is {parameter.dtype}, so the row "
                f"would say another precision than the model has; keep the network in float32, maskbench runs it under "
                f"autocast"
            )
    for key, layer in predictor.module.named_modules():
        if layer.training and isinstance(layer, modal_layers()):
            raise UserError(
                f"{name}: {type(layer).__name__} {key} of self.module is in training mode, so it would predict other "
                f"than it was trained to; call self.module.eval() in __init__"
            )


def modal_layers() -> tuple[type[torch.nn.Module], ...]:
    """Give the classes of layers that compute something else in training mode."""
    import torch

    return torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.dropout._DropoutNd


def _refuse_unread_weights(predictor: Predictor, settings: Settings, read: frozenset[str], note: OnNote) -> None:
    """Check that the class read the weights that it was given, and that a torch network holds them."""
    name = type(predictor).__name__
    given = ["weights_path"] if predictor.reads_weights_itself else ["checkpoint", "weights_path"]
    remedy = (
        "the row would name weights that did not run; load settings.checkpoint in __init__, as "
        "bench.predictor.load_weights does, or give model.weights=random, or model.weights=own where the class brings "
        "its own"
    )
    if not read.intersection(given):
        raise UserError(f"model.weights: {name} never read settings.{' or settings.'.join(given)}; {remedy}")
    checkpoint = settings.checkpoint
    if checkpoint is None or not isinstance(predictor, TorchPredictor):
        return
    taken = weights_taken(predictor.module, checkpoint)
    if taken.parameters and not taken.found and "weights_path" in read:
        note(f"{name} read {taken.file} itself, and whether its network holds these weights could not be compared")
        return
    if taken.parameters and not taken.found:
        raise UserError(
            f"{taken.file}: none of the {taken.parameters} parameters of {name}.module has the values of a tensor in "
            f"it; {remedy}, or set reads_weights_itself = True where the class changes every tensor as it loads it"
        )
    if taken.found < NEARLY_ALL * taken.parameters:
        note(
            f"{taken.found} of {taken.parameters} parameters of the network have values of {taken.file}; the others, "
            f"first {taken.first_other}, have what the class gave them"
        )
