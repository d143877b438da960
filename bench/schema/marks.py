"""The table of marks: what is true of a row and says that its speed means less than a reader thinks.

Every report shows a row's marks beside its name, and their sentences in its conditions. This module needs the standard
library alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.schema.facts import config, gpu_busy, untrained, within
from bench.schema.parts.speed import HostReadings, SpeedResult
from bench.schema.result import Result
from bench.schema.words import figure_text

OF_SPEED = ("speed", "busy", "energy")
"""The parts of a result whose figures mean less where a row has a mark, but for counts."""

HOST_BOUND_PERCENT = 80
"""A row whose GPU is busy for a smaller share of the time is host-bound."""

DISTURBED_PERCENT = 10
"""Share of the cores' time from which on others may disturb a timing (:mod:`bench.device.host` has the rule)."""

LOW_POWER_PERCENT = 50
"""A GPU that draws less than this share of its power limit was hardly at work."""

_SIGNIFICANCE = 0.025
"""Of the sign test of two timings of the same batches, one-sided."""

WAITED_PERCENT = 5
"""Share of the time in which the process wanted cores and had none, from which on others did disturb it."""


MARK_NAMES = (
    *("host-bound", "host-bound?", "neighbours", "disturbed", "throttled", "few samples", "fewer images"),
    *("recompiled", "contradiction", "random weights", "other input size"),
)
"""The name of every mark; the last one is given by the rows beside a row."""


@dataclass(frozen=True)
class Mark:
    """One mark of a row.

    name: one or two words, shown in tables
    sentence: what was seen, with its figure: ``the GPU computed 22 % of the time``
    meaning: what it means for a reader, and what would help
    never_best: whether a figure of time of this row (``Figure.of_time``) is never shown as the best
    """

    name: str
    sentence: str
    meaning: str
    never_best: bool = False


def marks(result: Result) -> list[Mark]:
    """Give the marks of a row, in the order of this table."""
    return [mark for find in _TABLE for mark in find(result)]


def mark_names(result: Result) -> str:
    """Give the names of a row's marks, as they stand beside its own: ``host-bound, few samples``; "" without one."""
    return ", ".join(mark.name for mark in marks(result))


def why_never_best(result: Result) -> str:
    """Say why no speed of a row is shown as the best; "" where one may be."""
    return "; ".join(f"{mark.name}: {mark.sentence}" for mark in marks(result) if mark.never_best)


def busy_percent(share: float) -> str:
    """Print the share of the time in which the GPU computed, in %, so that it does not contradict the mark."""
    return figure_text(100 * share, 0, lambda percent: percent < HOST_BOUND_PERCENT)


def _host_bound(result: Result) -> Iterator[Mark]:
    share = gpu_busy(result.busy) if result.busy else None
    if share is not None and 100 * share < HOST_BOUND_PERCENT:
        yield Mark(
            "host-bound",
            f"the GPU computed {busy_percent(share)} % of the time",
            "its FPS is the speed of its Python and of this processor, and the order of such rows is that of their "
            "Python; a larger batch_size or compile=reduce-overhead gives the GPU more to do",
        )


def _perhaps_host_bound(result: Result) -> Iterator[Mark]:
    """Mark a row of which no profiler says what the GPU did, but whose GPU drew little power while it was timed."""
    limit = within(result.machine, ("gpu", "power_limit_watts"))
    if result.busy is not None or result.speed is None or not isinstance(limit, int | float) or limit <= 0:
        return
    readings = [part.gpu.power_watts for part in result.speed.rounds if part.gpu is not None]
    watts = [value for values in readings for value in values if value is not None]
    percent = 100 * statistics.median(watts) / limit if watts else math.inf
    if percent < LOW_POWER_PERCENT:
        yield Mark(
            "host-bound?",
            f"the GPU drew {figure_text(percent, 0, lambda shown: shown < LOW_POWER_PERCENT)} % of its power limit, "
            "and its busy time was not measured",
            "its FPS may be the speed of its Python and of this processor; passes=[busy] with the same out= tells",
        )


def _throttled(result: Result) -> Iterator[Mark]:
    rounds = result.speed.rounds if result.speed else []
    kept = [part for part in rounds if part.gpu and part.gpu.kept_throttled and any(part.gpu.throttled.values())]
    if kept:
        reasons = sorted({name for part in kept if part.gpu for name, count in part.gpu.throttled.items() if count})
        yield Mark(
            "throttled",
            f"the GPU's clocks were held down by {' and '.join(reasons)} in {len(kept)} of {len(rounds)} rounds, whose "
            "batches are among its samples",
            "its speed is that of a GPU that power or heat slows down; let it cool, or lower its clocks for all rows",
        )


def _contradiction(result: Result) -> Iterator[Mark]:
    """Mark a row whose end to end was faster than the model boundary inside it, by a sign test over its batches."""
    speed = result.speed
    if speed is None:
        return
    model, whole = speed.model.latency_ms, speed.end_to_end.latency_ms
    if sum(whole) >= sum(model):
        return
    faster = sum(all_of_it < part for all_of_it, part in zip(whole, model, strict=True))
    if _by_chance(faster, len(model)) <= _SIGNIFICANCE:
        yield Mark(
            "contradiction",
            f"end to end took less time than the model boundary inside it in {faster} of {len(model)} batches",
            "this is an error of measurement, and neither speed can be believed; time it again, with another out=",
            never_best=True,
        )


