"""Makes a checked :class:`BenchConfig` of what Hydra composed."""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bench.device import cores
from bench.errors import UserError, nearest
from bench.files.plain import as_dict
from bench.jobs.job import ComposedJob
from bench.private.interpolation import options_to_show
from bench.private.texts import without_secrets
from bench.schema.config import (
    ACCURACY_PARTS,
    AUTO,
    BATCH_NORMS,
    COMPILES,
    DECAYS,
    DETECTIONS,
    EVALUATORS,
    EXCLUSIVES,
    EXIFS,
    FORMATS,
    LAUNCHERS,
    MEASURED_CHECKPOINTS,
    OPTIMIZERS,
    OVERLAPS,
    PRECISIONS,
    SCHEDULE_EPOCHS,
    STARTS,
    TRACKER_MODES,
    TRACKERS,
    WEIGHTS_DTYPES,
    WITHOUT_MASK,
    BenchConfig,
    DatasetConfig,
    FinetuneConfig,
    LauncherConfig,
    ModelConfig,
    TrackerConfig,
)
from bench.schema.metrics import METRICS
from bench.schema.result import PASSES
from bench.schema.typed.hydra_text import literal
from bench.schema.typed.overrides import ONE_FOR_ALL, kinds

LEAST_EDGE = 32
"""Pixels: the stride of the coarsest features of most backbones; a smaller image has no such feature."""


PARTS_OF_TESTS = {"mask_ap": ("bootstrap",), "boundary_ap": ("boundary", "bootstrap")}
"""The parts of the accuracy that the gate's test of a metric needs."""


def to_config(cfg: DictConfig, choices: dict[str, str], *, own_class: bool = False) -> ComposedJob:
    """Merge a composed configuration into the schema and check its values.

    own_class: the command line names the model's class, so the model is called by the class's name

    Hydra itself accepts any key given as ``+key=``; the schema does not.

    Raises:
        OmegaConfBaseException: the schema lacks a key, or a value is missing or of another type.
        UserError: a value is impossible.
    """
    options, from_environment = options_to_show(cfg)
    # Through plain containers: a typed node would accept a key that was added with a plus.
    plain = _literal(OmegaConf.to_container(cfg, resolve=True))
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(BenchConfig), plain))
    assert isinstance(config, BenchConfig)
    config.model.options = options
    config.passes = list(dict.fromkeys(config.passes))
    _name(config.model, choices.get("model", ""), own_class)
    check_values(config)
    if config.detections == "auto":
        config.detections = "thresholded" if config.trained else "saturated"
    return ComposedJob(config, choices, from_environment)


