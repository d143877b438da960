"""The plot of mask AP against speed, with the models that no other model beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.schema.marks import why_never_best
from reports.cut import best_of
from reports.plots.labels import place_labels
from reports.plots.picture import WIDTH, Picture
from reports.plots.style import MARKERS, figure, row_colours
from reports.table.columns import dataset_name
from reports.table.comparison import Comparison
from reports.table.machine import machine_key
from reports.table.naming import row_labels

MOST_NAMES = 40
"""Points that bear a name where there are more."""


def pareto(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw mask AP against FPS, a picture for each dataset, device, batch size and machine that has several rows."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number in comparison.with_status("ok"):
        if comparison.cell(number, "mask_ap") is not None and comparison.cell(number, "fps_model") is not None:
            row = comparison.rows[number]
            names = (dataset_name(row), *(str(row.setting(key)) for key in ("device", "batch_size", "detections")))
            groups.setdefault((*names, *machine_key(row)), []).append(number)
    pictures = []
    comparable = {key: rows for key, rows in groups.items() if len(rows) > 1}
    for place, (key, rows) in enumerate(comparable.items(), start=1):
        path = folder / ("pareto.png" if place == 1 else f"pareto-{place}.png")
        where = f"{key[0]}, {key[1]}, batch size {key[2]}"
        _draw_pareto(comparison, rows, path)
        caption = (
            f"{where}. Up and to the right is better. The line joins the models that no other model beats in both "
            "mask AP and FPS (model boundary). Upright lines are 95 % confidence intervals of mask AP."
        )
        if marked := _marks(comparison, rows):
            caption += f" The speed of a hollow point means less than it seems ({marked}; see Conditions)."
        if any(why_never_best(comparison.rows[row].result) for row in rows):
            caption += " The line leaves out rows whose speed is never called the best."
        if len(rows) > MOST_NAMES:
            caption += " Names stand beside the points on the line, and beside the best of the others."
        pictures.append(Picture(path, "Mask AP against speed", caption))
    return pictures


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The indices of the points that no other point beats in both coordinates, by rising x; larger is better."""
    front, highest = [], -np.inf
    for index in sorted(range(len(points)), key=lambda i: points[i], reverse=True):
        if points[index][1] > highest:
            front.append(index)
            highest = points[index][1]
    return front[::-1]


def _draw_pareto(comparison: Comparison, rows: Sequence[int], path: Path) -> None:
    points = [(comparison.cell(row, "fps_model"), comparison.cell(row, "mask_ap")) for row in rows]
    trusted = [place for place, row in enumerate(rows) if not why_never_best(comparison.rows[row].result)]
    libraries = sorted({comparison.text(row, "library") for row in rows})
    colours = row_colours(comparison)
    with figure(path, WIDTH, 5.6) as (_, axes):
        front = [trusted[place] for place in pareto_front([points[place] for place in trusted])]
        axes.plot(*np.array([points[i] for i in front]).reshape(-1, 2).T, color="#B0B5BA", linewidth=1.6, zorder=1)
        for index, row in enumerate(rows):
            marker = MARKERS[libraries.index(comparison.text(row, "library")) % len(MARKERS)]
            colour = colours[row]
            hollow = bool(comparison.mark_names(row))
            fill = {"facecolors": ["white" if hollow else colour], "edgecolors": [colour if hollow else "white"]}
            axes.scatter(*points[index], s=64, marker=marker, linewidths=1.8 if hollow else 0.8, zorder=3, **fill)
            ends = [comparison.cell(row, key) for key in ("mask_ap_low", "mask_ap_high")]
            if None not in ends:
                axes.vlines(points[index][0], *ends, color=colours[row], linewidth=1.2, alpha=0.6, zorder=2)
        for index, library in enumerate(libraries):
            axes.scatter([], [], s=50, marker=MARKERS[index % len(MARKERS)], color="#6B7075", label=library)
        if names := _marks(comparison, rows):
            look = {"facecolors": "white", "edgecolors": "#6B7075", "linewidths": 1.8}
            axes.scatter([], [], s=50, label=f"hollow: {names}", **look)
        axes.grid(True)
        axes.margins(0.12, 0.14)
        axes.set_xlabel("FPS, model boundary (images per second)")
        axes.set_ylabel(f"{comparison.with_limit('mask AP')}, points" if comparison.limit else "mask AP (points)")
        fps = [point[0] for point in points]
        if max(fps) / min(fps) > 12:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.09), ncols=len(libraries) + 1, handletextpad=0.2)
        place_labels(axes, points, _pareto_labels(comparison, rows), front, _named(comparison, rows, front))


def _named(comparison: Comparison, rows: Sequence[int], front: Sequence[int]) -> list[int]:
    """Give the places of the points that bear a name: all, or those on the line and the best of the others."""
    best = set(best_of(comparison, rows, MOST_NAMES))
    return [place for place, row in enumerate(rows) if row in best or place in front]


def _marks(comparison: Comparison, rows: Sequence[int]) -> str:
    return ", ".join(dict.fromkeys(mark.name for row in rows for mark in comparison.marks_of(row)))


def _pareto_labels(comparison: Comparison, rows: Sequence[int]) -> list[str]:
    """Names that tell these rows apart; the library is left out where the marker and the rest of the name suffice."""
    names = row_labels([comparison.rows[row] for row in rows])
    libraries = [comparison.text(row, "library") for row in rows]
    short = [name.replace(f" · {library}", "", 1) for name, library in zip(names, libraries, strict=True)]
    marked = list(zip(short, libraries, strict=True))
    return short if len(set(marked)) == len(marked) else names
