"""Summaries of raw latencies, and how far they can be trusted: intervals, and the spread between rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from bench.evaluation.bootstrap import CONFIDENCE
from bench.schema.latency import images_per_second, rounds_of
from bench.schema.result import SpeedResult

ENOUGH_ROUNDS = 3
"""Rounds from which on their scatter says something: with two the factor of Student's distribution is 12.7."""


def fps_interval(speed: SpeedResult) -> tuple[float, float] | None:
    """The 95 % confidence interval of FPS at the model boundary: of the two intervals of the mean latency, from the
    scatter of the batches and (with three rounds or more) from the scatter of the rounds, the wider.

    Batches scatter also because images differ, so what is measured again on the same images scatters less. None with
    fewer than two batches, and where they scatter so much that the interval would reach 0.
    """
    samples = speed.model.latency_ms
    if len(samples) < 2:
        return None
    mean = float(np.mean(samples))
    reach = _reach(samples)
    means = [float(np.mean(part)) for part in rounds_of(speed)]
    if len(means) >= ENOUGH_ROUNDS:
        reach = max(reach, _reach(means))
    if reach >= mean:
        return None
    return 1e3 * speed.batch_size / (mean + reach), 1e3 * speed.batch_size / (mean - reach)


def _reach(values: Sequence[float]) -> float:
    """Half of Student's interval of the mean."""
    n = len(values)
    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * np.std(values, ddof=1) / math.sqrt(n))


def spread_between_rounds(speed: SpeedResult) -> float | None:
    """Highest minus lowest FPS of the rounds, as a share of their mean; None with one round."""
    fps = [images_per_second(speed.batch_size, part) or 0.0 for part in rounds_of(speed)]
    return (max(fps) - min(fps)) / (sum(fps) / len(fps)) if len(fps) > 1 else None


def rounds_text(speed: SpeedResult) -> str:
    """Number of rounds and their spread, ``3, 0.7 % apart``."""
    spread = spread_between_rounds(speed)
    return str(len(speed.rounds)) + ("" if spread is None else f", {100 * spread:.2g} % apart")


def warm_up_text(speed: SpeedResult) -> str:
    """Batches of the warm-up, the longest of all rounds, and whether latencies had stopped falling by then."""
    longest = max(len(part.warmup_ms) for part in speed.rounds)
    if not longest:
        return "none but the first call"
    stable = all(part.warmup_stable for part in speed.rounds)
    return f"{longest} batches, " + ("until they took no less time" if stable else "still getting faster at its end")
