"""The plot of latency against throughput over batch sizes: what a model gains by waiting for more images."""

from __future__ import annotations

from pathlib import Path

from reports.cut import best_of, few_words
from reports.plots.picture import WIDTH, Picture
from reports.plots.style import INK, MARKERS, figure, log_axis, row_colours
from reports.table.comparison import Comparison, comparison_key
from reports.table.naming import SEPARATOR

MOST_SWEEPS = 20
"""Lines of the plot."""

_SAME = ("model", "backbone", "library", "weights", "dataset", "device", "precision", "compile", "input_size")


def sweeps(comparison: Comparison) -> list[list[int]]:
    """The groups of two rows or more that differ in the batch size alone, each by rising batch size."""
    groups: dict[tuple[object, ...], dict[int, int]] = {}
    for number in comparison.with_status("ok"):
        row, size = comparison.rows[number], comparison.cell(number, "batch_size")
        if comparison.cell(number, "fps_model") is None or size is None:
            continue
        names = tuple(comparison.text(number, name) for name in _SAME)
        options = str(row.setting("model", "options"))
        key = (*names, options, *comparison_key(row, but="batch_size"))
        groups.setdefault(key, {})[int(size)] = number
    return [[rows[size] for size in sorted(rows)] for rows in groups.values() if len(rows) > 1]


def latency_throughput(comparison: Comparison, folder: Path) -> Picture | None:
    """Draw a line for each sweep; None where there is no sweep."""
    found = sweeps(comparison)
    if not found:
        return None
    first = set(best_of(comparison, [rows[0] for rows in found], MOST_SWEEPS))
    lines = [rows for rows in found if rows[0] in first]
    path, colours = folder / "throughput.png", row_colours(comparison)
    precisions = sorted({comparison.text(rows[0], "precision") for rows in lines})
    with figure(path, WIDTH, 5.2) as (fig, axes):
        for rows in lines:
            points = [(comparison.cell(row, "latency_ms_p50"), comparison.cell(row, "fps_model")) for row in rows]
            precision = comparison.text(rows[0], "precision")
            marker, colour = MARKERS[precisions.index(precision) % len(MARKERS)], colours[rows[0]]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label=_name(comparison, rows[0]))
            for row, point in zip(rows, points, strict=True):
                if comparison.mark_names(row):
                    axes.plot(*point, color=colour, marker=marker, markerfacecolor="white", markeredgewidth=1.8)
                size = comparison.text(row, "batch_size")
                axes.annotate(size, point, (0, 6), textcoords="offset points", ha="center", fontsize=8.5, color=INK)
        log_axis(axes)
        axes.tick_params(axis="x", which="both", length=3, pad=3)
        axes.margins(0.08, 0.12)
        axes.set_ylim(bottom=0)
        axes.grid(True)
        axes.set_xlabel("median latency of one batch, milliseconds (logarithmic)")
        axes.set_ylabel("throughput, images per second")
        fig.legend(loc="outside upper left", ncols=2)
    caption = (
        "Model boundary; at each point its batch size. Further up is more images a second, further right a longer wait "
        "for each. A line ends where the sweep did, or the memory: such rows stand under the table."
    )
    marked = (mark.name for rows in lines for row in rows for mark in comparison.marks_of(row))
    if names := ", ".join(dict.fromkeys(marked)):
        caption += f" The speed of a hollow point means less than it seems ({names}; see Conditions)."
    caption += few_words(len(lines), len(found), "lines")
    return Picture(path, "Latency against throughput", caption)


def _name(comparison: Comparison, row: int) -> str:
    named = [comparison.text(row, name) for name in ("library", "precision", "input_size")]
    model = f"{comparison.text(row, 'model')} {comparison.text(row, 'backbone')}"
    return SEPARATOR.join([model, *filter(None, named)])
