"""Whether the tests of a gate could find something worse at all, with their rounds and their number.

A test over few rounds has a least p-value, which no difference however large goes below, and Holm's correction
multiplies it by the number of tests. A gate whose tests cannot come below ``gate.alpha`` would pass whatever happens.
Imports no torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.errors import UserError
from bench.gate import batch_ratio, rank_tests
from bench.gate.thresholds import Threshold, Thresholds
from bench.jobs.job import PlannedJob
from bench.schema.config import BenchConfig, GateConfig
from bench.schema.row import Row

_MOST_ROUNDS = 1000
"""No remedy asks for more rounds than this."""


class TooFewRoundsError(UserError):
    """A test of the gate could not fail with its rounds; more rounds may help."""


@dataclass(frozen=True)
class Reach:
    """The least p-value of one test.

    what: model and metric, for a person
    rounds: the rounds of the head, or the pairs of rounds, that the test has
    least_p: gives the least p-value, before the correction over all tests, for a number of rounds
    """

    what: str
    rounds: int
    least_p: Callable[[int], float]


def reach(model: str, threshold: Threshold, base_rounds: int | None, rounds: int) -> Reach:
    """Give the reach of the test of a metric, which is the one that :mod:`bench.gate.decide` makes.

    base_rounds: the rounds of the base; None where rounds are pairs, one of each side
    """
    metric = threshold.metric
    if not metric.over_rounds:  # an AP, whose replicates come as close to any p-value as the difference is large
        least: Callable[[int], float] = _none
    elif base_rounds is not None:
        least = functools.partial(rank_tests.least_unpaired, base_rounds)
    else:
        least = batch_ratio.least_p if metric.of_every_batch and threshold.relative else rank_tests.least_paired
    return Reach(f"{model} {metric.name}", rounds, least)


def check_power(reaches: Sequence[Reach], alpha: float) -> None:
    """Raise an error where one of the tests could not fail; ``reaches`` are those of all tests of the gate.

    Raises:
        TooFewRoundsError: it says which test, and how many rounds would do.
    """
    number = len(reaches)
    weak = [one for one in reaches if number * one.least_p(one.rounds) >= alpha]
    if not weak:
        return
    first = weak[0]
    tests = f"{number} test{'s' if number != 1 else ''}"
    others = f" (and {len(weak) - 1} more)" if len(weak) > 1 else ""
    least = min(1.0, number * first.least_p(first.rounds))
    needed = _rounds_needed(weak, number, alpha)
    remedy = (
        f"give gate.rounds={needed} or more for these {tests}"
        if needed
        else f"no number of rounds is enough for {tests}; give fewer models at once, or a larger gate.alpha"
    )
    raise TooFewRoundsError(
        f"the gate could not fail: with {first.rounds} rounds, {first.what}{others} has p = {least:.2g} at least, "
        f"after the correction over {tests}, and is worse only below {alpha:g}; {remedy}"
    )


def planned_pairs(pairs: Iterable[tuple[PlannedJob, PlannedJob]], thresholds: Thresholds, rounds: int) -> list[Reach]:
    """Give the tests of two sides whose rounds will be interleaved."""
    return [
        reach(head.config.model.name, threshold, None, rounds)
        for base, head in pairs
        if base.cannot_run is None and head.cannot_run is None
        for threshold in thresholds.of(head.config.model.name)
        if _will_be_tested(head.config, threshold)
    ]


def planned_against(
    base: Sequence[Row], configs: Iterable[BenchConfig], thresholds: Thresholds, rounds: int
) -> list[Reach]:
    """Give the tests of jobs, as far as the rows of their baseline have the figures.

    Raises:
        UserError: a row of the baseline has too few rounds for any test.
    """
    reaches = []
    for config in configs:
        before = [row.result for row in base if row.model == config.model.name and row.result.status == "ok"]
        for threshold in thresholds.of(config.model.name):
            having = [result for result in before if threshold.metric.figure(result) is not None]
            if not having or not _will_be_tested(config, threshold):
                continue
            counts = [len(result.speed.rounds) for result in having if result.speed]
            if threshold.metric.over_rounds and max(counts) < rank_tests.LEAST_ROUNDS:
                raise UserError(too_few(f"the baseline of {config.model.name}", max(counts), threshold.metric.name))
            reaches.append(reach(config.model.name, threshold, max(counts, default=0), rounds))
    return reaches


def too_few(which: str, rounds: int, metric: str) -> str:
    """Say that a side has too few rounds for any test."""
    return (
        f"{which} was timed in {rounds} rounds, the test over rounds needs {rank_tests.LEAST_ROUNDS}; measure it with "
        f"protocol.rounds={rank_tests.LEAST_ROUNDS} or more, or give gate.thresholds.{metric}=none"
    )


def most_rounds(gate: GateConfig, rounds: int) -> int:
    """Give the number of rounds that a gate may come to."""
    return max(rounds, gate.max_rounds) if gate.on_ambiguous == "remeasure" else rounds


def _will_be_tested(config: BenchConfig, threshold: Threshold) -> bool:
    metric = threshold.metric
    return metric.part in config.passes and (metric.over_rounds or (metric.resampled and config.trained))


def _rounds_needed(weak: Sequence[Reach], tests: int, alpha: float) -> int | None:
    for rounds in range(rank_tests.LEAST_ROUNDS, _MOST_ROUNDS + 1):
        if all(tests * one.least_p(rounds) < alpha for one in weak):
            return rounds
    return None


def _none(rounds: int) -> float:
    return 0.0
