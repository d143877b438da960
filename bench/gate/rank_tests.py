"""Rank tests: whether two sets of rounds differ, and by how much, with an interval.

Independent sets are tested by Mann-Whitney, with the Hodges-Lehmann shift; pairs by Wilcoxon's signed ranks, with the
median of the Walsh averages. The intervals are those of the same tests inverted (Hollander, Wolfe
& Chicken, Nonparametric Statistical Methods, 3rd ed., sections 3.3, 4.2 and 4.3). Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from bench.evaluation.bootstrap import Difference
from bench.evaluation.intervals import CONFIDENCE

LEAST_ROUNDS = 6
"""Least number of rounds a side: with fewer, even a complete separation does not reach p < 0.002 (as in asv's
``is_different``)."""


def unpaired(base: Sequence[float], head: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """Give how much ``head`` lies above ``base``, for n and m independent values.

    The p-value is exact where no two values are equal, else it is that of the normal approximation, corrected for ties.

    Raises:
        ValueError: a side is empty.
    """
    b, h = _finite(base), _finite(head)
    shifts = np.sort(np.subtract.outer(h, b).ravel())
    ties = len(np.unique(np.concatenate([b, h]))) < len(b) + len(h)
    p = float(stats.mannwhitneyu(h, b, method="asymptotic" if ties else "exact").pvalue)
    deviation = np.sqrt(len(b) * len(h) * (len(b) + len(h) + 1) / 12)
    return _estimate(shifts, deviation, p, confidence)


def least_unpaired(base_rounds: int, head_rounds: int) -> float:
    """Give the least p-value of :func:`unpaired`: of all orders of the values, two separate the sides completely."""
    return 2 / math.comb(base_rounds + head_rounds, base_rounds)


def paired(base: Sequence[float], head: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """Give how much ``head`` lies above ``base``, for n pairs of values measured right after each other.

    The p-value is exact where no two differences are equally large and none is 0.

    Raises:
        ValueError: the sides are empty or differ in length.
    """
    b, h = _finite(base), _finite(head)
    if len(b) != len(h):
        raise ValueError(f"{len(b)} and {len(h)} values, must be pairs")
    n, differences = len(b), h - b
    averages = np.add.outer(differences, differences)[np.triu_indices(n)] / 2
    if not differences.any():
        return Difference(0.0, 0.0, 0.0, 1.0)
    sizes = np.abs(differences)
    ties = len(np.unique(sizes)) < n or not sizes.all()
    p = float(stats.wilcoxon(differences, method="approx" if ties else "exact").pvalue)
    deviation = np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return _estimate(np.sort(averages), deviation, p, confidence)


def least_paired(pairs: int) -> float:
    """Give the least p-value of :func:`paired`: of all signs of the differences, two are all alike."""
    return float(2.0 ** (1 - pairs))


def _estimate(ordered: np.ndarray, deviation: float, p: float, confidence: float) -> Difference:
    """Give the median of the ordered shifts, and as the interval the two shifts at the test's critical rank."""
    quantile = float(stats.norm.ppf((1 + confidence) / 2))
    # Half a step is the normal distribution's correction for a statistic that is a whole number.
    rank = max(0, math.floor(len(ordered) / 2 - quantile * float(deviation) - 0.5))
    return Difference(float(np.median(ordered)), float(ordered[rank]), float(ordered[-1 - rank]), p)


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if not len(array) or not np.isfinite(array).all():
        raise ValueError("values must be finite, one or more")
    return array
