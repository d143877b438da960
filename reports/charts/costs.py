"""The charts of what each row costs: its latency, its stages, its memory, and what larger batches gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.charts.look import MEMORY, STAGES, Look, Spec, config
from reports.charts.records import QUANTILES, Record
from reports.charts.tradeoff import NUMBERS, hollow
from reports.table.columns import COLUMNS

_TWO_LINES = {"test": "indexof(datum.label, '\\n') >= 0", "value": -6}

LABELS = {
    "labelExpr": "split(datum.label, '\\n')",
    "labelLineHeight": 13,
    "labelOffset": {"condition": _TWO_LINES, "value": 0},
}

MEMORY_TITLES: dict[str, str] = {
    "module_mb": "Parameters and buffers",
    **{name: COLUMNS[name].title for name in MEMORY if name in COLUMNS},
}


def latency(look: Look, width: int | str, found: Sequence[Record], log: bool) -> Spec:
    """Give the chart of raw samples, quartiles and median at the model boundary, fastest on top."""
    keys = ("row", "name", "marks", "colour", "samples", *QUANTILES)
    values = [{key: record[key] for key in keys} for record in found if "p50" in record]
    own = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
    zero: dict[str, Any] = {"type": "log", "nice": False, "padding": 14} if log else {"zero": True}
    title = f"milliseconds a batch ({'logarithmic; ' if log else ''}less is better)"
    x = {"type": "quantitative", "scale": zero, "title": title, "axis": NUMBERS}
    tip = [{"field": "name", "title": "Row"}, *({"field": f, "title": f"{f}, ms", "format": ".4~g"} for f in QUANTILES)]
    line = {"encoding": {"x": {"field": "p5", **x}, "x2": {"field": "p95"}, "color": own, "tooltip": tip}}
    box = {"encoding": {"x": {"field": "p25", **x}, "x2": {"field": "p75"}, "color": own, "tooltip": tip}}
    middle = {"x": {"field": "p50", **x}}
    return _rows(look, width, values, 36, {"field": "p50", "op": "min"}) | {
        "layer": [
            {
                "transform": [
                    {"flatten": ["samples"]},
                    {"window": [{"op": "row_number", "as": "turn"}], "groupby": ["row"]},
                    # By their order and not by chance: the same results draw the same picture.
                    {"calculate": "-0.22 - 0.2 * ((datum.turn * 7) % 13) / 13", "as": "up"},
                ],
                "mark": {"type": "circle", "size": 12, "opacity": 0.4, "tooltip": None},
                "encoding": {"x": {"field": "samples", **x}, "color": own, "yOffset": _jitter()},
            },
            {"mark": {"type": "rule", "strokeWidth": 1.5}, **line},
            {"mark": {"type": "bar", "height": 8}, **box},
            {"mark": {"type": "tick", "thickness": 2, "size": 9, "color": look.ground}, "encoding": middle},
            {
                "mark": {"type": "text", "dy": 13, "fontSize": 10.5, "color": look.ink, "tooltip": None},
                "encoding": {**middle, "text": {"value": {"expr": _number("datum.p50")}}},
            },
        ]
    }


def _jitter() -> Spec:
    """Lift samples above their row."""
    return {"field": "up", "type": "quantitative", "scale": {"domain": [-0.5, 0.5]}}


def _rows(look: Look, width: int | str, values: Sequence[Any], step: int, sort: Any) -> Spec:
    """Give what charts with a line for each row share."""
    return {
        "width": width,
        "height": {"step": step, "for": "position"},
        "autosize": {"type": "fit-x", "contains": "padding"} if width == "container" else "pad",
        "data": {"name": "shown", "values": list(values)},
        "transform": [
            {"calculate": "datum.marks ? datum.name + '\\n[' + datum.marks + ']' : datum.name", "as": "label"}
        ],
        "encoding": {
            "y": {
                **{"field": "label", "type": "nominal", "title": None, "sort": sort},
                "axis": LABELS,
            }
        },
        "config": config(look),
    }


def stages(look: Look, width: int | str, found: Sequence[Record]) -> Spec:
    """Give the chart of the median times of the five stages one after the other, shortest sum on top."""
    keys = ("row", "name", "marks", "whole", "noise", *STAGES)
    values = [{key: record[key] for key in keys if key in record} for record in found if "network_ms" in record]
    total = " + ".join(f"(datum.{name} || 0)" for name in STAGES)
    parts = " + ' + ' + ".join(
        f"(isValid(datum.{name}) ? {_number(f'datum.{name}')} : '\N{EN DASH}')" for name in STAGES
    )
    x: Spec = {"type": "quantitative", "title": "milliseconds a batch (median; less is better)", "axis": NUMBERS}
    chart = _rows(look, width, values, 30, {"field": "total", "op": "min"})
    chart["transform"] += [
        {"calculate": total, "as": "total"},
        {"calculate": "max(datum.total, datum.whole || 0)", "as": "furthest"},
        {"calculate": f"{_number('datum.total')} + ' = ' + {parts}", "as": "sum"},
    ]
    return chart | {"layer": [_stage_bars(look, x), *_whole_marks(look, x), _sums(look, x)]}


def _stage_bars(look: Look, x: Spec) -> Spec:
    """Give one bar behind the other, pale where a stage's masks are noise."""
    titles = [COLUMNS[name].title for name in STAGES]
    title = " : ".join(f"datum.stage == '{name}' ? '{COLUMNS[name].title}'" for name in STAGES) + " : ''"
    order = " : ".join(f"datum.stage == '{name}' ? {place}" for place, name in enumerate(STAGES)) + " : 9"
    noise = {"test": "datum.noise && datum.stage == 'encode_ms'"}
    return {
        "transform": [
            {"fold": list(STAGES), "as": ["stage", "ms"]},
            {"filter": "isValid(datum.ms)"},
            {"calculate": title, "as": "title"},
            {"calculate": order, "as": "order"},
        ],
        "mark": {"type": "bar", "height": 18, "stroke": look.ground, "strokeWidth": 1},
        "encoding": {
            "x": {"field": "ms", **x, "stack": "zero"},
            "color": {"field": "title", "type": "nominal", "sort": titles, "scale": _scale(titles, look.stages)},
            "order": {"field": "order", "type": "quantitative"},
            "opacity": {"condition": {**noise, "value": 0.3}, "value": 1},
            "tooltip": [
                *({"field": "name", "title": "Row"}, {"field": "title", "title": "Stage"}),
                {"field": "ms", "title": "ms", "format": ".4~g"},
            ],
        },
    }


