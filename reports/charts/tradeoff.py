"""The chart of accuracy against a cost, with the rows that no other row beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.schema.metrics import FIGURES
from reports.charts.look import Look, Spec, config
from reports.charts.records import ACCURACIES, COSTS, Record
from reports.table.comparison import Comparison

HEIGHT = 420

NUMBERS = {"format": ",~r", "tickCount": {"signal": "max(3, min(width, 800) / 90)"}}

MOST_NAMES = 40
"""Where there are more points, only those on the line bear a name."""


def axes(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Describe each figure that may stand on an axis: its title, its better direction and whether it is of time."""
    return {
        name: {
            "title": _title(comparison, name),
            "short": comparison.title(name),
            "unit": FIGURES[name].unit,
            "better": FIGURES[name].better,
            "of_time": FIGURES[name].of_time,
            "decimals": FIGURES[name].decimals,
        }
        for name in comparison.measured((*ACCURACIES, *COSTS))
    }


def _title(comparison: Comparison, name: str) -> str:
    unit = FIGURES[name].unit
    better = {"high": "more is better", "low": "less is better", None: ""}[FIGURES[name].better]
    return f"{comparison.title(name)}{f', {unit}' if unit else ''} ({better})"


def points(found: Sequence[Record], x: str, y: str, low: bool, of_time: bool) -> list[dict[str, Any]]:
    """Give the points of the rows that have both figures.

    low: whether less of ``x`` is better
    of_time: whether ``x`` or ``y`` is of time, so that no front goes through a row whose speed is never the best
    """
    shown = []
    for record in found:
        across, up = record["figures"].get(x), record["figures"].get(y)
        if not across or not up:
            continue
        point = {key: record[key] for key in ("row", "name", "library", "colour", "marks")}
        ends = {f"{axis}_{end}": each[n] for axis, each in (("x", across), ("y", up)) for n, end in _ends(each)}
        toward = {"toward": -across[0] if low else across[0], "trusted": record["trusted"] or not of_time}
        shown.append({**point, "x": across[0], "y": up[0], **ends, **toward})
    return [point | {"of": len(shown)} for point in shown]


def _ends(values: Sequence[float]) -> list[tuple[int, str]]:
    return [(1, "low"), (2, "high")] if len(values) == 3 else []


_INWARDS = {
    "ignorePeers": True,  # of two equal points the first is on the front
    "sort": [{"field": "toward", "order": "descending"}, {"field": "y", "order": "descending"}],
}

FRONT: list[Spec] = [
    {"calculate": "datum.trusted ? datum.y : null", "as": "rival"},
    {"window": [{"op": "max", "field": "rival", "as": "top"}], **_INWARDS},
    {"window": [{"op": "lag", "param": 1, "field": "top", "as": "beaten"}], **_INWARDS},
    {"calculate": "datum.trusted && (!isValid(datum.beaten) || datum.y > datum.beaten)", "as": "front"},
]
"""A point is on the front if no trusted one that is at least as good in x is at least as good in y."""


def spec(look: Look, width: int | str, x_title: str, y_title: str, log: bool, values: Sequence[Any]) -> Spec:
    """Give the chart of these :func:`points`."""
    scale: Spec = {"type": "log"} if log else {"type": "linear", "zero": False}
    scale |= {"nice": False, "padding": 36}
    own = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
    bound = {"color": own, "opacity": {"value": 0.55}}
    return {
        "width": width,
        "height": HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"} if width == "container" else "pad",
        "data": {"name": "shown", "values": list(values)},
        "transform": [*hollow(look, "datum.colour"), *FRONT],
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "scale": scale, "title": x_title, "axis": NUMBERS},
            "y": {
                **{"field": "y", "type": "quantitative", "title": y_title, "axis": NUMBERS},
                "scale": {"zero": False, "nice": False, "padding": 28},
            },
        },
        "layer": [
            {
                "name": "front",
                "transform": [{"filter": "datum.front"}],
                "mark": {"type": "line", "color": look.quiet, "opacity": 0.6, "strokeWidth": 1.6, "tooltip": None},
            },
            _interval("y", bound),
            _interval("x", bound),
            _dots(own),
        ],
        "config": config(look),
    }


def _dots(own: Spec) -> Spec:
    return {
        "name": "dots",
        "mark": {"type": "point", "size": 80, "filled": False, "opacity": 1, "cursor": "pointer"},
        "encoding": {
            "fill": {"field": "fill", "type": "nominal", "scale": None, "legend": None},
            "color": own,
            "strokeWidth": {"condition": {"test": "datum.hollow", "value": 2}, "value": 1},
            "shape": {"field": "library", "type": "nominal"},
            "tooltip": {"field": "tip", "type": "nominal"},
        },
    }


def hollow(look: Look, colour: str) -> list[Spec]:
    """Give the transforms that leave the points of marked rows empty; ``colour`` is an expression."""
    fill = f"datum.hollow ? '{look.ground}' : {colour}"
    return [{"calculate": "datum.marks != ''", "as": "hollow"}, {"calculate": fill, "as": "fill"}]


def _interval(axis: str, encoding: Spec) -> Spec:
    low, high = f"{axis}_low", f"{axis}_high"
    ends = {axis: {"field": low, "type": "quantitative"}, f"{axis}2": {"field": high}}
    return {
        "transform": [{"filter": f"isValid(datum.{low})"}],
        "mark": {"type": "rule", "strokeWidth": 1.3, "tooltip": None},
        "encoding": {**ends, **encoding},
    }


def names(look: Look) -> Spec:
    """Give the mark of Vega that writes names where they cover neither points nor each other, those on the line first.

    Vega-Lite has no such mark, so the page adds it to what its compiler gives.
    """
    bold = "datum.datum.front ? 'bold' : 'normal'"
    shown = f"datum.datum.front || datum.datum.of <= {MOST_NAMES} ? datum.datum.name : ''"
    around = ["right", "left", "top", "bottom", "top-right", "bottom-right", "top-left", "bottom-left"]
    return {
        "name": "names",
        "type": "text",
        "interactive": False,
        "aria": False,
        "from": {"data": "dots_marks"},
        "encode": {
            "enter": {
                "text": {"signal": shown},
                "fontWeight": {"signal": bold},
                "fontSize": {"value": 11},
                "fill": {"value": look.ink},
            }
        },
        "transform": [
            {
                "type": "label",
                "size": {"signal": "[max(width, 1), max(height, 1)]"},
                "anchor": [*around, *around],
                "offset": [*[5] * 8, *[14] * 8],
                "sort": {"field": "datum.front", "order": "descending"},
                "avoidMarks": ["front_marks", "layer_1_marks", "layer_2_marks"],
            }
        ],
    }


def wide(values: Sequence[float]) -> bool:
    """Tell whether numbers lie so far apart that a logarithmic axis shows them better."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 12