def _literal(value: Any) -> Any:
    """Give plain containers in which what was resolved once is not resolved again."""
    if isinstance(value, dict):
        return {key: _literal(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_literal(part) for part in value]
    return literal(value) if isinstance(value, str) else value


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
    _refuse_infinite("", as_dict(config))
    _check_words(config)
    _check_names(config)
    if not config.passes and config.finetune is None:
        raise UserError(f"passes=[]: measures nothing; give some of {', '.join(PASSES)}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps|xpu(:\d+)?", config.device):
        raise UserError(f"device={config.device}: must be auto, cpu, or cuda:0")
    protocol = config.protocol
    if protocol.pin:
        cores.split()
    _check_input_size(config)
    _check_dataset(config)
    _check_thresholds(config)
    _check_parts(config)
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
        ("protocol.timed_images", protocol.timed_images, 1),
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


def _check_thresholds(config: BenchConfig) -> None:
    for name in config.gate.thresholds if config.gate else ():
        if name not in METRICS:
            raise UserError(f"gate.thresholds.{name}: no such metric; {nearest(name, METRICS)}")


def check_shared(jobs: Sequence[ComposedJob]) -> None:
    """Raise a UserError where a setting that is the command's own, such as ``out``, differs among its jobs.

    Or where ``launcher`` has a key of another place, or ``devices`` beside it.
    """
    for key in ONE_FOR_ALL:
        values = {repr(getattr(job.config, key)) for job in jobs}
        if len(values) > 1:
            raise UserError(f"{key}: all jobs of a command share it, and it has {len(values)} values; give one")
    for job in jobs[:1]:
        _check_launcher(job.config.launcher)
        _check_tracker(job.config.tracker)
        devices, place = job.config.devices, job.config.launcher.name
        if devices is not None and place != "local":
            raise UserError(
                f"devices={','.join(devices)}: they are of this machine, and launcher={place} runs rows elsewhere, "
                f"each with a GPU or the cores that it needs; leave devices out"
            )


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


def _check_names(config: BenchConfig) -> None:
    """Refuse a name that would break the lines of tables and of the terminal."""
    model = config.model
    for key, name in (("name", model.name), ("family", model.family), ("backbone", model.backbone)):
        if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
            raise UserError(
                f"model.{key}={name!r}: holds a line break or a control character, must be one line of text"
            )


def _check_words(config: BenchConfig) -> None:
    """Refuse a word that is none of those that its key knows."""
    for name, value, known in (
        ("precision", config.precision, PRECISIONS),
        ("compile", config.compile, COMPILES),
        ("detections", config.detections, DETECTIONS),
        ("overlap", config.overlap, OVERLAPS),
        ("evaluator", config.evaluator, EVALUATORS),
        ("protocol.exclusive", config.protocol.exclusive, EXCLUSIVES),
        ("launcher.name", config.launcher.name, LAUNCHERS),
        ("tracker.name", config.tracker.name, TRACKERS),
        ("tracker.mode", config.tracker.mode, TRACKER_MODES),
        ("dataset.format", config.dataset.format, FORMATS),
        ("dataset.exif", config.dataset.exif, EXIFS),
        *(("dataset.without_mask", word, WITHOUT_MASK) for word in [config.dataset.without_mask] if word is not None),
        *(("passes", name, PASSES) for name in config.passes),
    ):
        if value not in known:
            raise UserError(f"{name}={value}: unknown, must be {' or '.join(known)}")
    for part in config.accuracy.parts:
        if part not in ACCURACY_PARTS:
            raise UserError(f"accuracy.parts=[{part}]: no such part; {nearest(part, ACCURACY_PARTS)}")
    shards = config.accuracy.shards
    if shards not in (None, AUTO) and not re.fullmatch(r"[1-9][0-9]{0,5}", shards or ""):
        raise UserError(f"accuracy.shards={shards}: must be a whole number of 1 or more, {AUTO}, or null for none")


def _check_parts(config: BenchConfig) -> None:
    """Refuse a gate on an AP whose test needs a part that is not computed: it could only say "not comparable"."""
    if config.gate is None or "accuracy" not in config.passes or not config.trained:
        return
    own = config.gate.models.get(config.model.name, {})
    tables = {"gate.thresholds": config.gate.thresholds, f"gate.models.{config.model.name}": own}
    for table, thresholds in tables.items():
        for name, text in (thresholds if isinstance(thresholds, dict) else {}).items():
            replaced = table == "gate.thresholds" and isinstance(own, dict) and name in own
            off = text is None or str(text).strip().lower() == "none"
            lacking = [part for part in PARTS_OF_TESTS.get(name, ()) if part not in config.accuracy.parts]
            if lacking and not (off or replaced):
                all_parts = [part for part in ACCURACY_PARTS if part in (*config.accuracy.parts, *lacking)]
                raise UserError(
                    f"{table}.{name}={text}: its test needs {' and '.join(lacking)}, which accuracy.parts leaves out; "
                    f"give accuracy.parts=[{','.join(all_parts)}], or {table}.{name}=none"
                )


def _check_input_size(config: BenchConfig) -> None:
    """Refuse all spellings of a size but one, so that the same size always is the same job."""
    size = config.input_size
    if size is None:
        if config.protocol.pad_to:
            raise UserError(
                "protocol.pad_to=true pads inputs to the longer edge of input_size, which is not given; give "
                "input_size=800x1333 too, or the model's own edges"
            )
        return
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", size):
        raise UserError(f"input_size={size}: must be the shorter and the longer edge in pixels, as 800x1333")
    shorter, longer = (int(edge) for edge in size.split("x"))
    if shorter > longer:
        raise UserError(f"input_size={size}: the shorter edge stands first; give {longer}x{shorter}")
    _refuse_below("input_size: the shorter edge", shorter, LEAST_EDGE)


def _check_image_range(limits: list[float] | None) -> None:
    if limits is not None and not (len(limits) == 2 and limits[0] < limits[1]):
        raise UserError(f"dataset.image_range={limits}: must be the darkest and the brightest value, as [0,4095]")


def _check_dataset(config: BenchConfig) -> None:
    """Refuse settings that mean nothing for the data set, or for its format."""
    dataset = config.dataset
    _check_image_range(dataset.image_range)
    if dataset.format != "yolo" and dataset.split != DatasetConfig.split:
        raise UserError(f"dataset.split={dataset.split}: only a YOLO set has it; give dataset=yolo, or leave it out")
    if dataset.format == "lvis" and config.evaluator != "hotcoco":
        raise UserError(f"evaluator={config.evaluator}: knows no rules of LVIS; give evaluator=hotcoco")
    if dataset.format == "lvis" and dataset.without_mask == "ignore":
        raise UserError("dataset.without_mask=ignore: LVIS has no ignored regions; give dataset.without_mask=drop")


_KEYS_OF = {
    "local": (),
    "ray": ("address", "gpu", "data", "cpus_per_task"),
    "slurm": ("partition", "gpus_per_node", "cpus_per_task", "time_min"),
}
"""The keys of ``launcher`` that each place has."""


def _check_launcher(launcher: LauncherConfig) -> None:
    """Refuse a key that the chosen place does not have: it would be ignored."""
    for key, value in dataclasses.asdict(launcher).items():
        if key != "name" and key not in _KEYS_OF[launcher.name] and value != getattr(LauncherConfig(), key):
            places = " or ".join(f"launcher={name}" for name, keys in _KEYS_OF.items() if key in keys)
            raise UserError(f"launcher.{key}: only {places} has it, and this is launcher={launcher.name}")
    for key, least in (("gpus_per_node", 0), ("cpus_per_task", 1), ("time_min", 1)):
        _refuse_below(f"launcher.{key}", getattr(launcher, key), least)


_KEYS_OF_TRACKERS = {
    "none": (),
    "mlflow": ("run", "uri", "experiment", "predictions"),
    "wandb": ("run", "project", "entity", "mode", "predictions"),
}
"""The keys of ``tracker`` that each of them has."""


def _check_tracker(tracker: TrackerConfig) -> None:
    """Refuse a key that the chosen tracker does not have, and an address with a secret, which files would keep."""
    for key, value in dataclasses.asdict(tracker).items():
        if key != "name" and key not in _KEYS_OF_TRACKERS[tracker.name] and value != getattr(TrackerConfig(), key):
            names = " or ".join(f"tracker={name}" for name, keys in _KEYS_OF_TRACKERS.items() if key in keys)
            raise UserError(f"tracker.{key}: only {names} has it, and this is tracker={tracker.name}")
    if tracker.uri is not None and (shown := without_secrets(tracker.uri)) != tracker.uri:
        raise UserError(
            f"tracker.uri={shown}: holds a password or a token, which files would keep; leave tracker.uri out and set "
            "MLFLOW_TRACKING_URI in the environment, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )


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
    if not 0 < config.evaluate_share <= 1:
        raise UserError(
            f"finetune.evaluate_share={config.evaluate_share:g}: is a share of the time, must be over 0 to 1"
        )
    if config.flip > 1:
        raise UserError(f"finetune.flip={config.flip:g}: is a probability, must be 0 to 1")
    if len(config.scales) != 2 or not 0 < config.scales[0] <= config.scales[1]:
        raise UserError(f"finetune.scales={config.scales}: must be two rising shares of the test size, as [0.6, 1.0]")
