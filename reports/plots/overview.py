"""The plots that show every row at once: accuracy against speed, latency, stages, memory."""

from __future__ import annotations

from pathlib import Path

from reports.plots.costs import latency, memory, stages
from reports.plots.pareto import pareto
from reports.plots.picture import Picture
from reports.plots.sweep import latency_throughput
from reports.table.comparison import Comparison


def draw_plots(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw every plot for which the comparison has data into ``folder``."""
    pictures = pareto(comparison, folder)
    for draw in (latency_throughput, latency, stages, memory):
        if picture := draw(comparison, folder):
            pictures.append(picture)
    return pictures
