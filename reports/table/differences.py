"""Test the differences between comparable rows by a paired bootstrap over images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.evaluation.bootstrap import Difference as Estimate
from bench.evaluation.bootstrap import holm, paired_differences
from bench.schema.metrics import FIGURES
from bench.schema.parts.accuracy import BootstrapResult
from bench.schema.row import Row
from reports.table.columns import COLUMNS

ALPHA = 0.05
METRICS = tuple(name for name, figure in FIGURES.items() if figure.resampled)
"""The figures for which a result keeps replicates of the bootstrap."""

MOST_PAIRS = 45_000
"""So many pairs are tested at most, of all groups together; every two of 300 rows are 44,850. Of 10,000 rows they would
be 50 million, so beyond this only the best rows of each group are compared with one another, and every other row with
the best one."""

_AT_ONCE = 1000
"""Pairs that are tested at once, which take 8 MB at 1,000 replicates."""


@dataclass(frozen=True)
class Difference:
    """The difference of one metric between two rows, in points, the first minus the second.

    difference: the difference of the two measured figures
    low, high:  its 95 % interval, from the replicates of both rows on the same draws of images
    p:          the two-sided p value
    p_holm:     p, corrected by Holm over all pairs of the group
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def significant(self) -> bool:
        return self.p_holm < ALPHA

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def reversed(self) -> Difference:
        """Give the second minus the first."""
        return Difference(-self.difference, -self.high, -self.low, self.p, self.p_holm)


@dataclass(frozen=True)
class Group:
    """Comparable rows with replicates on the same draws of the same images, by falling mask AP.

    rows: their numbers in the comparison
    replicates: how many the rows have, the same number for all
    pairs: the differences by metric, then by (row, a later row of ``rows``)
    paired: how many rows, the first ones, are compared with one another; all others only with the first. None where
        every two are compared
    """

    rows: tuple[int, ...]
    replicates: int
    pairs: dict[str, dict[tuple[int, int], Difference]]
    paired: int | None = None

    def difference(self, metric: str, first: int, second: int) -> Difference | None:
        """Give the first row's metric minus the second's; None where a row lacks it."""
        pairs = self.pairs[metric]
        if (second, first) in pairs:
            return pairs[second, first].reversed()
        return pairs.get((first, second))


def compare_all(rows: Sequence[Row], comparable: Sequence[Sequence[int]]) -> list[Group]:
    """Group comparable rows, given by their numbers, and compare them: no more pairs than :data:`MOST_PAIRS`."""
    found = [draws for numbers in comparable for draws in _same_draws(rows, numbers)]
    most = _most_paired([len(numbers) for numbers in found])
    return [_group(rows, numbers, most if len(numbers) > most else None) for numbers in found]


def compare(rows: Sequence[Row], numbers: Sequence[int]) -> list[Group]:
    """Group those of the comparable rows ``numbers`` whose replicates hold the same draws, two or more together."""
    return compare_all(rows, [numbers])


def _same_draws(rows: Sequence[Row], numbers: Sequence[int]) -> list[list[int]]:
    draws: dict[tuple[str, int, int], list[int]] = {}
    for number in numbers:
        if bootstrap := _bootstrap(rows[number]):
            key = (bootstrap.images_sha256, bootstrap.seed, len(bootstrap.mask_ap))
            draws.setdefault(key, []).append(number)
    return [together for together in draws.values() if len(together) > 1]


