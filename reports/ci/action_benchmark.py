"""Results in the JSON that github-action-benchmark draws its charts from (its tools customBiggerIsBetter and
customSmallerIsBetter: ``src/extract.ts``, ``BenchmarkResult``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.evaluation.intervals import fps_interval, median_interval
from bench.gate.rows import labels, setting_of
from bench.schema.json_file import write_text_atomically
from bench.schema.metrics import METRICS
from bench.schema.result import Result
from bench.schema.row import Row
from reports.table.machine import machine_text, maskbench_text, versions_text

CHARTED = (
    *("fps_model", "fps_end_to_end"),
    *("mask_ap", "mask_ap50", "mask_ap75", "mask_ap_small", "mask_ap_medium", "mask_ap_large", "boundary_ap"),
    *("latency_ms_p50", "latency_ms_p95", "latency_ms_p99"),
    *("peak_allocated_mb", "peak_reserved_mb", "process_device_mb", "host_rss_mb", "energy_j_per_image"),
)
"""Names of :data:`bench.schema.metrics.METRICS`; a chart each."""

FILES = {"high": "bigger_is_better.json", "low": "smaller_is_better.json"}


def write_action_benchmark(rows: Sequence[Row], out: Path) -> list[Path]:
    """Write ``bigger_is_better.json`` (FPS, AP) and ``smaller_is_better.json`` (latencies, memory, energy)."""
    paths = []
    for better, name in FILES.items():
        entries = action_benchmark(rows, [metric for metric in CHARTED if METRICS[metric].better == better])
        write_text_atomically(out / name, json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        paths.append(out / name)
    return paths


def action_benchmark(rows: Sequence[Row], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """``{name, unit, value, range, extra}`` for each figure that a row has; none of a row that did not end well.

    A name is the model's label and the metric, the same from run to run: the action draws one line through all values
    of a name.
    """
    entries = []
    for label, row in zip(labels(rows), rows, strict=True):
        for name in metrics if row.result.status == "ok" else ():
            value = METRICS[name].figure(row.result)
            if value is None:
                continue
            entry = {"name": f"{label}: {name}", "unit": METRICS[name].unit, "value": value}
            if ends := interval(row.result, name):
                entry["range"] = f"± {(ends[1] - ends[0]) / 2:.2g}"
            entries.append({**entry, "extra": _conditions(row)})
    return entries


def interval(result: Result, metric: str) -> tuple[float, float] | None:
    """The 95 % interval that the report states of the metric, in its unit; None where it states none."""
    speed, accuracy = result.speed, result.accuracy
    if metric == "fps_model" and speed:
        return fps_interval(speed)
    if metric == "latency_ms_p50" and speed:
        return median_interval(speed.model.latency_ms)
    if metric == "mask_ap" and accuracy and accuracy.confidence_interval:
        low, high = accuracy.confidence_interval
        return 100 * low, 100 * high
    return None


def _conditions(row: Row) -> str:
    """What the chart shows when the pointer is on a value."""
    machine = row.result.machine or {}
    setting = f"{setting_of(row, 'dataset')}, {row.result.config.get('device')}, {setting_of(row, 'precision')}"
    lines = (
        f"{setting}, batch {setting_of(row, 'batch_size')}",
        machine_text(machine),
        versions_text(machine),
        f"maskbench {maskbench_text(machine)}",
    )
    return "\n".join(line for line in lines if line)
