"""The energy pass: joules that the GPU consumes for an image, by its own counter."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

from bench.data.images import batches, read_images
from bench.device.clock import Clock
from bench.passes.base import Context, RunsTheModel
from bench.predictor import Instances, Predictor
from bench.schema.parts.costs import EnergyResult

PREPARED = 8
"""Batches prepared beforehand and used again and again: decoding and resizing would leave the GPU idle between them."""

SAME_SCORE = 0.05
"""The most by which a score may differ between two calls on one batch; kernels that add in any order differ by less."""


class EnergyPass(RunsTheModel):
    """Reads the counter before and after a while in which the ``model`` boundary runs without a pause."""

    def measure(self, context: Context) -> EnergyResult | None:
        """Give energy (joules) and images of ``protocol.energy_seconds``; None without a GPU that has such a counter.

        The GPU updates its counter every 20 to 100 milliseconds, which bounds its error to 1 % of 10 seconds.

        Raises:
            ValueError: the first batch breaks a promise of the predictor's interface.
        """
        gpu, config, runner = context.gpu, context.config, context.runner
        if gpu is None or gpu.energy_joules() is None:
            if context.device.type == "cuda":
                context.note("energy: the GPU has no counter that NVML may read")
            return None
        lap, ready = _ready_batches(context)
        clock = Clock(context.device)
        clock.synchronize()
        before, began = gpu.energy_joules(), time.perf_counter()
        wanted, seconds, images = config.protocol.energy_seconds, 0.0, 0
        for done, batch in enumerate(ready, 1):
            runner.model(batch)
            clock.synchronize()
            images += config.batch_size
            seconds = time.perf_counter() - began
            context.progress("energy", min(seconds, wanted), wanted, config.batch_size)
            if seconds >= wanted and done % lap == 0:  # whole laps: every row draws energy for the same images
                break
        after = gpu.energy_joules()
        if before is None or after is None or after <= before:
            return None
        return EnergyResult(energy_joules=after - before, images=images, window_seconds=seconds)


def _ready_batches(context: Context) -> tuple[int, Iterator[Any]]:
    """Check the model's output for the first batch; give host batches without end, ready for the model.

    The same few are given again and again, and their number stands before them. Those of a class that does not say
    ``stateless_preprocess`` are made anew each time, since the class may keep in ``self`` what belongs to a batch.
    """
    runner, config = context.runner, context.config
    chosen = list(itertools.islice(batches(context.dataset.images, config.batch_size), PREPARED))
    images = [read_images(records) for records in chosen]
    context.look_for_nan(images[0])
    if not runner.predictor.stateless_preprocess:
        context.validate(chosen[0], runner.model(runner.preprocess(images[0])))
        context.note(
            f"energy: {type(runner.predictor).__name__} does not say stateless_preprocess, so its preprocess runs "
            f"between the batches, and what the GPU draws meanwhile is counted"
        )
        return len(images), (runner.preprocess(each) for each in itertools.cycle(images))
    prepared = [runner.preprocess(each) for each in images]
    outputs = runner.model(prepared[0])
    context.validate(chosen[0], outputs)
    _refuse_a_changed_batch(runner.predictor, outputs, runner.model(prepared[0]))
    return len(prepared), itertools.cycle(prepared)


def _refuse_a_changed_batch(predictor: Predictor, first: Sequence[Instances], second: Sequence[Instances]) -> None:
    """Raise a ValueError where the second call on one batch gave other scores than the first, or another number."""
    for one, other in zip(first, second, strict=True):
        common = min(len(one), len(other))
        apart = (one.scores[:common] - other.scores[:common]).abs()
        if abs(len(one) - len(other)) > 0.1 * max(len(one), len(other)) or bool((apart > SAME_SCORE).any()):
            raise ValueError(
                f"{type(predictor).__name__}.forward: a second call on the same batch gave {len(other)} instances with "
                f"other scores than the first ({len(one)} instances); stateless_preprocess promises that forward "
                f"leaves the batch as it is"
            )


PASS = EnergyPass()
