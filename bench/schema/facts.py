"""Facts that settings and figures read from a result: its data set, its weights, its device.

This module needs the standard library alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.schema.result import Result

Value = Callable[[Result], Any]

TIMING_KEYS = (
    *("warmup_batches", "max_warmup_seconds", "min_samples", "precision", "max_seconds", "energy_seconds"),
    "seed",
)
"""Keys of the protocol that say how long a model is timed: they decide how well a figure is known, not its value."""


def dataset_name(result: Result) -> str:
    """Give the data set's name, with the number of images where it is not all of them: ``coco (first 100)``."""
    name, limit = config("dataset", "name")(result) or "", config("dataset", "limit")(result)
    return f"{name} (first {limit})" if limit else str(name)


def weights_name(result: Result) -> str:
    """Give ``random``, ``zoo``, ``own``, ``fine-tuned`` or the path of a file."""
    return result.model.weights if result.model else str(config("model", "weights")(result) or "")


def untrained(result: Result) -> bool:
    """Tell whether the model is untrained: its AP is noise, which a table of trained models must not show."""
    return weights_name(result) == "random" and result.finetune is None


def weights_kind(weights: str) -> str:
    """Give ``random``, ``zoo``, ``own`` or ``file``: models with a checkpoint each have the same kind of weights."""
    return weights if weights in ("random", "zoo", "own") else "file"


def config(*keys: str) -> Value:
    """Make a function that reads a key of a result's configuration; it gives None for an absent key."""
    return lambda result: within(result.config, keys)


def machine(*keys: str) -> Value:
    """Make a function that reads a key of a result's machine; it gives None for an absent key."""
    return lambda result: within(result.machine, keys)


def within(tree: Any, keys: Sequence[str]) -> Any:
    """Give the value at these keys of nested JSON; None for an absent key."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def dataset_content(result: Result) -> str:
    """Give the data set's name and the beginning of its files' digest: a changed annotation file is another set."""
    return f"{dataset_name(result)} {result.contents.get('dataset', '')[:12]}".strip()


def weights_content(result: Result) -> str | None:
    """Give the beginning of the weights' digest, or their name where no file was read; None without a model."""
    return ((result.model.weights_sha256 or "")[:12] or result.model.weights) if result.model else None


def files_content(result: Result) -> str | None:
    """Give each option of the model that names a file, with the beginning of the file's digest; None without one."""
    digests = {
        key.removeprefix("file of ").removeprefix("model.options."): digest
        for key, digest in result.contents.items()
        if "model.options." in key
    }
    return ", ".join(f"{option} {digests[option][:12]}" for option in sorted(digests)) or None


def device_kind(result: Result) -> str:
    """Give the device without its number: ``cuda`` of ``cuda:1``."""
    return str(config("device")(result)).partition(":")[0]


def timing_protocol(result: Result) -> dict[str, Any]:
    """Give the part of the protocol whose keys are in :data:`TIMING_KEYS`."""
    protocol = config("protocol")(result) or {}
    return {key: protocol[key] for key in TIMING_KEYS if key in protocol}
