"""The bootstrap over images: intervals of AP, and tests of the difference of two models. This module imports no torch.

Efron & Tibshirani, An Introduction to the Bootstrap (1993): percentile intervals, chapter 13; Holm, A simple
sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from bench.data.ids import Id
from bench.evaluation.average_precision import Ranking, average_precision, rankings
from bench.evaluation.intervals import CONFIDENCE
from bench.evaluation.matching import Matches
from bench.schema.parts.accuracy import BootstrapResult

_WEIGHTS_AT_ONCE = 1 << 19
"""Number of image weights held at once, which take 4 MB: all replicates of 5,000 images would take 40 MB."""

REPLICATES = 1000
"""How many resampled sets are drawn."""


class Difference(NamedTuple):
    """How much a quantity of one model exceeds that of another, tested against no difference.

    low, high: the ends of the confidence interval
    p: the two-sided p-value
    """

    difference: float
    low: float
    high: float
    p: float


def draws(images: int, replicates: int, seed: int, at_once: int | None = None) -> Iterator[np.ndarray]:
    """Yield how often each image is drawn, for at most ``at_once`` replicates at a time until all have come.

    Each array is float64 (I, R) of whole numbers, and each of its columns sums to I.

    The draws come from numpy's legacy generator, whose stream is promised never to change: results of different
    machines and numpy versions must hold the same draws, or they could not be paired.
    """
    generator = np.random.RandomState(seed)
    step = at_once or max(1, _WEIGHTS_AT_ONCE // max(1, images))
    for first in range(0, replicates, step):
        counts = np.empty((images, min(step, replicates - first)))
        for column in counts.T:
            column[:] = np.bincount(generator.randint(0, images, images), minlength=images)
        yield counts


def images_sha256(annotations_sha256: str, image_ids: Sequence[Id]) -> str:
    """Return a digest that two results share where their replicates are draws of the same images and objects."""
    return hashlib.sha256(json.dumps([annotations_sha256, list(image_ids)]).encode()).hexdigest()


def bootstrap(
    matches: Matches,
    annotations_sha256: str,
    image_ids: Sequence[Id],
    seed: int,
    replicates: int = REPLICATES,
    boundary: bool = True,
) -> BootstrapResult:
    """Return mask AP and, if ``boundary``, Boundary AP of resampled sets of images.

    A draw that holds no object at all has no AP. It is left out, in the same way for every model.
    """
    by_mask, by_boundary = rankings(matches), rankings(matches.boundaries()) if boundary else None
    mask_ap: list[float] = []
    boundary_ap: list[float] = []
    for weights in draws(matches.images, replicates, seed):
        mask_ap += resampled_ap(by_mask, weights)
        boundary_ap += resampled_ap(by_boundary, weights) if by_boundary else []
    digest = images_sha256(annotations_sha256, image_ids)
    return BootstrapResult(seed, digest, mask_ap, boundary_ap if boundary else None)


def resampled_ap(ranked: Sequence[Ranking], weights: np.ndarray, threads: int = 2) -> list[float]:
    """Return the AP of each of R resampled sets, the mean over categories and IoU thresholds.

    Args:
        weights: float64 (I, R), how many times each set holds each image
    """
    total = np.zeros(weights.shape[1])
    categories = np.zeros(weights.shape[1])
    with ThreadPoolExecutor(threads) as executor:
        for values in executor.map(lambda r: average_precision(r, weights).mean(axis=0), ranked):
            defined = ~np.isnan(values)
            total[defined] += values[defined]
            categories += defined
    return [float(t / n) for t, n in zip(total, categories, strict=True) if n]


def interval(values: Sequence[float], measured: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the confidence interval of ``measured``: percentiles of its replicates, moved to have it as their mean.

    AP is higher on resampled sets than on the set itself, above all where categories have few objects; the percentiles
    alone may not even contain the measured AP. The moved ones say what other sets of as many images would give.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(values) + (measured - np.mean(values)), [tail, 1 - tail])
    return float(low), float(high)


def paired_difference(
    a: Sequence[float], b: Sequence[float], measured: float | None = None, confidence: float = CONFIDENCE
) -> Difference:
    """Return how much ``a`` exceeds ``b``, from the paired replicates of two models.

    The p-value is that of the normal distribution with the replicates' standard deviation (Efron & Tibshirani 1993,
    section 15.1). Counting the replicates beyond 0 could not give a p-value below 2 in 1,000. Corrected for the 36
    pairs of nine models that is 0.07, so that not even the clearest difference would be significant.

    Args:
        measured: the difference on the set itself, to which the replicates' differences are moved as in
            :func:`interval`; without it their mean stands for it

    Raises:
        ValueError: the lists differ in length or are empty.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"{len(a)} and {len(b)} replicates, must be paired")
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    centres = None if measured is None else np.array([measured])
    [difference] = paired_differences(one[None], other[None], centres, confidence)
    return difference


def paired_differences(
    a: np.ndarray, b: np.ndarray, measured: np.ndarray | None = None, confidence: float = CONFIDENCE
) -> list[Difference]:
    """Return :func:`paired_difference` of each pair of rows, the same to the last digit, in a fraction of the time.

    Args:
        a, b: float64 (N, R), R replicates of each of N pairs; one of the two may have a single row for all pairs
        measured: float64 (N,)
    """
    differences = a - b
    means = differences.mean(axis=1)
    centres = means if measured is None else measured
    differences += (centres - means)[:, None]
    deviations = differences.std(axis=1, ddof=1) if differences.shape[1] > 1 else np.zeros(len(differences))
    tail = (1 - confidence) / 2
    differences += (centres - differences.mean(axis=1))[:, None]
    differences.sort(axis=1)  # by vectors of the processor: a third of the time that numpy's quantile takes
    lows, highs = (_quantile(differences, share) for share in (tail, 1 - tail))
    columns = (column.tolist() for column in (centres, lows, highs, deviations))
    return [
        Difference(centre, low, high, _p_value(centre, deviation))
        for centre, low, high, deviation in zip(*columns, strict=True)
    ]


def _quantile(ordered: np.ndarray, share: float) -> np.ndarray:
    """Return ``np.quantile(ordered, share, axis=1)`` of rows that are in order, the same to the last digit."""
    place = share * (ordered.shape[1] - 1)
    below = int(place)
    low, high = ordered[:, below], ordered[:, min(below + 1, ordered.shape[1] - 1)]
    part = place - below
    step = high - low
    values: np.ndarray = low + step * part if part < 0.5 else high - step * (1 - part)
    return values


def _p_value(difference: float, deviation: float) -> float:
    if deviation < 1e-12:  # the two never differ, or always by as much
        return 0.0 if abs(difference) > 1e-12 else 1.0
    return math.erfc(abs(difference) / deviation / math.sqrt(2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given.

    Calling those below alpha significant keeps the probability of any false one below alpha.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted
