"""What the page needs to draw the charts itself: the records of all rows, once, and a specification of each chart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from reports.charts import costs, tradeoff
from reports.charts.look import MEMORY, PAGE, Spec
from reports.charts.overview import MOST_SWEEPS
from reports.charts.records import ACCURACIES, COSTS, Record, records
from reports.charts.script import library
from reports.cut import MOST_LINES
from reports.table.comparison import Comparison


@dataclass(frozen=True)
class Live:
    """Charts that a page draws.

    data: a JSON text, see :func:`data`
    library: the script of :func:`reports.charts.script.library`
    """

    data: str
    library: str


def live(comparison: Comparison) -> Live | None:
    """Give what the page needs; None where no chart has anything to show."""
    found = data(comparison)
    return Live(json.dumps(found, ensure_ascii=False, separators=(",", ":")), library()) if found["rows"] else None


def data(comparison: Comparison) -> dict[str, Any]:
    """Give the data of all charts.

    rows: the records of :func:`reports.charts.records.records`, those first that a reader wants to see first
    axes: the figures of the trade-off, as :func:`reports.charts.tradeoff.axes` describes them
    x, y: the names of those that may stand on its axes
    names: the mark that writes its names
    specs: the specification of each chart without its data, which the page takes from the rows
    most: how many rows, or lines, of each chart are shown at once
    """
    found = records(comparison, PAGE)
    axes = tradeoff.axes(comparison)
    # A figure that is measured may be noise in every row, as end to end is of random weights.
    held = {name for record in found if "group" in record for name in record["figures"]}
    y = [name for name in (*ACCURACIES, "fps_model") if name in held]
    return {
        "rows": found,
        "axes": axes,
        "y": y,
        "x": [name for name in COSTS if name in held],
        "names": tradeoff.names(PAGE),
        "specs": {name: spec | {"data": {"name": "shown", "values": []}} for name, spec in _specs(found).items()},
        "most": {"tradeoff": len(found), "throughput": MOST_SWEEPS, **dict.fromkeys(_NEEDS, MOST_LINES)},
        "needs": _NEEDS,
    }


_NEEDS = {"latency": ("p50",), "stages": ("network_ms",), "memory": MEMORY}
"""A chart with a line for each row shows those rows that have one of these."""


def _specs(found: list[Record]) -> dict[str, Spec]:
    """Give the charts that have something to show."""
    width = "container"
    specs = {"tradeoff": tradeoff.spec(PAGE, width, "", "", False, ())}
    if any("line" in record for record in found):
        specs["throughput"] = costs.throughput(PAGE, width, found)
    if any("p50" in record for record in found):
        specs["latency"] = costs.latency(PAGE, width, found, log=False)
    if any("network_ms" in record for record in found):
        specs["stages"] = costs.stages(PAGE, width, found)
    if any(name in record for record in found for name in MEMORY):
        specs["memory"] = costs.memory(PAGE, width, found)
    return specs
