"""The memory pass: five figures, each what its name says, in a pass that times nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord, batches, read_images
from bench.device.machine import nvml_uuid
from bench.passes.runner import Runner
from bench.schema.config import BenchConfig
from bench.schema.result import MemoryResult

_IMAGES = 10

OTHERS_BYTES = 1_000_000_000
OTHERS_BUSY_PERCENT = 5
"""From which on a GPU counts as used by others. Drivers and displays take some hundred megabytes themselves."""


class DeviceMemory:
    """What NVML says of the GPUs' memory. Made before torch creates its context, so that the context counts.

    Everything is None where there is no NVML; nothing raises.
    """

    def __init__(self) -> None:
        self._used_before: dict[str, int] = {}
        self._busy_before: dict[str, int] = {}
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            for i in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(i)
                uuid = _uuid(pynvml, handle)
                self._used_before[uuid] = pynvml.nvmlDeviceGetMemoryInfo(handle).used
                with contextlib.suppress(Exception):
                    self._busy_before[uuid] = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu

    def use_by_others(self, device: torch.device) -> str | None:
        """A sentence where others used the GPU when this was made: its figures of speed and memory are not to be
        trusted then."""
        if device.type != "cuda":
            return None
        uuid = _torch_uuid(device)
        used, busy = self._used_before.get(uuid, 0), self._busy_before.get(uuid, 0)
        if used < OTHERS_BYTES and busy < OTHERS_BUSY_PERCENT:
            return None
        return (
            f"the GPU was in use before this job began: {used / 1e9:.1f} GB of its memory taken, {busy} % of the time "
            f"busy; its speed and memory are not this model's alone"
        )

    def of_process(self, device: torch.device) -> tuple[int, str] | tuple[None, None]:
        """Bytes that this process holds on the GPU, and how that was read.

        ``nvml_process`` where NVML lists the process; in a container it does not see our pid, so the growth of the
        whole GPU since before the context was made stands for it: ``device_difference``.
        """
        try:
            import pynvml

            uuid = _torch_uuid(device)
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid == os.getpid() and process.usedGpuMemory:
                    return process.usedGpuMemory, "nvml_process"
            used = pynvml.nvmlDeviceGetMemoryInfo(handle).used
            return used - self._used_before[uuid], "device_difference"
        except Exception:  # NVML absent, refusing, or without this GPU: the figure stays empty
            return None, None


def measure(
    runner: Runner,
    dataset: CocoDataset,
    config: BenchConfig,
    device: torch.device,
    device_memory: DeviceMemory,
    progress: Callable[[str, float, float, int], None],
) -> MemoryResult:
    """Peaks over a few batches that contain the largest image of the dataset.

    The peaks are of inference with the weights loaded, not of building the model.
    """
    module = runner.module
    cuda = device.type == "cuda"
    host_source = _reset_host_peak()
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    records = _largest_first(dataset.images)
    count = max(1, -(-min(_IMAGES, len(records)) // config.batch_size))
    for done, chosen in enumerate(itertools.islice(batches(records, config.batch_size), count), 1):
        runner.model(runner.preprocess(read_images(chosen)))
        progress("memory", done, count, config.batch_size)
    process_bytes, device_source = device_memory.of_process(device) if cuda else (None, None)
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


def _largest_first(records: tuple[ImageRecord, ...]) -> list[ImageRecord]:
    return sorted(records, key=lambda record: record.height * record.width, reverse=True)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _torch_uuid(device: torch.device) -> str:
    """The GPU's UUID as NVML spells it."""
    return nvml_uuid(str(torch.cuda.get_device_properties(device).uuid))


def _uuid(pynvml: Any, handle: Any) -> str:
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)


def _reset_host_peak() -> str:
    """Let the kernel start its count of peak memory anew; says which peak can be read afterwards."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return "resettable_peak"
    except OSError:
        return "process_peak"


def _host_peak_bytes() -> int:
    """Peak resident memory of this process, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
