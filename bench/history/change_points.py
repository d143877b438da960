"""Change points: where a figure that is measured again and again has stepped to another level, and by how much.

Imports no torch. Two stages, because a penalty alone is only as good as the estimate of the noise, and of ten points
that estimate is poor: ruptures proposes a segmentation by PELT (Killick, Fearnhead & Eckley 2012), and each step of it
must then pass Student's test between the segments on its two sides, corrected for the places where it might have been.
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
"""Points at one level, at least: fewer are an excursion, and Student's test could not tell them from the noise."""

MIN_POINTS = 2 * MIN_SEGMENT
"""Below this no step is looked for."""

SMALLEST_SHARE = 0.01
"""A step smaller than this is none, however little the figure scatters."""

ALPHA = 0.01
"""Chance, nearly, that a series of independent points without a step is given one. Of 1,000 series of normal noise 4
were given one at 40 points, and 10 to 17 at 8 to 20; where every point leans on the one before it (correlation 0.4), a
fifth."""

PENALTY = 3.0
"""Of a change point in PELT, times log(points) and the noise's variance: 2 would be the Bayesian information criterion
of a level and a place; what lies between is left to the test."""

OUTLIER_AT = 4.0
"""Standard deviations from the median of its neighbours at which a point is an outlier."""


@dataclass(frozen=True)
class Step:
    """A lasting change of level.

    index: of the first point at the new level
    before, after: medians of the points between this step and its neighbours
    """

    index: int
    before: float
    after: float

    @property
    def share(self) -> float | None:
        """After minus before, as a share of before; None where that is 0."""
        return (self.after - self.before) / self.before if self.before else None


def find_steps(values: Sequence[float], smallest_share: float = SMALLEST_SHARE) -> list[Step]:
    """The steps of a series in the order of its points, which are taken to be evenly spaced and independent.

    Positive values are compared by their logarithm, so that a step is a ratio at any level. A point that stands alone
    is an outlier and no step; a drift comes out as a staircase. Fewer than :data:`MIN_POINTS` values have no step.
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
    """Standard deviation of the noise of float64 (N,), from the differences of neighbours: their median absolute
    deviation. Neither steps nor single outliers reach it, as long as most neighbours are of one level.
    """
    differences = np.diff(points)
    deviation = float(np.median(np.abs(differences - np.median(differences))))
    return deviation / 0.6745 / math.sqrt(2)


def _without_outliers(points: np.ndarray, noise: float) -> np.ndarray:
    """Outliers replaced by the median of themselves and three neighbours on each side, as Hampel's filter does; at the
    ends of the series, of the last seven.

    The median of seven leaves a level of :data:`MIN_SEGMENT` points as it is, and of an excursion of three nothing.
    """
    window = 2 * MIN_SEGMENT - 1
    medians = np.median(np.lib.stride_tricks.sliding_window_view(points, window), axis=1)
    around = np.pad(medians, window // 2, mode="edge")
    return np.where(np.abs(points - around) > OUTLIER_AT * noise, around, points)


def _significant(points: np.ndarray, places: Sequence[int], smallest: float) -> list[int]:
    """The places whose step is large enough and no luck; the least certain is given up first, and its two segments are
    one when the others are judged again."""
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
    """Two-sided, of Student's test with the variance of both together."""
    degrees = len(a) + len(b) - 2
    variance = (((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / degrees
    if variance == 0:
        return 0.0 if a.mean() != b.mean() else 1.0
    statistic = abs(b.mean() - a.mean()) / math.sqrt(variance * (1 / len(a) + 1 / len(b)))
    return 2 * float(student.sf(statistic, degrees))
