"""The energy pass: joules that the GPU takes for an image, by its own counter."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import torch

from bench.data.dataset import CocoDataset
from bench.data.images import batches, read_images
from bench.device.clock import Clock
from bench.device.gpu import Gpu
from bench.passes.runner import Runner
from bench.schema.config import BenchConfig
from bench.schema.result import EnergyResult

PREPARED = 8
"""Batches made ready beforehand and gone round: decoding and resizing would leave the GPU idle in between."""


def measure(
    runner: Runner,
    dataset: CocoDataset,
    config: BenchConfig,
    device: torch.device,
    gpu: Gpu | None,
    progress: Callable[[str, float, float, int], None],
) -> EnergyResult | None:
    """Run the ``model`` boundary without a pause for ``protocol.energy_seconds`` and read the counter before and after.

    The counter is renewed every 20 to 100 milliseconds, which bounds its error to 1 % of 10 seconds. None where the
    GPU has no such counter, or there is no GPU.
    """
    if gpu is None or gpu.energy_joules() is None:
        return None
    chosen = list(itertools.islice(batches(dataset.images, config.batch_size), PREPARED))
    prepared = [runner.preprocess(read_images(records)) for records in chosen]
    clock = Clock(device)
    runner.model(prepared[0])
    clock.synchronize()
    before, began = gpu.energy_joules(), time.perf_counter()
    wanted, seconds, images = config.protocol.energy_seconds, 0.0, 0
    for batch in itertools.cycle(prepared):
        runner.model(batch)
        clock.synchronize()
        images += config.batch_size
        seconds = time.perf_counter() - began
        progress("energy", min(seconds, wanted), wanted, config.batch_size)
        if seconds >= wanted:
            break
    after = gpu.energy_joules()
    if before is None or after is None or after <= before:
        return None
    return EnergyResult(energy_joules=after - before, images=images, window_seconds=seconds)
