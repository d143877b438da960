"""What the table has no room for: the facts, times, checks and configuration of one job."""

from __future__ import annotations

import json
from typing import Any

from bench.schema.facts import code_licence, weights_licence
from bench.schema.latency import TIMINGS, images_per_second, percentile
from bench.schema.metrics import FIGURES, noise
from bench.schema.parts.speed import SpeedResult, Timing
from bench.schema.result import Result
from bench.schema.row import Row
from reports.page.busy import busy_details
from reports.page.render import literal
from reports.page.seconds import seconds_table
from reports.table.checks import Check, expected, published
from reports.table.comparison import Comparison
from reports.table.machine import flat_text
from reports.text.conditions import CLOCKS


def job_details(comparison: Comparison, number: int) -> dict[str, Any]:
    """What the page shows of a row under "Jobs"."""
    row = comparison.rows[number]
    result, speed, accuracy = row.result, row.result.speed, row.result.accuracy
    facts = {
        "Result": row.shown,
        "Started": result.started,
        "Seconds": None if result.seconds is None else f"{result.seconds:.1f}",
        "Weights": row.weights,
        "SHA-256 of weights": result.model.weights_sha256 if result.model else None,
        "Licence": code_licence(result),
        "Licence of weights": weights_licence(result),
        "Published": flat_text(result.published) if result.published.get("mask_ap") is not None else None,
        "First call": ", ".join(f"{part.first_call_ms:.0f} ms" for part in speed.rounds) if speed else None,
        "Figures": accuracy.figures_absent if accuracy else None,
        "Detections": accuracy.detections if accuracy else None,
        "Evaluation": f"{accuracy.seconds:.1f} s" if accuracy and accuracy.seconds is not None else None,
    }
    return {
        "label": comparison.labels[number],
        "marks": comparison.marks_of(number),
        "busy": busy_details(result),
        "status": result.status,
        "reason": comparison.text(number, "reason"),
        "facts": [(name, value) for name, value in facts.items() if value is not None],
        "checks": checks(row),
        "notes": result.notes,
        "boundaries": _boundaries(result, speed) if speed else [],
        "seconds": seconds_table(result),
        "config": literal(json.dumps(result.config, indent=2, ensure_ascii=False)),
        "choices": flat_text(result.choices),
    }


def checks(row: Row) -> list[tuple[str, str, str]]:
    """The checks of a row's mask AP: a name, a text, and ``ok``, ``bad`` or "" where nothing could be compared."""
    lines = []
    if against_published := published(row):
        lines.append(("Published AP", against_published.text, "ok" if against_published.holds else "bad"))
    against_expected = expected(row)
    if isinstance(against_expected, Check):
        lines.append(("Expected AP", against_expected.text, "ok" if against_expected.holds else "bad"))
    elif against_expected:
        lines.append(("Expected AP", against_expected, ""))
    return lines


def _boundaries(result: Result, speed: SpeedResult) -> list[tuple[str, ...]]:
    """The name, FPS, p50, p95, p99, batches and clock of the two boundaries timed whole and of the five stages."""
    grey = {figure.timing for name, figure in FIGURES.items() if noise(name, result)}
    table = []
    for field in TIMINGS:
        timing: Timing | None = getattr(speed, field)
        if timing is None:  # a file of before this stage was timed
            continue
        name = field.replace("_", " ") if field in ("model", "end_to_end") else f"{field} (stage)"
        fps = images_per_second(speed.batch_size, timing.latency_ms)
        percentiles = [percentile(timing.latency_ms, q) for q in (50, 95, 99)]
        numbers = ["" if value is None else f"{value:.2f}" for value in (fps, *percentiles)]
        shown = f"{name}, masks of noise" if field in grey else name
        table.append((shown, *numbers, str(len(timing.latency_ms)), CLOCKS.get(timing.clock, timing.clock)))
    return table
