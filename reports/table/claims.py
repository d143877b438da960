"""What the literature claims of two models, and whether it held here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.schema.row import Row
from reports.table.columns import COLUMNS
from reports.table.comparison import Comparison, comparison_key
from reports.table.differences import between

VERDICTS = {
    "held": "held",
    "refuted": "did not hold: it is the other way round",
    "open": "not decided: the two cannot be told apart",
    "absent": "not measured",
}


class Found(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Claim:
    """One claim of a study and what was measured of it, None where one of the two figures is missing.

    found: of AP the better one's figure minus the other's, in points; of speed (``fps_model``) the first over the other
    """

    text: str
    source: str
    metric: str
    said: float | None
    better: str
    worse: str
    found: Found | None

    @property
    def verdict(self) -> str:
        """A key of :data:`VERDICTS`: by whether the 95 % interval of the difference holds 0, that of the ratio 1."""
        if self.found is None:
            return "absent"
        equal = 1 if self._of_speed else 0
        return "held" if self.found.low > equal else "refuted" if self.found.high < equal else "open"

    @property
    def measured(self) -> str:
        """As "Boundary AP +1.2 [0.4, 2.0]" or "FPS model 2.10 times [2.05, 2.15]", "" where it was not measured."""
        if self.found is None:
            return ""
        title, (value, low, high) = COLUMNS[self.metric].title, self.found
        if self._of_speed:
            return f"{title} {value:.2f} times [{low:.2f}, {high:.2f}]"
        return f"{title} {value:+.1f} [{low:+.1f}, {high:+.1f}]"

    @property
    def claimed(self) -> str:
        """As "Boundary AP +2.1", or without a number where the source gives none."""
        title = COLUMNS[self.metric].title
        if self.said is None:
            return f"{title} higher"
        return f"{title} {self.said:g} times" if self._of_speed else f"{title} {self.said:+.1f}"

    @property
    def outcome(self) -> str:
        """What was said and measured, and the verdict, in one line."""
        measured = f"; measured {self.measured}" if self.measured else ""
        return f"said: {self.claimed}{measured}; {VERDICTS[self.verdict]} ({self.better} against {self.worse})"

    @property
    def _of_speed(self) -> bool:
        return self.metric == "fps_model"


def claims(comparison: Comparison) -> list[Claim]:
    """Every claim that the jobs' studies make, once for each group of rows that may be compared."""
    found: dict[tuple[Any, ...], Claim] = {}
    for job in comparison.rows:
        for claim in job.setting("claims", default=[]):
            for key, rows in _groups(comparison, (claim["better"], claim["worse"])).items():
                identity = (*(str(value) for value in claim.values()), key)
                found.setdefault(identity, _claim(comparison, claim, rows))
    return list(found.values())


def _groups(comparison: Comparison, names: tuple[str, str]) -> dict[tuple[Any, ...], dict[str, Row]]:
    """The rows of the two models, by what they may be compared within; one of the two may be missing there."""
    groups: dict[tuple[Any, ...], dict[str, Row]] = {}
    for job in comparison.rows:
        name = job.setting("model", "name")
        if name in names and job.result.status == "ok":
            groups.setdefault(comparison_key(job), {}).setdefault(name, job)
    return groups


def _claim(comparison: Comparison, claim: dict[str, Any], rows: dict[str, Row]) -> Claim:
    better, worse = rows.get(claim["better"]), rows.get(claim["worse"])
    measure = _ratio if claim["metric"] == "fps_model" else _difference
    return Claim(
        text=claim["claim"],
        source=claim["source"],
        metric=claim["metric"],
        said=claim.get("times" if claim["metric"] == "fps_model" else "points"),
        better=claim["better"],
        worse=claim["worse"],
        found=measure(better, worse, claim["metric"]) if better and worse else None,
    )


def _difference(better: Row, worse: Row, metric: str) -> Found | None:
    found = between(better, worse, metric)
    return Found(found.difference, found.low, found.high) if found else None


def _ratio(better: Row, worse: Row, metric: str) -> Found | None:
    """The ratio of two speeds that were measured independently: their intervals, as shares, add up as squares do."""
    speeds = []
    for job in (better, worse):
        value, low, high = (COLUMNS[name].value(job) for name in (metric, f"{metric}_low", f"{metric}_high"))
        if value is None or low is None or high is None:
            return None
        speeds.append(Found(value, low, high))
    first, second = speeds
    ratio = first.value / second.value
    down = math.hypot(1 - first.low / first.value, second.high / second.value - 1)
    up = math.hypot(first.high / first.value - 1, 1 - second.low / second.value)
    return Found(ratio, ratio * (1 - down), ratio * (1 + up))
