"""What NVML says of the memory of the GPUs: how much this process holds, and whether others use the GPU."""

from __future__ import annotations

import contextlib
import os

import torch

from bench.device.gpu import as_text, nvml_uuid

OTHERS_BYTES = 1_000_000_000
"""Memory in use from which on others count as using the GPU. Drivers and displays take some hundred megabytes."""

OTHERS_BUSY_PERCENT = 5
"""Share of the time in which the GPU is busy from which on others count as using it."""


class DeviceMemory:
    """The memory of all GPUs as it was when this object was made, and what has changed since.

    Make it before torch creates its CUDA context, so that the context counts. Where there is no NVML every answer is
    None; no method raises.
    """

    def __init__(self) -> None:
        self._used_before: dict[str, int] = {}
        self._busy_before: dict[str, int] = {}
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            for i in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(i)
                uuid = as_text(pynvml.nvmlDeviceGetUUID(handle))
                self._used_before[uuid] = pynvml.nvmlDeviceGetMemoryInfo(handle).used
                with contextlib.suppress(Exception):
                    self._busy_before[uuid] = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu

    def use_by_others(self, device: torch.device) -> str | None:
        """Return a sentence for the notes of the result where others used the GPU when this object was made, else None.

        The figures of speed and memory cannot be trusted then.
        """
        if device.type != "cuda":
            return None
        uuid = _uuid(device)
        used, busy = self._used_before.get(uuid, 0), self._busy_before.get(uuid, 0)
        if used < OTHERS_BYTES and busy < OTHERS_BUSY_PERCENT:
            return None
        return (
            f"the GPU was in use before this job began: {used / 1e9:.1f} GB of its memory taken, {busy} % of the time "
            f"busy; its speed and memory are not this model's alone"
        )

    def of_process(self, device: torch.device) -> tuple[int, str] | tuple[None, None]:
        """Return the bytes that this process holds on the GPU, and how they were read.

        ``nvml_process``: NVML lists the process. ``device_difference``: NVML does not see our pid, as in a container,
        so the growth of the whole GPU since this object was made stands for it.
        """
        try:
            import pynvml

            uuid = _uuid(device)
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid == os.getpid() and process.usedGpuMemory:
                    return process.usedGpuMemory, "nvml_process"
            used = pynvml.nvmlDeviceGetMemoryInfo(handle).used
            return used - self._used_before[uuid], "device_difference"
        except Exception:  # NVML is absent, refuses, or does not know this GPU: the figure stays empty
            return None, None


def _uuid(device: torch.device) -> str:
    """Return the UUID of torch's device as NVML spells it."""
    return nvml_uuid(str(torch.cuda.get_device_properties(device).uuid))
