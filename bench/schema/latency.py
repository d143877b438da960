"""Figures of raw latencies: FPS, percentiles, and the latencies of each round."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from bench.schema.parts.speed import SpeedResult, Timing

TIMINGS = ("model", "end_to_end", "decode", "preprocess", "network", "postprocess", "encode")
"""The fields of a SpeedResult that hold latencies; ``decode`` and ``encode`` may be None."""


def images_per_second(batch_size: int, latency_ms: Sequence[float]) -> float | None:
    """Give images over the summed time of all batches, as ``mmdet/utils/benchmark.py`` defines FPS.

    It is None without samples.
    """
    total_ms = math.fsum(latency_ms)
    return batch_size * len(latency_ms) * 1e3 / total_ms if total_ms > 0 else None


def percentile(latency_ms: Sequence[float], q: float) -> float | None:
    """Give a percentile of the raw samples, interpolated linearly as by ``numpy.percentile``.

    It is None without samples.
    """
    if not latency_ms:
        return None
    ordered = sorted(latency_ms)
    place = q / 100 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def rounds_of(speed: SpeedResult, timing: Timing | None = None) -> list[list[float]]:
    """Give the latencies of each round in milliseconds, of one boundary or stage; without ``timing`` of ``model``."""
    samples = (timing or speed.model).latency_ms
    ends = accumulate((part.samples for part in speed.rounds), initial=0)
    return [samples[first:last] for first, last in pairwise(ends)]


def first_rounds(speed: SpeedResult, count: int) -> SpeedResult:
    """Give a speed with its first ``count`` rounds alone."""
    rounds = speed.rounds[:count]
    batches = sum(part.samples for part in rounds)

    def cut(timing: Timing) -> Timing:
        wall = timing.wall_ms[:batches] if timing.wall_ms is not None else None
        return Timing(timing.latency_ms[:batches], timing.clock, wall)

    timings: dict[str, Any] = {name: cut(timing) for name in TIMINGS if (timing := getattr(speed, name))}
    return dataclasses.replace(
        speed,
        **timings,
        rounds=rounds,
        detections_per_image=speed.detections_per_image[: batches * speed.batch_size],
        image_sizes=speed.image_sizes[: batches * speed.batch_size],
        input_sizes=speed.input_sizes[:batches],
    )
