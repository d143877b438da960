"""The 95 % confidence intervals of reports and exports: of a median latency, of FPS, of mask AP. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from bench.schema.facts import untrained
from bench.schema.latency import rounds_of
from bench.schema.metrics import Figure
from bench.schema.parts.speed import SpeedResult
from bench.schema.result import Result

CONFIDENCE = 0.95

ENOUGH_ROUNDS = 3
"""Rounds that it takes for an interval from their scatter: with two, the factor of Student's distribution is 12.7."""

_EXACT_UP_TO = 1000
"""Number of samples up to which the ranks of the median's interval come from the binomial distribution itself."""


def interval(figure: Figure, result: Result) -> tuple[float, float] | None:
    """Give the lower and the upper end of a figure's interval, in its unit; None where it has none."""
    speed, accuracy = result.speed, result.accuracy
    if figure.interval == "fps":
        return fps_interval(speed) if speed else None
    if figure.interval == "median":
        return median_interval(getattr(speed, figure.timing).latency_ms) if speed else None
    if figure.interval == "bootstrap" and accuracy and accuracy.confidence_interval and not untrained(result):
        low, high = accuracy.confidence_interval
        return 100 * low, 100 * high
    return None


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Give the confidence interval of the median, from the order of the samples alone: no distribution is assumed.

    Its ends are the samples of ranks j and n + 1 - j, where j is the greatest with P(B < j) <= (1 - confidence) / 2 for
    a binomial B of n tosses (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2). It is None
    where no such rank exists: at 95 %, with fewer than six samples.
    """
    n = len(samples)
    rank = _lower_rank(n, (1 - confidence) / 2)
    if rank < 1:
        return None
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    return float(ordered[rank - 1]), float(ordered[n - rank])


def median_reach(samples: Sequence[float]) -> float | None:
    """Give the longer side of :func:`median_interval` as a share of the median; None without an interval."""
    interval = median_interval(samples)
    if interval is None:
        return None
    middle = float(np.median(samples))
    return max(middle - interval[0], interval[1] - middle) / middle


def _lower_rank(n: int, tail: float) -> int:
    """Give the greatest j with P(B < j) <= tail, for B of n fair tosses; 0 where there is none."""
    if n > _EXACT_UP_TO:
        deviations = NormalDist().inv_cdf(1 - tail)
        return int(n / 2 - deviations * math.sqrt(n) / 2)
    rank, below, total = 0, 0, 2**n
    while rank < n and below + math.comb(n, rank) <= tail * total:
        below += math.comb(n, rank)
        rank += 1
    return rank


def fps_interval(speed: SpeedResult) -> tuple[float, float] | None:
    """Give the 95 % confidence interval of FPS at the model boundary, in images per second.

    It is the wider one of two intervals of the mean latency: from the scatter of the batches, and from the scatter of
    the rounds where there are three or more. Batches scatter also because images differ, so FPS measured again on the
    same images scatters less. The interval is None with fewer than two batches, and where it would reach 0.
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
    """Give half the width of Student's interval of the mean."""
    # A worker needs the rest of this module alone, and would take a fifth of a second for this import.
    from scipy.special import stdtrit

    n = len(values)
    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * np.std(values, ddof=1) / math.sqrt(n))
