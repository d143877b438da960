"""The look of every plot: a row has one colour in all of them, which the colour-blind can tell from the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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
