"""The training that came before a measurement: its facts, and a plot of its losses and evaluations."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from bench.schema.result import FinetuneResult
from reports.plots.picture import WIDTH, Picture
from reports.plots.style import FAINT, FAMILY_COLOURS, INK, figure
from reports.table.comparison import Comparison

NOT_LOSSES = ("iteration", "learning_rate", "total")
MAX_REINITIALISED = 6


def draw_training(comparison: Comparison, folder: Path) -> dict[int, Picture]:
    """Draw each training that left a curve, and give the pictures by row."""
    pictures: dict[int, Picture] = {}
    for number, row in enumerate(comparison.rows):
        training = row.result.finetune
        if training and len(training.curve) > 1:
            path = folder / f"training_{len(pictures) + 1}.png"
            _draw(training, path)
            caption = "Losses by name, means since the last point; their sum is what is optimised."
            if _evaluated(training):
                caption += " Right: mask AP (points) on the measured set; ringed: the weights measured afterwards."
            pictures[number] = Picture(path, comparison.labels[number], caption)
    return pictures


def training_facts(training: FinetuneResult) -> list[tuple[str, str]]:
    """The facts of a training as pairs of a name and a text; what is not known is left out."""
    anew = training.reinitialised
    more = f" and {len(anew) - MAX_REINITIALISED} more" if len(anew) > MAX_REINITIALISED else ""
    listed = f"{', '.join(anew[:MAX_REINITIALISED])}{more}"
    kept, speed = _kept(training), training.images_per_second
    facts = {
        "Start": training.start,
        "Begun anew": f"{len(anew)} parameters that depend on the classes: {listed}" if anew else "nothing",
        "Trained": f"{training.iterations} iterations, {training.epochs:.4g} epochs of {training.train_images} images",
        "Time": None if training.seconds is None else _duration(training.seconds),
        "Speed": None if speed is None else f"{speed:.1f} images/s",
        "Measured": None if kept is None else f"the weights of iteration {kept}, {training.checkpoint}",
        "SHA-256 of annotations": training.dataset_sha256,
    }
    return [(name, text) for name, text in facts.items() if text]


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
        colour = FAMILY_COLOURS[place % len(FAMILY_COLOURS)]
        style = ("-", "--", ":")[place // len(FAMILY_COLOURS) % 3]
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
    axes.plot(*zip(*evaluated, strict=True), "o-", color=FAMILY_COLOURS[0], markersize=4, linewidth=1.4)
    kept = [point for point in evaluated if point[0] == _kept(training)]
    if kept:
        axes.plot(*kept[0], "o", markersize=10, markerfacecolor="none", markeredgecolor=FAMILY_COLOURS[1])
        axes.annotate(f"{kept[0][1]:.1f}", kept[0], (0, -14), textcoords="offset points", ha="center", fontsize=8.5)
    axes.set_title("Mask AP", fontsize=9.5)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.margins(y=0.15)


def _kept(training: FinetuneResult) -> int | None:
    """The iteration whose weights were measured afterwards; None where the training did not come to its end."""
    if training.checkpoint is None:
        return None
    return training.best_iteration if training.checkpoint.startswith("best") else training.iterations


def _evaluated(training: FinetuneResult) -> list[tuple[float, float]]:
    """The iteration and the mask AP in points of each evaluation that has one."""
    entries = [(entry.get("iteration"), entry.get("mask_ap")) for entry in training.evaluations]
    return [(iteration, 100 * ap) for iteration, ap in entries if iteration is not None and ap is not None]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
