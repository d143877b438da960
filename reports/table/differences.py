"""Test the differences between comparable rows by a paired bootstrap over images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.evaluation.bootstrap import holm, paired_difference
from bench.schema.metrics import FIGURES
from bench.schema.parts.accuracy import BootstrapResult
from bench.schema.row import Row
from reports.table.columns import COLUMNS

ALPHA = 0.05
METRICS = tuple(name for name, figure in FIGURES.items() if figure.resampled)
"""The figures for which a result keeps replicates of the bootstrap."""


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
    """

    rows: tuple[int, ...]
    replicates: int
    pairs: dict[str, dict[tuple[int, int], Difference]]

    def difference(self, metric: str, first: int, second: int) -> Difference | None:
        """Give the first row's metric minus the second's; None where a row lacks it."""
        pairs = self.pairs[metric]
        if (second, first) in pairs:
            return pairs[second, first].reversed()
        return pairs.get((first, second))


def compare(rows: Sequence[Row], numbers: Sequence[int]) -> list[Group]:
    """Group those of the comparable rows ``numbers`` whose replicates hold the same draws, two or more together."""
    draws: dict[tuple[str, int, int], list[int]] = {}
    for number in numbers:
        if bootstrap := _bootstrap(rows[number]):
            key = (bootstrap.images_sha256, bootstrap.seed, len(bootstrap.mask_ap))
            draws.setdefault(key, []).append(number)
    return [_group(rows, together, key[2]) for key, together in draws.items() if len(together) > 1]


def between(first: Row, second: Row, metric: str) -> Difference | None:
    """Give one difference on its own, so without correction; None unless both rows hold the same draws."""
    groups = compare([first, second], [0, 1])
    return groups[0].difference(metric, 0, 1) if groups else None


def _bootstrap(row: Row) -> BootstrapResult | None:
    measured = row.result.accuracy is not None and not row.random_weights
    bootstrap = row.result.accuracy.bootstrap if measured and row.result.accuracy else None
    return bootstrap if bootstrap and bootstrap.mask_ap else None


def _group(rows: Sequence[Row], numbers: Sequence[int], replicates: int) -> Group:
    figure = COLUMNS["mask_ap"].value
    ordered = tuple(sorted(numbers, key=lambda number: -(figure(rows[number]) or 0.0)))
    return Group(ordered, replicates, {metric: _differences(rows, ordered, metric) for metric in METRICS})


def _differences(rows: Sequence[Row], numbers: Sequence[int], metric: str) -> dict[tuple[int, int], Difference]:
    figure: Callable[[Row], float | None] = COLUMNS[metric].value
    samples = {number: getattr(_bootstrap(rows[number]), metric) for number in numbers}
    sampled = [number for number in numbers if samples[number] and figure(rows[number]) is not None]
    pairs = list(itertools.combinations(sampled, 2))
    measured = [((figure(rows[first]) or 0.0) - (figure(rows[second]) or 0.0)) / 100 for first, second in pairs]
    paired = [
        paired_difference(samples[first], samples[second], difference)
        for (first, second), difference in zip(pairs, measured, strict=True)
    ]
    corrected = holm([estimate.p for estimate in paired])
    return {
        pair: Difference(100 * estimate.difference, 100 * estimate.low, 100 * estimate.high, estimate.p, p_holm)
        for pair, estimate, p_holm in zip(pairs, paired, corrected, strict=True)
    }
