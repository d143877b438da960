"""Facts that settings and figures read from a result: its data set, its weights, its device.

This module needs the standard library alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from bench.schema.config import MISSING, BenchConfig
from bench.schema.parts.busy import BusyResult
from bench.schema.result import Result

Value = Callable[[Result], Any]

_DEFAULTS = BenchConfig()

_DEMO = "demo_"
"""Begins the names of the models and of the files of weights that come with maskbench."""

_FORMS = ("coco", "lvis", "yolo")
"""Names of ``configs/dataset`` for sets in a form, which are called so until the user says what they are."""

TIMING_KEYS = (
    *("warmup_batches", "max_warmup_seconds", "min_samples", "precision", "max_seconds", "energy_seconds"),
    "seed",
)
"""Keys of the protocol that say how long a model is timed: they decide how well a figure is known, not its value."""


def dataset_name(result: Result) -> str:
    """Give the data set's name, with the number of images where it is not all of them: ``coco (first 100)``.

    A user's own set that was given no ``dataset.name`` has only that of its form, such as ``coco``. It is called by its
    file of annotations and the folder of that.
    """
    name, limit = data_called(result), config("dataset", "limit")(result)
    return f"{name} (first {limit})" if limit else name


def data_called(result: Result) -> str:
    """Give the data set's name, or what stands for it, without how much of it was used."""
    name, file = config("dataset", "name")(result) or "", config("dataset", "annotations")(result)
    if name in _FORMS and isinstance(file, str) and file:
        return "/".join(PurePath(file.replace("\\", "/")).parts[-2:])
    return str(name)


def weights_name(result: Result) -> str:
    """Give ``random``, ``zoo``, ``own``, ``fine-tuned`` or the path of a file."""
    return result.model.weights if result.model else str(config("model", "weights")(result) or "")


def untrained(result: Result) -> bool:
    """Tell whether the model is untrained: its AP is noise, which a table of trained models must not show."""
    return weights_name(result) == "random" and result.finetune is None


def code_licence(result: Result) -> str | None:
    """Give the licence of the library's code, as an SPDX identifier; None where it is not known."""
    code = config("model", "licence", "code")(result)
    return str(code) if code else None


def weights_licence(result: Result) -> str | None:
    """Give the licence of the weights, as an SPDX identifier; None where it is not known.

    The configuration says it of the weights that the library publishes, and of a demo model of those in ``weights/``:
    of any other file nothing is known.
    """
    given = config("model", "licence", "weights")(result)
    return str(given) if given and result.finetune is None and _licensed_weights(result) else None


def _licensed_weights(result: Result) -> bool:
    name, weights = str(config("model", "name")(result) or ""), weights_name(result)
    ours = name.startswith(_DEMO) and re.fullmatch(rf"weights/{_DEMO}\w+\.(safetensors|onnx)", weights) is not None
    return weights == "zoo" or ours


def weights_kind(weights: str) -> str:
    """Give ``random``, ``zoo``, ``own`` or ``file``: models with a checkpoint each have the same kind of weights."""
    return weights if weights in ("random", "zoo", "own") else "file"


def config(*keys: str) -> Value:
    """Make a function that reads a key of a result's configuration.

    A result from before there was the key was measured as the key's default in :class:`BenchConfig` says, so for an
    absent key the function gives that, and None for one that has no default.
    """
    default = _default(keys)

    def value(result: Result) -> Any:
        tree: Any = result.config
        for key in keys:
            if not isinstance(tree, dict):
                return None
            if key not in tree:
                return default
            tree = tree[key]
        return tree

    return value


def machine(*keys: str) -> Value:
    """Make a function that reads a key of a result's machine; it gives None for an absent key."""
    return lambda result: within(result.machine, keys)


def within(tree: Any, keys: Sequence[str]) -> Any:
    """Give the value at these keys of nested JSON; None for an absent key."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _default(keys: Sequence[str]) -> Any:
    """Give the default of a key of the configuration as plain JSON; None where there is no such key, or no default."""
    value: Any = _DEFAULTS
    for key in keys:
        value = getattr(value, key, None) if dataclasses.is_dataclass(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return None if value == MISSING else value


def dataset_content(result: Result) -> str:
    """Give the data set's name and the beginning of its files' digest: a changed annotation file is another set.

    A file that lies elsewhere is the same set, so the name is that of the configuration.
    """
    name, limit = config("dataset", "name")(result) or "", config("dataset", "limit")(result)
    return f"{name}{f' (first {limit})' if limit else ''} {result.contents.get('dataset', '')[:12]}".strip()


def weights_content(result: Result) -> str | None:
    """Give the beginning of the weights' digest, or their name where no file was read; None without a model."""
    return ((result.model.weights_sha256 or "")[:12] or result.model.weights) if result.model else None


def network_sha256(model: Mapping[str, Any]) -> str:
    """Give a digest of what beside the weights decides a network: class, configuration and options.

    model: the group ``model`` of a configuration, as a result holds it. Two networks with the same weights may differ:
        RoIPool in place of RoIAlign has no weights of its own.
    """
    deciding = [model.get(key) for key in ("_target_", "config", "options")]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def runtime(result: Result) -> str | None:
    """Give what ran a network that is no torch module, with the part of it that computed; None for torch."""
    ran = result.model.runtime if result.model else None
    return f"{ran.name} {ran.provider}" if ran else None


def files_content(result: Result) -> str | None:
    """Give ``model.config`` and each option of the model, where it names a file, with the beginning of the file's
    digest; None without one.
    """
    digests = {
        key.removeprefix("file of ").removeprefix("model.options."): digest
        for key, digest in result.contents.items()
        if "model.options." in key or key == "file of model.config"
    }
    return ", ".join(f"{option} {digests[option][:12]}" for option in sorted(digests)) or None


def max_detections(result: Result) -> Any:
    """Give ``protocol.max_detections``, and what AP was counted with where that is another number: a result from before
    the evaluator obeyed the protocol is not compared with one from after.
    """
    asked = config("protocol", "max_detections")(result)
    counted = result.accuracy.max_detections if result.accuracy else asked
    return asked if counted == asked else f"{asked}, in AP {counted}"


def gpu_busy(busy: BusyResult) -> float | None:
    """Give the share of the ``model`` boundary's time in which the GPU computed or copied, 0 to 1.

    The time is that without the profiler: under it, the host launches kernels more slowly, and the GPU waits longer.
    """
    return min(1.0, busy.busy_ms / busy.plain_ms) if busy.plain_ms > 0 else None


def device_kind(result: Result) -> str:
    """Give the device without its number: ``cuda`` of ``cuda:1``."""
    return str(config("device")(result)).partition(":")[0]


def timing_protocol(result: Result) -> dict[str, Any]:
    """Give the part of the protocol whose keys are in :data:`TIMING_KEYS`."""
    return {key: config("protocol", key)(result) for key in TIMING_KEYS}
