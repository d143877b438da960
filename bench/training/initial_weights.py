"""The model that a training starts from: trained weights as far as they fit the classes, or random ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bench.data.dataset import CocoDataset
from bench.errors import UserError
from bench.predictor import Checkpoint, Settings, Trainable
from bench.schema.config import BenchConfig
from bench.weights.load import load_checkpoint

Make = Callable[[Settings], Trainable]
"""Builds the model that is to be trained, for the device, the classes and the checkpoint of the settings."""


@dataclass
class Start:
    """The model that a training starts from.

    predictor: built for the classes of the training set, on the device of the training
    from_weights: whether it has trained weights
    description: what it starts from, in words
    reinitialised: names of the parameters that start with random values because they depend on the classes
    """

    predictor: Trainable
    from_weights: bool
    description: str
    reinitialised: list[str] = field(default_factory=list)


def start_from(
    make: Make, config: BenchConfig, train: CocoDataset, device: torch.device, weights_path: str | None
) -> Start:
    """Build the model that is to be trained; ``make`` is called once for each network that this needs.

    With weights, the network is built twice: for the classes of the weights, and for those of ``train``. Parameters of
    equal shape are copied; the others depend on the classes and start with random values. Where there are as many
    classes but with other names, the parameters that depend on them start with random values too. A ``partial`` start
    copies every parameter of equal name and shape from a checkpoint of any model, such as its backbone and neck (as
    ``load_from`` of mmengine does).

    Raises:
        UserError: the checkpoint does not fit the model's architecture.
    """
    assert config.finetune is not None
    settings = Settings(
        device=device,
        classes=train.class_names,
        score_threshold=config.model.score_threshold,
        max_detections=config.protocol.max_detections,
        config=config.model.config,
        precision=config.precision,
    )
    predictor = _build(make, config, settings)
    if weights_path is None:
        return Start(predictor, False, "scratch")
    checkpoint = load_checkpoint(Path(weights_path), allow_pickle=config.model.allow_pickle)
    if config.finetune.start == "partial":
        return _partial(make, config, settings, predictor, checkpoint)
    return _from_checkpoint(make, config, settings, predictor, checkpoint)


def _from_checkpoint(
    make: Make, config: BenchConfig, settings: Settings, predictor: Trainable, checkpoint: Checkpoint
) -> Start:
    own_classes = checkpoint.classes or (tuple(config.model.classes) if config.model.classes else None)
    path, cpu = Path(checkpoint.path), torch.device("cpu")
    as_trained = dataclasses.replace(
        settings, device=cpu, checkpoint=checkpoint, classes=own_classes, weights_path=path
    )
    source = _build(make, config, as_trained)
    excluded: set[str] = set()
    if source.classes != predictor.classes and len(source.classes) == len(predictor.classes):
        excluded = _class_dependent(make, config, settings, predictor)
    reinitialised = _copy(_state(source), predictor, excluded)
    assert config.finetune is not None
    published = config.finetune.start == "published"
    return Start(predictor, True, "published weights" if published else path.name, reinitialised)


def _partial(
    make: Make, config: BenchConfig, settings: Settings, predictor: Trainable, checkpoint: Checkpoint
) -> Start:
    excluded = set() if checkpoint.classes == predictor.classes else _class_dependent(make, config, settings, predictor)
    reinitialised = _copy(checkpoint.state_dict, predictor, excluded)
    tensors = len(_learned(_state(predictor)))
    if len(reinitialised) == tensors:
        raise UserError(
            f"{checkpoint.path}: finetune.start=partial: none of its parameters has the name and shape of one of "
            f"{config.model.name}; give weights of a model with the same backbone"
        )
    description = f"{tensors - len(reinitialised)} of {tensors} tensors of {Path(checkpoint.path).name}"
    return Start(predictor, True, description, reinitialised)


def _build(make: Make, config: BenchConfig, settings: Settings) -> Trainable:
    assert config.finetune is not None
    torch.manual_seed(config.finetune.seed)
    return make(settings)


def _state(predictor: Trainable) -> dict[str, torch.Tensor]:
    return predictor.module.state_dict()


def _class_dependent(make: Make, config: BenchConfig, settings: Settings, predictor: Trainable) -> set[str]:
    """Return the names of the tensors that have another shape where there is one class more."""
    assert settings.classes is not None
    longer = (*settings.classes, "one more")
    other = _build(make, config, dataclasses.replace(settings, device=torch.device("cpu"), classes=longer))
    theirs = _state(other)
    return {name for name, tensor in _state(predictor).items() if name in theirs and theirs[name].shape != tensor.shape}


def _copy(given: Mapping[str, torch.Tensor], target: Trainable, excluded: set[str]) -> list[str]:
    """Copy the tensors that fit; return the names of the parameters that do not, BatchNorm's step counters aside."""
    own = _state(target)
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape and k not in excluded}
    target.module.load_state_dict(fitting, strict=False)
    return [name for name in _learned(own) if name not in fitting]


def _learned(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith("num_batches_tracked")]
