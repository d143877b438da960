"""COCO's average precision from matches, for one data set or for many resampled ones at once.

A resampled data set is given by a weight for every image: how many times it was drawn. Precision and recall are then
sums of weights, and the AP is exactly the AP that COCO computes on a data set that holds every image that many times.
(Among equal scores COCO keeps the order of the file. Here all copies of one detection stand together, before those of
the next one with the same score.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.evaluation.matching import Matches, unpacked
from bench.schema.parts.accuracy import BOUNDARY_FIGURES

RECALLS = np.linspace(0.0, 1.0, 101)
"""COCO's recall points, as pycocotools makes them."""

_BLOCK = 1 << 18
"""Number of weights in a block that is computed at once; its arrays stay in the cache."""

_COLUMNS = 16
"""The fewest sets in a block, however many detections there are: sums along narrow rows take twice as long."""

_ROWS = 256
"""Rows of which the highest value is sought at once: they stay in the cache."""

# How many recall points are reached where 100 * true positives / positives is x. A whole x has entry 2x; an x between
# two whole numbers has entry 2 floor(x) + 1. A few of COCO's points lie a rounding error above the fraction that they
# stand for, and so that fraction does not reach them.
_ON_POINT = np.arange(1, 102) - (np.arange(101) / 100 < RECALLS)
_REACHED = np.stack([_ON_POINT, np.arange(1, 102)], axis=1).reshape(-1).astype(np.float64)


@dataclass(frozen=True)
class Ranking:
    """The detections of one category by falling score, in one area range.

    image:     int (D,), index of the image
    positive:  bool (D, T), true positive at each IoU threshold
    ignored:   bool (D, T), counts neither as true nor as false
    positives: float64 (I,), objects to be detected in each image
    """

    image: np.ndarray
    positive: np.ndarray
    ignored: np.ndarray
    positives: np.ndarray


def rankings(matches: Matches, area: int = 0) -> list[Ranking]:
    """Return one ranking for each category, by rising category id; equal scores stay in the order of the images."""
    order = np.lexsort((-matches.score, matches.category))
    ends = np.searchsorted(matches.category[order], np.arange(matches.categories + 1))
    wanted = ~matches.object_ignored[:, area]
    ranked = []
    for k in range(matches.categories):
        chosen = order[ends[k] : ends[k + 1]]
        objects = matches.object_image[wanted & (matches.object_category == k)]
        ignored = unpacked(matches.ignored[chosen, area])
        positive = unpacked(matches.matched[chosen, area]) & ~ignored
        positives = np.bincount(objects, minlength=matches.images).astype(np.float64)
        ranked.append(Ranking(matches.image[chosen], positive, ignored, positives))
    return ranked


def average_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Return the AP of one category at each IoU threshold in R resampled sets: float64 (T, R).

    It is NaN where a set holds no object of the category.

    Args:
        weights: float64 (I, R), how many times each set holds each image: whole numbers
    """
    thresholds = ranking.positive.shape[1]
    result = np.full((thresholds, weights.shape[1]), np.nan)
    totals = ranking.positives @ weights
    defined = np.flatnonzero(totals)
    at_once = max(_COLUMNS, _BLOCK // max(1, len(ranking.image)))
    every = len(defined) == len(totals)
    for first in range(0, len(defined), at_once):
        end = min(first + at_once, len(defined))
        which = slice(first, end) if every else defined[first:end]  # a slice copies no weights
        result[:, which] = _block(ranking, weights[:, which], totals[which])
    return result


def _block(ranking: Ranking, weights: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return the same as :func:`average_precision` for sets that all hold objects of the category.

    Only the true positives are looked at: recall rises nowhere else, and the highest precision from a place on always
    stands at one of them.
    """
    # As whole numbers the sums are the same, and take a tenth of the time.
    drawn = weights[ranking.image].astype(np.int64)
    result = np.zeros((ranking.positive.shape[1], len(totals)))
    most = int(totals.max()) + 1
    tabled = most < np.count_nonzero(ranking.positive)
    numbers = np.minimum(np.arange(most, dtype=np.float64), totals[:, None]) if tabled else None
    points = None if numbers is None else _points_reached(numbers, totals[:, None]).ravel()
    rows = np.arange(len(totals)) * most
    anywhere = np.flatnonzero(ranking.positive.any(axis=1))
    seen, hits = _sums_up_to(anywhere, drawn), drawn[anywhere]
    for t in range(len(result)):
        which = np.flatnonzero(ranking.positive[anywhere, t])
        if not len(which):
            continue
        true = hits[which]
        np.cumsum(true, axis=0, out=true)
        counted = seen[which]
        counted -= _ignored_before(ranking.ignored[:, t], anywhere[which], drawn)
        precision = counted + np.spacing(1)
        np.divide(true, precision, out=precision)
        reached = _points_reached(true, totals) if points is None else points[true + rows]
        gained = np.empty_like(reached)
        gained[0] = reached[0]
        np.subtract(reached[1:], reached[:-1], out=gained[1:])
        result[t] = np.einsum("dr,dr->r", _highest_from_here_on(precision), gained) / len(RECALLS)
    return result