def _by_chance(heads: int, tosses: int) -> float:
    """Give the probability of so many heads or more in so many fair tosses."""
    return sum(math.comb(tosses, count) for count in range(heads, tosses + 1)) / 2**tosses


def _random_weights(result: Result) -> Iterator[Mark]:
    if untrained(result):
        fair = config("detections")(result) == "saturated"
        speed = (
            "its speed is fair, since every image has as many detections"
            if fair
            else ("a trained model finds other instances, so its speed is another one; detections=saturated is fair")
        )
        yield Mark("random weights", "its network was never trained", f"its masks are noise and it has no AP; {speed}")


def _disturbed(result: Result) -> Iterator[Mark]:
    rounds = result.speed.rounds if result.speed else []
    watched = [(part.samples, part.host) for part in rounds if part.host is not None]
    batches = sum(samples for samples, _ in watched)
    disturbed = sum(host.disturbed_batches for _, host in watched)
    if batches and 2 * disturbed > batches:
        others = [percent for _, host in watched for percent in _of_disturbed(host)]
        took = f", {statistics.median(others):.0f} % of their time" if others else ""
        yield Mark(
            "disturbed",
            f"{100 * disturbed / batches:.0f} % of its batches were timed while other programs took the cores{took}",
            "its latencies are not this model's alone; time it again on a quiet machine, with another out=",
            never_best=True,
        )


def _of_disturbed(host: HostReadings) -> list[float]:
    """Give what others took, of the readings in which they disturbed the timing."""
    known = len(host.waited_percent) == len(host.others_percent)
    waited = host.waited_percent if known else [math.inf] * len(host.others_percent)
    readings = zip(host.others_percent, host.steal_percent, waited, strict=False)
    return [
        others
        for others, steal, waiting in readings
        if steal > DISTURBED_PERCENT or (others > DISTURBED_PERCENT and waiting > WAITED_PERCENT)
    ]


def _few_samples(result: Result) -> Iterator[Mark]:
    wanted = within(result.config, ("protocol", "min_samples"))
    timed = len(result.speed.model.latency_ms) if result.speed else 0
    if result.speed and isinstance(wanted, int) and timed < wanted:
        yield Mark(
            "few samples",
            f"{timed} {'batch was' if timed == 1 else 'batches were'} timed, protocol.min_samples asks for {wanted}",
            f"its median and its FPS are hardly known; {_why_few(result, result.speed, wanted - timed)}",
            never_best=True,
        )


def _fewer_images(result: Result) -> Iterator[Mark]:
    speed = result.speed
    if speed is None or speed.lap_batches is None or speed.timed_images is None:
        return
    batches = [part.samples + (part.gpu.dropped_batches if part.gpu else 0) for part in speed.rounds]
    if batches and min(batches) < speed.lap_batches:
        share = f"{min(batches)} of {speed.lap_batches} batches that its {speed.timed_images} images are"
        yield Mark(
            "fewer images",
            f"a round timed {share}, until protocol.max_seconds were over",
            "it was timed on other images than the rows beside it; give more protocol.max_seconds, or fewer "
            "protocol.timed_images",
            never_best=True,
        )


def _why_few(result: Result, speed: SpeedResult, lacking: int) -> str:
    """Give why a row has few samples, and what would help."""
    rounds = within(result.config, ("protocol", "rounds"))
    if isinstance(rounds, int) and len(speed.rounds) < rounds:
        return f"{len(speed.rounds)} of {rounds} rounds were timed, and the same command with the same out= goes on"
    dropped = sum(part.gpu.dropped_batches for part in speed.rounds if part.gpu is not None)
    if dropped >= lacking:
        return f"{dropped} more were left out, since power or heat throttled the GPU; let it cool, or lower its clocks"
    return "give more protocol.max_seconds"


def _recompiled(result: Result) -> Iterator[Mark]:
    times = sum(part.recompilations for part in result.speed.rounds) if result.speed else 0
    if times:
        yield Mark(
            "recompiled",
            f"torch.compile compiled {times} times more while it was timed",
            "the time of compiling is among its samples; its p50 says more than its FPS",
            never_best=True,
        )


def _neighbours(result: Result) -> Iterator[Mark]:
    rounds = result.speed.rounds if result.speed else []
    seen = [(part.samples, part.neighbours) for part in rounds if part.neighbours is not None]
    batches = sum(samples for samples, _ in seen)
    if batches and any(each.busy_percent > 0 for _, each in seen):
        percent = sum(samples * each.busy_percent for samples, each in seen) / batches
        busy = sum(samples * each.busy_slots for samples, each in seen) / batches
        most = max(each.slots for _, each in seen)
        yield Mark(
            "neighbours",
            f"other slots worked in {figure_text(percent, 0, lambda shown: shown > 0)} % of the time of its batches, "
            f"{figure_text(busy, 1, lambda shown: shown > 0)} of {most} on average",
            "other slots share memory, disks and power with it; protocol.exclusive=machine times every row alone",
        )


_TABLE: tuple[Callable[[Result], Iterator[Mark]], ...] = (
    _host_bound,
    _perhaps_host_bound,
    _neighbours,
    _disturbed,
    _throttled,
    _few_samples,
    _fewer_images,
    _recompiled,
    _contradiction,
    _random_weights,
)
