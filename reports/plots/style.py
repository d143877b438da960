"""The look of every plot: a row has one colour in all of them, which the colour-blind can tell from the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from reports.plots.palette import HUES, SHADES
from reports.table.comparison import Comparison

Colour = tuple[float, float, float]

INK, FAINT = "#222222", "#8A8F94"

_RC: Any = {
    **{"font.family": "sans-serif", "font.sans-serif": ["Liberation Sans", "Arial", "Helvetica", "DejaVu Sans"]},
    **{"font.size": 10, "axes.titlesize": 11.5, "axes.titleweight": "bold", "axes.titlelocation": "left"},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9AA0A6", "axes.linewidth": 0.8},
    **{"axes.labelcolor": INK, "text.color": INK, "xtick.color": "#555555", "ytick.color": INK},
    **{"axes.grid": False, "grid.color": "#E6E8EA", "grid.linewidth": 0.8, "axes.axisbelow": True},
    **{"legend.frameon": False, "figure.dpi": 150, "savefig.dpi": 150, "figure.facecolor": "white"},
    # A model called "a_$x" is a name, not a formula.
    **{"text.parse_math": False, "svg.fonttype": "none"},
}


@contextmanager
def figure(path: Path, width: float, height: float, **kwargs: Any) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure of ``width`` x ``height`` inches with its axes, and save it to ``path`` at the end.

    Nothing that a user has set for matplotlib changes it: its settings are matplotlib's own defaults and ours, and it
    is drawn without pyplot, which would open a user's backend.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        fig = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(fig)
        yield fig, fig.subplots(**kwargs)
        fig.savefig(path)


def row_colours(comparison: Comparison) -> list[Colour]:
    """The colour of each row in every plot: a hue for each model family, a shade of it for each row of the family."""
    families: dict[str, list[int]] = {}
    for row in range(len(comparison.rows)):
        families.setdefault(comparison.text(row, "model"), []).append(row)
    colours: dict[int, Colour] = {}
    for hue, name in enumerate(sorted(families)):
        base = to_rgb(HUES[hue % len(HUES)])
        rows = sorted(families[name], key=lambda row: comparison.labels[row])
        for place, row in enumerate(rows):
            white = SHADES * place / max(len(rows) - 1, 3)
            red, green, blue = (channel + (1.0 - channel) * white for channel in base)
            colours[row] = (red, green, blue)
    return [colours[row] for row in range(len(comparison.rows))]


def row_axis(axes: Axes, labels: list[str]) -> None:
    """Write the names of the rows down the left side of the axes, the first on top, without ticks."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
