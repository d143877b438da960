"""Compares results with a baseline: every metric of every model is same, better, worse, ambiguous or not comparable.

A metric is worse where it lies beyond its threshold AND is statistically different: over rounds for speed, over images
for AP, after Holm's correction over all tests of the gate. Figures that are read once are compared as they are. A
metric is ambiguous where neither is shown: that it is worse, or that it is not. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.errors import UserError
from bench.evaluation.bootstrap import holm
from bench.gate.comparable import FEWER_ROWS, check_allowed, obstacles
from bench.gate.decide import BothSides, both_sides, judge, no_comparison
from bench.gate.power import check_power
from bench.gate.rank_tests import LEAST_ROUNDS
from bench.gate.rows import labels, matched
from bench.gate.thresholds import Thresholds, check_models, parse_all
from bench.private.texts import without_home
from bench.schema.config import GATE_MODES, ON_AMBIGUOUS, GateConfig
from bench.schema.gate_report import (
    AMBIGUOUS,
    BETTER,
    NOT_COMPARABLE,
    SAME,
    WORSE,
    Finding,
    GateReport,
)
from bench.schema.marks import marks
from bench.schema.result import PASSES, Result
from bench.schema.row import Row

STATUS = "status"
"""The metric that needs no threshold: a model that ran in the base must run in the head."""


def check_gate(gate: GateConfig) -> Thresholds:
    """Check a gate and give its thresholds.

    Raises:
        UserError: a value is impossible.
    """
    for key, value, known in (("mode", gate.mode, GATE_MODES), ("on_ambiguous", gate.on_ambiguous, ON_AMBIGUOUS)):
        if value not in known:
            raise UserError(f"gate.{key}={value}: unknown, must be {' or '.join(known)}")
    if not 0 < gate.alpha < 1:
        raise UserError(f"gate.alpha={gate.alpha:g}: is a probability, must be between 0 and 1")
    if gate.rounds is not None and gate.rounds < LEAST_ROUNDS:
        raise UserError(f"gate.rounds={gate.rounds}: the test over rounds needs {LEAST_ROUNDS} or more a side")
    if gate.processes < 1:
        raise UserError(f"gate.processes={gate.processes}: must be 1 or more")
    check_allowed(gate.allow)
    thresholds = parse_all(gate.thresholds, gate.models)
    if not any(thresholds.common.values()) and not any(any(t.values()) for t in thresholds.by_model.values()):
        raise UserError("gate.thresholds: every metric is none, so nothing could be worse; give one, as fps_model: -2%")
    return thresholds


def compare(base: Sequence[Row], head: Sequence[Row], gate: GateConfig, names: tuple[str, str]) -> GateReport:
    """Compare every row of ``head`` with its partner in ``base``; ``names`` are those of the sides for a person.

    Raises:
        UserError: the gate has an impossible value; or nothing is worse, and nothing could be compared or a test could
            not have failed.
    """
    thresholds = check_gate(gate)
    check_models(gate.models, (row.model for row in (*base, *head)))
    pairs, only_base, only_head = matched(base, head)
    label_of = {id(row): label for side in (base, head) for row, label in zip(side, labels(side), strict=True)}
    parts: list[Finding | BothSides] = []
    for one, other in pairs:
        parts += _of_pair(label_of[id(other)], one, other, thresholds, gate)
    parts += [_only_in_the_base(label_of[id(row)], row, gate) for row in only_base]
    for row in only_head:
        label = label_of[id(row)]
        parts.append(Finding(label, row.job, STATUS, NOT_COMPARABLE, f"{label}: only in the head"))
    tests = [part for part in parts if isinstance(part, BothSides) and part.tested and part.change]
    corrected = dict(zip(map(id, tests), holm([part.change.p for part in tests if part.change]), strict=True))
    findings = [
        part if isinstance(part, Finding) else judge(part, corrected.get(id(part)), gate.alpha, len(tests))
        for part in parts
    ]
    if not any(finding.verdict == WORSE for finding in findings):
        _check_awake(parts, gate.alpha)
    return replace(_concluded(findings, gate, names), notes=_marks(pairs, label_of))


def _marks(pairs: Sequence[tuple[Row, Row]], label_of: dict[int, str]) -> list[str]:
    """Name the rows that have a mark in the base, in the head or in both, each mark once."""
    marked: dict[str, list[str]] = {}
    for base, head in pairs:
        label, sides = label_of[id(head)], [{mark.name for mark in marks(row.result)} for row in (base, head)]
        for name in sorted(sides[0] | sides[1]):
            where = "" if name in sides[0] & sides[1] else f" ({'base' if name in sides[0] else 'head'})"
            marked.setdefault(name, []).append(label + where)
    return [f"{name}: {', '.join(labels)}" for name, labels in marked.items()]


def _check_awake(parts: Sequence[Finding | BothSides], alpha: float) -> None:
    """Raise a UserError where a metric was measured so that the gate could not have called it worse."""
    sides = [part for part in parts if isinstance(part, BothSides)]
    if broken := next((part for part in sides if part.broken), None):
        raise UserError(f"the gate could not fail: {no_comparison(broken)}")
    check_power([part.reach for part in sides if part.reach], alpha)


def _only_in_the_base(label: str, row: Row, gate: GateConfig) -> Finding:
    if row.result.status != "ok" or FEWER_ROWS in gate.allow:
        return Finding(label, row.job, STATUS, NOT_COMPARABLE, f"{label}: only in the base")
    sentence = f"{label}: is in the base and not in the head; gate.allow=[{FEWER_ROWS}] lets it pass"
    return Finding(label, row.job, STATUS, WORSE, sentence)


def _of_pair(label: str, base: Row, head: Row, thresholds: Thresholds, gate: GateConfig) -> list[Finding | BothSides]:
    """Give the status of a pair of rows and, where both ran, its metrics."""
    before, now = base.result, head.result
    reason = f": {now.reason}" if now.reason else ""
    if before.status != "ok" and now.status != "ok":
        return [Finding(label, head.job, STATUS, NOT_COMPARABLE, f"{label}: {now.status} in both{reason}")]
    if now.status != "ok":
        return [Finding(label, head.job, STATUS, WORSE, f"{label}: ran in the base, {now.status} in the head{reason}")]
    if before.status != "ok":
        why = f" ({before.reason})" if before.reason else ""
        return [
            Finding(label, head.job, STATUS, BETTER, f"{label}: {before.status} in the base{why}, runs in the head")
        ]
    parts: list[Finding | BothSides] = [Finding(label, head.job, STATUS, SAME, f"{label}: runs in both")]
    why_not = obstacles(before, now, gate.allow)
    if _share_rounds(before, now):
        why_not = dict.fromkeys((*PASSES, *why_not), "both hold the same rounds, which cannot be worse than themselves")
    for threshold in thresholds.of(head.model):
        part = both_sides(label, head.job, before, now, threshold, why_not.get(threshold.metric.part, ""))
        if part is not None:
            parts.append(part)
    return parts


def _share_rounds(base: Result, head: Result) -> bool:
    """Tell whether a round of speed stands in both results, as where one was copied or went on from the other."""
    if base.speed is None or head.speed is None or base.speed.model.latency_ms[:1] != head.speed.model.latency_ms[:1]:
        return False
    begun, there = ({one.started for one in speed.rounds if one.started} for speed in (base.speed, head.speed))
    return bool(begun & there)


def _concluded(findings: list[Finding], gate: GateConfig, names: tuple[str, str]) -> GateReport:
    worse = [finding for finding in findings if finding.verdict == WORSE]
    ambiguous = [finding for finding in findings if finding.verdict == AMBIGUOUS]
    compared = [f for f in findings if f.verdict == WORSE or (f.metric != STATUS and f.verdict != NOT_COMPARABLE)]
    if not compared and not worse:
        unlike = (f.sentence for f in findings if f.verdict in (NOT_COMPARABLE, BETTER))
        first = next(unlike, "both measured nothing in common")
        raise UserError(f"nothing could be compared, so the gate cannot say anything: {first}")
    of = f"{len(compared)} comparison{'s' if len(compared) != 1 else ''}"
    if worse:
        outcome = f"{len(worse)} of {of} worse: {', '.join(f'{f.model} {f.metric}' for f in worse[:5])}"
        outcome += f" and {len(worse) - 5} more" if len(worse) > 5 else ""
    elif ambiguous:
        outcome = f"nothing of {of} is shown to be worse; {len(ambiguous)} ambiguous"
    else:
        outcome = f"nothing of {of} is worse"
    passed = not worse and not (ambiguous and gate.on_ambiguous == "fail")
    on_ambiguous = "fail" if gate.on_ambiguous == "fail" else "pass"
    base, head = (without_home(name) for name in names)  # the files that CI systems read are published
    return GateReport(base, head, passed, outcome, findings, on_ambiguous, gate.alpha)
