"""What the literature claims of two models, and whether it held here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reports.columns import COLUMNS, Job
from reports.comparison import Comparison, comparison_key
from reports.differences import Difference, between

VERDICTS = {
    "held": "held",
    "refuted": "did not hold: it is the other way round",
    "open": "not decided: the two cannot be told apart",
    "absent": "not measured",
}


@dataclass(frozen=True)
class Claim:
    """One claim of a study and what was measured of it: ``difference`` is the better one's figure minus the other's,
    in points, None where one of them is missing."""

    text: str
    source: str
    metric: str
    points: float | None
    better: str
    worse: str
    difference: Difference | None

    @property
    def verdict(self) -> str:
        """A key of :data:`VERDICTS`: by whether the 95 % interval of the difference holds 0."""
        if self.difference is None:
            return "absent"
        return "held" if self.difference.low > 0 else "refuted" if self.difference.high < 0 else "open"

    @property
    def measured(self) -> str:
        """As "Boundary AP +1.2 [0.4, 2.0]", "" where it was not measured."""
        if self.difference is None:
            return ""
        d = self.difference
        return f"{COLUMNS[self.metric].title} {d.difference:+.1f} [{d.low:+.1f}, {d.high:+.1f}]"

    @property
    def claimed(self) -> str:
        """As "Boundary AP +2.1", or without a number where the source gives none."""
        title = COLUMNS[self.metric].title
        return f"{title} higher" if self.points is None else f"{title} {self.points:+.1f}"

    @property
    def outcome(self) -> str:
        """What was said and measured, and the verdict, in one line."""
        measured = f"; measured {self.measured}" if self.measured else ""
        return f"said: {self.claimed}{measured}; {VERDICTS[self.verdict]} ({self.better} against {self.worse})"


def claims(comparison: Comparison) -> list[Claim]:
    """Every claim that the jobs' studies make, once for each group of rows that may be compared."""
    found: dict[tuple[Any, ...], Claim] = {}
    for job in comparison.jobs:
        for claim in job.setting("claims", default=[]):
            for key, rows in _groups(comparison, (claim["better"], claim["worse"])).items():
                identity = (*(str(value) for value in claim.values()), key)
                found.setdefault(identity, _claim(comparison, claim, rows))
    return list(found.values())


def _groups(comparison: Comparison, names: tuple[str, str]) -> dict[tuple[Any, ...], dict[str, Job]]:
    """The rows of the two models, by what they may be compared within; one of the two may be missing there."""
    groups: dict[tuple[Any, ...], dict[str, Job]] = {}
    for job in comparison.jobs:
        name = job.setting("model", "name")
        if name in names and job.result.status == "ok":
            groups.setdefault(comparison_key(job), {}).setdefault(name, job)
    return groups


def _claim(comparison: Comparison, claim: dict[str, Any], rows: dict[str, Job]) -> Claim:
    better, worse = rows.get(claim["better"]), rows.get(claim["worse"])
    return Claim(
        text=claim["claim"],
        source=claim["source"],
        metric=claim["metric"],
        points=claim["points"],
        better=claim["better"],
        worse=claim["worse"],
        difference=between(better, worse, claim["metric"]) if better and worse else None,
    )
