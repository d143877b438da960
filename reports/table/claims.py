"""Compare what the literature claims about two models with what was measured of their rows."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.schema.config import ClaimConfig
from bench.schema.row import Row
from reports.table.columns import COLUMNS
from reports.table.comparison import Comparison, comparison_key
from reports.table.differences import METRICS, between

VERDICTS = {
    "more": "the better model is better, and the interval does not lie below what was said",
    "less than said": "the better model is better, and the whole interval lies below what was said",
    "not": "the other model is better",
    "not decided": "the interval reaches to both sides, so the two rows cannot be told apart",
    "not measured": "the figure of one of the two rows is missing",
}
"""The meaning of each verdict."""

MEANING = "; ".join(f"{verdict}: {meaning}" for verdict, meaning in VERDICTS.items())
"""The verdicts and their meanings in one line, for a legend."""

_Pair = tuple[int | None, int | None]
"""The numbers of the better model's row and of the worse one's, None for a model without a row."""


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Claim:
    """One claim of a study about two rows, and what was measured of them.

    better, worse: the labels of the rows; the name of the model where it has no row that may be compared
    said: the number in the source: a difference of AP in points, or a ratio of speeds; None where it gives none
    estimate: the measured difference of AP in points, or ratio of ``fps_model``; None where a figure is missing
    title: of the metric's column
    """

    text: str
    source: str
    metric: str
    said: float | None
    better: str
    worse: str
    estimate: Estimate | None
    title: str

    @property
    def verdict(self) -> str:
        """Give a key of :data:`VERDICTS`, which depends on where the 95 % interval lies.

        The direction comes first. Equal models have a difference of 0 or a ratio of speeds of 1. An interval below
        that value gives ``not``, and one that contains it gives ``not decided``. An interval above it gives ``less
        than said`` if all of it lies below the number that was said, else ``more``. A claim without a number is
        about the direction alone.
        """
        if self.estimate is None:
            return "not measured"
        equal = 1 if self._of_speed else 0
        if self.estimate.high < equal:
            return "not"
        if self.estimate.low <= equal:
            return "not decided"
        return "less than said" if self.said is not None and self.estimate.high < self.said else "more"

    @property
    def rows(self) -> str:
        """Name the two rows that the claim is about, the better one first."""
        return f"{self.better} against {self.worse}"

    @property
    def measured(self) -> str:
        """Give what was measured: "Boundary AP +1.2 [+0.4, +2.0]", "FPS model 2.10 times [2.05, 2.15]", or ""."""
        if self.estimate is None:
            return ""
        value, low, high = self.estimate
        if self._of_speed:
            return f"{self.title} {value:.2f} times [{low:.2f}, {high:.2f}]"
        return f"{self.title} {value:+.1f} [{low:+.1f}, {high:+.1f}]"

    @property
    def claimed(self) -> str:
        """Give what was said: "Boundary AP +2.1", or "Boundary AP higher" where the source gives no number."""
        title = COLUMNS[self.metric].title
        if self.said is None:
            return f"{title} higher"
        return f"{title} {self.said:g} times" if self._of_speed else f"{title} {self.said:+.1f}"

    @property
    def outcome(self) -> str:
        """Name the rows, what was said, what was measured and the verdict, in one line."""
        measured = f"; measured {self.measured}" if self.measured else ""
        return f"{self.rows}: said {self.claimed}{measured}; verdict: {self.verdict}"

    @property
    def _of_speed(self) -> bool:
        return self.metric == "fps_model"


def claims(comparison: Comparison) -> list[Claim]:
    """Give each claim of the rows' studies once for every two rows of its models that may be compared."""
    comparison = comparison.whole or comparison  # a row that is not shown has been measured all the same
    stated: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in comparison.rows:
        for claim in _stated(row):
            stated.setdefault(tuple(str(value) for value in claim.values()), claim)
    return [
        _claim(comparison, claim, pair)
        for claim in stated.values()
        for pair in _pairs(comparison, claim["better"], claim["worse"])
    ]


def _stated(row: Row) -> list[dict[str, Any]]:
    """Give the claims of a row's study; another version may have fewer keys, or metrics that are unknown here."""
    usual = dataclasses.asdict(ClaimConfig())
    claims = [{**usual, **claim} for claim in row.setting("claims", default=[])]
    return [claim for claim in claims if claim["metric"] in ("fps_model", *METRICS)]


def _pairs(comparison: Comparison, better: str, worse: str) -> list[_Pair]:
    """Pair the rows of the two models that were measured alike; a row without a partner is paired with None."""
    groups: dict[tuple[Any, ...], dict[str, list[int]]] = {}
    for number, row in enumerate(comparison.rows):
        if row.model in (better, worse) and row.result.status == "ok":
            groups.setdefault(comparison_key(row), {}).setdefault(row.model, []).append(number)
    absent: list[int | None] = [None]
    return [
        pair
        for of_model in groups.values()
        for pair in itertools.product(of_model.get(better, absent), of_model.get(worse, absent))
    ]


def _claim(comparison: Comparison, claim: dict[str, Any], pair: _Pair) -> Claim:
    names = ("better", "worse")
    labels = {
        name: claim[name] if number is None else _named(comparison, number, claim["metric"])
        for name, number in zip(names, pair, strict=True)
    }
    better, worse = (None if number is None else comparison.rows[number] for number in pair)
    estimate = speed_ratio if claim["metric"] == "fps_model" else _difference
    return Claim(
        text=claim["claim"],
        source=claim["source"],
        metric=claim["metric"],
        said=claim.get("times" if claim["metric"] == "fps_model" else "points"),
        better=labels["better"],
        worse=labels["worse"],
        estimate=estimate(better, worse, claim["metric"]) if better and worse else None,
        title=comparison.title(claim["metric"]),
    )


def _named(comparison: Comparison, row: int, metric: str) -> str:
    """Name a row; in a claim about speed with its marks, which say what its speed means less than it seems."""
    return comparison.marked_label(row) if metric == "fps_model" else comparison.labels[row]


def _difference(better: Row, worse: Row, metric: str) -> Estimate | None:
    difference = between(better, worse, metric)
    return Estimate(difference.difference, difference.low, difference.high) if difference else None


def speed_ratio(better: Row, worse: Row, metric: str) -> Estimate | None:
    """Divide two speeds that were measured independently; the squares of their relative errors are added."""
    speeds = []
    for row in (better, worse):
        value, low, high = (COLUMNS[name].value(row) for name in (metric, f"{metric}_low", f"{metric}_high"))
        if value is None or low is None or high is None:
            return None
        speeds.append(Estimate(value, low, high))
    first, second = speeds
    ratio = first.value / second.value
    down = math.hypot(1 - first.low / first.value, second.high / second.value - 1)
    up = math.hypot(first.high / first.value - 1, 1 - second.low / second.value)
    return Estimate(ratio, ratio * (1 - down), ratio * (1 + up))
