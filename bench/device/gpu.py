"""What NVML says of a GPU while it is measured: its clocks, temperature and power, what throttles it, its energy."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import torch

from bench.device.machine import clocks_event_reasons, nvml_uuid
from bench.schema.result import GpuReadings

THROTTLE_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}
"""nvmlClocksEventReasons of nvml.h that make the same work take longer than the clocks set would."""

INTERVAL_SECONDS = 0.1
"""Between two readings: NVML itself renews most of them about as often, and a reading takes a millisecond."""


@dataclass(frozen=True)
class Reading:
    """One moment. What the GPU does not tell is None; ``throttled`` are names of :data:`THROTTLE_REASONS`."""

    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_celsius: int | None
    power_watts: float | None
    throttled: tuple[str, ...]


class Gpu:
    """One GPU by its UUID, as torch spells it.

    Raises:
        Exception: whatever NVML raises where it is absent, refuses or does not know the GPU; see :meth:`of`.
    """

    def __init__(self, uuid: str) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(nvml_uuid(uuid))

    @classmethod
    def of(cls, device: torch.device) -> Gpu | None:
        """The GPU of a CUDA device; None for any other, and where NVML cannot be asked."""
        if device.type != "cuda":
            return None
        with contextlib.suppress(Exception):
            return cls(str(torch.cuda.get_device_properties(device).uuid))
        return None

    def read(self) -> Reading:
        """How the GPU is now."""
        nvml, handle = self._nvml, self._handle
        milliwatts = _told(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        reasons = _told(lambda: clocks_event_reasons(nvml, handle)) or 0
        return Reading(
            sm_clock_mhz=_told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            memory_clock_mhz=_told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            temperature_celsius=_told(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            power_watts=None if milliwatts is None else milliwatts / 1000,
            throttled=tuple(name for bit, name in THROTTLE_REASONS.items() if reasons & bit),
        )

    def energy_joules(self) -> float | None:
        """The GPU's total-energy counter since the driver was loaded; None where it has none (before Volta)."""
        millijoules = _told(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None if millijoules is None else millijoules / 1000


class Watch:
    """Readings of a GPU between the batches of a timing, no more often than :data:`INTERVAL_SECONDS`.

    Without a GPU it sees nothing, and nothing is ever throttled.
    """

    def __init__(self, gpu: Gpu | None) -> None:
        self._gpu = gpu
        self._readings: list[Reading] = []
        self._last = -INTERVAL_SECONDS

    def throttled(self) -> bool:
        """Whether the GPU is throttled, by the newest reading."""
        now = time.monotonic()
        if self._gpu is not None and now - self._last >= INTERVAL_SECONDS:
            self._readings.append(self._gpu.read())
            self._last = now
        return bool(self._readings and self._readings[-1].throttled)

    def readings(self, dropped_batches: int, kept_throttled: bool) -> GpuReadings | None:
        """All of it for the result; None without a GPU."""
        if not self._readings:
            return None
        counts: dict[str, int] = {}
        for reading in self._readings:
            for name in reading.throttled:
                counts[name] = counts.get(name, 0) + 1
        return GpuReadings(
            sm_clock_mhz=[reading.sm_clock_mhz for reading in self._readings],
            memory_clock_mhz=[reading.memory_clock_mhz for reading in self._readings],
            temperature_celsius=[reading.temperature_celsius for reading in self._readings],
            power_watts=[reading.power_watts for reading in self._readings],
            throttled=counts,
            dropped_batches=dropped_batches,
            kept_throttled=kept_throttled,
        )


def _told(read: Any) -> Any:
    """What a reading gives, None where the GPU refuses it."""
    try:
        return read()
    except Exception:
        return None
