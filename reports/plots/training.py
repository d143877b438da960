"""The plot of the training that came before a measurement: its losses and its evaluations."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from bench.schema.parts.training import FinetuneResult
from reports.plots.palette import HUES
from reports.plots.picture import WIDTH, Picture
from reports.plots.style import FAINT, INK, figure
from reports.table.comparison import Comparison
from reports.text.training import kept_iteration

NOT_LOSSES = ("iteration", "learning_rate", "total")


def trained_rows(comparison: Comparison) -> list[int]:
    """The rows that were trained and whose training left a curve."""
    trainings = [(number, row.result.finetune) for number, row in enumerate(comparison.rows)]
    return [number for number, training in trainings if training and len(training.curve) > 1]


def draw_training(comparison: Comparison, number: int, path: Path) -> Picture:
    """Draw the training of one of the :func:`trained_rows`."""
    training = comparison.rows[number].result.finetune
    assert training is not None
    _draw(training, path)
    caption = "Losses by name, means since the last point; their sum is what is optimised."
    if _evaluated(training):
        caption += " Right: mask AP (points) on the measured set; ringed: the weights measured afterwards."
    return Picture(path, comparison.labels[number], caption)


def _draw(training: FinetuneResult, path: Path) -> None:
    evaluated = _evaluated(training)
    widths = {"ncols": 2, "width_ratios": (1.7, 1)} if evaluated else {}
    with figure(path, WIDTH, 3.1, squeeze=False, **widths) as (fig, grid):
        axes = grid[0][0]
        _losses(axes, training)
        if evaluated:
            _evaluations(grid[0][1], training, evaluated)
        fig.supxlabel("iteration", fontsize=9)


def _losses(axes: Axes, training: FinetuneResult) -> None:
    iterations = [entry["iteration"] for entry in training.curve]
    names = list(dict.fromkeys(name for entry in training.curve for name in entry if name not in NOT_LOSSES))
    if all("total" in entry for entry in training.curve):
        axes.plot(iterations, [entry["total"] for entry in training.curve], color=INK, linewidth=1.8, label="total")
    for place, name in enumerate(names if len(names) > 1 else ()):
        colour = HUES[place % len(HUES)]
        style = ("-", "--", ":")[place // len(HUES) % 3]
        values = [entry.get(name, float("nan")) for entry in training.curve]
        axes.plot(iterations, values, style, color=colour, linewidth=1.1, label=name)
    # A schedule of steps divides by 10. A cosine halves its rate too at its end, but there the rate is near 0 already.
    highest = max((entry.get("learning_rate", 0.0) for entry in training.curve), default=0.0)
    for before, after in zip(training.curve, training.curve[1:], strict=False):
        rate = before.get("learning_rate", 0.0)
        if rate > 2 * after.get("learning_rate", 0.0) > 0 and rate > 0.02 * highest:
            axes.axvline(after["iteration"], color=FAINT, linewidth=0.8, linestyle=":")
    axes.set_title("Loss (dotted: learning rate lowered)", fontsize=9.5)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.legend(fontsize=7.5, ncols=1 + len(names) // 8)


def _evaluations(axes: Axes, training: FinetuneResult, evaluated: list[tuple[float, float]]) -> None:
    axes.plot(*zip(*evaluated, strict=True), "o-", color=HUES[0], markersize=4, linewidth=1.4)
    kept = [point for point in evaluated if point[0] == kept_iteration(training)]
    if kept:
        axes.plot(*kept[0], "o", markersize=10, markerfacecolor="none", markeredgecolor=HUES[1])
        axes.annotate(f"{kept[0][1]:.1f}", kept[0], (0, -14), textcoords="offset points", ha="center", fontsize=8.5)
    axes.set_title("Mask AP", fontsize=9.5)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.margins(y=0.15)


def _evaluated(training: FinetuneResult) -> list[tuple[float, float]]:
    """The iteration and the mask AP in points of each evaluation that has one."""
    entries = [(entry.get("iteration"), entry.get("mask_ap")) for entry in training.evaluations]
    return [(iteration, 100 * ap) for iteration, ap in entries if iteration is not None and ap is not None]
