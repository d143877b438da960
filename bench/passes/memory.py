"""The memory pass: the memory that the model needs on device and host. It times nothing."""

from __future__ import annotations

import contextlib
import gc
import itertools
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.data.images import ImageRecord, batches, read_images
from bench.passes.base import Context, RunsTheModel
from bench.passes.compiled import Compiled
from bench.schema.parts.costs import MemoryResult

_IMAGES = 10


class MemoryPass(RunsTheModel):
    """Reads peaks of memory over a few batches, one of which contains the largest image of the dataset.

    The peaks are those of inference with the weights loaded, not those of constructing the model.
    """

    def measure(self, context: Context) -> MemoryResult:
        """Give the figures in bytes; one that the device or the model's runtime does not have is None.

        Raises:
            ValueError: the first batch breaks a promise of the predictor's interface.
        """
        runner, device, size = context.runner, context.device, context.config.batch_size
        cuda = device.type == "cuda"
        records = _largest_first(context.dataset.images)
        count = max(1, -(-min(_IMAGES, len(records)) // size))
        if context.compiled is not None:
            _compile_before(context, context.compiled, list(itertools.islice(batches(records, size), count)))
        host_source = _reset_host_peak()
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        for done, chosen in enumerate(itertools.islice(batches(records, size), count), 1):
            instances = runner.model(runner.preprocess(read_images(chosen)))
            if done == 1:
                context.validate(chosen, instances)
            del instances
            context.progress("memory", done, count, size)
        process_bytes, device_source = context.device_memory.of_process(device) if cuda else (None, None)
        if process_bytes is None and device_source is not None:
            context.note(
                "the memory of the process on the device is empty: others gave memory of the GPU back meanwhile, and "
                "NVML tells only that of all together"
            )
            device_source = None
        module = runner.module
        return MemoryResult(
            parameters_bytes=sum(_bytes(p) for p in module.parameters()) if module is not None else None,
            buffers_bytes=sum(_bytes(b) for b in module.buffers()) if module is not None else None,
            peak_allocated_bytes=torch.cuda.max_memory_allocated(device) if cuda else None,
            peak_reserved_bytes=torch.cuda.max_memory_reserved(device) if cuda else None,
            process_device_bytes=process_bytes,
            device_source=device_source,
            host_rss_bytes=_host_peak_bytes(),
            host_rss_source=host_source,
        )


def _compile_before(context: Context, compiled: Compiled, chosen: Sequence[Sequence[ImageRecord]]) -> None:
    """Compile for these batches: the memory that a compiler takes is not that of inference."""
    for records in chosen:
        compiled.compile_for(records, context.runner)
        context.progress("compile", 0, 1, len(records))
    gc.collect()
    if context.device.type == "cuda":
        torch.cuda.empty_cache()  # blocks that only compiling needed would count as reserved


def _largest_first(records: tuple[ImageRecord, ...]) -> list[ImageRecord]:
    return sorted(records, key=lambda record: record.height * record.width, reverse=True)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _reset_host_peak() -> str:
    """Let the kernel count peak memory from now on; give the name of the peak that can be read afterwards."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return "resettable_peak"
    except OSError:
        return "process_peak"


def _host_peak_bytes() -> int:
    """Give the peak resident memory of this process, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


PASS = MemoryPass()
