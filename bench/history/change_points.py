"""Change points: where a series of figures has stepped to another level, and by how much.

ruptures proposes a segmentation by PELT (Killick, Fearnhead & Eckley 2012). Each of its steps must then pass Student's
test between the segments on its two sides, corrected for the number of places at which it could have been. The test is
needed because a penalty alone is only as good as the estimate of the noise, which is poor for ten points. This module
imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import ruptures
from scipy.stats import t as student

MIN_SEGMENT = 4
"""Least number of points at one level; Student's test could not tell fewer from the noise."""

MIN_POINTS = 2 * MIN_SEGMENT
"""Least number of points in which a step is searched."""

SMALLEST_SHARE = 0.01
"""The smallest step, as a share of the level; a smaller one is none, however little the figure scatters."""

ALPHA = 0.01
"""The probability, approximately, of a step in a series of independent points that has none. Of 1,000 series of normal
noise, 4 got one at 40 points, and 10 to 17 at 8 to 20 points; where neighbours correlate by 0.4, a fifth got one."""

PENALTY = 3.0
"""PELT's penalty for a change point, divided by log(points) and the variance of the noise. 2 would be the Bayesian
information criterion for a level and a place."""

OUTLIER_AT = 4.0
"""How many standard deviations an outlier is from the median of its neighbours, at least."""


@dataclass(frozen=True)
class Step:
    """A lasting change of level.

    index: the first point at the new level
    before, after: median of the points since the previous step, and of those up to the next one
    """

    index: int
    before: float
    after: float

    @property
    def share(self) -> float | None:
        """The change as a share of ``before``; None where that is 0."""
        return (self.after - self.before) / self.before if self.before else None


def find_steps(values: Sequence[float], smallest_share: float = SMALLEST_SHARE) -> list[Step]:
    """Return the steps of a series, in the order of its points, which should be evenly spaced and independent.

    Positive values are compared by their logarithm, so that a step is a ratio at any level. A single point that stands
    apart is an outlier and no step; a drift becomes a staircase. Fewer than :data:`MIN_POINTS` values have no step.
    """
    points = np.asarray(values, dtype=np.float64)
    if len(points) < MIN_POINTS:
        return []
    scale = np.log(points) if bool((points > 0).all()) else points / (float(np.median(np.abs(points))) or 1.0)
    noise = max(noise_of(scale), smallest_share / 4)
    filtered = _without_outliers(scale, noise)
    search = ruptures.KernelCPD(kernel="linear", min_size=MIN_SEGMENT).fit(filtered[:, np.newaxis])
    proposed = search.predict(pen=PENALTY * math.log(len(points)) * noise**2)[:-1]
    places = _significant(filtered, [int(place) for place in proposed], smallest_share)
    levels = [float(np.median(part)) for part in np.split(points, places)]
    return [Step(place, *level) for place, level in zip(places, pairwise(levels), strict=True)]


def noise_of(points: np.ndarray) -> float:
    """Estimate the standard deviation of the noise of float64 (N,), by the median absolute deviation of differences.

    The differences are those of neighbours. Steps and single outliers do not change the estimate, as long as most
    neighbours are at one level.
    """
    differences = np.diff(points)
    deviation = float(np.median(np.abs(differences - np.median(differences))))
    return deviation / 0.6745 / math.sqrt(2)


def _without_outliers(points: np.ndarray, noise: float) -> np.ndarray:
    """Replace outliers by the median of themselves and three neighbours on each side, as Hampel's filter does.

    At the ends of the series it is the median of the first or the last seven. The median of seven keeps a level of
    :data:`MIN_SEGMENT` points, and removes three points that stand apart.
    """
    window = 2 * MIN_SEGMENT - 1
    medians = np.median(np.lib.stride_tricks.sliding_window_view(points, window), axis=1)
    around = np.pad(medians, window // 2, mode="edge")
    return np.where(np.abs(points - around) > OUTLIER_AT * noise, around, points)


def _significant(points: np.ndarray, places: Sequence[int], smallest: float) -> list[int]:
    """Return the places whose step is large enough and significant.

    The least certain place is removed first; its two segments are one when the others are tested again.
    """
    kept = list(places)
    positions = len(points) - 2 * MIN_SEGMENT + 1
    while kept:
        parts = np.split(points, kept)
        p = [_p_value(a, b) if abs(b.mean() - a.mean()) >= smallest else 1.0 for a, b in pairwise(parts)]
        worst = int(np.argmax(p))
        if p[worst] * positions < ALPHA:
            break
        del kept[worst]
    return kept


def _p_value(a: np.ndarray, b: np.ndarray) -> float:
    """Return the two-sided p-value of Student's test with one variance for both segments."""
    degrees = len(a) + len(b) - 2
    variance = (((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / degrees
    if variance == 0:
        return 0.0 if a.mean() != b.mean() else 1.0
    statistic = abs(b.mean() - a.mean()) / math.sqrt(variance * (1 / len(a) + 1 / len(b)))
    return 2 * float(student.sf(statistic, degrees))
