"""Write latencies as pytest-benchmark's JSON, for ``pytest-benchmark compare`` and ``pytest --benchmark-compare``.

There is one benchmark a row and boundary, in seconds, with the raw samples. The statistics are computed as in
pytest-benchmark's ``stats.Stats``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from bench.files.json_file import write_text_atomically
from bench.gate.rows import labels
from bench.schema.parts.speed import Timing
from bench.schema.row import Row
from bench.schema.settings import telling

FORMAT_VERSION = "5.3.1"
"""The version of pytest-benchmark that writes this format."""

BOUNDARIES = ("model", "end_to_end")


def write_pytest_benchmark(rows: Sequence[Row], path: Path) -> None:
    """Write :func:`document` atomically."""
    write_text_atomically(path, json.dumps(document(rows), indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """Give the content of the file; machine and commit are those of the first row that tells its machine."""
    machine = next((row.result.machine for row in rows if row.result.machine), None) or {}
    own = machine.get("maskbench") or {}
    started = max((row.result.started for row in rows if row.result.started), default=None)
    return {
        "machine_info": _machine_info(machine),
        "commit_info": {
            "id": own.get("git_commit") or "unversioned",
            "time": None,
            "author_time": None,
            "dirty": bool(own.get("git_dirty")),
            "project": "maskbench",
            "branch": "(unknown)",
        },
        "benchmarks": benchmarks(rows),
        "datetime": started or datetime.now(timezone.utc).isoformat(),
        "version": FORMAT_VERSION,
    }


def benchmarks(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Give an entry of ``benchmarks`` for each boundary of each row that ended well and was timed."""
    entries = []
    for label, row in zip(labels(rows), rows, strict=True):
        speed = row.result.speed
        if row.result.status != "ok" or speed is None:
            continue
        for boundary in BOUNDARIES:
            timing: Timing = getattr(speed, boundary)
            if timing.latency_ms:
                entries.append(_entry(label, row, boundary, timing))
    return entries


def _entry(label: str, row: Row, boundary: str, timing: Timing) -> dict[str, Any]:
    settings = {setting.key: setting.value(row.result) for setting in telling()}
    return {
        "group": boundary,
        "name": f"{label}[{boundary}]",
        "fullname": f"maskbench::{label}[{boundary}]",
        "params": {"model": row.model, "boundary": boundary, **settings},
        "param": boundary,
        "extra_info": {"clock": timing.clock, "job": row.job},
        "options": {},
        "stats": statistics([ms / 1e3 for ms in timing.latency_ms]),
    }


def statistics(seconds: Sequence[float]) -> dict[str, Any]:
    """Give the fields of ``pytest_benchmark.stats.Stats`` in its order, ``data`` and ``iterations``, in seconds.

    seconds: one sample or more

    stddev is that of a sample (n - 1), and 0 for a single one. stddev_outliers lie more than one stddev from the mean,
    iqr_outliers more than 1.5 times the interquartile range outside the quartiles; ld15iqr and hd15iqr are the lowest
    and the highest sample within that range. ops is in calls/s.
    """
    data = np.asarray(seconds, dtype=np.float64)
    mean = float(data.mean())
    stddev = float(data.std(ddof=1)) if len(data) > 1 else 0.0
    q1, q3 = quartiles(seconds)
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond = [int(np.sum((data < a) | (data > b))) for a, b in ((mean - stddev, mean + stddev), (low, high))]
    total = float(data.sum())
    return {
        "min": float(data.min()),
        "max": float(data.max()),
        "mean": mean,
        "stddev": stddev,
        "rounds": len(data),
        "median": float(np.median(data)),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond[1],
        "stddev_outliers": beyond[0],
        "outliers": f"{beyond[0]};{beyond[1]}",
        "ld15iqr": float(data[data >= low].min()),
        "hd15iqr": float(data[data <= high].max()),
        "ops": len(data) / total if total else 0.0,
        "total": total,
        "data": list(seconds),
        "iterations": 1,
    }


def quartiles(samples: Sequence[float]) -> tuple[float, float]:
    """Give the lower and the upper quartile as pytest-benchmark computes them.

    For an even number of samples they are the medians of the halves (Tukey's hinges, "method 2"), for an odd one
    weighted means ("method 3").
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    count = len(ordered)
    if count == 1:
        return float(ordered[0]), float(ordered[0])
    if count % 2 == 0:
        return float(np.median(ordered[: count // 2])), float(np.median(ordered[count // 2 :]))
    n, rest = divmod(count, 4)
    if rest == 1:
        low, high = (n - 1, 0.25), (3 * n, 0.75)
    else:
        low, high = (n, 0.75), (3 * n + 1, 0.25)
    first, third = (float(share * ordered[at] + (1 - share) * ordered[at + 1]) for at, share in (low, high))
    return first, third


def _machine_info(machine: dict[str, Any]) -> dict[str, Any]:
    """Describe the machine without what changes from run to run: pytest-benchmark warns of any difference."""
    cpu, gpu = machine.get("cpu") or {}, machine.get("gpu") or {}
    return {
        "node": "",
        "system": machine.get("os"),
        "python_version": machine.get("python"),
        "cpu": {"brand_raw": cpu.get("name"), "count": cpu.get("logical_cores")},
        "gpu": gpu.get("name"),
        "driver": gpu.get("driver_version"),
        "versions": machine.get("versions") or {},
    }
