"""What NVML says of the memory of GPUs: of this process, and of others that use them."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import torch

from bench.device.machine import nvml_uuid

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


def _torch_uuid(device: torch.device) -> str:
    """The GPU's UUID as NVML spells it."""
    return nvml_uuid(str(torch.cuda.get_device_properties(device).uuid))


def _uuid(pynvml: Any, handle: Any) -> str:
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)
