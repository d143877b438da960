"""Write results as the JSON from which github-action-benchmark draws charts.

The formats are its tools customBiggerIsBetter and customSmallerIsBetter (``src/extract.ts``, ``BenchmarkResult``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.evaluation.intervals import interval
from bench.files.json_file import write_text_atomically
from bench.gate.rows import labels
from bench.schema.metrics import METRICS
from bench.schema.row import Row
from bench.schema.settings import telling
from reports.table.machine import machine_text, maskbench_text, versions_text

CHARTED = tuple(name for name, figure in METRICS.items() if "chart" in figure.shown)
"""The figures that have a chart."""

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
    """Give ``{name, unit, value, range, extra}`` for each figure of each row that ended well.

    A name is the model's label and the metric. It must be the same from run to run, since the action draws one line
    through all values of a name.
    """
    entries = []
    for label, row in zip(labels(rows), rows, strict=True):
        for name in metrics if row.result.status == "ok" else ():
            value = METRICS[name].figure(row.result)
            if value is None:
                continue
            entry = {"name": f"{label}: {name}", "unit": METRICS[name].unit, "value": value}
            if ends := interval(METRICS[name], row.result):
                entry["range"] = f"± {(ends[1] - ends[0]) / 2:.2g}"
            entries.append({**entry, "extra": _conditions(row)})
    return entries


def _conditions(row: Row) -> str:
    """Give the text that the chart shows while the pointer is on a value."""
    machine = row.result.machine or {}
    told = (setting.labels([row.result])[0] for setting in telling())
    lines = (
        ", ".join(text for text in told if text),
        machine_text(machine),
        versions_text(machine),
        f"maskbench {maskbench_text(machine)}",
    )
    return "\n".join(line for line in lines if line)
