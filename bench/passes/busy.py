"""The busy pass: the share of the time in which the GPU computes, by torch's profiler.

It is the last timed pass of its process: CUPTI, by which the profiler sees the GPU, may slow what comes after it.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Sequence
from typing import Any

from bench.data.images import ImageRecord, read_images
from bench.device.busy import DeviceEvent, busy_ms, longest_gaps, most_work
from bench.device.clock import Clock
from bench.device.trace import Trace, profiled, python_calls
from bench.passes.base import Context, RunsTheModel
from bench.schema.parts.busy import BusyResult, Gap

BATCHES = 10
LEAST_BATCHES = 3
SECONDS = 2.0
"""Of a slow model fewer batches are run, as many as fit into this time without the profiler."""

MOST_CALLS = 150_000
"""Of a batch with more calls in Python, Python functions are not recorded: a million would take 3 GB and a minute."""

MORE_THAN_ALL = 1.1
"""Under the profiler the GPU may have taken longer than the whole batch without it by this factor, no more."""


class BusyPass(RunsTheModel):
    """Runs some batches at the ``model`` boundary, first without the profiler and then under it."""

    def measure(self, context: Context) -> BusyResult | None:
        """Give what the GPU did in them; None without a GPU, and with a note where the profiler does not see it.

        Raises:
            ValueError: the first batch breaks a promise of the predictor's interface.
        """
        if context.device.type != "cuda":
            return None
        batches = _Batches(context)
        plain_ms = batches.plain()
        try:
            seen = [batches.under_profiler(place) for place in range(len(plain_ms))]
        except Exception as error:
            traceback.print_exc()  # into the worker's log
            context.note(_empty(f"torch's profiler failed with a {type(error).__name__}"))
            return None
        why = next((trace.why_unfit for _, trace in seen if trace.why_unfit), "") or _impossible(plain_ms, seen)
        if why:
            context.note(_empty(why))
            return None
        events = [event for _, trace in seen for event in trace.device]
        return BusyResult(
            batches=len(seen),
            images=len(seen) * context.config.batch_size,
            plain_ms=sum(plain_ms),
            profiled_ms=sum(wall_ms for wall_ms, _ in seen),
            busy_ms=_busy_ms(seen),
            kernels=_count(events, "kernel"),
            copies=len(events) - _count(events, "kernel"),
            most=most_work(events),
            gaps=batches.gaps(),
        )


class _Batches:
    """The batches of the pass, spread over the data set; each is prepared anew before each of its runs."""

    def __init__(self, context: Context) -> None:
        self._context, self._clock = context, Clock(context.device)
        size = context.config.batch_size
        self._records = spread(context.dataset.images, size, BATCHES)
        self._steps = 2 * len(self._records)

    def plain(self) -> list[float]:
        """Run each batch twice without the profiler; give the milliseconds of the second run."""
        times: list[float] = []
        spent_ms = 0.0
        for place, records in enumerate(self._records):
            if place >= LEAST_BATCHES and spent_ms > 1000 * SECONDS:
                break
            outputs, warm_ms = self._clock.time_on_host(self._call(records))
            if place == 0:
                self._context.validate(records, outputs)
            del outputs
            times.append(self._clock.time_on_host(self._call(records))[1])
            spent_ms += warm_ms + times[-1]
            self._told(place + 1)
        self._steps = 2 * len(times)
        return times

    def under_profiler(self, place: int) -> tuple[float, Trace]:
        """Run a batch under the profiler; give its milliseconds, and what was seen."""
        call, spent_ms = self._call(self._records[place]), 0.0

        def timed() -> None:
            nonlocal spent_ms
            spent_ms = self._clock.time_on_host(call)[1]

        trace = profiled(timed)
        self._told(self._steps // 2 + place + 1)
        return spent_ms, trace

    def gaps(self) -> list[Gap]:
        """Give the longest gaps of one batch, with their Python functions; none where the profiler does not tell.

        Of a batch with more than :data:`MOST_CALLS` they are given without the functions.
        """
        timed = self._clock.time_on_host
        few = python_calls(functools.partial(timed, self._call(self._records[0])), MOST_CALLS) <= MOST_CALLS
        if not few:
            self._context.note(
                f"the gaps of the GPU are told without functions: a batch makes more than {MOST_CALLS:,} calls in "
                "Python, too many to record"
            )
        call = functools.partial(timed, self._call(self._records[0]))
        try:
            trace = profiled(call, python=few)
        except Exception:
            traceback.print_exc()
            return []
        if trace.why_unfit or trace.window is None:
            return []
        return longest_gaps(trace.device, trace.calls, trace.window)

    def _call(self, records: Sequence[ImageRecord]) -> Any:
        runner = self._context.runner
        return functools.partial(runner.model, runner.preprocess(read_images(records)))

    def _told(self, done: int) -> None:
        self._context.progress("busy", min(done, self._steps), self._steps, self._context.config.batch_size)


def spread(records: Sequence[ImageRecord], size: int, count: int) -> list[list[ImageRecord]]:
    """Give ``count`` batches of consecutive images that begin at even distances; after the last image comes the first.

    Fewer are given of a data set that has fewer batches.
    """
    count = max(1, min(count, len(records) // size))
    starts = [place * len(records) // count for place in range(count)]
    return [[records[(start + step) % len(records)] for step in range(size)] for start in starts]


def _busy_ms(seen: Sequence[tuple[float, Trace]]) -> float:
    return sum(busy_ms(trace.device) for _, trace in seen)


def _count(events: Sequence[DeviceEvent], kind: str) -> int:
    return sum(event.kind == kind for event in events)


def _impossible(plain_ms: Sequence[float], seen: Sequence[tuple[float, Trace]]) -> str:
    """Say what of the times cannot be; "" where they agree."""
    busy, profiled_ms, plain = _busy_ms(seen), sum(wall_ms for wall_ms, _ in seen), sum(plain_ms)
    if busy > 1.02 * profiled_ms:
        return f"torch's profiler saw the GPU work for {busy:.1f} ms of {profiled_ms:.1f} ms"
    if busy > MORE_THAN_ALL * plain:
        return f"the GPU took {busy:.1f} ms under torch's profiler, for batches that take {plain:.1f} ms without it"
    return ""


def _empty(why: str) -> str:
    return f"GPU busy is empty: {why}"


PASS = BusyPass()