def _whole_marks(look: Look, x: Spec) -> list[Spec]:
    """Give the upright line of end to end, timed as a whole, on a wider one: it is seen on a dark bar too."""
    tip = [{"field": "name", "title": "Row"}, {"field": "whole", "title": "End to end, as a whole, ms"}]
    return [
        {
            "mark": {"type": "tick", "size": 24, "thickness": thickness, "color": colour},
            "encoding": {"x": {"field": "whole", **x}, "tooltip": tip},
        }
        for thickness, colour in ((5, look.ground), (2, look.ink))
    ]


def _sums(look: Look, x: Spec) -> Spec:
    return {
        "mark": {"type": "text", "align": "left", "dx": 8, "color": look.ink, "fontSize": 10.5, "tooltip": None},
        "encoding": {"x": {"field": "furthest", **x}, "text": {"field": "sum"}},
    }


def _number(value: str) -> str:
    """Give the expression that writes a number of milliseconds: 123, 12.3 or 0.12."""
    return f"format({value}, {value} >= 100 ? ',.0f' : {value} >= 1 ? '.1f' : '.2f')"


def _scale(titles: Sequence[str], colours: Sequence[str]) -> Spec:
    return {"domain": list(titles), "range": list(colours)}


def memory(look: Look, width: int | str, found: Sequence[Record]) -> Spec:
    """Give the chart of the figures of memory: each on its own place of a row's line, since they do not add up."""
    measured = [name for name in MEMORY if any(name in record for record in found)]
    values = [
        {key: record[key] for key in ("row", "name", *measured) if key in record}
        for record in found
        if any(name in record for name in measured)
    ]
    titles = [MEMORY_TITLES[name] for name in measured]
    title = " : ".join(f"datum.figure == '{name}' ? '{MEMORY_TITLES[name]}'" for name in measured) + " : ''"
    chart = _rows(look, width, [value | {"marks": ""} for value in values], 13 * len(measured) + 12, None)
    chart["transform"] += [
        {"fold": measured, "as": ["figure", "mb"]},
        {"filter": "isValid(datum.mb)"},
        {"calculate": title, "as": "title"},
    ]
    chart["encoding"] |= {
        "yOffset": {"field": "title", "type": "nominal", "sort": titles},
        "x": {"field": "mb", "type": "quantitative", "title": "MB (less is better)", "axis": NUMBERS},
        "tooltip": [
            *({"field": "name", "title": "Row"}, {"field": "title", "title": "Figure"}),
            {"field": "mb", "title": "MB", "format": ",.1f"},
        ],
    }
    colours = [look.memory[MEMORY.index(name)] for name in measured]
    colour: Spec = {"field": "title", "type": "nominal", "sort": titles, "scale": _scale(titles, colours)}
    text = {"type": "text", "align": "left", "dx": 4, "fontSize": 10, "color": look.ink, "tooltip": None}
    # Whole megabytes; of a few, what tells them apart.
    decimals = "datum.mb >= 10 ? ',.0f' : datum.mb >= 1 ? '.1f' : '.2f'"
    return chart | {
        "layer": [
            {"mark": {"type": "bar", "height": 11}, "encoding": {"color": colour}},
            {"mark": text, "encoding": {"text": {"value": {"expr": f"format(datum.mb, {decimals})"}}}},
        ]
    }


