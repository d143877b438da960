"""Makes a checked :class:`BenchConfig` of what Hydra composed, and one line of each of Hydra's errors."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import omegaconf
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import UserError, nearest
from bench.jobs.job import ComposedJob
from bench.private.interpolation import options_to_show
from bench.schema.config import (
    BATCH_NORMS,
    COMPILES,
    DECAYS,
    DETECTIONS,
    EVALUATORS,
    MEASURED_CHECKPOINTS,
    OPTIMIZERS,
    OVERLAPS,
    PRECISIONS,
    SCHEDULE_EPOCHS,
    STARTS,
    WEIGHTS_DTYPES,
    BenchConfig,
    FinetuneConfig,
    GateConfig,
    ModelConfig,
)
from bench.schema.metrics import METRICS
from bench.schema.overrides import GROUPS, ONE_FOR_ALL, kinds, working_spelling
from bench.schema.result import PASSES

LEAST_EDGE = 32
"""Pixels: the stride of the coarsest features of most backbones; a smaller image has no such feature."""


def to_config(cfg: DictConfig, choices: dict[str, str], *, own_class: bool = False) -> ComposedJob:
    """Merge a composed configuration into the schema and check its values.

    own_class: the command line names the model's class, so the model is called by the class's name

    Hydra itself accepts any key given as ``+key=``; the schema does not.

    Raises:
        UserError: the schema lacks a key, or a value is missing or impossible.
    """
    try:
        options, from_environment = options_to_show(cfg)
        # Through plain containers: a typed node would accept a key that was added with a plus.
        plain = OmegaConf.to_container(cfg, resolve=True)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(BenchConfig), plain))
    except OmegaConfBaseException as error:
        raise _schema_error(error) from error
    assert isinstance(config, BenchConfig)
    config.model.options = options
    config.passes = list(dict.fromkeys(config.passes))
    _name(config.model, choices.get("model", ""), own_class)
    check_values(config)
    if config.detections == "auto":
        config.detections = "thresholded" if config.trained else "saturated"
    return ComposedJob(config, choices, from_environment)


def _name(model: ModelConfig, option: str, own_class: bool) -> None:
    """Fill in the model's name where the user gave none, and with it the family that is left empty."""
    if not model.name and own_class:
        model.name = re.split(r"[.:]", model._target_)[-1]
    elif not model.name:
        model.name = option if model.zoo.lookup is None else f"{option}:{model.config}"
    model.family = model.family or model.name


def check_values(config: BenchConfig) -> None:
    """Raise a UserError for the first value outside its range."""
    _refuse_empty(config)
    _refuse_infinite("", dataclasses.asdict(config))
    _check_words(config)
    if not config.passes and config.finetune is None:
        raise UserError(f"passes=[] measures nothing; give some of {', '.join(PASSES)}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps|xpu(:\d+)?", config.device):
        raise UserError(f"device={config.device}: must be auto, cpu, or cuda:0")
    protocol = config.protocol
    _check_input_size(config)
    if config.finetune is not None:
        _check_finetune(config.finetune)
    for name, number, least in (
        ("batch_size", config.batch_size, 1),
        ("dataset.limit", config.dataset.limit, 1),
        ("dataset.max_pixels", config.dataset.max_pixels, 1),
        ("dataset.max_json_gb", config.dataset.max_json_gb, 0),
        ("protocol.warmup_batches", protocol.warmup_batches, 0),
        ("protocol.rounds", protocol.rounds, 1),
        ("protocol.max_warmup_seconds", protocol.max_warmup_seconds, 0),
        ("protocol.min_samples", protocol.min_samples, 1),
        ("protocol.precision", protocol.precision, 0),
        ("protocol.max_seconds", protocol.max_seconds, 0.1),
        ("protocol.energy_seconds", protocol.energy_seconds, 0.1),
        ("protocol.max_detections", protocol.max_detections, 1),
        ("protocol.threads", protocol.threads, 1),
        ("protocol.time_limit_s", protocol.time_limit_s, 1),
        ("protocol.check_limit_s", protocol.check_limit_s, 1),
        ("protocol.memory_limit_gb", protocol.memory_limit_gb, 0.1),
        ("model.score_threshold", config.model.score_threshold, 0),
    ):
        _refuse_below(name, number, least)


