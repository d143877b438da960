"""What each row costs: the plots of its latency, its stages and its memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bench.schema.metrics import FIGURES, MB, noise
from reports.cut import best_of, few_words
from reports.plots.picture import WIDTH, Picture
from reports.plots.style import FAINT, INK, STAGE_COLOURS, figure, log_axis, marked_label, row_axis, row_colours
from reports.table.columns import COLUMNS
from reports.table.comparison import Comparison

MAX_DOTS = 300
"""At most so many raw samples are drawn for one row; more would only be a darker smear."""


def latency(comparison: Comparison, folder: Path) -> Picture | None:
    """Draw the raw samples of the model boundary and their quartiles, a line for each row; None where there is none."""
    jobs = [(row, comparison.rows[row].result.speed) for row in _timed(comparison)]
    timings = {row: speed.model.latency_ms for row, speed in jobs if speed}
    if not timings:
        return None
    rows, colours = best_of(comparison, list(timings)), row_colours(comparison)
    few = few_words(len(rows), len(timings))
    rows.sort(key=lambda row: float(np.median(timings[row])))
    with figure(folder / "latency.png", WIDTH, 1.1 + 0.42 * len(rows)) as (_, axes):
        for place, row in enumerate(rows):
            _distribution(axes, place, timings[row], colours[row])
        row_axis(axes, [marked_label(comparison, row) for row in rows])
        _latency_scale(axes, [value for row in rows for value in timings[row]])
    caption = (
        "Every dot is one batch at the model boundary (at most 300 a row are drawn). Thick bar: the middle half; thin "
        "line: p5 to p95; white tick: median, with its value. Fastest on top. In brackets below a name: why its speed "
        "means less than it seems (see Conditions)."
    )
    return Picture(folder / "latency.png", "Latency of one batch", caption + few)


def stages(comparison: Comparison, folder: Path) -> Picture | None:
    """Draw the median times of the five stages one after the other, a bar for each row; None where there is none.

    A stage that was not timed, as decode and encode in older results, takes no place and is written as a dash.
    """
    rows = [row for row in _timed(comparison) if comparison.cell(row, "network_ms") is not None]
    if not rows:
        return None
    timed, rows = len(rows), best_of(comparison, rows)
    totals = {row: sum(comparison.cell(row, name) or 0.0 for name in STAGE_COLOURS) for row in rows}
    rows.sort(key=lambda row: totals[row])
    with figure(folder / "stages.png", WIDTH, 1.45 + 0.36 * len(rows)) as (fig, axes):
        left = np.zeros(len(rows))
        for name in STAGE_COLOURS:
            left += _stage_bars(axes, comparison, rows, name, left)
        furthest = np.maximum(left, _whole_marks(axes, comparison, rows))
        for place, row in enumerate(rows):
            text = _stage_texts(comparison, row, totals[row])
            axes.annotate(text, (furthest[place], place), (7, 0), textcoords="offset points", va="center", fontsize=8.5)
        row_axis(axes, [comparison.labels[row] for row in rows])
        axes.set_xlim(0, furthest.max() * 1.7)
        axes.set_xlabel("milliseconds a batch (median)")
        (whole, *handles), (name_of_whole, *names) = axes.get_legend_handles_labels()
        fig.legend([*handles, whole], [*names, name_of_whole], loc="outside upper left", ncols=4, handlelength=1.2)
    return Picture(
        folder / "stages.png", "Where the time goes", _stages_caption(comparison) + few_words(len(rows), timed)
    )


def _stage_bars(axes: Axes, comparison: Comparison, rows: Sequence[int], name: str, left: np.ndarray) -> np.ndarray:
    """Draw one stage of every row, hatched where its masks are noise, and give how long it took."""
    widths = np.array([comparison.cell(row, name) or 0.0 for row in rows])
    grey = np.array([comparison.noise(row, name) for row in rows])
    looks: tuple[tuple[np.ndarray, dict[str, Any], str], ...] = (
        (~grey, {"color": STAGE_COLOURS[name]}, ""),
        (grey, {"facecolor": "white", "edgecolor": FAINT, "hatch": "////", "linewidth": 0.8}, " of noise"),
    )
    for those, look, of_noise in looks:
        if those.any():
            label = COLUMNS[name].title + of_noise
            axes.barh(np.flatnonzero(those), widths[those], left=left[those], height=0.62, label=label, **look)
    return widths


def _whole_marks(axes: Axes, comparison: Comparison, rows: Sequence[int]) -> np.ndarray:
    """Mark the median of end to end, timed as a whole, and give it for each row."""
    name = "latency_ms_p50_end_to_end"
    results = [comparison.rows[row].result for row in rows]
    whole = np.array([FIGURES[name].figure(result) or 0.0 for result in results])
    colours = [FAINT if noise(name, result) else INK for result in results]
    places = range(len(rows))
    axes.scatter(whole, places, s=190, c="white", marker="|", linewidths=4.5)  # seen on a dark bar too
    axes.scatter(whole, places, s=170, c=colours, marker="|", linewidths=1.8, label="End to end, as a whole")
    return whole


def _stage_texts(comparison: Comparison, row: int, total: float) -> str:
    values = (comparison.cell(row, name) for name in STAGE_COLOURS)
    parts = " + ".join("\N{EN DASH}" if value is None else _short(value) for value in values)
    return f"{_short(total)} = {parts}"


def _stages_caption(comparison: Comparison) -> str:
    grey = comparison.noise_meaning(STAGE_COLOURS)
    return (
        "Median of each stage, timed in calls of their own, and their sum. Decode: read and decode the image file. "
        "Preprocess: resize and collate on the host. Network: host-to-device copy, normalise, pad, network, NMS. "
        "Postprocess: full-size masks on the device. Encode: masks to RLE on the host. Upright line: the median of end "
        "to end, timed as a whole: less than the sum where stages run at once, and apart from it where the machine was "
        "busy with other things. A dash: not timed." + (f" Hatched: {grey}." if grey else "")
    )


def memory(comparison: Comparison, folder: Path) -> Picture | None:
    """Draw each memory figure that was measured on an axis of its own, since the figures do not add up."""
    measured = [number for number, row in enumerate(comparison.rows) if row.result.memory]
    rows = best_of(comparison, measured)
    figures: dict[str, list[float | None]] = {
        "Parameters and buffers": [_module_mb(comparison, row) for row in rows],
        **{
            COLUMNS[name].title: [comparison.cell(row, name) for row in rows]
            for name in ("peak_allocated_mb", "peak_reserved_mb", "process_device_mb", "host_rss_mb")
        },
    }
    figures = {name: values for name, values in figures.items() if any(value is not None for value in values)}
    if not figures:
        return None
    colours = row_colours(comparison)
    path = folder / "memory.png"
    size = {"sharey": True, "squeeze": False}
    with figure(path, WIDTH if len(figures) > 2 else 8.4, 1.1 + 0.36 * len(rows), ncols=len(figures), **size) as (
        _,
        grid,
    ):
        for axes, (name, values) in zip(grid[0], figures.items(), strict=True):
            numbers = [value or 0.0 for value in values]
            axes.barh(range(len(rows)), numbers, height=0.62, color=[colours[row] for row in rows])
            for place, value in enumerate(values):
                text = "not measured" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
                style = {"color": FAINT, "style": "italic"} if value is None else {}
                at = (value or 0.0, place)
                axes.annotate(text, at, (4, 0), textcoords="offset points", va="center", fontsize=8.5, **style)
            row_axis(axes, [comparison.labels[row] for row in rows])
            axes.set_title(name.replace(" ", "\n", 1), fontsize=9.5)
            axes.set_xlim(0, max(numbers) * 1.45 or 1.0)
            axes.set_xticks([])
            axes.spines["bottom"].set_visible(False)
    caption = "Megabytes (10^6 bytes). The figures measure different things and must not be added. Less is better."
    return Picture(path, "Memory", caption + few_words(len(rows), len(measured)))


def _timed(comparison: Comparison) -> list[int]:
    return [number for number, row in enumerate(comparison.rows) if row.result.speed]


def _module_mb(comparison: Comparison, row: int) -> float | None:
    memory = comparison.rows[row].result.memory
    if memory is None or memory.parameters_bytes is None or memory.buffers_bytes is None:
        return None
    return (memory.parameters_bytes + memory.buffers_bytes) / MB


def _distribution(axes: Axes, place: int, samples: Sequence[float], colour: tuple[float, float, float]) -> None:
    values = np.asarray(samples, dtype=float)
    low, first, median, third, high = np.percentile(values, (5, 25, 50, 75, 95))
    # Samples are picked evenly and jittered by a fixed seed, so that the same results draw the same picture.
    dots = values[np.linspace(0, len(values) - 1, min(len(values), MAX_DOTS)).astype(int)]
    jitter = np.random.default_rng(0).uniform(0.18, 0.4, len(dots))
    axes.scatter(dots, place + jitter, s=7, color=colour, alpha=0.45, linewidths=0)
    axes.plot((low, high), (place, place), color=colour, linewidth=1.4, solid_capstyle="butt")
    axes.plot((first, third), (place, place), color=colour, linewidth=8, solid_capstyle="butt")
    axes.plot((median, median), (place - 0.14, place + 0.14), color="white", linewidth=1.8)
    axes.annotate(
        _short(float(median)), (median, place), (0, 6), textcoords="offset points", ha="center", fontsize=8.5, color=INK
    )


def _latency_scale(axes: Axes, samples: Sequence[float]) -> None:
    low, high = min(samples), max(samples)
    if low > 0 and high / low > 12:
        log_axis(axes)
        axes.set_xlabel("milliseconds a batch (logarithmic)")
        axes.tick_params(axis="x", which="minor", labelsize=8, labelcolor=FAINT)
    else:
        axes.set_xlim(0, high * 1.05)
        axes.set_xlabel("milliseconds a batch")


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
