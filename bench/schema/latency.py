"""What raw latencies come to: FPS, percentiles, and the same round by round. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from bench.schema.result import SpeedResult, Timing


def images_per_second(batch_size: int, latency_ms: Sequence[float]) -> float | None:
    """Images over the summed time of all batches, as ``mmdet/utils/benchmark.py`` defines FPS."""
    total_ms = float(np.sum(latency_ms))
    return batch_size * len(latency_ms) * 1e3 / total_ms if total_ms > 0 else None


def percentile(latency_ms: Sequence[float], q: float) -> float | None:
    """Percentile of the raw samples, linearly interpolated between neighbours (numpy's default)."""
    return float(np.percentile(latency_ms, q)) if len(latency_ms) else None


def rounds_of(speed: SpeedResult, timing: Timing | None = None) -> list[list[float]]:
    """The latencies of a boundary or stage in milliseconds, round by round; of the ``model`` boundary if not told."""
    samples = (timing or speed.model).latency_ms
    ends = accumulate((part.samples for part in speed.rounds), initial=0)
    return [samples[first:last] for first, last in pairwise(ends)]
