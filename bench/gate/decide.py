"""Tests the difference of one metric between two results, and gives the verdict on it. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median

from bench.evaluation.bootstrap import Difference, paired_difference
from bench.gate import rank_tests
from bench.gate.batch_ratio import paired_batches
from bench.gate.power import Reach, reach, too_few
from bench.gate.rank_tests import LEAST_ROUNDS
from bench.gate.thresholds import Threshold
from bench.schema.gate_report import AMBIGUOUS, BETTER, NOT_COMPARABLE, SAME, WORSE, Finding, number_text
from bench.schema.latency import rounds_of
from bench.schema.metrics import METRICS, Figure
from bench.schema.parts.speed import SpeedResult
from bench.schema.result import Result


@dataclass(frozen=True)
class BothSides:
    """One metric of one model on both sides, before the correction over all tests of the gate.

    base, head: the figures, None where a side lacks it
    change: head minus base, with its interval and p-value where a test is possible; a share of base where the threshold
        is one, else in the metric's unit
    tested: whether a statistical test was made
    test: the test, in words
    why_not: the reason why it cannot be compared, "" where it can
    gone: whether it cannot be compared because the head has no figure, though it was asked for and the base has one
    broken: whether it cannot be compared because a figure is no number or has too few rounds, so that it could not fail
    reach: the least p-value of the test
    """

    model: str
    job: str
    threshold: Threshold
    base: float | None
    head: float | None
    change: Difference | None = None
    tested: bool = False
    test: str = ""
    why_not: str = ""
    gone: bool = False
    broken: bool = False
    reach: Reach | None = None


def both_sides(
    model: str, job: str, base: Result, head: Result, threshold: Threshold, obstacle: str
) -> BothSides | None:
    """Give a metric of both sides with its change; None where neither side measured it.

    obstacle: the reason why the two cannot be compared in it, "" for none
    """
    metric = threshold.metric
    figures = metric.figure(base), metric.figure(head)
    sides = BothSides(model, job, threshold, *figures)
    if figures == (None, None):
        return None
    for side, measured in (("base", base), ("head", head)):
        if wrong := _no_number(metric, measured):
            return replace(sides, base=None, head=None, why_not=f"the {side} has {wrong}", broken=True)
    if obstacle and None not in figures:
        return replace(sides, why_not=obstacle)
    if figures[0] is None:
        return replace(sides, why_not="only in the head, the base has none")
    if figures[1] is None:
        gone = not obstacle and metric.part in (*head.config["passes"], "model")
        return replace(sides, why_not="only in the base, the head has none", gone=gone)
    if metric.better == "high" and not threshold.relative and figures[0] <= threshold.size:
        why = f"the base has {number_text(figures[0])} {metric.unit}, which cannot fall by more than {threshold.size:g}"
        return replace(sides, why_not=f"{why}; give another gate.thresholds.{metric.name}, or none", broken=True)
    if metric.over_rounds:
        return _over_rounds(sides, base, head)
    if metric.resampled:
        return _over_images(sides, base, head)
    return _exactly(sides)


def _no_number(metric: Figure, measured: Result) -> str:
    """Say what of a figure is no number that can be compared; "" where all is."""
    figure = metric.figure(measured)
    if figure is not None and not math.isfinite(figure):
        return str(figure)
    times = getattr(measured.speed, metric.timing).latency_ms if metric.over_rounds and measured.speed else ()
    return "" if all(0 < ms < math.inf for ms in times) else "a time that is no finite number above 0"


def judge(sides: BothSides, p: float | None, alpha: float, tests: int) -> Finding:
    """Give the verdict; ``p`` is corrected over the ``tests`` of the gate, None where nothing was tested."""
    threshold, change = sides.threshold, sides.change
    if sides.gone:
        return _finding(sides, WORSE, None, 0)
    if change is None:
        return _finding(sides, NOT_COMPARABLE, None, 0)
    harm, most = _harm(threshold.metric, change)
    known = p is None or p < alpha
    if harm > threshold.size and known:
        verdict = WORSE
    elif most > threshold.size:
        verdict = AMBIGUOUS
    elif -harm > threshold.size and known:
        verdict = BETTER
    else:
        verdict = SAME
    return _finding(sides, verdict, p, tests)


def _over_rounds(sides: BothSides, base: Result, head: Result) -> BothSides:
    """Test a speed over the rounds of both sides, in each round over the same batches."""
    metric, relative = sides.threshold.metric, sides.threshold.relative
    assert base.speed is not None
    assert head.speed is not None
    rounds = _same_batches(metric, base.speed, head.speed)
    values = [
        _values(metric, speed.batch_size, side) for speed, side in zip((base.speed, head.speed), rounds, strict=True)
    ]
    counts = [len(side) for side in values]
    if min(counts) < LEAST_ROUNDS:
        least, which = min(zip(counts, ("base", "head"), strict=True))
        return replace(sides, why_not=too_few(f"the {which}", least, metric.name), broken=True)
    middles = [median(side) for side in values]
    interleaved = base.interleaved is not None and base.interleaved == head.interleaved and counts[0] == counts[1]
    if interleaved and metric.of_every_batch and relative:
        slower = paired_batches(rounds[0], rounds[1])
        change = Difference(-slower.difference, -slower.high, -slower.low, slower.p)
        test = f"bootstrap over {counts[0]} pairs of rounds, each batch against itself"
    else:
        compare = rank_tests.paired if interleaved else rank_tests.unpaired
        compared = [[math.log(value) for value in side] if relative else side for side in values]
        change = compare(compared[0], compared[1])
        test = (
            f"Wilcoxon's signed ranks over {counts[0]} pairs of rounds"
            if interleaved
            else f"Mann-Whitney over {counts[0]} and {counts[1]} rounds"
        )
    could = reach(sides.model, sides.threshold, None if interleaved else counts[0], counts[1])
    if relative:
        change = Difference(math.expm1(change.difference), math.expm1(change.low), math.expm1(change.high), change.p)
    return replace(sides, base=middles[0], head=middles[1], change=change, tested=True, test=test, reach=could)


def _same_batches(metric: Figure, base: SpeedResult, head: SpeedResult) -> list[list[list[float]]]:
    """Give the rounds of both sides, cut to the length of the shortest one.

    Every round begins with the same images, so that no round is faster because it had other images.
    """
    sides = [rounds_of(speed, getattr(speed, metric.timing)) for speed in (base, head)]
    common = min((len(part) for side in sides for part in side), default=0)
    return [[part[:common] for part in side] for side in sides]


def _values(metric: Figure, batch_size: int, rounds: list[list[float]]) -> list[float]:
    """Give the figure of each round."""
    assert metric.summary is not None
    summaries = (metric.summary(batch_size, part) for part in rounds)
    return [value for value in summaries if value is not None]


def _over_images(sides: BothSides, base: Result, head: Result) -> BothSides:
    """Test an AP by the paired bootstrap replicates of both sides."""
    replicates = [_replicates(sides.threshold.metric, result) for result in (base, head)]
    if replicates[0] is None or replicates[1] is None or replicates[0][1] != replicates[1][1]:
        return replace(sides, why_not="no bootstrap replicates on the same draws of images")
    if not all(math.isfinite(value) for side in replicates if side for value in side[0]):
        return replace(sides, why_not="a bootstrap replicate is no finite number", broken=True)
    assert sides.base is not None
    assert sides.head is not None
    difference = (sides.head - sides.base) / 100
    change = paired_difference(replicates[1][0], replicates[0][0], difference)
    scale = 100 / sides.base if sides.threshold.relative and sides.base else 100
    scaled = Difference(scale * change.difference, scale * change.low, scale * change.high, change.p)
    test = f"paired bootstrap over images, {len(replicates[0][0])} replicates"
    could = reach(sides.model, sides.threshold, None, 0)
    return replace(sides, change=scaled, tested=True, test=test, reach=could)


def _replicates(metric: Figure, result: Result) -> tuple[list[float], tuple[str, int, int]] | None:
    """Give the replicates of an AP, and their images, seed and number; None for a result without replicates.

    Where images, seed and number of two results are equal, their replicates are pairs.
    """
    bootstrap = result.accuracy.bootstrap if result.accuracy else None
    values: list[float] | None = getattr(bootstrap, metric.name, None)
    if not values or bootstrap is None:
        return None
    return values, (bootstrap.images_sha256, bootstrap.seed, len(values))


def _exactly(sides: BothSides) -> BothSides:
    """Compare a figure that is read once as it is."""
    assert sides.base is not None
    assert sides.head is not None
    difference = sides.head - sides.base
    if sides.threshold.relative:
        if not sides.base:
            return replace(sides, why_not="the base is 0, so it has no share; give a threshold without %")
        difference /= sides.base
    return replace(sides, change=Difference(difference, difference, difference, 0.0), test="as read")


def _harm(metric: Figure, change: Difference) -> tuple[float, float]:
    """Give how much worse the head is, and how much at most (the interval's end); negative is better."""
    return (change.difference, change.high) if metric.better == "low" else (-change.difference, -change.low)


def _finding(sides: BothSides, verdict: str, p: float | None, tests: int) -> Finding:
    change, threshold = sides.change, sides.threshold
    test = sides.test + (f", Holm over {tests} tests" if p is not None and tests > 1 else "")
    finding = Finding(
        model=sides.model,
        job=sides.job,
        metric=threshold.metric.name,
        verdict=verdict,
        sentence="",
        unit=threshold.metric.unit,
        base=sides.base,
        head=sides.head,
        relative=threshold.relative,
        change=change.difference if change else None,
        low=change.low if change and sides.tested else None,
        high=change.high if change and sides.tested else None,
        p=p,
        threshold=threshold.text,
        test=test,
    )
    return replace(finding, sentence=no_comparison(sides) if sides.why_not else sentence(finding))


def no_comparison(sides: BothSides) -> str:
    """Say why a metric cannot be compared, and what lets it pass where it does not."""
    metric = sides.threshold.metric.name
    text = f"{sides.model}: {metric} is not comparable: {sides.why_not}"
    return f"{text}; gate.thresholds.{metric}=none leaves it out" if sides.gone else text


def sentence(finding: Finding) -> str:
    """Say model, metric, change, interval, threshold and test of a finding in one sentence."""
    assert finding.change is not None
    scale, unit = (100, "%") if finding.relative else (1, finding.unit)
    head = f"{finding.model}: {finding.metric}"
    if finding.change == 0:
        return f"{head} is unchanged, {number_text(finding.head)} {finding.unit}"
    direction = -1 if finding.change < 0 else 1
    text = f"{head} {'fell' if direction < 0 else 'rose'} by {scale * abs(finding.change):.2f} {unit}"
    if finding.low is not None and finding.high is not None:
        ends = sorted(direction * scale * end for end in (finding.low, finding.high))
        text += f" [{ends[0]:.2f}, {ends[1]:.2f}]"
    figures = f"from {number_text(finding.base)} to {number_text(finding.head)} {finding.unit}"
    if METRICS[finding.metric].over_rounds:
        # Batches or rounds were compared with each other; the medians of the two sides need not show the same change.
        figures = f"median rounds {number_text(finding.base)} and {number_text(finding.head)} {finding.unit}"
    text += f", {figures}; threshold {finding.threshold}"
    if finding.p is not None:
        text += f"; p = {finding.p:.2g} ({finding.test})"
    return text + _HINTS.get(finding.verdict, "")


_HINTS = {AMBIGUOUS: "; a change beyond the threshold is neither shown nor ruled out"}
