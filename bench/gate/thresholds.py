"""How much worse a metric may become: the gate's one small grammar, ``fps_model: -3%``, ``mask_ap: -0.2``.

The sign says which way is worse and must fit the metric; a percentage is of the baseline's figure, a bare number is in
the metric's own unit. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError, nearest
from bench.schema.metrics import METRICS, Figure

_FORM = re.compile(r"(?P<sign>[+-]?)(?P<number>\d+(?:\.\d*)?|\.\d+) *(?P<percent>%?)")


@dataclass(frozen=True)
class Threshold:
    """A bound on one metric.

    size: 0 or more: how far it may go in the worse direction, a share of the baseline's figure where ``relative``, else
        in the metric's unit
    text: as it was given
    """

    metric: Figure
    size: float
    relative: bool
    text: str


def parse(name: str, text: Any, where: str = "gate.thresholds") -> Threshold | None:
    """The threshold of a metric; None where it is switched off by ``none`` or null.

    Raises:
        UserError: no such metric, not of the form, or a sign that points where the metric is better.
    """
    if name not in METRICS:
        raise UserError(f"{where}.{name}: no such metric; {nearest(name, METRICS)}")
    metric = METRICS[name]
    spelled = "none" if text is None else str(text).strip()
    if spelled.lower() == "none":
        return None
    worse = "-" if metric.better == "high" else "+"
    example = f"{worse}{metric.example}"
    found = _FORM.fullmatch(spelled)
    if found is None:
        raise UserError(f"{where}.{name}={spelled}: not a threshold; give a change as {example}, or none")
    size = float(found["number"])
    if found["sign"] != worse and size:
        direction, change = ("higher", "fall") if metric.better == "high" else ("lower", "rise")
        raise UserError(
            f"{where}.{name}={spelled}: a {direction} {name} is better, so its threshold is a {change}; give "
            f"{worse}{spelled.lstrip('+-')}"
        )
    relative = bool(found["percent"])
    return Threshold(metric, size / 100 if relative else size, relative, spelled)


@dataclass(frozen=True)
class Thresholds:
    """Those of every model, and for some models others in their place."""

    common: Mapping[str, Threshold | None]
    by_model: Mapping[str, Mapping[str, Threshold | None]]

    def of(self, model: str) -> list[Threshold]:
        """Those that the model (its option's name) is held to, in the order of the metrics."""
        chosen = {**self.common, **self.by_model.get(model, {})}
        return [threshold for name in METRICS if (threshold := chosen.get(name)) is not None]


def parse_all(common: Mapping[str, Any], by_model: Mapping[str, Mapping[str, Any]]) -> Thresholds:
    """Both tables of a ``gate`` configuration.

    Raises:
        UserError: as :func:`parse`, or the thresholds of a model are no table.
    """
    for model, table in by_model.items():
        if not isinstance(table, Mapping):
            raise UserError(f"gate.models.{model}={table}: must be a table of thresholds, as {{fps_model: -3%}}")
    return Thresholds(
        {name: parse(name, text) for name, text in common.items()},
        {
            model: {name: parse(name, text, f"gate.models.{model}") for name, text in table.items()}
            for model, table in by_model.items()
        },
    )