def throughput(look: Look, width: int | str, found: Sequence[Record]) -> Spec:
    """Give the chart of throughput against latency, a line for each sweep over batch sizes."""
    lines, colours, values = _sweeps(found)
    x = {"type": "log", "nice": False, "padding": 30}
    return {
        "width": width,
        "height": HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"} if width == "container" else "pad",
        "data": {"name": "shown", "values": values},
        "transform": hollow(look, "datum.colour"),
        "encoding": {
            "x": {
                **{"field": "p50", "type": "quantitative", "scale": x, "axis": NUMBERS},
                "title": "median latency of one batch, milliseconds (logarithmic; less is better)",
            },
            "y": {
                **{"field": "fps", "type": "quantitative", "scale": {"zero": True}, "axis": NUMBERS},
                "title": "images a second (more is better)",
            },
        },
        "layer": _layers_of_sweeps(look, lines, colours),
        "config": config(look),
    }


def _sweeps(found: Sequence[Record]) -> tuple[list[str], dict[str, str], list[Record]]:
    """Give the names of the lines, the colour of each, and their points."""
    lines = list(dict.fromkeys(record["line"] for record in found if "line" in record))
    colours = {record["line"]: record["colour"] for record in reversed(found) if "line" in record}
    values = [
        {key: record[key] for key in ("row", "name", "line", "batch", "marks", "p50")}
        | {"fps": record["figures"]["fps_model"][0], "colour": colours[record["line"]]}
        for record in found
        if "line" in record
    ]
    return lines, colours, values


def _layers_of_sweeps(look: Look, lines: Sequence[str], colours: Mapping[str, str]) -> list[Spec]:
    colour = {"field": "line", "type": "nominal", "scale": _scale(lines, [colours[line] for line in lines])}
    tip = [
        *({"field": "name", "title": "Row"}, {"field": "batch", "title": "Batch size"}),
        {"field": "fps", "title": "Images a second", "format": ".4~g"},
        {"field": "p50", "title": "Median latency, ms", "format": ".4~g"},
    ]
    fill = {"field": "fill", "type": "nominal", "scale": None, "legend": None}
    return [
        {
            "mark": {"type": "line", "tooltip": None},
            "encoding": {
                "color": colour,
                "strokeDash": {"field": "line", "type": "nominal", "sort": lines},
                "order": {"field": "batch", "type": "quantitative"},
            },
        },
        {
            "mark": {"type": "point", "size": 70, "filled": False, "opacity": 1, "cursor": "pointer"},
            "encoding": {"color": colour, "fill": fill, "tooltip": tip},
        },
        {
            "mark": {"type": "text", "dy": -12, "color": look.ink, "tooltip": None},
            "encoding": {"text": {"field": "batch", "type": "quantitative"}},
        },
    ]


HEIGHT = 400