def _most_paired(sizes: Sequence[int]) -> int:
    """Give the largest number of rows, two at least, that can be compared with one another in every group."""
    low, high = 2, max(sizes, default=2)
    while low < high:
        middle = (low + high + 1) // 2
        pairs = sum(least * (least - 1) // 2 for least in (min(size, middle) for size in sizes))
        low, high = (middle, high) if pairs <= MOST_PAIRS else (low, middle - 1)
    return low


def between(first: Row, second: Row, metric: str) -> Difference | None:
    """Give one difference on its own, so without correction; None unless both rows hold the same draws."""
    groups = compare([first, second], [0, 1])
    return groups[0].difference(metric, 0, 1) if groups else None


def p_against(first: Row, others: Sequence[Row], metric: str) -> list[float | None]:
    """Give for each of the others the p of its difference from the first, without correction.

    It is None where the two do not hold the same draws. Thousands of rows take a second.
    """
    value: Callable[[Row], float | None] = COLUMNS[metric].value
    held, found = _bootstrap(first), dict[int, float]()
    own, samples = value(first), getattr(held, metric) if held else None
    if held is None or own is None or not samples:
        return [None] * len(others)
    key = (held.images_sha256, held.seed, len(samples))
    alike: list[tuple[int, float, Sequence[float]]] = []
    for place, row in enumerate(others):
        draws, figure = _bootstrap(row), value(row)
        theirs = getattr(draws, metric) if draws else None
        if draws and theirs and figure is not None and (draws.images_sha256, draws.seed, len(theirs)) == key:
            alike.append((place, (own - figure) / 100, theirs))
    one = np.asarray(samples, dtype=np.float64)[None]
    for begin in range(0, len(alike), _AT_ONCE):
        part = alike[begin : begin + _AT_ONCE]
        measured = np.array([difference for _, difference, _ in part])
        estimates = paired_differences(one, np.array([theirs for _, _, theirs in part]), measured)
        found |= {place: estimate.p for (place, _, _), estimate in zip(part, estimates, strict=True)}
    return [found.get(place) for place in range(len(others))]


def _bootstrap(row: Row) -> BootstrapResult | None:
    measured = row.result.accuracy is not None and not row.random_weights
    bootstrap = row.result.accuracy.bootstrap if measured and row.result.accuracy else None
    return bootstrap if bootstrap and bootstrap.mask_ap else None


def apart(rows: Sequence[Row], group: Group, metric: str, first: int, second: int) -> Difference | None:
    """Give a difference within a group as :meth:`Group.difference` does, also where the group did not compare the two.

    Its p is then corrected by as many tests as the group made, which is never less than Holm's correction.
    """
    found = group.difference(metric, first, second)
    if found is not None or group.paired is None:
        return found
    alone = between(rows[first], rows[second], metric)
    return alone and replace(alone, p_holm=min(1.0, alone.p * (len(group.pairs[metric]) + 1)))


def _group(rows: Sequence[Row], numbers: Sequence[int], paired: int | None) -> Group:
    figure = COLUMNS["mask_ap"].value
    ordered = tuple(sorted(numbers, key=lambda number: -(figure(rows[number]) or 0.0)))
    bootstrap = _bootstrap(rows[numbers[0]])
    assert bootstrap is not None
    pairs = {metric: _differences(rows, ordered, metric, paired) for metric in METRICS}
    return Group(ordered, len(bootstrap.mask_ap), pairs, paired)


def _differences(
    rows: Sequence[Row], numbers: Sequence[int], metric: str, paired: int | None
) -> dict[tuple[int, int], Difference]:
    value: Callable[[Row], float | None] = COLUMNS[metric].value
    figures = {number: figure for number in numbers if (figure := value(rows[number])) is not None}
    samples = {number: found for number in figures if (found := getattr(_bootstrap(rows[number]), metric))}
    replicates = np.array(list(samples.values()), dtype=np.float64)
    places = {number: place for place, number in enumerate(samples)}
    pairs: list[tuple[int, int]] = []
    estimates: list[Estimate] = []
    for first, others in _partners(list(samples), paired):
        measured = np.array([(figures[first] - figures[other]) / 100 for other in others])
        one, other_rows = replicates[[places[first]]], replicates[[places[other] for other in others]]
        estimates += paired_differences(one, other_rows, measured)
        pairs += [(first, other) for other in others]
    corrected = holm([estimate.p for estimate in estimates])
    return {
        pair: Difference(100 * estimate.difference, 100 * estimate.low, 100 * estimate.high, estimate.p, p_holm)
        for pair, estimate, p_holm in zip(pairs, estimates, corrected, strict=True)
    }


def _partners(numbers: Sequence[int], paired: int | None) -> Iterator[tuple[int, Sequence[int]]]:
    """Give each row with later rows that it is compared with, in the order of the pairs."""
    for place, first in enumerate(numbers[:paired]):
        later = numbers[place + 1 :] if place == 0 else numbers[place + 1 : paired]
        for begin in range(0, len(later), _AT_ONCE):
            yield first, later[begin : begin + _AT_ONCE]