def check_shared(jobs: Sequence[ComposedJob]) -> None:
    """Raise a UserError where jobs of one command differ in a setting that is the command's own, such as ``out``."""
    for key in ONE_FOR_ALL:
        values = {getattr(job.config, key) for job in jobs}
        if len(values) > 1:
            raise UserError(f"{key}: all jobs of a command share it, and it has {len(values)} values; give one")


def _refuse_empty(config: BenchConfig) -> None:
    """Refuse an empty text, such as that of an unset variable, where the default is none."""
    for key, kind in kinds().items():
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name, None)
        if kind == "text" and isinstance(value, str) and not value.strip():
            raise UserError(f"{key} is empty (an unset variable?); give {key}=VALUE, or leave it out")


def _refuse_infinite(key: str, value: Any) -> None:
    """Refuse a number that is infinite or none (nan), which JSON files cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}={value}: must be a finite number")
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, part in parts:
        _refuse_infinite(f"{key}.{name}" if key else str(name), part)


def _check_words(config: BenchConfig) -> None:
    """Refuse a word that is none of those that its key knows."""
    for name, value, known in (
        ("precision", config.precision, PRECISIONS),
        ("compile", config.compile, COMPILES),
        ("detections", config.detections, DETECTIONS),
        ("overlap", config.overlap, OVERLAPS),
        ("evaluator", config.evaluator, EVALUATORS),
        *(("passes", name, PASSES) for name in config.passes),
    ):
        if value not in known:
            raise UserError(f"{name}={value}: unknown, must be {' or '.join(known)}")


def _check_input_size(config: BenchConfig) -> None:
    """Refuse all spellings of a size but one, so that the same size always is the same job."""
    size = config.input_size
    if size is None:
        return
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", size):
        raise UserError(f"input_size={size}: must be the shorter and the longer edge in pixels, as 800x1333")
    shorter, longer = (int(edge) for edge in size.split("x"))
    if shorter > longer:
        raise UserError(f"input_size={size}: the shorter edge stands first; give {longer}x{shorter}")
    _refuse_below("input_size: the shorter edge", shorter, LEAST_EDGE)


def _refuse_below(name: str, number: float | None, least: float) -> None:
    if number is not None and not (math.isfinite(number) and number >= least):
        raise UserError(f"{name}={number:g}: must be {least:g} or more")


def _check_finetune(config: FinetuneConfig) -> None:
    for key, known in (
        ("start", STARTS),
        ("schedule", tuple(SCHEDULE_EPOCHS)),
        ("optimizer", OPTIMIZERS),
        ("batch_norm", BATCH_NORMS),
        ("decay", DECAYS),
        ("measure", MEASURED_CHECKPOINTS),
        ("weights_dtype", WEIGHTS_DTYPES),
    ):
        if (value := getattr(config, key)) not in known:
            raise UserError(f"finetune.{key}={value}: unknown, must be {' or '.join(known)}")
    least_of = {
        **dict.fromkeys(("iterations", "batch_size", "accumulate", "log_every"), 1),
        **dict.fromkeys(("evaluate_every", "evaluate_images", "checkpoint_every", "time_limit_s"), 1),
        **dict.fromkeys(("learning_rate", "weight_decay", "momentum", "backbone_lr_factor", "clip_norm"), 0),
        **dict.fromkeys(("warmup_iterations", "flip", "seed", "loader_processes"), 0),
    }
    for key, least in least_of.items():
        _refuse_below(f"finetune.{key}", getattr(config, key), least)
    if config.flip > 1:
        raise UserError(f"finetune.flip={config.flip:g}: is a probability, must be 0 to 1")
    if len(config.scales) != 2 or not 0 < config.scales[0] <= config.scales[1]:
        raise UserError(f"finetune.scales={config.scales}: must be two rising shares of the test size, as [0.6, 1.0]")


def as_user_error(error: Exception, configs: Path) -> UserError | None:
    """Give an error of Hydra or OmegaConf about a command line as a UserError; None for any other exception."""
    text = str(error)
    if isinstance(error, MissingConfigException):
        if match := re.search(r"Could not find '([^/']+)/([^']+)'", text):
            group, option = match.groups()
            options = [p.stem for p in (configs / group).glob("*.yaml")]
            return UserError(f"{group}={option}: no such {group}; {nearest(option, options)}")
        return UserError(text)
    if isinstance(error, OverrideParseException):
        return _not_read(error)
    if isinstance(error, ConfigCompositionException):
        if isinstance(error.__cause__, OmegaConfBaseException) and not isinstance(
            error.__cause__, omegaconf.errors.ConfigAttributeError | omegaconf.errors.ConfigKeyError
        ):
            return _schema_error(error.__cause__)
        if match := re.search(r"Could not override '([^']+)'|Key '([^']+)'", text):
            key = match.group(1) or match.group(2)
            if key.startswith("model.options."):
                return UserError(
                    f"{key}: {key.split('.')[1]} are free-form; a new one is given with a plus: +{key}=..."
                )
            if key.startswith("dataset.aliases"):
                return UserError(f"{key}: is free-form; give it with a plus: '+dataset.aliases={{CATEGORY: CLASS}}'")
            if key.startswith("gate.models"):
                return UserError(f"{key}: is free-form; a threshold of one model is +gate.models.NAME.METRIC=-5%")
            if key.startswith("gate.thresholds."):
                return UserError(f"{key}: no such metric; {nearest(key.rpartition('.')[2], METRICS)}")
            return UserError(f"{key}: no such key; {nearest(key, [*schema_keys(), *GROUPS])}")
        return UserError(text)
    if isinstance(error, OmegaConfBaseException):
        return _schema_error(error)
    if isinstance(error, AssertionError) and "Unexpected type for root: NoneType" in text:
        return UserError("a key of finetune or gate needs that group; give finetune=default, or gate=default")
    if isinstance(error, ValueError) and "Config group override" in text:
        return UserError(f"a group ({', '.join(GROUPS)}) cannot be null; leave it out for its default")
    return UserError(text) if isinstance(error, HydraException) else None


def _not_read(error: OverrideParseException) -> UserError:
    """Say of an override that Hydra cannot read how it is spelled."""
    if "=" not in error.override:
        return UserError(f"{error.override}: an argument is KEY=VALUE")
    if spelling := working_spelling(error.override):
        return UserError(f"{error.override}: Hydra cannot read the value; for a text give {spelling}")
    return UserError(
        f"{error.override}: Hydra cannot read the value; in a list or a table put each text that is more than a word "
        f"into quotation marks, as \"key=['a b', 'c']\""
    )


def schema_keys() -> Iterator[str]:
    """Give every dotted key of the schema: ``device``, ``protocol.min_samples``, ..."""
    yield from _keys_of(BenchConfig(finetune=FinetuneConfig(), gate=GateConfig()), "")


def _keys_of(node: object, prefix: str) -> Iterator[str]:
    for field in dataclasses.fields(node):  # type: ignore[arg-type]
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from _keys_of(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def _schema_error(error: OmegaConfBaseException) -> UserError:
    key = str(error.full_key or "")
    if isinstance(error, omegaconf.errors.ConfigKeyError):
        return UserError(f"{key}: no such key; {nearest(key, schema_keys())}")
    if isinstance(error, omegaconf.errors.MissingMandatoryValue):
        return UserError(f"{key} is missing; give {key}=...")
    return UserError(f"{key}: {str(error).splitlines()[0]}")
