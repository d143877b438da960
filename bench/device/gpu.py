"""What NVML says of a card while it is measured: its clocks, temperature and power, what holds it down, its energy."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import torch

from bench.device.machine import clocks_event_reasons, nvml_uuid
from bench.schema.result import CardReadings

HELD_DOWN = {
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
    """One moment. What the card does not tell is None; ``held_down`` are names of :data:`HELD_DOWN`."""

    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_celsius: int | None
    power_watts: float | None
    held_down: tuple[str, ...]


class Card:
    """One card by its UUID, as torch spells it.

    Raises:
        Exception: whatever NVML raises where it is absent, refuses or does not know the card; see :meth:`of`.
    """

    def __init__(self, uuid: str) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(nvml_uuid(uuid))

    @classmethod
    def of(cls, device: torch.device) -> Card | None:
        """The card of a CUDA device; None for any other, and where NVML cannot be asked."""
        if device.type != "cuda":
            return None
        with contextlib.suppress(Exception):
            return cls(str(torch.cuda.get_device_properties(device).uuid))
        return None

    def read(self) -> Reading:
        """How the card is now."""
        nvml, handle = self._nvml, self._handle
        milliwatts = _told(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        reasons = _told(lambda: clocks_event_reasons(nvml, handle)) or 0
        return Reading(
            sm_clock_mhz=_told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            memory_clock_mhz=_told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            temperature_celsius=_told(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            power_watts=None if milliwatts is None else milliwatts / 1000,
            held_down=tuple(name for bit, name in HELD_DOWN.items() if reasons & bit),
        )

    def energy_joules(self) -> float | None:
        """The card's total-energy counter since the driver was loaded; None where it has none (before Volta)."""
        millijoules = _told(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None if millijoules is None else millijoules / 1000


class Watch:
    """Readings of a card between the batches of a timing, no more often than :data:`INTERVAL_SECONDS`.

    Without a card it sees nothing, and nothing is ever held down.
    """

    def __init__(self, card: Card | None) -> None:
        self._card = card
        self._readings: list[Reading] = []
        self._last = -INTERVAL_SECONDS

    def held_down(self) -> bool:
        """Whether the card is held down, by the newest reading."""
        now = time.monotonic()
        if self._card is not None and now - self._last >= INTERVAL_SECONDS:
            self._readings.append(self._card.read())
            self._last = now
        return bool(self._readings and self._readings[-1].held_down)

    def readings(self, dropped_batches: int, kept_throttled: bool) -> CardReadings | None:
        """All of it for the result; None without a card."""
        if not self._readings:
            return None
        counts: dict[str, int] = {}
        for reading in self._readings:
            for name in reading.held_down:
                counts[name] = counts.get(name, 0) + 1
        return CardReadings(
            sm_clock_mhz=[reading.sm_clock_mhz for reading in self._readings],
            memory_clock_mhz=[reading.memory_clock_mhz for reading in self._readings],
            temperature_celsius=[reading.temperature_celsius for reading in self._readings],
            power_watts=[reading.power_watts for reading in self._readings],
            held_down=counts,
            dropped_batches=dropped_batches,
            kept_throttled=kept_throttled,
        )


def _told(read: Any) -> Any:
    """What a reading gives, None where the card refuses it."""
    try:
        return read()
    except Exception:
        return None