def _sums_up_to(places: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the sums of the rows of ``drawn`` up to each of some rising places, that place included."""
    if not len(places):
        return drawn[:0]
    begins = np.concatenate([[0], places[:-1] + 1])
    sums = np.add.reduceat(drawn[: places[-1] + 1], begins, axis=0)
    return np.cumsum(sums, axis=0, out=sums)


def _highest_from_here_on(values: np.ndarray) -> np.ndarray:
    """Return the highest value from each row on, of each column.

    Each step doubles how many rows have been looked at, which takes a third of the time of ``maximum.accumulate``.
    """
    # einsum adds in an order that depends on how its arrays lie in memory. In this one, sums are those of
    # ``maximum.accumulate(values[::-1])[::-1]`` to the last bit.
    highest = np.empty_like(values)[::-1]
    after = None
    for end in range(len(values), 0, -_ROWS):
        part = values[max(0, end - _ROWS) : end]
        step = 1
        while step < len(part):
            further = np.empty_like(part)
            further[-step:] = part[-step:]
            np.maximum(part[:-step], part[step:], out=further[:-step])
            part, step = further, 2 * step
        done = highest[max(0, end - _ROWS) : end]
        done[:] = part if after is None else np.maximum(part, after)
        after = done[0]
    return highest


def _points_reached(true: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return how many of COCO's recall points so many true positives reach, of so many objects: float64."""
    hundredths = true * 100 / totals
    reached = _REACHED[(np.floor(hundredths) + np.ceil(hundredths)).astype(np.intp)]
    reached[np.broadcast_to(true == 0, reached.shape)] = 0
    return reached


def _ignored_before(ignored: np.ndarray, places: np.ndarray, drawn: np.ndarray) -> np.ndarray | int:
    """Return the total weight of the ignored detections that stand before each of ``places``."""
    which = np.flatnonzero(ignored)
    if not len(which):
        return 0
    sums = np.zeros((len(which) + 1, drawn.shape[1]), drawn.dtype)
    np.cumsum(drawn[which], axis=0, out=sums[1:])
    return sums[np.searchsorted(which, places)]


def mean_precision(matches: Matches, area: int = 0) -> np.ndarray:
    """Return the AP of each category at each IoU threshold, float64 (categories, T), NaN without objects."""
    once = np.ones((matches.images, 1))
    return np.stack([average_precision(ranking, once)[:, 0] for ranking in rankings(matches, area)])


def boundary_figures(matches: Matches) -> dict[str, float | None]:
    """Return the six :data:`BOUNDARY_FIGURES` from the matches of boundaries: AP, AP50, AP75, and AP by size."""
    whole = mean_precision(matches)
    sizes = [_mean(mean_precision(matches, area)) for area in (1, 2, 3)]
    return dict(zip(BOUNDARY_FIGURES, [_mean(whole), _mean(whole[:, 0]), _mean(whole[:, 5]), *sizes], strict=True))


def _mean(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None
