"""The plots that show every row at once: accuracy against speed, latency, stages, memory, and of the accuracy pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from reports.plots.accuracy import calibration, errors
from reports.plots.costs import latency, memory, stages
from reports.plots.pareto import pareto
from reports.plots.picture import Picture
from reports.plots.sweep import latency_throughput
from reports.table.comparison import Comparison

Draw = Callable[[Comparison, Path], "Picture | list[Picture] | None"]
"""Draws a plot into a folder, one for each group of comparable rows, or none where there is no data for it."""

OVERVIEW: Mapping[str, Draw] = {
    "pareto.png": pareto,
    "throughput.png": latency_throughput,
    "latency.png": latency,
    "stages.png": stages,
    "memory.png": memory,
}
ACCURACY: Mapping[str, Draw] = {"errors.png": errors, "calibration.png": calibration}
"""The plots by the name of their file, in the order in which a page shows them."""


def draw_plots(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw every plot of :data:`OVERVIEW` for which the comparison has data into ``folder``."""
    return [picture for draw in OVERVIEW.values() for picture in drawn(draw, comparison, folder)]


def draw_accuracy_plots(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw every plot of :data:`ACCURACY` for which the comparison has data into ``folder``."""
    return [picture for draw in ACCURACY.values() for picture in drawn(draw, comparison, folder)]


def drawn(draw: Draw, comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw a plot and give its pictures as a list."""
    pictures = draw(comparison, folder)
    return pictures if isinstance(pictures, list) else [pictures] if pictures else []
