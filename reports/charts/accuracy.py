"""The charts of the accuracy pass: which errors cost what, and whether scores mean what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.schema.parts.accuracy import TIDE_ERRORS, Calibration
from reports.charts.files import write
from reports.charts.look import PRINTED, Look, Spec, config
from reports.charts.overview import Draw
from reports.charts.records import row_colours
from reports.cut import best_of, few_words
from reports.plots.picture import Picture
from reports.shown import shown_within
from reports.table.accuracy import accuracy_of, error_points, rows_with_figures
from reports.table.comparison import Comparison

MOST_DIAGRAMS = 20

DIAGRAMS_ABREAST = 5


def errors(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw the AP50 that each of TIDE's types of error costs: a column for each type, a bar for each row."""
    lost = {
        row: points
        for row in rows_with_figures(comparison)
        if (accuracy := accuracy_of(comparison, row)) and (points := error_points(accuracy))
    }
    if not lost:
        return []
    rows, colours = best_of(comparison, list(lost)), row_colours(comparison, PRINTED)
    values = [
        {
            **{"name": comparison.labels[row], "colour": colours[row]},
            **{"error": name.capitalize(), "points": lost[row].get(name, 0.0)},
        }
        for row in rows
        for name in TIDE_ERRORS
    ]
    caption = (
        "Points of AP50 that would be won if all errors of one type were mended (TIDE, Bolya et al. 2020); the types "
        "do not add up to what is missing. Shorter is better." + few_words(len(rows), len(lost))
    )
    path = folder / "errors.png"
    write(errors_spec(PRINTED, values), path, rows=len(rows))
    return [Picture(path, "What the errors are", caption)]


def errors_spec(look: Look, values: Sequence[Mapping[str, Any]]) -> Spec:
    """Give the chart of errors, with a value for each row and type: ``name``, ``colour``, ``error``, ``points``."""
    # A column has room for the longest bar and for the number behind it. Mending errors of one type may also cost AP.
    points = [value["points"] for value in values]
    most, least = 1.4 * (max([0.0, *points]) or 1.0), min([0.0, *points])
    y = {"field": "name", "type": "nominal", "sort": None, "title": None}
    x = {"field": "points", "type": "quantitative", "scale": {"domain": [least, most]}, "axis": None}
    colour = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
    text = {"type": "text", "align": "left", "dx": 4, "fontSize": 10.5, "color": look.ink}
    return {
        "data": {"name": "shown", "values": shown_within(values)},
        "facet": {
            "column": {
                **{"field": "error", "type": "nominal", "sort": [name.capitalize() for name in TIDE_ERRORS]},
                "header": {"labelAnchor": "start", "labelFontWeight": "bold"},
            }
        },
        "spacing": 12,
        "spec": {
            "width": 128,
            "height": {"step": 22},
            "encoding": {"y": y, "x": x},
            "layer": [
                {"mark": {"type": "bar", "height": 14}, "encoding": {"color": colour}},
                {"mark": text, "encoding": {"text": {"field": "points", "type": "quantitative", "format": ".1f"}}},
            ],
        },
        "config": config(look),
    }


def calibration(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw a reliability diagram for each row; nothing where no row has a calibration."""
    measured = [
        (row, accuracy.calibration)
        for row in rows_with_figures(comparison)
        if (accuracy := accuracy_of(comparison, row)) and accuracy.calibration
    ]
    if not measured:
        return []
    shown, colours = measured[:MOST_DIAGRAMS], row_colours(comparison, PRINTED)
    caption = (
        "Detections by score: bars are the share of them that are true at IoU 0.5, bins with few detections pale. On "
        "the dotted line a score is the chance of being right; below it the model is too sure of itself. The expected "
        "calibration error (Naeini et al. 2015) is the mean distance from that line."
    )
    more = "" if len(measured) <= MOST_DIAGRAMS else f" The first {MOST_DIAGRAMS} of {len(measured)} rows are shown."
    diagrams = [(comparison.labels[row], colours[row], bins) for row, bins in shown]
    path = folder / "calibration.png"
    write(calibration_spec(PRINTED, diagrams), path)
    return [Picture(path, "Whether scores mean what they say", caption + more)]


def calibration_spec(look: Look, diagrams: Sequence[tuple[str, str, Calibration]]) -> Spec:
    """Give the reliability diagrams of rows, each with its name, its colour and its bins."""
    count = len(diagrams)
    made = [
        _diagram(look, *diagram, left=place % DIAGRAMS_ABREAST == 0, low=place + DIAGRAMS_ABREAST >= count)
        for place, diagram in enumerate(diagrams)
    ]
    return {"concat": made, "columns": DIAGRAMS_ABREAST, "spacing": 18, "config": config(look)}


def _diagram(look: Look, name: str, colour: str, bins: Calibration, *, left: bool, low: bool) -> Spec:
    """Give one diagram; ``left`` and ``low`` tell whether it stands at an edge, where the axes are named."""
    most = max(*bins.detections, 1)
    columns = zip(bins.edges[:-1], bins.edges[1:], bins.precision, bins.detections, strict=True)
    values = [
        {"from": start, "to": end, "share": share, "weight": 0.25 + 0.75 * (count / most) ** 0.5}
        for start, end, share, count in columns
        if share is not None
    ]
    axis = {"values": [0, 0.5, 1], "format": "~g", "grid": False, "domain": True, "ticks": True}
    shared = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": axis}
    x = shared | {"title": "score" if low else None}
    y = shared | {"title": "share of true positives" if left else None}
    lines = [*shown_within(name).split(" · ", 1), f"error {100 * bins.expected_error:.1f} points"]
    words = {"anchor": "start", "frame": "group", "fontSize": 11, "fontWeight": "normal", "limit": 180}
    diagonal = {"type": "line", "color": look.quiet, "strokeDash": [1, 3]}
    return {
        "width": 140,
        "height": 140,
        "title": {"text": lines, "color": look.ink, **words},
        "layer": [
            {
                "data": {"values": values},
                "mark": {"type": "bar", "color": colour, "stroke": look.ground, "strokeWidth": 1},
                "encoding": {
                    **{"x": {"field": "from", **x}, "x2": {"field": "to"}, "y": {"field": "share", **y}},
                    "y2": {"datum": 0},
                    "opacity": {"field": "weight", "type": "quantitative", "scale": None, "legend": None},
                },
            },
            {
                "data": {"values": [{"at": 0}, {"at": 1}]},
                "mark": diagonal,
                "encoding": {"x": {"field": "at", **x}, "y": {"field": "at", **y}},
            },
        ],
    }


ACCURACY: Mapping[str, Draw] = {"errors.png": errors, "calibration.png": calibration}
"""The charts by the name of their picture, in the order in which a page shows them."""
