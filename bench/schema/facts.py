"""What a result says of data set, weights and device: the facts that settings and figures are read from.

Needs the standard library alone.
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
"""Keys of the protocol that say how long it is timed, so how well a figure is known and not what it is."""


def dataset_name(result: Result) -> str:
    """The data set, and how many of its images if not all: ``coco (first 100)``."""
    name, limit = config("dataset", "name")(result) or "", config("dataset", "limit")(result)
    return f"{name} (first {limit})" if limit else str(name)


def weights_name(result: Result) -> str:
    """``random``, ``zoo``, ``own``, ``fine-tuned`` or the path of a file."""
    return result.model.weights if result.model else str(config("model", "weights")(result) or "")


def untrained(result: Result) -> bool:
    """Whether the model is untrained: its AP is noise, and beside trained models it would read as a fact."""
    return weights_name(result) == "random" and result.finetune is None


def weights_kind(weights: str) -> str:
    """``random``, ``zoo``, ``own`` or ``file``: a checkpoint of its own for each model is no difference of weights."""
    return weights if weights in ("random", "zoo", "own") else "file"


def config(*keys: str) -> Value:
    """What reads a key of the configuration, None where it is absent."""
    return lambda result: within(result.config, keys)


def machine(*keys: str) -> Value:
    """What reads a key of the machine's description, None where it is absent."""
    return lambda result: within(result.machine, keys)


def within(tree: Any, keys: Sequence[str]) -> Any:
    """A value of nested JSON, None where there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def dataset_content(result: Result) -> str:
    """The data set with the beginning of its files' digest: a changed annotation file is another set."""
    return f"{dataset_name(result)} {result.contents.get('dataset', '')[:12]}".strip()


def weights_content(result: Result) -> str | None:
    """The beginning of the weights' digest, or their name where no file was read; None without a model."""
    return ((result.model.weights_sha256 or "")[:12] or result.model.weights) if result.model else None


def device_kind(result: Result) -> str:
    """``cuda`` of ``cuda:1``."""
    return str(config("device")(result)).partition(":")[0]


def timing_protocol(result: Result) -> dict[str, Any]:
    """Those keys of the protocol that are in :data:`TIMING_KEYS`."""
    protocol = config("protocol")(result) or {}
    return {key: protocol[key] for key in TIMING_KEYS if key in protocol}
