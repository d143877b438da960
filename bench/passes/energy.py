"""The energy pass: joules that the GPU consumes for an image, by its own counter."""

from __future__ import annotations

import itertools
import time

from bench.data.images import batches, read_images
from bench.device.clock import Clock
from bench.passes.base import Context, RunsTheModel
from bench.schema.result import EnergyResult

PREPARED = 8
"""Batches prepared beforehand and used again and again: decoding and resizing would leave the GPU idle between them."""


class EnergyPass(RunsTheModel):
    """Reads the counter before and after a while in which the ``model`` boundary runs without a pause."""

    def measure(self, context: Context) -> EnergyResult | None:
        """Give energy (joules) and images of ``protocol.energy_seconds``; None without a GPU that has such a counter.

        The GPU updates its counter every 20 to 100 milliseconds, which bounds its error to 1 % of 10 seconds.
        """
        gpu, config, runner = context.gpu, context.config, context.runner
        if gpu is None or gpu.energy_joules() is None:
            if context.device.type == "cuda":
                context.note("energy: the GPU has no counter that NVML may read")
            return None
        chosen = list(itertools.islice(batches(context.dataset.images, config.batch_size), PREPARED))
        prepared = [runner.preprocess(read_images(records)) for records in chosen]
        clock = Clock(context.device)
        context.validate(chosen[0], runner.model(prepared[0]))
        clock.synchronize()
        before, began = gpu.energy_joules(), time.perf_counter()
        wanted, seconds, images = config.protocol.energy_seconds, 0.0, 0
        for batch in itertools.cycle(prepared):
            runner.model(batch)
            clock.synchronize()
            images += config.batch_size
            seconds = time.perf_counter() - began
            context.progress("energy", min(seconds, wanted), wanted, config.batch_size)
            if seconds >= wanted:
                break
        after = gpu.energy_joules()
        if before is None or after is None or after <= before:
            return None
        return EnergyResult(energy_joules=after - before, images=images, window_seconds=seconds)


PASS = EnergyPass()
