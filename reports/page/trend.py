"""The trend page, which shows each figure of each model over the runs of a history and marks its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files.json_file import write_text_atomically
from bench.history.change_points import ALPHA, MIN_POINTS, MIN_SEGMENT, SMALLEST_SHARE, Step, find_steps
from bench.history.runs import Run, clock_notes
from bench.history.store import History
from bench.schema import metrics
from reports.page.render import render
from reports.page.series import Point, Series, read_series
from reports.plots.user_settings import without_user_settings
from reports.table.columns import COLUMNS, decimals_of

METRICS = tuple(name for name, figure in metrics.METRICS.items() if "trend" in figure.shown)

WIDTH, HEIGHT = 560, 170
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 24, 22
"""Width, height and margins of a chart, in pixels of the SVG."""

SMALLEST_RANGE = 0.04
"""The least that a vertical axis spans, as a share of the figure: noise at full height would read as an alarm."""

RULES = {
    **{"segment": MIN_SEGMENT, "points": MIN_POINTS},
    **{"share": f"{100 * SMALLEST_SHARE:g} %", "alpha": f"{100 * ALPHA:g} %"},
}
"""What makes a step, as the page says it."""


@dataclass(frozen=True)
class Trend:
    """One figure of one series, and its steps; ``index`` of a step is that of its first point in ``points``."""

    series: Series
    metric: str
    points: list[Point]
    steps: list[Step]

    def verdict(self, step: Step) -> str:
        """``better``, ``worse``, or "" where neither direction of the figure is better."""
        better = COLUMNS[self.metric].better
        if better is None:
            return ""
        return "better" if (step.after > step.before) == (better == "high") else "worse"


def write_trend(
    history: History, out: Path, branch: str | None = None, model: str | None = None, last: int | None = None
) -> list[Trend]:
    """Write the page to ``out``, one HTML file that needs nothing else, and give the trends that it shows.

    branch: only the runs of this branch are shown
    model: only the results of the model configuration of this name are shown
    last: only so many of the newest runs are shown

    Raises:
        UserError: there is no history, no run of that branch or no result of that model, or ``out`` cannot be written.
    """
    everything = history.runs()
    runs = (history.runs(branch) if branch else everything)[-last if last else 0 :]
    all_series = read_series(history, runs, model)
    trends = [trend for series in all_series for trend in _trends(series)]
    page = render(
        "trend.html",
        subtitle=_subtitle(runs, branch),
        charts=[
            (series, [_chart(trend, runs) for trend in trends if trend.series is series], _unfinished(series))
            for series in all_series
        ],
        steps=[_step_row(trend, step) for trend in trends for step in trend.steps],
        without_step=without_step(trends),
        notes=_notes(everything, runs),
        runs=[(run, date_text(run)) for run in reversed(runs)],
        rules=RULES,
        size=(WIDTH, HEIGHT),
    )
    try:
        write_text_atomically(out, page)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}") from error
    return trends


def without_step(trends: Sequence[Trend]) -> str:
    """Say that no figure has stepped, of the series that are long enough to tell."""
    if not trends:
        return "No figure was measured, so nothing is known of steps."
    longest = max(len(trend.points) for trend in trends)
    short = sum(len(trend.points) < MIN_POINTS for trend in trends)
    if short == len(trends):
        runs = "one run" if longest == 1 else f"{longest} runs"
        most = f"no series has more than {runs}, and it takes {MIN_POINTS}"
        return f"Whether a figure has stepped cannot be told yet: {most}."
    text = "No figure has stepped to another level"
    return text + (
        f", of the {len(trends) - short} of {len(trends)} that have {MIN_POINTS} runs or more." if short else "."
    )


def _trends(series: Series) -> list[Trend]:
    """The figures that a series has, each with its steps."""
    all_points = {metric: series.points(metric) for metric in METRICS}
    return [
        Trend(series, metric, points, find_steps([point.value for point in points]))
        for metric, points in all_points.items()
        if points
    ]


def _notes(everything: Sequence[Run], runs: Sequence[Run]) -> list[str]:
    """What the clocks say of the runs that are shown, each against the run that was appended before it."""
    shown = {run.id for run in runs}
    pairs = zip([None, *everything], everything, strict=False)
    return [note for before, run in pairs if run.id in shown for note in clock_notes(run, before)]


def number_text(metric: str, value: float) -> str:
    """The value as the table of a comparison prints it, with a comma between thousands."""
    return f"{value:,.{decimals_of(metric, value)}f}"


def share_text(step: Step) -> str:
    """The size of a step in percent of the level before it: ``+5.1 %``."""
    return "from 0" if step.share is None else f"{100 * step.share:+.1f} %"


def date_text(run: Run) -> str:
    """The time when a run was measured, or else when it was appended: ``2026-11-22 13:00 UTC``."""
    return f"{(run.measured or run.appended)[:16].replace('T', ' ')} UTC"


def _subtitle(runs: Sequence[Run], branch: str | None) -> str:
    count = f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
    branches = sorted({run.branch for run in runs if run.branch})
    where = branch or (branches[0] if len(branches) == 1 else f"{len(branches)} branches" if branches else "no branch")
    days = dict.fromkeys((date_text(runs[0])[:10], date_text(runs[-1])[:10])) if runs else {}
    return " · ".join((count, where, " to ".join(days)))


def _chart(trend: Trend, runs: Sequence[Run]) -> dict[str, Any]:
    """What the template draws of a trend, at places in pixels of the SVG."""
    column, points = COLUMNS[trend.metric], trend.points
    low, high, ticks = _range(points)

    def x(place: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(runs), 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low), 1)

    return {
        **{"title": column.title, "description": column.description},
        "unit": column.unit,
        "better": {"high": "higher is better", "low": "lower is better", None: ""}[column.better],
        "latest": number_text(trend.metric, points[-1].value),
        "ticks": [(y(tick), f"{tick:,.6g}") for tick in ticks],
        "ends": [(x(place), f"run {runs[place].id}") for place in dict.fromkeys((0, len(runs) - 1))],
        "levels": [(x(first), x(last), y(level)) for first, last, level in _levels(trend)],
        "points": [
            {
                **{"x": x(point.place), "y": y(point.value), "text": _point_text(trend.metric, point)},
                "ends": None if point.low is None or point.high is None else (y(point.low), y(point.high)),
            }
            for point in points
        ],
        "steps": [
            {
                "x": x((points[step.index - 1].place + points[step.index].place) / 2),
                **{"size": share_text(step), "verdict": trend.verdict(step)},
                "text": f"{share_text(step)} at {points[step.index].run.name}",
            }
            for step in trend.steps
        ],
    }


def _range(points: Sequence[Point]) -> tuple[float, float, list[float]]:
    """The lower and the upper end of the vertical axis, and its ticks."""
    values = [value for point in points for value in (point.value, point.low, point.high) if value is not None]
    low, high = min(values), max(values)
    middle = (low + high) / 2
    half = max((high - low) / 2 * 1.08, SMALLEST_RANGE / 2 * abs(middle), 1e-9)
    low, high = middle - half, middle + half
    return low, high, [tick for tick in _nice_numbers(low, high) if low <= tick <= high]


def _nice_numbers(low: float, high: float) -> list[float]:
    with without_user_settings():
        from matplotlib.ticker import MaxNLocator
    return [float(number) for number in MaxNLocator(4).tick_values(low, high)]


def _levels(trend: Trend) -> list[tuple[int, int, float]]:
    """The first place, the last place and the median of each stretch between two steps; none where there is no step."""
    if not trend.steps:
        return []
    bounds = [0, *(step.index for step in trend.steps), len(trend.points)]
    values = [trend.steps[0].before, *(step.after for step in trend.steps)]
    return [
        (trend.points[first].place, trend.points[last - 1].place, value)
        for (first, last), value in zip(pairwise(bounds), values, strict=True)
    ]


def _point_text(metric: str, point: Point) -> str:
    unit = COLUMNS[metric].unit
    text = f"{number_text(metric, point.value)} {unit}".strip()
    if point.low is not None and point.high is not None:
        text += f" [{number_text(metric, point.low)}, {number_text(metric, point.high)}]"
    commit = f"commit {point.run.commit}" if point.run.commit else "no commit"
    return f"{text}\n{commit}\n{point.run.branch or 'no branch'}, {date_text(point.run)}, run {point.run.id}"


def _unfinished(series: Series) -> list[str]:
    """The results of a series that did not end well, the newest first."""
    return [
        f"run {one.run.id} ({one.run.name}): {one.row.result.status}"
        for one in reversed(series.measured)
        if one.row.result.status not in ("ok", "skipped")
    ]


def _step_row(trend: Trend, step: Step) -> dict[str, Any]:
    run = trend.points[step.index].run
    before, after = (number_text(trend.metric, value) for value in (step.before, step.after))
    return {
        **{"label": trend.series.label, "setting": trend.series.setting, "run": run, "date": date_text(run)},
        **{"metric": COLUMNS[trend.metric].title, "unit": COLUMNS[trend.metric].unit, "before": before, "after": after},
        **{"size": share_text(step), "verdict": trend.verdict(step)},
        "last_before": trend.points[step.index - 1].run,
    }
