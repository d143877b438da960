"""Parses the gate's thresholds, which say how much worse a metric may become: ``fps_model: -3%``, ``mask_ap: -0.2``.

The sign gives the worse direction and must fit the metric. A percentage is of the baseline's figure; a bare number is
in the metric's own unit. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError, nearest
from bench.schema.metrics import METRICS, Figure
from bench.schema.typed.overrides import pasted

_FORM = re.compile(r"(?P<sign>[+-]?)(?P<number>\d+(?:\.\d*)?|\.\d+) *(?P<percent>%?)")


@dataclass(frozen=True)
class Threshold:
    """A limit for one metric.

    size: how far the metric may move in the worse direction, 0 or more: a share of the baseline's figure where
        ``relative``, else in the metric's unit
    text: the threshold as the user gave it
    """

    metric: Figure
    size: float
    relative: bool
    text: str


def parse(name: str, text: Any, where: str = "gate.thresholds") -> Threshold | None:
    """Parse the threshold of a metric; give None for ``none`` or null, which switch it off.

    where: the key of the configuration that holds the threshold, for messages

    Raises:
        UserError: the metric does not exist, or the text is no threshold, or its sign points in the better direction,
            or no change can be beyond it.
    """
    if name not in METRICS:
        raise UserError(f"{where}.{name}: no such metric; {nearest(name, METRICS)}")
    metric = METRICS[name]
    spelled = "none" if text is None else str(text).strip()
    if spelled.lower() == "none":
        return None
    worse = "-" if metric.better == "high" else "+"
    example = f"{worse}{metric.example}"
    match = _FORM.fullmatch(spelled)
    if match is None:
        raise UserError(f"{where}.{name}={spelled}: not a threshold; give a change as {example}, or none")
    size = float(match["number"])
    if match["sign"] != worse and size:
        direction, change = ("higher", "fall") if metric.better == "high" else ("lower", "rise")
        raise UserError(
            f"{where}.{name}={spelled}: a {direction} {name} is better, so its threshold is a {change}; give "
            f"{worse}{spelled.lstrip('+-')}"
        )
    relative = bool(match["percent"])
    if size >= 100 and metric.better == "high" and (relative or metric.part == "accuracy"):
        raise UserError(
            f"{where}.{name}={spelled}: no {name} can fall by more, so it could not be worse; give less, or none"
        )
    return Threshold(metric, size / 100 if relative else size, relative, spelled)


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of every model, and those that replace them for single models."""

    common: Mapping[str, Threshold | None]
    by_model: Mapping[str, Mapping[str, Threshold | None]]

    def of(self, model: str) -> list[Threshold]:
        """Give the thresholds of a model, named by its option, in the order of the metrics."""
        chosen = {**self.common, **self.by_model.get(model, {})}
        return [threshold for name in METRICS if (threshold := chosen.get(name)) is not None]


def check_models(by_model: Iterable[str], rows: Iterable[str]) -> None:
    """Refuse thresholds of a model that has no row on either side: they would be ignored, and the common ones hold.

    by_model: the models that have thresholds of their own
    rows: the model of each row

    Raises:
        UserError: one of the models has no row.
    """
    known = set(rows)
    if absent := next((model for model in by_model if model not in known), None):
        raise UserError(f"gate.models: {absent!r} is the model of no row of this gate; {nearest(absent, known)}")


def parse_all(common: Mapping[str, Any], by_model: Mapping[str, Mapping[str, Any]]) -> Thresholds:
    """Parse both tables of a ``gate`` configuration.

    Raises:
        UserError: as in :func:`parse`, or the thresholds of a model are no table.
    """
    for model, table in by_model.items():
        if not isinstance(table, Mapping):
            example = pasted(f"gate.models.{model}", {"fps_model": "-3%"})
            raise UserError(f"gate.models.{model}={table}: must be a table of thresholds; give {example}")
    return Thresholds(
        {name: parse(name, text) for name, text in common.items()},
        {
            model: {name: parse(name, text, f"gate.models.{model}") for name, text in table.items()}
            for model, table in by_model.items()
        },
    )
