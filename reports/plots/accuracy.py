"""Plots of the accuracy pass: which errors cost what, and whether scores mean what they say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from bench.schema.parts.accuracy import TIDE_ERRORS, Calibration
from reports.cut import best_of, few_words
from reports.plots.picture import WIDTH, Picture
from reports.plots.style import FAINT, Colour, figure, row_axis, row_colours
from reports.table.accuracy import accuracy_of, error_points, rows_with_figures
from reports.table.comparison import Comparison

MAX_DIAGRAMS = 20


def errors(comparison: Comparison, folder: Path) -> Picture | None:
    """Draw the AP50 that each of TIDE's types of error costs: a chart for each type, a bar for each row."""
    lost = {
        row: points
        for row in rows_with_figures(comparison)
        if (accuracy := accuracy_of(comparison, row)) and (points := error_points(accuracy))
    }
    if not lost:
        return None
    rows, colours = best_of(comparison, list(lost)), row_colours(comparison)
    longest = max(value for points in lost.values() for value in points.values()) or 1.0
    path = folder / "errors.png"
    with figure(path, WIDTH + 1.6, 0.9 + 0.34 * len(rows), ncols=len(TIDE_ERRORS), sharey=True) as (_, grid):
        for axes, name in zip(grid, TIDE_ERRORS, strict=True):
            values = [lost[row].get(name, 0.0) for row in rows]
            axes.barh(range(len(rows)), values, height=0.62, color=[colours[row] for row in rows])
            for place, value in enumerate(values):
                at = (max(value, 0.0), place)
                axes.annotate(f"{value:.1f}", at, (3, 0), textcoords="offset points", va="center", fontsize=8)
            row_axis(axes, [comparison.labels[row] for row in rows])
            axes.set_title(name.capitalize(), fontsize=9.5)
            axes.set_xlim(0, longest * 1.4)
            axes.set_xticks([])
            axes.spines["bottom"].set_visible(False)
    caption = (
        "Points of AP50 that would be won if all errors of one type were mended (TIDE, Bolya et al. 2020); the types "
        "do not add up to what is missing. Shorter is better." + few_words(len(rows), len(lost))
    )
    return Picture(path, "What the errors are", caption)


def calibration(comparison: Comparison, folder: Path) -> Picture | None:
    """Draw a reliability diagram for each row; None where no row has a calibration."""
    measured = [
        (row, accuracy.calibration)
        for row in rows_with_figures(comparison)
        if (accuracy := accuracy_of(comparison, row)) and accuracy.calibration
    ]
    if not measured:
        return None
    shown, colours = measured[:MAX_DIAGRAMS], row_colours(comparison)
    columns = min(len(shown), 5)
    lines = math.ceil(len(shown) / columns)
    path = folder / "calibration.png"
    layout = {"nrows": lines, "ncols": columns, "sharex": True, "sharey": True, "squeeze": False}
    with figure(path, max(2.1 * columns, 3.4), 2.55 * lines + 0.45, **layout) as (fig, grid):
        for place in range(len(shown), grid.size):
            grid.flat[place].set_axis_off()
            grid.flat[place - columns].tick_params(labelbottom=True)
        for axes, (row, bins) in zip(grid.flat, shown, strict=False):
            _diagram(axes, bins, colours[row])
            title = comparison.labels[row].replace(" · ", "\n", 1)
            axes.set_title(f"{title}\nerror {100 * bins.expected_error:.1f} points", fontsize=8, fontweight="normal")
        fig.supxlabel("score", fontsize=9)
        fig.supylabel("share of true positives", fontsize=9)
    caption = (
        "Detections by score: bars are the share of them that are true at IoU 0.5, bins with few detections pale. On "
        "the dotted line a score is the chance of being right; below it the model is too sure of itself. The expected "
        "calibration error (Naeini et al. 2015) is the mean distance from that line."
    )
    more = "" if len(measured) <= MAX_DIAGRAMS else f" The first {MAX_DIAGRAMS} of {len(measured)} rows are shown."
    return Picture(path, "Whether scores mean what they say", caption + more)


def _diagram(axes: Axes, bins: Calibration, colour: Colour) -> None:
    edges = np.asarray(bins.edges, dtype=float)
    counts = np.asarray(bins.detections, dtype=float)
    strength = 0.25 + 0.75 * np.sqrt(counts / max(counts.max(initial=0), 1))
    for left, right, share, alpha in zip(edges[:-1], edges[1:], bins.precision, strength, strict=True):
        if share is not None:
            axes.bar(left, share, right - left, align="edge", color=colour, alpha=float(alpha), edgecolor="white")
    axes.plot((0, 1), (0, 1), color=FAINT, linestyle=":", linewidth=1.2)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"), fontsize=8)
    axes.set_yticks((0, 0.5, 1), ("0", "0.5", "1"), fontsize=8)
