"""``gate.json``: the findings of a gate that compared the results of a run with those of a baseline.

:mod:`bench.gate.compare` makes it; JUnit, the job summary of CI and the history read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.files import json_file
from bench.files.bounds import Fraction

SCHEMA_VERSION = 1

GATE_FILE = "gate.json"

SAME, BETTER, WORSE, AMBIGUOUS, NOT_COMPARABLE = VERDICTS = ("same", "better", "worse", "ambiguous", "not comparable")


@dataclass(frozen=True)
class Finding:
    """The verdict on one metric of one model.

    model: the label of the row; with the metric it is unique in a report
    job: the name of the row's folder in the head's run
    metric: a name of :data:`bench.schema.metrics.METRICS`, or ``status``
    unit: of ``base`` and ``head``, "" where they have none
    base, head: the figures, None where a side has none
    change: head minus base, as a share of base where ``relative``, else in ``unit``
    low, high: the 95 % interval of ``change``, None for figures that are compared exactly
    p: two-sided p-value, corrected by Holm over all tests of the gate; None where nothing was tested
    threshold: as it was given ("-2%"), "" where the metric has none
    test: what decided, in words
    sentence: what a person needs to know, with model, metric, size, interval and threshold
    """

    model: str
    job: str
    metric: str
    verdict: str
    sentence: str
    unit: str = ""
    base: float | None = None
    head: float | None = None
    relative: bool = True
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: Fraction | None = None
    threshold: str = ""
    test: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is none of {', '.join(VERDICTS)}")


@dataclass(frozen=True)
class GateReport:
    """All findings of a gate, in the order of the head's rows and of the thresholds.

    base, head: names for people of what was compared (a folder, ``main@latest``, a commit)
    passed: whether the gate lets the change pass
    outcome: why, in one sentence
    on_ambiguous: what an ambiguous finding meant, ``pass`` or ``fail``
    alpha: level of significance of the tests, after correction
    notes: sentences about the comparison as a whole (clocks that disagree, rounds that were added)
    """

    base: str
    head: str
    passed: bool
    outcome: str
    findings: list[Finding]
    on_ambiguous: str = "pass"
    alpha: Fraction = 0.05
    notes: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    def of(self, *verdicts: str) -> list[Finding]:
        """Return the findings with one of these verdicts."""
        return [finding for finding in self.findings if finding.verdict in verdicts]


def number_text(value: float | None) -> str:
    """Write a figure with four significant digits, from 10,000 on as a whole number; "" where there is none."""
    return "" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def write_report(report: GateReport, path: Path) -> None:
    """Write the report; a reader sees the old file or the new one, never a part of it."""
    json_file.write(report, path)


def read_report(path: Path) -> GateReport:
    """Read a ``gate.json``.

    Raises:
        UserError: the file is absent, is not JSON, is of another schema version, or is no :class:`GateReport`.
    """
    return json_file.parse(GateReport, GATE_FILE, json_file.read_file(path), str(path), SCHEMA_VERSION)
