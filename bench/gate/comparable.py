"""What makes two results incomparable, said and not guessed. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError, nearest
from bench.schema.result import Result

CLOCKS_APART = 0.05
"""The share by which the median SM clocks of two measurements may differ: a GPU at another clock is another GPU."""

_TIMED = ("speed", "energy")
_USED = ("speed", "memory", "energy")
_ALL = ("speed", "memory", "energy", "accuracy", "model")

Value = Callable[[Result], Any]


@dataclass(frozen=True)
class Aspect:
    """Something that both sides must share.

    words: what a person calls it; value: of a result; parts: of a result that hang on it
    none_says: whether None is a value like others; else it is what an older result does not say
    """

    words: str
    value: Value
    parts: Sequence[str] = _ALL
    none_says: bool = False


def _within(tree: Any, keys: Sequence[str]) -> Any:
    """A value of nested JSON, None where there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _setting(*keys: str) -> Value:
    return lambda result: _within(result.config, keys)


def _machine(*keys: str) -> Value:
    return lambda result: _within(result.machine, keys)


def _dataset(result: Result) -> Any:
    name, limit = _setting("dataset", "name")(result), _setting("dataset", "limit")(result)
    digest = result.contents.get("dataset", "")[:12]
    return " ".join(str(part) for part in (name, f"(first {limit})" if limit else "", digest) if part)


def _weights(result: Result) -> Any:
    if result.model is None:
        return None
    return (result.model.weights_sha256 or "")[:12] or result.model.weights


def _clock_source(result: Result) -> Any:
    return result.speed.model.clock if result.speed else None


ASPECTS: dict[str, Aspect] = {
    "measurement": Aspect("version of the way of measuring", lambda result: result.measurement_version),
    "dataset": Aspect("data set", _dataset),
    "weights": Aspect("weights", _weights),
    "precision": Aspect("precision", _setting("precision")),
    "compile": Aspect("torch.compile", _setting("compile")),
    "batch_size": Aspect("batch size", _setting("batch_size")),
    "input_size": Aspect("input size", _setting("input_size"), none_says=True),
    "detections": Aspect("detections", _setting("detections")),
    "max_detections": Aspect("most detections of an image", _setting("protocol", "max_detections")),
    "overlap": Aspect("overlap", _setting("overlap"), ("accuracy",)),
    "evaluator": Aspect("evaluator", _setting("evaluator"), ("accuracy",)),
    "device": Aspect("device", lambda result: str(_setting("device")(result)).partition(":")[0], _USED),
    "cpu": Aspect("processor", _machine("cpu", "name"), _USED),
    "cores": Aspect("usable cores", _machine("cpu", "usable_cores"), _USED),
    "threads": Aspect("torch's threads", _machine("torch_threads"), _USED),
    "gpu": Aspect("GPU", _machine("gpu", "name"), _USED),
    "driver": Aspect("GPU driver", _machine("gpu", "driver_version"), _USED),
    "power_limit": Aspect("GPU power limit", _machine("gpu", "power_limit_watts"), _TIMED),
    "clocks": Aspect("clocks set by the user", _machine("gpu", "clocks_set_by_user"), _TIMED),
    "clock_source": Aspect("clock that timed it", _clock_source, ("speed",)),
    "cudnn_benchmark": Aspect("cuDNN benchmark", _setting("protocol", "cudnn_benchmark"), _USED),
    "channels_last": Aspect("channels last", _setting("protocol", "channels_last"), _USED),
    "host_memory_source": Aspect(
        "way to read host memory", lambda result: getattr(result.memory, "host_rss_source", None), ("memory",)
    ),
    "device_memory_source": Aspect(
        "way to read device memory", lambda result: getattr(result.memory, "device_source", None), ("memory",)
    ),
}
"""By the name that ``gate.allow`` knows it by."""


def check_allowed(names: Collection[str]) -> None:
    """Raise a UserError for the first of ``gate.allow`` that is no aspect."""
    for name in names:
        if name not in ASPECTS:
            raise UserError(f"gate.allow={name}: no such difference; {nearest(name, ASPECTS)}")


def obstacles(base: Result, head: Result, allowed: Collection[str] = ()) -> dict[str, str]:
    """Part of a result -> why the two cannot be compared in it; a part that can be is absent.

    What one side does not say (an older result) is no difference. ``allowed`` are names of :data:`ASPECTS` that may
    differ.
    """
    reasons: dict[str, list[str]] = {}
    for name, aspect in ASPECTS.items():
        of_base, of_head = aspect.value(base), aspect.value(head)
        if name in allowed or of_base == of_head or (None in (of_base, of_head) and not aspect.none_says):
            continue
        for part in aspect.parts:
            reasons.setdefault(part, []).append(f"{aspect.words} {_text(of_base)} against {_text(of_head)}")
    if "clocks" not in allowed and (apart := _clocks_apart(base, head)):
        for part in _TIMED:
            reasons.setdefault(part, []).append(apart)
    return {part: "; ".join(texts) for part, texts in reasons.items()}


def _clocks_apart(base: Result, head: Result) -> str | None:
    """A sentence where the GPU ran at another clock."""
    of_base, of_head = _median_clock(base), _median_clock(head)
    if of_base is None or of_head is None or abs(of_head - of_base) <= CLOCKS_APART * of_base:
        return None
    return f"SM clock {of_base:.0f} MHz against {of_head:.0f} MHz (medians while it was timed)"


def _median_clock(result: Result) -> float | None:
    rounds = result.speed.rounds if result.speed else []
    clocks = [mhz for part in rounds if part.gpu for mhz in part.gpu.sm_clock_mhz if mhz is not None]
    return statistics.median(clocks) if clocks else None


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
